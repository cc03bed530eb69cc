//! Values that a person writes, as a column of a table's type: exactly, or not at all.

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::Field;
use pulse_core::sources::{Column, ColumnType, Feed};
use pulse_core::{Error, Result};
use serde_json::Value;

use super::json_value::cell_for;
use super::value::{ColumnBuilder, Wanted};
use crate::type_name::type_name;

/// A value that its column cannot hold.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) row: usize,
    pub(crate) what: String,
}

/// The column `field` with a value, or null, a row.
///
/// # Errors
/// `Internal` when arrow refuses the column; within, the first value that the column's type does not hold exactly.
pub(crate) fn literal_column(field: &Field, values: &[Option<Value>]) -> Result<std::result::Result<ArrayRef, Misfit>> {
    let Some(first) = values.iter().position(Option::is_some) else {
        return Ok(Ok(new_null_array(field.data_type(), values.len())));
    };
    let data_type = type_name(field.data_type());
    let Ok(column_type) = data_type.parse::<ColumnType>() else {
        let what = format!("`{}` is of the type {data_type}, whose values cannot be written here", field.name());
        return Ok(Err(Misfit { row: first, what }));
    };
    let column = Column { name: field.name().clone(), data_type: column_type, required: false, round: false };
    // An empty text is one.
    let feed = Feed { nulls: Some(Vec::new()), ..Feed::parquet("") };
    let mut builder = ColumnBuilder::new(&column, &feed, Wanted::Kept)?;
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value else {
            builder.keep_null();
            continue;
        };
        if let Err(what) = push(&mut builder, &column.data_type, value) {
            return Ok(Err(Misfit { row, what }));
        }
    }
    let array = builder.finish()?.ok_or_else(|| Error::internal("a column of written values was not kept"))?;
    // Names of items inside of lists and maps may differ.
    let array =
        cast(&array, field.data_type()).map_err(|e| Error::internal("written values have no column").with_source(e))?;
    Ok(Ok(array))
}

fn push(builder: &mut ColumnBuilder, data_type: &ColumnType, value: &Value) -> std::result::Result<(), String> {
    let raw = match (data_type, value) {
        // A day is its midnight.
        (ColumnType::Timestamp | ColumnType::TimestampNtz, Value::String(text)) if text.len() == 10 => {
            Value::from(format!("{text} 00:00:00")).to_string()
        }
        _ => value.to_string(),
    };
    let shown = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let cell = cell_for(&raw, builder.takes_json()).ok_or_else(|| format!("`{}` is no text", shown()))?;
    builder.push_cell(&cell).map_err(|fault| builder.misfit(fault, &shown()))
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;
    use arrow::datatypes::{DataType, TimeUnit};
    use arrow::util::display::array_value_to_string;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(data_type: DataType, value: Value) -> std::result::Result<String, String> {
        let column = literal_column(&Field::new("a", data_type, true), &[None, Some(value)]).unwrap();
        let column = column.map_err(|misfit| format!("{}: {}", misfit.row, misfit.what))?;
        assert!(column.is_null(0));
        Ok(array_value_to_string(&column, 1).unwrap())
    }

    #[test]
    fn a_value_is_held_exactly_or_is_an_error() {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let held = [
            (DataType::Decimal128(18, 2), json!("1.99"), "1.99"),
            (DataType::Decimal128(18, 2), json!(1.5), "1.50"),
            (DataType::Decimal128(38, 20), json!("1.00000000000000000001"), "1.00000000000000000001"),
            (DataType::Int32, json!(2_147_483_647), "2147483647"),
            (DataType::Int64, json!(3.0), "3"),
            (DataType::Float64, json!(0.1), "0.1"),
            (DataType::Utf8, json!(""), ""),
            (DataType::Boolean, json!(true), "true"),
            (DataType::Date32, json!("2024-02-29"), "2024-02-29"),
            (micros(Some("UTC")), json!("2024-02-29"), "2024-02-29T00:00:00Z"),
            (micros(Some("UTC")), json!("2024-03-01T09:30:00.123456-05:00"), "2024-03-01T14:30:00.123456Z"),
            (micros(None), json!("2024-03-01T09:30:00"), "2024-03-01T09:30:00"),
            (DataType::new_list(DataType::Int16, true), json!([1, null, 3]), "[1, , 3]"),
        ];
        for (data_type, value, shown) in held {
            assert_eq!(read(data_type.clone(), value.clone()), Ok(shown.to_owned()), "{data_type} {value}");
        }
        let refused = [
            (DataType::Decimal128(18, 2), json!(1.999), "`a` has more digits than decimal(18,2): `1.999`"),
            (DataType::Decimal128(4, 2), json!(100), "does not fit in decimal(4,2): `100`"),
            (DataType::Int32, json!(2_147_483_648_i64), "does not fit in 32 bits"),
            (DataType::Int64, json!(1.5), "is not a whole number: `1.5`"),
            (DataType::Float64, json!(9_007_199_254_740_993_i64), "is between two values of double"),
            (DataType::Float64, json!("NaN"), "is not a finite number"),
            (DataType::Date32, json!("2023-02-29"), "is not a date"),
            (micros(Some("UTC")), json!("2024-03-01T09:30:00.1234567Z"), "is finer than a microsecond"),
            (micros(None), json!("2024-03-01T09:30:00Z"), "is not a timestamp"),
            (DataType::Utf8, json!(5), "is not a text: `5`"),
            (DataType::Time64(TimeUnit::Microsecond), json!("10:00"), "cannot be written here"),
            (DataType::new_list(DataType::Int8, true), json!([1, 300]), "`a[1]` does not fit in 8 bits"),
        ];
        for (data_type, value, why) in refused {
            let found = read(data_type.clone(), value.clone());
            assert!(
                found.as_ref().is_err_and(|what| what.starts_with("1: `a") && what.contains(why)),
                "{data_type} {value}: {found:?}"
            );
        }
    }

    proptest! {
        /// The model: digits behind the point, and the size of the whole number without it.
        #[test]
        fn a_decimal_is_exact_or_refused(
            (precision, scale) in (1_u8..19).prop_flat_map(|precision| (Just(precision), 0..=precision)),
            units in -1_000_000_000_i64..1_000_000_000,
            digits in 0_u32..9,
        ) {
            let power = 10_i128.pow(digits);
            let (whole, rest) = (i128::from(units.abs()) / power, i128::from(units.abs()) % power);
            let sign = if units < 0 { "-" } else { "" };
            let text = match digits {
                0 => format!("{sign}{whole}"),
                digits => format!("{sign}{whole}.{rest:0width$}", width = digits as usize),
            };
            let scaled = i128::from(units) * 10_i128.pow(u32::from(scale));
            let fits = scaled % power == 0 && (scaled / power).abs() < 10_i128.pow(u32::from(precision));
            let found = read(DataType::Decimal128(precision, i8::try_from(scale).unwrap()), Value::from(text.as_str()));
            match fits {
                true => {
                    let digits = found.unwrap().replace(['.'], "");
                    prop_assert_eq!(digits.parse::<i128>().unwrap(), scaled / power, "{}", text);
                }
                false => prop_assert!(found.is_err(), "{} {:?}", text, found),
            }
        }
    }
}
