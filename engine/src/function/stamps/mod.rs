//! Dates and stamps as text, by Spark's patterns and by those of C.

mod format;
mod parse;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// `date_format`, and those of `known` that take a pattern, which say if it is of the other language.
pub(super) fn functions(known: &[Arc<ScalarUDF>]) -> Vec<Arc<ScalarUDF>> {
    let wrapped = [
        ("to_timestamp", parse::Result::Instant),
        ("to_date", parse::Result::Day),
        ("to_char", parse::Result::Other("date_format")),
        ("to_unixtime", parse::Result::Other("to_timestamp")),
        ("to_timestamp_seconds", parse::Result::Other("to_timestamp")),
        ("to_timestamp_millis", parse::Result::Other("to_timestamp")),
        ("to_timestamp_micros", parse::Result::Other("to_timestamp")),
        ("to_timestamp_nanos", parse::Result::Other("to_timestamp")),
    ];
    let wrap = |(name, result): (&str, parse::Result)| {
        let inner = known.iter().find(|function| function.name() == name)?;
        Some(parse::with_patterns(Arc::clone(inner), result))
    };
    std::iter::once(format::date_format()).chain(wrapped.into_iter().filter_map(wrap)).collect()
}
