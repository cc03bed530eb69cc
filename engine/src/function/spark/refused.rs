//! Calls that mean one thing in Spark and another in DataFusion, with values of one type: an error as the query is planned.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Which calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Refusal {
    /// With one argument: the base is 10 here and e there.
    Log,
    /// Of a part that counts otherwise.
    DatePart,
    /// All.
    FromUnixtime,
    /// With a pattern that only Spark's parser makes one.
    Regexp,
    /// Of days on the clocks of a zone: its bins are days of UTC.
    DateBin,
    /// Of numbers: their width counts, and literals have another one in Spark.
    Hash,
}

pub(super) fn functions<'a>(
    find: &dyn Fn(&str) -> Option<&'a Arc<ScalarUDF>>,
    spark: &[Arc<ScalarUDF>],
) -> Vec<Arc<ScalarUDF>> {
    let guarded = [
        ("log", Refusal::Log),
        ("date_part", Refusal::DatePart),
        ("from_unixtime", Refusal::FromUnixtime),
        ("date_bin", Refusal::DateBin),
        ("regexp_replace", Refusal::Regexp),
        ("regexp_like", Refusal::Regexp),
        ("regexp_match", Refusal::Regexp),
        ("regexp_count", Refusal::Regexp),
        ("regexp_instr", Refusal::Regexp),
    ];
    let guard = |(name, refusal): (&str, Refusal)| {
        let inner = Arc::clone(find(name)?);
        Some(Arc::new(ScalarUDF::new_from_impl(Guarded { inner, refusal })))
    };
    let hash = spark.iter().find(|function| function.name() == "xxhash64").map(Arc::clone);
    let hash = hash.map(|inner| Arc::new(ScalarUDF::new_from_impl(Guarded { inner, refusal: Refusal::Hash })));
    guarded.into_iter().filter_map(guard).chain(hash).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded {
    inner: Arc<ScalarUDF>,
    refusal: Refusal,
}

impl Guarded {
    fn check(&self, args: &ReturnFieldArgs) -> Result<()> {
        let constants = args.scalar_arguments;
        let name = self.inner.name();
        let text = |at: usize| constants.get(at).copied().flatten().and_then(|value| value.try_as_str().flatten());
        match self.refusal {
            Refusal::Log if constants.len() == 1 => {
                plan_err!(
                    "`log(x)` is the natural logarithm in Spark, and of base 10 in other engines: write `ln(x)` or `log10(x)`"
                )
            }
            Refusal::FromUnixtime => plan_err!(
                "`from_unixtime` is a text in Spark, and a timestamp in other engines: write `to_timestamp_seconds(x)`, or \
                 `date_format(to_timestamp_seconds(x), 'yyyy-MM-dd HH:mm:ss')` for the text"
            ),
            Refusal::DatePart => match text(0).map(str::to_lowercase).as_deref() {
                Some("second" | "seconds" | "sec" | "secs" | "s") => plan_err!(
                    "the part `second` has a fraction in Spark and none here: write `floor(date_part('millisecond', ts) / 1000)` for \
                     the whole seconds, or `date_part('microsecond', ts) / 1000000.0`"
                ),
                Some("dow" | "dayofweek") => plan_err!(
                    "the part `dow` counts from Sunday = 1 in Spark, and from Sunday = 0 in other engines: write \
                     `date_part('isodow', ts)`, where Monday is 1 and Sunday is 7"
                ),
                _ => Ok(()),
            },
            Refusal::Regexp => match text(1).filter(|pattern| has_double_backslash(pattern)) {
                Some(pattern) => plan_err!(
                    "`{name}`: a text has no escapes here, so that `{pattern}` looks for a backslash; in Spark `\\\\d` is written for \
                     the digits that `\\d` finds here: write one backslash, or `[\\\\]` where one is meant"
                ),
                None => Ok(()),
            },
            Refusal::DateBin => {
                let zone = args.arg_fields.get(1).and_then(|field| match field.data_type() {
                    DataType::Timestamp(_, zone) => zone.as_deref(),
                    _ => None,
                });
                match zone.filter(|zone| !matches!(*zone, "UTC" | "Z" | "+00:00")) {
                    Some(zone) if !is_within_a_day(constants.first().copied().flatten()) => plan_err!(
                        "`date_bin` cuts at midnight of UTC, and not of {zone}: write `date_in_zone(ts, '{zone}')` for local days, or \
                         `date_trunc('day', ..)`"
                    ),
                    _ => Ok(()),
                }
            }
            Refusal::Log => Ok(()),
            Refusal::Hash => match args.arg_fields.iter().any(|field| holds_number(field.data_type())) {
                true => plan_err!(
                    "`xxhash64` of a number depends on its width, and `2` is an int in Spark and a bigint here: write \
                     `xxhash64(cast(x as string))`"
                ),
                false => Ok(()),
            },
        }
    }
}

/// Whether values of the type are numbers, or have some within.
fn holds_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => holds_number(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_number(field.data_type())),
        other => other.is_numeric(),
    }
}

/// Whether it is a constant span of less than a day.
fn is_within_a_day(span: Option<&ScalarValue>) -> bool {
    const DAY_NANOS: i64 = 86_400_000_000_000;
    match span {
        Some(ScalarValue::IntervalMonthDayNano(Some(span))) => {
            span.months == 0 && span.days == 0 && span.nanoseconds < DAY_NANOS
        }
        Some(ScalarValue::IntervalDayTime(Some(span))) => span.days == 0 && span.milliseconds < 86_400_000,
        _ => false,
    }
}

/// Whether two backslashes stand outside of brackets, before a letter, a digit or a mark of the pattern's language.
fn has_double_backslash(pattern: &str) -> bool {
    pattern.match_indices("\\\\").any(|(at, found)| {
        let before = pattern.get(..at).unwrap_or_default();
        let is_bracketed =
            before.rfind('[').is_some_and(|open| before.get(open..).is_some_and(|rest| !rest.contains(']')));
        let next = pattern.get(at + found.len()..).and_then(|rest| rest.chars().next());
        !is_bracketed && next.is_some_and(|next| next.is_ascii_alphanumeric() || ".*+?()[]{}|^$/-".contains(next))
    })
}

impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.check(&args)?;
        self.inner.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn preimage(&self, args: &[Expr], lit_expr: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, lit_expr, info)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().strictly_order_preserving(inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}
