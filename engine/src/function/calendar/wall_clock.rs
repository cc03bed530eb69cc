//! `wall_clock(date, 'HH:MM', 'zone')`

use std::sync::Arc;

use chrono::{LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use datafusion::arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, FieldRef, TimeUnit};
use datafusion::common::{
    Result, ScalarValue, exec_err, internal_datafusion_err, internal_err, plan_datafusion_err, plan_err,
};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{literal_at, parse_zone};

const NAME: &str = "wall_clock";

/// Null for null, and for a date beyond year 262,000. A time that the clocks jump over on that date is an error; of
/// one that they show twice it is the first.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WallClock {
    signature: Signature,
}

impl WallClock {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for WallClock {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [date, time, zone] = types else {
            return plan_err!("{NAME}: write {NAME}(date, 'HH:MM', 'zone'), found {} arguments", types.len());
        };
        match date {
            DataType::Date32 | DataType::Date64 | DataType::Null => {
                Ok(vec![DataType::Date32, time.clone(), zone.clone()])
            }
            _ => plan_err!("{NAME}: `date` must be a date, found {date}"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("{NAME}: the type is that of return_field_from_args")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let literal = |index: usize| arguments.scalar_arguments.get(index).copied().flatten();
        parse_time(literal(1))?;
        parse_zone(NAME, literal(2))?;
        Ok(Arc::new(Field::new(NAME, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let time = parse_time(Some(literal_at(&arguments.args, 1)?))?;
        let zone = parse_zone(NAME, Some(literal_at(&arguments.args, 2)?))?;
        match arguments.args.first() {
            Some(ColumnarValue::Array(dates)) => Ok(ColumnarValue::Array(Arc::new(instants(dates, time, zone)?))),
            Some(ColumnarValue::Scalar(date)) => {
                let instant = instants(&date.to_array()?, time, zone)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&instant, 0)?))
            }
            None => internal_err!("{NAME}: arguments were not counted"),
        }
    }
}

fn parse_time(literal: Option<&ScalarValue>) -> Result<NaiveTime> {
    let Some(text) = literal.and_then(|literal| literal.try_as_str().flatten()) else {
        return plan_err!("{NAME}: the time must be a literal such as '09:30'");
    };
    // chrono takes `9:30` and `09:3` too.
    let time = Some(text).filter(|text| text.len() == 5).map(|text| NaiveTime::parse_from_str(text, "%H:%M"));
    time.and_then(std::result::Result::ok)
        .ok_or_else(|| plan_datafusion_err!("{NAME}: '{text}' is not a time of day: write HH:MM, as in '09:30'"))
}

fn instants(dates: &dyn Array, time: NaiveTime, zone: Tz) -> Result<TimestampMicrosecondArray> {
    let dates = dates
        .as_primitive_opt::<Date32Type>()
        .ok_or_else(|| internal_datafusion_err!("{NAME}: `date` was not coerced, found {}", dates.data_type()))?;
    // Rows of one date follow each other.
    let mut previous = None;
    let mut instants = Vec::with_capacity(dates.len());
    for date in dates {
        let instant = match (date, previous) {
            (Some(date), Some((same, instant))) if date == same => instant,
            (Some(date), _) => {
                let instant = instant(date, time, zone)?;
                previous = Some((date, instant));
                instant
            }
            (None, _) => None,
        };
        instants.push(instant);
    }
    Ok(TimestampMicrosecondArray::from(instants).with_timezone("UTC"))
}

/// Microseconds since 1970-01-01T00:00Z.
fn instant(days: i32, time: NaiveTime, zone: Tz) -> Result<Option<i64>> {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
    let Some(date) = date else {
        return Ok(None);
    };
    match zone.from_local_datetime(&date.and_time(time)) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Ok(Some(instant.timestamp_micros())),
        LocalResult::None => {
            let time = time.format("%H:%M");
            exec_err!("{NAME}: {time} does not exist on {date} in {zone}, the clocks jump over it: choose another time")
        }
    }
}
