//! How a file's columns become those of the table: found by name or number, missing ones null, older types widened.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;
use delta_kernel::schema::{DataType as DeltaType, StructField, StructType};

use crate::table::{Mapping, field_id, physical_name};

/// Key of a field's number in what Parquet's reader says of it.
const PARQUET_FIELD_ID: &str = "PARQUET:field_id";

/// What becomes of a file's array.
#[derive(Debug, Clone)]
pub(super) enum Conversion {
    Cast(DataType),
    /// Each field of the table, and where the file has it.
    Struct(Vec<(FieldRef, Option<(usize, Conversion)>)>),
    List(FieldRef, Box<Conversion>),
    Map {
        entries: FieldRef,
        sorted: bool,
        columns: Box<(Conversion, Conversion)>,
    },
}

/// Where a column of the table is among fields of a file, and how it becomes the table's; none when the file does not have it.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn find(
    column: &StructField,
    wanted: &DataType,
    fields: &Fields,
    mapping: Mapping,
) -> Result<Option<(usize, Conversion)>, String> {
    let Some(place) = place(column, fields, mapping)? else { return Ok(None) };
    let found = fields.get(place).ok_or("a field is gone")?;
    let conversion = conversion(&column.data_type, wanted, found.data_type(), mapping);
    conversion.map(|conversion| Some((place, conversion))).map_err(|why| format!("column `{}`: {why}", column.name))
}

fn place(column: &StructField, fields: &Fields, mapping: Mapping) -> Result<Option<usize>, String> {
    let text = |e: pulse_core::Error| e.message().to_owned();
    match mapping {
        Mapping::None | Mapping::Name => {
            let name = physical_name(column, mapping).map_err(text)?;
            Ok(fields.iter().position(|field| field.name() == name))
        }
        Mapping::Id => {
            let id = |field: &FieldRef| field.metadata().get(PARQUET_FIELD_ID).and_then(|id| id.parse::<i64>().ok());
            let wanted = field_id(column).map_err(text)?;
            if !fields.is_empty() && fields.iter().all(|field| id(field).is_none()) {
                return Err("the table finds its columns by number, and the file's have none".to_owned());
            }
            Ok(fields.iter().position(|field| id(field) == Some(wanted)))
        }
    }
}

fn conversion(column: &DeltaType, wanted: &DataType, found: &DataType, mapping: Mapping) -> Result<Conversion, String> {
    match (column, wanted, found) {
        (DeltaType::Struct(columns), DataType::Struct(wanted), DataType::Struct(fields)) => {
            let inner = wanted.iter().map(|wanted| within(columns, wanted, fields, mapping));
            Ok(Conversion::Struct(inner.collect::<Result<_, _>>()?))
        }
        (DeltaType::Array(array), DataType::List(wanted), DataType::List(item)) => {
            let inner = conversion(&array.element_type, wanted.data_type(), item.data_type(), mapping)?;
            Ok(Conversion::List(Arc::clone(wanted), Box::new(inner)))
        }
        (DeltaType::Map(map), DataType::Map(wanted, sorted), DataType::Map(entries, _)) => {
            let (DataType::Struct(to), DataType::Struct(from)) = (wanted.data_type(), entries.data_type()) else {
                return Err("a map without entries".to_owned());
            };
            let column = |delta: &DeltaType, at: usize| match (to.get(at), from.get(at)) {
                (Some(to), Some(from)) => conversion(delta, to.data_type(), from.data_type(), mapping),
                _ => Err("a map without keys or values".to_owned()),
            };
            let columns = Box::new((column(&map.key_type, 0)?, column(&map.value_type, 1)?));
            Ok(Conversion::Map { entries: Arc::clone(wanted), sorted: *sorted, columns })
        }
        (DeltaType::Primitive(_), wanted, found) if becomes(found, wanted) => Ok(Conversion::Cast(wanted.clone())),
        (_, wanted, found) => Err(format!("the file has {found}, and the table {wanted}")),
    }
}

fn within(
    columns: &StructType,
    wanted: &FieldRef,
    fields: &Fields,
    mapping: Mapping,
) -> Result<(FieldRef, Option<(usize, Conversion)>), String> {
    let column = columns.field(wanted.name()).ok_or_else(|| format!("no field `{}`", wanted.name()))?;
    Ok((Arc::clone(wanted), find(column, wanted.data_type(), fields, mapping)?))
}

