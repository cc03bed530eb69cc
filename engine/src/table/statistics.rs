//! Delta's per-file statistics, from JSON to bounds of the column's own type.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use chrono::{DateTime, NaiveDateTime};
use datafusion::scalar::ScalarValue;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Default)]
pub(super) struct FileStatistics {
    pub(super) rows: Option<u64>,
    pub(super) min: HashMap<String, ScalarValue>,
    pub(super) max: HashMap<String, ScalarValue>,
    pub(super) null_counts: HashMap<String, u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Json {
    num_records: Option<u64>,
    min_values: HashMap<String, Value>,
    max_values: HashMap<String, Value>,
    null_count: HashMap<String, Value>,
}

/// Statistics that cannot be read are unknown, never an error: they only prune.
pub(super) fn parse_statistics(text: Option<&str>, schema: &Schema) -> FileStatistics {
    let json: Json = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let bounds = |values: &HashMap<String, Value>, side: Side| {
        values
            .iter()
            .filter_map(|(name, value)| {
                let field = schema.field_with_name(name).ok()?;
                Some((name.clone(), bound(value, field.data_type(), side)?))
            })
            .collect()
    };
    FileStatistics {
        rows: json.num_records,
        min: bounds(&json.min_values, Side::Lower),
        max: bounds(&json.max_values, Side::Upper),
        null_counts: json.null_count.iter().filter_map(|(name, n)| Some((name.clone(), n.as_u64()?))).collect(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Lower,
    Upper,
}

fn bound(value: &Value, data_type: &DataType, side: Side) -> Option<ScalarValue> {
    match data_type {
        DataType::Utf8 => Some(ScalarValue::Utf8(Some(value.as_str()?.to_owned()))),
        DataType::Int64 => Some(ScalarValue::Int64(Some(value.as_i64()?))),
        DataType::Int32 => Some(ScalarValue::Int32(Some(i32::try_from(value.as_i64()?).ok()?))),
        // Writers leave NaN out of the bounds, although it is greater than all numbers to our queries.
        DataType::Float16 | DataType::Float32 | DataType::Float64 => None,
        DataType::Int16 => Some(ScalarValue::Int16(Some(i16::try_from(value.as_i64()?).ok()?))),
        DataType::Int8 => Some(ScalarValue::Int8(Some(i8::try_from(value.as_i64()?).ok()?))),
        DataType::Date32 => ScalarValue::try_from_string(value.as_str()?.to_owned(), data_type).ok(),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = value.as_str()?;
            let micros = match zone {
                Some(_) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros(),
                // A wall clock is shown without an offset; some writers add `Z`.
                None => {
                    let text = text.strip_suffix('Z').unwrap_or(text);
                    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc().timestamp_micros()
                }
            };
            // Writers cut stamps to milliseconds: the true maximum may be almost one later.
            let slack = if side == Side::Upper { 999 } else { 0 };
            Some(ScalarValue::TimestampMicrosecond(Some(micros + slack), zone.clone()))
        }
        _ => None,
    }
}
