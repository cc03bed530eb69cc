//! Values of an arrow array as cells, whatever its type.

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
    UInt64Type,
};

use super::cell::Cell;

/// A column of a file in the widest type of its kind.
#[derive(Debug)]
pub(super) struct Values {
    array: ArrayRef,
    original: ArrayRef,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    None,
    List(Box<Values>),
    Map { keys: Box<Values>, values: Box<Values> },
    Struct(Vec<(String, Values)>),
}

impl Values {
    pub(super) fn new(original: &ArrayRef) -> Self {
        let array = cast(original, &widest(original.data_type())).unwrap_or_else(|_| original.clone());
        let inner = match array.data_type() {
            DataType::List(_) => Inner::List(Box::new(Self::new(array.as_list::<i32>().values()))),
            DataType::Map(..) => {
                let map = array.as_map();
                Inner::Map { keys: Box::new(Self::new(map.keys())), values: Box::new(Self::new(map.values())) }
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let fields = fields.iter().zip(columns);
                Inner::Struct(fields.map(|(field, column)| (field.name().clone(), Self::new(column))).collect())
            }
            _ => Inner::None,
        };
        Self { array, original: original.clone(), inner }
    }

    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        if self.original.is_null(row) {
            return Cell::Null;
        }
        if self.array.is_null(row) {
            // A dictionary's null is in its values.
            return match self.original.data_type() {
                DataType::Dictionary(..) => Cell::Null,
                _ => Cell::Other("a value beyond its type's range"),
            };
        }
        match self.array.data_type() {
            DataType::Utf8 => {
                let text = self.array.as_string::<i32>().value(row);
                if is_decimal(self.original.data_type()) {
                    Cell::Decimal(text)
                } else {
                    Cell::Text(Cow::Borrowed(text))
                }
            }
            // Its nulls have no bits.
            DataType::Null => Cell::Null,
            DataType::Boolean => Cell::Boolean(self.array.as_boolean().value(row)),
            DataType::Int64 => Cell::Int(self.array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt64 => {
                let value = self.array.as_primitive::<UInt64Type>().value(row);
                i64::try_from(value).map_or(Cell::Uint(value), Cell::Int)
            }
            DataType::Float64 => Cell::Double(self.array.as_primitive::<Float64Type>().value(row)),
            DataType::Binary => Cell::Bytes(self.array.as_binary::<i32>().value(row)),
            DataType::Date32 => Cell::Date(self.array.as_primitive::<Date32Type>().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                stamp(self.array.as_primitive::<TimestampMicrosecondType>().value(row), 0, zone.is_some())
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                let nanos = self.array.as_primitive::<TimestampNanosecondType>().value(row);
                let below = u32::try_from(nanos.rem_euclid(1000)).unwrap_or_default();
                stamp(nanos.div_euclid(1000), below, zone.is_some())
            }
            _ if !matches!(self.inner, Inner::None) => Cell::Nested(self, row),
            _ => Cell::Other("a value of another type"),
        }
    }

    /// Items of the list in a row; `None` when it is no list.
    pub(super) fn list(&self, row: usize) -> Option<(&Values, Range<usize>)> {
        let Inner::List(items) = &self.inner else { return None };
        Some((items, range(self.array.as_list::<i32>().value_offsets(), row)?))
    }

    /// Keys and values of the map in a row, and which of them; `None` when it is no map.
    pub(super) fn map(&self, row: usize) -> Option<(&Values, &Values, Range<usize>)> {
        let Inner::Map { keys, values } = &self.inner else { return None };
        Some((keys, values, range(self.array.as_map().value_offsets(), row)?))
    }

    /// A field of the struct; `None` when it has none of this name or is no struct.
    pub(super) fn field(&self, name: &str) -> Option<&Values> {
        let Inner::Struct(fields) = &self.inner else { return None };
        fields.iter().find(|(known, _)| known == name).map(|(_, values)| values)
    }

    /// The name of a field of the struct that differs from `name` in case only.
    pub(super) fn field_alike(&self, name: &str) -> Option<&str> {
        let Inner::Struct(fields) = &self.inner else { return None };
        fields.iter().map(|(known, _)| known.as_str()).find(|known| *known != name && known.eq_ignore_ascii_case(name))
    }

    /// The fields of the struct; none when it is no struct.
    pub(super) fn fields(&self) -> &[(String, Values)] {
        match &self.inner {
            Inner::Struct(fields) => fields,
            Inner::None | Inner::List(_) | Inner::Map { .. } => &[],
        }
    }

    /// The column as the file has it.
    pub(super) fn original(&self) -> &ArrayRef {
        &self.original
    }

    pub(super) fn is_struct(&self) -> bool {
        matches!(self.inner, Inner::Struct(_))
    }

    pub(super) fn word(&self) -> &'static str {
        match self.inner {
            Inner::None => "a value of another type",
            Inner::List(_) => "an array",
            Inner::Map { .. } => "a map",
            Inner::Struct(_) => "an object",
        }
    }
}

fn stamp<'a>(micros: i64, nanos: u32, is_instant: bool) -> Cell<'a> {
    if is_instant { Cell::Instant(micros, nanos) } else { Cell::WallClock(micros, nanos) }
}

fn range(offsets: &[i32], row: usize) -> Option<Range<usize>> {
    let (start, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn is_decimal(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_decimal(values),
        other => other.is_decimal(),
    }
}

fn widest(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Dictionary(_, values) => widest(values),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            DataType::Utf8
        }
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::ListView(item) => {
            DataType::List(item.clone())
        }
        other => other.clone(),
    }
}