/// Whether values of one type are read as another's: what Delta widens, and what Parquet spells otherwise. A value that does not
/// fit is an error.
fn becomes(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, Date32, Decimal32, Decimal64, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp, Utf8,
    };
    let is_whole = |data_type: &DataType| matches!(data_type, Int8 | Int16 | Int32 | Int64);
    match (found, wanted) {
        _ if found == wanted => true,
        (from, to) if is_whole(from) && is_whole(to) => true,
        (Int8 | Int16 | Int32, Float64) | (Float32, Float64) => true,
        (from, Decimal128(..)) if is_whole(from) => true,
        (
            Decimal32(digits, scale) | Decimal64(digits, scale) | Decimal128(digits, scale),
            Decimal128(wide, wide_scale),
        ) => {
            let whole = |digits: &u8, scale: &i8| i16::from(*digits) - i16::from(*scale);
            scale <= wide_scale && whole(digits, scale) <= whole(wide, wide_scale)
        }
        (Date32, Timestamp(_, None)) => true,
        (Timestamp(..), Timestamp(..)) => true,
        (DataType::LargeUtf8 | DataType::Utf8View, Utf8) => true,
        (DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_), Binary) => true,
        _ => false,
    }
}

impl Conversion {
    /// # Errors
    /// Arrow's, for a value that the table's type does not hold.
    pub(super) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Cast(wanted) if array.data_type() == wanted => Ok(Arc::clone(array)),
            Self::Cast(wanted) => {
                cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })
            }
            Self::Struct(fields) => {
                let rows = array.as_struct_opt().ok_or_else(lost)?;
                let columns: Result<Vec<ArrayRef>, ArrowError> =
                    fields.iter().map(|(field, found)| take(found.as_ref(), field, rows)).collect();
                let fields: Fields = fields.iter().map(|(field, _)| Arc::clone(field)).collect();
                Ok(Arc::new(StructArray::try_new(fields, columns?, rows.nulls().cloned())?))
            }
            Self::List(field, inner) => {
                let lists = array.as_list_opt::<i32>().ok_or_else(lost)?;
                let values = inner.apply(lists.values())?;
                let lists =
                    ListArray::try_new(Arc::clone(field), lists.offsets().clone(), values, lists.nulls().cloned())?;
                Ok(Arc::new(lists))
            }
            Self::Map { entries, sorted, columns } => {
                let maps = array.as_map_opt().ok_or_else(lost)?;
                let DataType::Struct(fields) = entries.data_type() else { return Err(lost()) };
                let (keys, values) = (columns.0.apply(maps.keys())?, columns.1.apply(maps.values())?);
                let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
                let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
                Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?))
            }
        }
    }
}

fn take(found: Option<&(usize, Conversion)>, field: &FieldRef, rows: &StructArray) -> Result<ArrayRef, ArrowError> {
    match found {
        Some((place, conversion)) => conversion.apply(rows.columns().get(*place).ok_or_else(lost)?),
        None => Ok(new_null_array(field.data_type(), rows.len())),
    }
}

fn lost() -> ArrowError {
    ArrowError::SchemaError("a batch has other columns than its file".to_owned())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_value_that_does_not_fit_is_an_error_and_never_null() {
        let narrow = Conversion::Cast(DataType::Int32);
        let array = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        assert_eq!(narrow.apply(&array(7)).unwrap().as_ref(), &Int32Array::from(vec![7]) as &dyn Array);
        narrow.apply(&array(1 << 40)).unwrap_err();
        for (found, wanted) in [
            (DataType::Utf8, DataType::Int64),
            (DataType::Int64, DataType::Float64),
            (DataType::Float64, DataType::Float32),
            (DataType::Decimal128(10, 2), DataType::Decimal128(10, 1)),
            (DataType::Decimal128(10, 2), DataType::Decimal128(10, 3)),
            (DataType::Boolean, DataType::Utf8),
        ] {
            assert!(!becomes(&found, &wanted), "{found} {wanted}");
        }
    }

    #[test]
    fn fields_without_numbers_are_not_taken_for_missing() {
        let json = r#"{"name":"a","type":"long","nullable":true,"metadata":{"delta.columnMapping.id":4}}"#;
        let column: StructField = serde_json::from_str(json).unwrap();
        let file = |id: Option<&str>| {
            let metadata = id.map(|id| (PARQUET_FIELD_ID.to_owned(), id.to_owned()));
            Fields::from(vec![Field::new("x", DataType::Int64, true).with_metadata(metadata.into_iter().collect())])
        };
        let place = |fields: &Fields| find(&column, &DataType::Int64, fields, Mapping::Id).map(|at| at.map(|at| at.0));
        assert_eq!(place(&file(Some("4"))), Ok(Some(0)));
        assert_eq!(place(&file(Some("5"))), Ok(None));
        assert!(place(&file(None)).unwrap_err().contains("by number"));
    }
}
