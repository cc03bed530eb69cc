//! Where in a query the fault lies that DataFusion's error names.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use pulse_core::sql::{Chain, chains};
use pulse_core::{Diagnostic, Error};

use crate::error::{from_datafusion, plain};

/// Points at the word in the query that DataFusion's error names, if any.
pub(super) fn pointed(path: &str, query: &str, error: DataFusionError) -> Error {
    let message = error.find_root().strip_backtrace();
    let text = plain(&message);
    let source: Arc<str> = Arc::from(query);
    let place = place_in(query, &message);
    let words = [quoted_word(&message), quoted_word(&text)].into_iter().flatten();
    let named = || culprit(&error).and_then(|column| find_column(query, &column));
    let span = place.or_else(named).or_else(|| words.into_iter().find_map(|word| find_name(query, &word)));
    let diagnostic = match span {
        Some(span) => Diagnostic::new(path, &source, span, text),
        None => Diagnostic::new(path, &source, 0..query.trim_end().len().min(1), text),
    };
    Error::from_diagnostics(vec![diagnostic])
}

/// As [`pointed`], of an error of the physical plan, which may be ours or a store's.
pub(super) fn planned(path: &str, query: &str, error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::ArrowError(..)
        | DataFusionError::Execution(_)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => pointed(path, query, error),
        _ => from_datafusion(path, error),
    }
}

/// The place that a message of the parser's tree carries: `Location(1,19)`.
fn place_in(query: &str, message: &str) -> Option<Range<usize>> {
    let (_, rest) = message.split_once("span: Span(Location(")?;
    let (line, column) = rest.split_once(')')?.0.split_once(',')?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    let before: usize = query.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let (start, _) = query.get(before..)?.char_indices().nth(column.checked_sub(1)?)?;
    let start = before + start;
    let word = query[start..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(query.len() - start);
    Some(start..start + word.max(1).min(query.len() - start))
}

fn culprit(error: &DataFusionError) -> Option<Column> {
    let DataFusionError::SchemaError(schema, _) = error.find_root() else { return None };
    Some(match schema.as_ref() {
        SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => field.as_ref().clone(),
        SchemaError::DuplicateUnqualifiedField { name } | SchemaError::DuplicateQualifiedField { name, .. } => {
            Column::new_unqualified(name)
        }
    })
}

/// The first quoted word of a message such as `Invalid function 'emma'`.
fn quoted_word(message: &str) -> Option<String> {
    let start = message.find(['\'', '`'])? + 1;
    let end = message[start..].find(['\'', '`'])? + start;
    let word = message[start..end].rsplit('.').next()?;
    (!word.is_empty()).then(|| word.to_owned())
}

/// The column as it is written, with its table where the error names one; in a text, a comment or a call is no column.
fn find_column(query: &str, column: &Column) -> Option<Range<usize>> {
    let chains = chains(query);
    let is = |part: &(String, Range<usize>), name: &str| part.0.eq_ignore_ascii_case(name);
    let columns = || chains.iter().filter(|chain| !chain.is_called);
    let of_table = column.relation.as_ref().and_then(|table| {
        let pairs = columns().flat_map(|chain| chain.parts.windows(2));
        pairs
            .filter_map(|pair| match pair {
                [first, second] if is(first, table.table()) && is(second, &column.name) => Some(second.1.clone()),
                _ => None,
            })
            .next()
    });
    let first = |chain: &Chain| chain.parts.first().filter(|part| is(part, &column.name)).map(|part| part.1.clone());
    let alone = || columns().filter(|chain| !chain.is_alias).find_map(first);
    of_table.or_else(alone).or_else(|| find_name(query, &column.name))
}

/// A function before a column, and that before a word in a text.
fn find_name(query: &str, name: &str) -> Option<Range<usize>> {
    let chains = chains(query);
    let last = |chain: &Chain| chain.parts.last().filter(|part| part.0.eq_ignore_ascii_case(name)).map(|p| p.1.clone());
    let called = chains.iter().filter(|chain| chain.is_called).find_map(last);
    let any = || chains.iter().flat_map(|chain| &chain.parts).find(|part| part.0.eq_ignore_ascii_case(name));
    called.or_else(|| any().map(|part| part.1.clone())).or_else(|| find_word(query, name))
}

/// The position of a word in a query, ignoring case.
pub(super) fn find_word(text: &str, word: &str) -> Option<Range<usize>> {
    let lower = text.to_lowercase();
    let word = word.to_lowercase();
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    lower
        .match_indices(&word)
        .map(|(start, _)| start..start + word.len())
        .find(|range| !is_word(lower[..range.start].chars().next_back()) && !is_word(lower[range.end..].chars().next()))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    /// What is said of a query, and the text that it points at.
    async fn said(sql: &str) -> (String, String) {
        let error = SessionContext::new().sql(sql).await.unwrap_err();
        let diagnostic = pointed("query", sql, error).diagnostics()[0].clone();
        let span = diagnostic.span.clone();
        (diagnostic.message.clone(), format!("{}:{}", span.start, &sql[span.clone()]))
    }

    #[tokio::test]
    async fn the_caret_stands_where_the_fault_is() {
        for (sql, at, words) in [
            ("select abs(1) as y, x.y from (select 1 as a) x", "22:y", "there is no column `x.y`"),
            ("select abs(x.a), x.bb from (select 1 as a, 2 as b) x", "19:bb", "did you mean `x.b`?"),
            ("select z.y, x.y from (select 1 as y) z, (select 1 as a) x", "14:y", "there is no column `x.y`"),
            ("select 'x.y' as t, /* x.y */ x.y from (select 1 as a) x", "31:y", "there is no column `x.y`"),
            ("select x.\"Y\" from (select 1 as a) x", "9:\"Y\"", "there is no column `x.Y`"),
            ("select count(v) as v from (select 1 as a) x", "13:v", "there is no column `v`"),
            ("select abs('ä'), uper(uper.a) from (select 'a' as a) uper", "18:uper", "there is no function `uper`"),
            ("select upper('a').y", "18:y", "write `['y']`"),
            ("select 'ä',\n  (named_struct('yy', 1)).yy", "39:yy", "write `['yy']`"),
        ] {
            let (message, found) = said(sql).await;
            assert!(message.contains(words), "{sql}: {message}");
            assert_eq!(found, at, "{sql}");
        }
    }
}
