//! Functions with patterns of C, such as `%Y-%m`, that know those of Spark: `to_timestamp` and `to_date` read by them, others name the
//! function that takes them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use chrono::{Datelike as _, NaiveDate};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use pulse_core::sources::{ColumnType, StampParts, StampPattern, TextPattern};

/// What a function yields of a text and a pattern of Spark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Result {
    Instant,
    Day,
    /// Nothing: the name of the function that takes such patterns.
    Other(&'static str),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WithPatterns {
    inner: Arc<ScalarUDF>,
    result: Result,
    aliases: Vec<String>,
}

pub(super) fn with_patterns(inner: Arc<ScalarUDF>, result: Result) -> Arc<ScalarUDF> {
    Arc::new(wrapped(inner, result))
}

fn wrapped(inner: Arc<ScalarUDF>, result: Result) -> ScalarUDF {
    // `to_char` is called `date_format`, too.
    let aliases = inner.aliases().iter().filter(|alias| *alias != "date_format").cloned().collect();
    ScalarUDF::new_from_impl(WithPatterns { inner, result, aliases })
}

impl WithPatterns {
    /// # Errors
    /// What is wrong with a constant pattern.
    fn check(&self, text: &str) -> DataFusionResult<()> {
        let name = self.inner.name();
        match self.result {
            _ if text.contains('%') => Ok(()),
            Result::Instant | Result::Day => pattern(name, text).map(|_| ()),
            Result::Other(other) => plan_err!(
                "`{name}` takes patterns such as `%Y-%m-%d`, and `{text}` has no `%`: write `{other}` for patterns of Spark"
            ),
        }
    }

    /// The patterns of Spark among the arguments.
    ///
    /// # Errors
    /// If some are of C.
    fn patterns(&self, arguments: &[ColumnarValue]) -> DataFusionResult<Vec<(String, TextPattern)>> {
        let (Result::Instant | Result::Day, [text, patterns @ ..]) = (self.result, arguments) else {
            return Ok(Vec::new());
        };
        let texts: Vec<&str> = patterns
            .iter()
            .filter_map(|pattern| match pattern {
                ColumnarValue::Scalar(pattern) => pattern.try_as_str().flatten(),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        let of_spark = texts.iter().filter(|text| !text.contains('%')).count();
        if of_spark == 0 || !is_text(&text.data_type()) {
            return Ok(Vec::new());
        }
        let name = self.inner.name();
        if of_spark < patterns.len() {
            return plan_err!("`{name}` takes patterns of Spark or patterns with `%`, and has both");
        }
        texts.into_iter().map(|text| Ok((text.to_owned(), pattern(name, text)?))).collect()
    }

    fn read(&self, texts: &ArrayRef, patterns: &[(String, TextPattern)]) -> DataFusionResult<ArrayRef> {
        let texts = cast(texts, &DataType::Utf8)?;
        let instants =
            texts.as_string::<i32>().iter().map(|text| text.map(|text| self.instant(text, patterns)).transpose());
        let instants: Vec<Option<(i32, i64)>> = instants.collect::<DataFusionResult<_>>()?;
        Ok(match self.result {
            Result::Day => {
                Arc::new(Date32Array::from_iter(instants.into_iter().map(|found| found.map(|(day, _)| day))))
            }
            Result::Instant | Result::Other(_) => Arc::new(TimestampNanosecondArray::from_iter(
                instants.into_iter().map(|found| found.map(|(_, nanos)| nanos)),
            )),
        })
    }

    /// The local day and the instant in nanoseconds.
    fn instant(&self, text: &str, patterns: &[(String, TextPattern)]) -> DataFusionResult<(i32, i64)> {
        let found = patterns.iter().find_map(|(_, pattern)| instant(&pattern.read(text.as_bytes())?));
        found.ok_or_else(|| {
            let shown: Vec<String> = patterns.iter().map(|(text, _)| format!("`{text}`")).collect();
            exec_datafusion_err!(
                "`{}`: `{text}` is not a stamp of the pattern {} between 1677 and 2262",
                self.inner.name(),
                shown.join(" or ")
            )
        })
    }
}

fn pattern(name: &str, text: &str) -> DataFusionResult<TextPattern> {
    match StampPattern::parse(text, &ColumnType::Timestamp) {
        Ok(StampPattern::Text(pattern)) => Ok(pattern),
        Ok(StampPattern::Epoch(_)) => plan_err!("`{name}`: `{text}` is no pattern of Spark"),
        Err(what) => Err(plan_datafusion_err!("`{name}`: `{text}`: {what}; a pattern of C has `%`, as `%Y-%m-%d`")),
    }
}

fn instant(parts: &StampParts) -> Option<(i32, i64)> {
    let date = NaiveDate::from_ymd_opt(parts.year, parts.month, parts.day)?;
    if parts.weekday.is_some_and(|weekday| weekday != date.weekday().num_days_from_monday()) {
        return None;
    }
    let local = date.and_hms_nano_opt(parts.hour, parts.minute, parts.second, parts.nanos)?;
    let nanos = local.and_utc().timestamp_nanos_opt()?;
    let nanos = nanos.checked_sub(i64::from(parts.offset.unwrap_or_default()) * 1_000_000_000)?;
    Some((i32::try_from(nanos.div_euclid(86_400_000_000_000)).ok()?, nanos))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

impl ScalarUDFImpl for WithPatterns {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let is_span = args.arg_fields.first().is_some_and(|field| matches!(field.data_type(), DataType::Duration(_)));
        for value in args.scalar_arguments.iter().skip(1).flatten() {
            if let Some(text) = value.try_as_str().flatten().filter(|_| !is_span) {
                self.check(text)?;
            }
        }
        self.inner.return_field_from_args(args)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = self.inner.inner().with_updated_config(config)?;
        Some(wrapped(Arc::new(inner), self.result))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let patterns = self.patterns(&arguments.args)?;
        let Some(text) = arguments.args.first().filter(|_| !patterns.is_empty()) else {
            return self.inner.invoke_with_args(arguments);
        };
        let is_array = matches!(text, ColumnarValue::Array(_));
        let read = self.read(&text.to_array(if is_array { arguments.number_rows } else { 1 })?, &patterns)?;
        let read = cast(&read, arguments.return_field.data_type())?;
        match is_array {
            true => Ok(ColumnarValue::Array(read)),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&read, 0)?)),
        }
    }
}
