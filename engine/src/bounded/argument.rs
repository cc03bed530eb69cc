//! The sizes of a function's arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, downcast_dictionary_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit, UInt64Type};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

/// Bytes of a number, a stamp or a boolean as text.
pub(super) const PLAIN_TEXT: u64 = 40;
/// Bytes that an item of an array takes beside its content.
pub(super) const ITEM: u64 = 16;
pub(super) const DAY_NANOS: i128 = 86_400_000_000_000;

/// One argument of a call, of one row or of as many as the batch has.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) values: ArrayRef,
    /// As whole numbers from 0 on, where they are some.
    numbers: Option<ArrayRef>,
    /// One value for all rows.
    pub(super) is_constant: bool,
}

impl Argument {
    pub(super) fn new(value: &ColumnarValue) -> Result<Self> {
        let (values, is_constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let numbers = values.data_type().is_integer().then(|| cast(&values, &DataType::UInt64)).transpose()?;
        Ok(Self { values, numbers, is_constant })
    }

    pub(super) fn row(&self, row: usize) -> usize {
        if self.is_constant { 0 } else { row }
    }

    /// Those of all rows, where they are known at once.
    pub(super) fn all_bytes(&self, rows: usize) -> Option<u64> {
        let rows = u64::try_from(rows).ok()?;
        if self.is_constant {
            return bytes_at(&self.values, 0).checked_mul(rows);
        }
        let span = |first: Option<u64>, last: Option<u64>| last?.checked_sub(first?);
        match self.values.data_type() {
            DataType::Utf8 => {
                let offsets = self.values.as_string::<i32>().offsets();
                span(
                    offsets.first().and_then(|at| u64::try_from(*at).ok()),
                    offsets.last().and_then(|at| u64::try_from(*at).ok()),
                )
            }
            kind if kind.is_primitive() => rows.checked_mul(PLAIN_TEXT),
            _ => None,
        }
    }

    pub(super) fn size(&self, row: usize) -> u64 {
        bytes_at(&self.values, self.row(row))
    }

    /// Items of all lists within each other; 1 for anything else.
    pub(super) fn leaves(&self, row: usize) -> u64 {
        leaves_at(&self.values, self.row(row))
    }

    /// Items of a list or map; 1 for anything else.
    pub(super) fn items(&self, row: usize) -> u64 {
        let row = self.row(row);
        match self.values.data_type() {
            DataType::List(_) => u64::from(self.values.as_list::<i32>().value_length(row).unsigned_abs()),
            DataType::LargeList(_) => self.values.as_list::<i64>().value_length(row).unsigned_abs(),
            DataType::FixedSizeList(_, length) => u64::from(length.unsigned_abs()),
            DataType::Map(..) => u64::from(self.values.as_map().value_length(row).unsigned_abs()),
            _ => 1,
        }
    }

    /// 0 for what is no number, null or below 0.
    pub(super) fn number(&self, row: usize) -> u64 {
        let (Some(numbers), row) = (&self.numbers, self.row(row)) else { return 0 };
        let numbers = numbers.as_primitive::<UInt64Type>();
        if numbers.is_valid(row) { numbers.value(row) } else { 0 }
    }

    pub(super) fn text(&self, row: usize) -> Option<&str> {
        let row = self.row(row);
        if self.values.is_null(row) {
            return None;
        }
        match self.values.data_type() {
            DataType::Utf8 => Some(self.values.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Some(self.values.as_string::<i64>().value(row)),
            DataType::Utf8View => Some(self.values.as_string_view().value(row)),
            _ => None,
        }
    }

    pub(super) fn may_hold(&self, row: usize, letter: char) -> bool {
        self.text(row).is_some_and(|text| text.contains(letter))
    }

    /// Place on a line of nanoseconds, or of whole numbers.
    pub(super) fn place(&self, row: usize) -> Option<i128> {
        let at = self.row(row);
        if self.values.is_null(at) {
            return None;
        }
        let whole = |unit: i128| {
            let plain = cast(&self.values.slice(at, 1), &DataType::Int64).ok()?;
            Some(i128::from(plain.as_primitive::<Int64Type>().value(0)) * unit)
        };
        match self.values.data_type() {
            DataType::Date32 => cast(&self.values.slice(at, 1), &DataType::Int32)
                .ok()
                .and_then(|days| cast(&days, &DataType::Int64).ok())
                .map(|days| i128::from(days.as_primitive::<Int64Type>().value(0)) * DAY_NANOS),
            DataType::Timestamp(TimeUnit::Second, _) => whole(1_000_000_000),
            DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => whole(1_000_000),
            DataType::Timestamp(TimeUnit::Microsecond, _) => whole(1_000),
            DataType::Interval(_) => {
                let step = self.values.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(at);
                let days = i128::from(step.months) * 28 + i128::from(step.days);
                Some(days * DAY_NANOS + i128::from(step.nanoseconds))
            }
            _ => whole(1),
        }
    }

    /// Whether it is an interval that goes forward in one unit and back in another.
    pub(super) fn comes_back(&self, row: usize) -> bool {
        let at = self.row(row);
        let Some(steps) = self.values.as_primitive_opt::<IntervalMonthDayNanoType>() else { return false };
        !steps.is_null(at) && super::series::comes_back(steps.value(at))
    }
}

/// Bytes of one value, those of its items included.
pub(super) fn bytes_at(values: &ArrayRef, row: usize) -> u64 {
    if values.is_null(row) {
        return null_bytes(values.data_type());
    }
    let text = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let within = |items: &ArrayRef| match items.data_type().is_primitive() {
        true => text(items.len()).saturating_mul(PLAIN_TEXT + ITEM),
        false => (0..items.len()).map(|item| bytes_at(items, item).saturating_add(ITEM)).fold(0, u64::saturating_add),
    };
    match values.data_type() {
        DataType::Utf8 => text(values.as_string::<i32>().value(row).len()),
        DataType::LargeUtf8 => text(values.as_string::<i64>().value(row).len()),
        DataType::Utf8View => text(values.as_string_view().value(row).len()),
        DataType::Binary => text(values.as_binary::<i32>().value(row).len()),
        DataType::LargeBinary => text(values.as_binary::<i64>().value(row).len()),
        DataType::BinaryView => text(values.as_binary_view().value(row).len()),
        DataType::List(_) => within(&values.as_list::<i32>().value(row)),
        DataType::LargeList(_) => within(&values.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => within(&values.as_fixed_size_list().value(row)),
        DataType::ListView(_) => within(&values.as_list_view::<i32>().value(row)),
        DataType::LargeListView(_) => within(&values.as_list_view::<i64>().value(row)),
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(values.as_map().value(row));
            within(&entries)
        }
        DataType::Struct(_) => {
            values.as_struct().columns().iter().map(|column| bytes_at(column, row)).fold(0, u64::saturating_add)
        }
        DataType::Dictionary(..) => downcast_dictionary_array!(
            values => values.key(row).map_or(0, |key| bytes_at(values.values(), key)),
            _ => PLAIN_TEXT
        ),
        // One value of a run: the largest may be this one.
        DataType::RunEndEncoded(..) => text(values.get_array_memory_size()),
        // Written as text, where texts are put together, or as wide as a null.
        fixed => PLAIN_TEXT.max(null_bytes(fixed)),
    }
}

/// Bytes that a null takes in an array of the type: what has a fixed width is as wide without a value.
pub(super) fn null_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeBinary(width) => u64::from(width.unsigned_abs()),
        DataType::FixedSizeList(item, length) => {
            u64::from(length.unsigned_abs()).saturating_mul(null_bytes(item.data_type()).max(1))
        }
        DataType::Struct(fields) => {
            fields.iter().map(|field| null_bytes(field.data_type()).max(1)).fold(0, u64::saturating_add)
        }
        DataType::Null => 0,
        fixed => fixed.primitive_width().map_or(0, |width| u64::try_from(width).unwrap_or(u64::MAX)),
    }
}

fn leaves_at(values: &ArrayRef, row: usize) -> u64 {
    if values.is_null(row) {
        return 1;
    }
    let within = |items: &ArrayRef| (0..items.len()).map(|item| leaves_at(items, item)).fold(1, u64::saturating_add);
    match values.data_type() {
        DataType::List(_) => within(&values.as_list::<i32>().value(row)),
        DataType::LargeList(_) => within(&values.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => within(&values.as_fixed_size_list().value(row)),
        _ => 1,
    }
}
