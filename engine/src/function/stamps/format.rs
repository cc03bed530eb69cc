//! `date_format(ts, 'yyyy-MM')`: Spark's patterns.

use std::str::FromStr as _;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike as _, NaiveDateTime, Offset as _, TimeZone as _, Timelike as _};
use datafusion::common::{ScalarValue, exec_err, internal_err, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pulse_core::sources::{StampParts, TextPattern};

const NAME: &str = "date_format";

pub(super) fn date_format() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DateFormat { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateFormat {
    signature: Signature,
}

/// # Errors
/// What is wrong with the pattern, and which function takes it.
fn pattern(text: &str) -> Result<TextPattern> {
    if text.contains('%') {
        return plan_err!("`{NAME}` takes Spark's patterns, such as `yyyy-MM`: write `to_char` for `{text}`");
    }
    TextPattern::to_write(text).map_err(|what| plan_datafusion_err!("`{NAME}`: `{text}`: {what}"))
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [stamp, pattern] = types else { return plan_err!("`{NAME}` takes a stamp and a pattern") };
        let stamp = match stamp {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32
            | DataType::Date64
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return plan_err!("`{NAME}` takes a date or a stamp, and has a value of the type {other}"),
        };
        match pattern {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Ok(vec![stamp, DataType::Utf8])
            }
            other => plan_err!("`{NAME}` takes a pattern, such as `yyyy-MM`, and has a value of the type {other}"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let Some(Some(Some(Some(text)))) =
            args.scalar_arguments.get(1).map(|value| value.map(ScalarValue::try_as_str))
        {
            pattern(text)?;
        }
        Ok(Arc::new(arrow::datatypes::Field::new(NAME, DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [stamps, patterns] = &arguments.args[..] else { return internal_err!("{NAME} takes two arguments") };
        let is_array = [stamps, patterns].iter().any(|value| matches!(value, ColumnarValue::Array(_)));
        let rows = if is_array { arguments.number_rows } else { 1 };
        let stamps = stamps.to_array(rows)?;
        let texts = match patterns {
            ColumnarValue::Scalar(text) => match text.try_as_str().flatten() {
                Some(text) => formatted(&stamps, std::iter::repeat_n(Some(text), rows))?,
                None => formatted(&stamps, std::iter::repeat_n(None, rows))?,
            },
            ColumnarValue::Array(texts) => formatted(&stamps, texts.as_string::<i32>().iter())?,
        };
        let texts: ArrayRef = Arc::new(texts);
        match is_array {
            true => Ok(ColumnarValue::Array(texts)),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
        }
    }
}

fn formatted<'a>(stamps: &ArrayRef, patterns: impl Iterator<Item = Option<&'a str>>) -> Result<StringArray> {
    let DataType::Timestamp(TimeUnit::Microsecond, zone) = stamps.data_type() else {
        return internal_err!("{NAME} has stamps of the type {}", stamps.data_type());
    };
    let zone = zone.as_deref().filter(|zone| !matches!(*zone, "UTC" | "+00:00")).map(Tz::from_str).transpose()?;
    let stamps = stamps.as_primitive::<TimestampMicrosecondType>();
    let mut texts = StringBuilder::with_capacity(stamps.len(), stamps.len() * 10);
    let mut known: Option<(&str, TextPattern)> = None;
    let mut line = String::new();
    for (stamp, text) in stamps.iter().zip(patterns) {
        let (Some(stamp), Some(text)) = (stamp, text) else {
            texts.append_null();
            continue;
        };
        let pattern = match known.take() {
            Some((of, pattern)) if of == text => pattern,
            _ => pattern(text)?,
        };
        let Some(instant) = DateTime::from_timestamp_micros(stamp) else {
            return exec_err!("`{NAME}`: no calendar has the stamp {stamp}");
        };
        line.clear();
        pattern.write(&parts(instant.naive_utc(), zone.as_ref()), &mut line);
        texts.append_value(&line);
        known = Some((text, pattern));
    }
    Ok(texts.finish())
}

/// What the clocks of a zone show at an instant.
fn parts(utc: NaiveDateTime, zone: Option<&Tz>) -> StampParts {
    let offset = zone.map(|zone| zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()).unwrap_or_default();
    let local = utc.checked_add_signed(chrono::TimeDelta::seconds(offset.into())).unwrap_or(utc);
    StampParts {
        year: local.year(),
        month: local.month(),
        day: local.day(),
        hour: local.hour(),
        minute: local.minute(),
        second: local.second(),
        nanos: local.nanosecond(),
        weekday: Some(local.weekday().num_days_from_monday()),
        offset: Some(offset),
    }
}
