//! `date_in_zone(ts, 'zone')`

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::arrow::array::{Array, AsArray, Date32Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::offset::{MICROS_PER_SECOND, OffsetCache};
use super::{literal_at, parse_zone};

const NAME: &str = "date_in_zone";
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Null for null, and for an instant beyond year 262,000.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateInZone {
    signature: Signature,
}

impl DateInZone {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateInZone {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [instant, zone] = types else {
            return plan_err!("{NAME}: write {NAME}(ts, 'zone'), found {} arguments", types.len());
        };
        match instant {
            DataType::Timestamp(_, Some(_)) | DataType::Null => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), zone.clone()])
            }
            DataType::Timestamp(_, None) => {
                plan_err!(
                    "{NAME}: `ts` has no time zone and so is no instant: write `ts at time zone 'UTC'`, or the zone it is of"
                )
            }
            _ => plan_err!("{NAME}: `ts` must be a timestamp with time zone, found {instant}"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("{NAME}: the type is that of return_field_from_args")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        parse_zone(NAME, arguments.scalar_arguments.get(1).copied().flatten())?;
        Ok(Arc::new(Field::new(NAME, DataType::Date32, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = parse_zone(NAME, Some(literal_at(&arguments.args, 1)?))?;
        match arguments.args.first() {
            Some(ColumnarValue::Array(instants)) => Ok(ColumnarValue::Array(Arc::new(dates(instants, zone)?))),
            Some(ColumnarValue::Scalar(instant)) => {
                let date = dates(&instant.to_array()?, zone)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&date, 0)?))
            }
            None => internal_err!("{NAME}: arguments were not counted"),
        }
    }
}

fn dates(instants: &dyn Array, zone: Tz) -> Result<Date32Array> {
    let instants = instants
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| internal_datafusion_err!("{NAME}: `ts` was not coerced, found {}", instants.data_type()))?;
    let mut offsets = OffsetCache::new(zone);
    let mut date = |instant: i64| i32::try_from(offsets.local(instant)?.div_euclid(MICROS_PER_DAY)).ok();
    Ok(instants.iter().map(|instant| instant.and_then(&mut date)).collect())
}
