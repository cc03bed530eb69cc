//! How large the result of a function may be, row by row, from its arguments alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

/// Bytes of a number, a stamp or a boolean as text.
const PLAIN_TEXT: u64 = 40;
/// Bytes that an item of an array takes beside its content.
const ITEM: u64 = 16;
const DAY_NANOS: i128 = 86_400_000_000_000;

/// From what the size of a result follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// The first argument as often as the second says.
    Repeated,
    /// As many characters as the second argument says, each as wide as those of the last one.
    Padded,
    /// As many blanks.
    Blanks,
    /// The third argument in the place of the second, as often as it is there.
    Replaced,
    /// The third argument in the place of every match of a pattern.
    Matches,
    /// All arguments one after the other.
    Sum,
    /// All arguments, with the first between them.
    Joined,
    /// The items of an array as text, with the second argument between them.
    ItemsJoined,
    /// As many items as the second argument says, each the third.
    Resized,
    /// From the first argument to the second, by the third.
    Series,
    /// A few bytes for each one.
    Encoded,
    /// The widths that a format asks for.
    Format,
    /// The text, cut at every match of the second argument.
    Pieces,
    /// What the second argument, a format of dates, asks for.
    Dated,
}

impl Growth {
    /// Of a function of DataFusion or Spark.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "repeat" | "array_repeat" => Self::Repeated,
            "lpad" | "rpad" => Self::Padded,
            "space" => Self::Blanks,
            "replace" => Self::Replaced,
            "regexp_replace" => Self::Matches,
            "concat" | "overlay" | "array_concat" | "array_append" | "array_prepend" | "make_array" | "array"
            | "struct" | "named_struct" | "map" | "array_union" | "array_insert" => Self::Sum,
            "concat_ws" => Self::Joined,
            "array_to_string" => Self::ItemsJoined,
            "array_resize" => Self::Resized,
            "range" | "generate_series" | "sequence" => Self::Series,
            "encode" | "hex" | "base64" | "url_encode" | "try_url_encode" | "translate" => Self::Encoded,
            "format_string" | "printf" => Self::Format,
            "string_to_array" | "string_to_list" | "split" | "regexp_match" | "regexp_extract_all" | "str_to_map" => {
                Self::Pieces
            }
            "to_char" | "date_format" => Self::Dated,
            _ => return None,
        })
    }

    /// Whether all rows of a batch together are far below the limit of one: most are, and then no row is looked at.
    pub(super) fn is_small(self, arguments: &[Argument], rows: usize) -> bool {
        let times = match self {
            Self::Sum => 1,
            Self::Encoded => 4,
            Self::Repeated
            | Self::Padded
            | Self::Blanks
            | Self::Replaced
            | Self::Matches
            | Self::Joined
            | Self::ItemsJoined
            | Self::Resized
            | Self::Series
            | Self::Format
            | Self::Pieces
            | Self::Dated => return false,
        };
        let mut sizes = arguments.iter().map(|argument| argument.all_bytes(rows));
        let all = sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?));
        all.and_then(|all| all.checked_mul(times)).is_some_and(|all| all <= super::MAX_VALUE_BYTES)
    }

    /// The bytes of a row's result, or more; the arguments have more rows than that.
    pub(super) fn bytes(self, arguments: &[Argument], row: usize) -> u64 {
        let size = |at: usize| arguments.get(at).map_or(0, |argument| argument.size(row));
        let number = |at: usize| arguments.get(at).map_or(0, |argument| argument.number(row));
        let sum = || arguments.iter().map(|argument| argument.size(row)).fold(0, u64::saturating_add);
        match self {
            Self::Repeated => size(0).max(1).saturating_mul(number(1)),
            Self::Padded => {
                let width = if arguments.len() > 2 { size(2).clamp(1, 4) } else { 1 };
                number(1).saturating_mul(width).saturating_add(size(0))
            }
            Self::Blanks => number(0),
            Self::Replaced => arguments.first().map_or(0, |first| replaced(first, arguments, row)),
            Self::Matches => {
                let (text, with) = (size(0), size(2));
                // What groups hold of the text, as often as the replacement names them.
                let groups = text.saturating_mul(with / 2 + 1);
                let all = arguments.get(3).is_some_and(|flags| flags.may_hold(row, 'g'));
                groups.saturating_add(with.saturating_mul(if all { text + 1 } else { 1 }))
            }
            Self::Sum => sum(),
            Self::Joined => sum().saturating_add(size(0).saturating_mul(items(arguments, row))),
            Self::ItemsJoined => {
                sum().saturating_add(items(arguments, row).saturating_mul(size(1).saturating_add(PLAIN_TEXT)))
            }
            Self::Resized => number(1).saturating_mul(size(2).saturating_add(ITEM)),
            Self::Series => series(arguments, row).saturating_mul(ITEM),
            Self::Encoded => sum().saturating_mul(4),
            Self::Format => sum().saturating_add(arguments.first().map_or(0, |format| widths(format, row))),
            Self::Pieces => size(0).saturating_add(pieces(arguments, row).saturating_mul(ITEM)),
            // `%c`, the widest of two letters, takes 24 characters.
            Self::Dated => PLAIN_TEXT.saturating_add(size(1).saturating_mul(12)),
        }
    }
}

/// One argument of a call, of one row or of as many as the batch has.
#[derive(Debug)]
pub(super) struct Argument {
    values: ArrayRef,
    /// As whole numbers, where they are some.
    numbers: Option<ArrayRef>,
    /// One value for all rows.
    is_constant: bool,
}

impl Argument {
    pub(super) fn new(value: &ColumnarValue) -> Result<Self> {
        let (values, is_constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let numbers = values.data_type().is_integer().then(|| cast(&values, &DataType::Int64)).transpose()?;
        Ok(Self { values, numbers, is_constant })
    }

    fn row(&self, row: usize) -> usize {
        if self.is_constant { 0 } else { row }
    }

    /// Those of all rows, where they are known at once.
    fn all_bytes(&self, rows: usize) -> Option<u64> {
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

    /// 0 for what is no number, null or below 0.
    fn number(&self, row: usize) -> u64 {
        let (Some(numbers), row) = (&self.numbers, self.row(row)) else { return 0 };
        let numbers = numbers.as_primitive::<Int64Type>();
        if numbers.is_valid(row) { u64::try_from(numbers.value(row)).unwrap_or(0) } else { 0 }
    }

    fn text(&self, row: usize) -> Option<&str> {
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

    fn may_hold(&self, row: usize, letter: char) -> bool {
        self.text(row).is_some_and(|text| text.contains(letter))
    }

    /// Place on a line of nanoseconds, or of whole numbers.
    fn place(&self, row: usize) -> Option<i128> {
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
}

/// Bytes of one value, those of its items included.
fn bytes_at(values: &ArrayRef, row: usize) -> u64 {
    if values.is_null(row) {
        return 0;
    }
    let text = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let within = |items: ArrayRef| {
        (0..items.len()).map(|item| bytes_at(&items, item).saturating_add(ITEM)).fold(0, u64::saturating_add)
    };
    match values.data_type() {
        DataType::Utf8 => text(values.as_string::<i32>().value(row).len()),
        DataType::LargeUtf8 => text(values.as_string::<i64>().value(row).len()),
        DataType::Utf8View => text(values.as_string_view().value(row).len()),
        DataType::Binary => text(values.as_binary::<i32>().value(row).len()),
        DataType::LargeBinary => text(values.as_binary::<i64>().value(row).len()),
        DataType::BinaryView => text(values.as_binary_view().value(row).len()),
        DataType::List(_) => within(values.as_list::<i32>().value(row)),
        DataType::LargeList(_) => within(values.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => within(values.as_fixed_size_list().value(row)),
        DataType::Struct(_) => {
            values.as_struct().columns().iter().map(|column| bytes_at(column, row)).fold(0, u64::saturating_add)
        }
        DataType::Dictionary(..) => {
            let dictionary = values.as_any_dictionary();
            dictionary.normalized_keys().get(row).map_or(0, |key| bytes_at(dictionary.values(), *key))
        }
        // Written as text, where texts are put together.
        _ => PLAIN_TEXT,
    }
}

/// Items of arrays among the arguments, and arguments.
fn items(arguments: &[Argument], row: usize) -> u64 {
    let count = |argument: &Argument| {
        let row = argument.row(row);
        match argument.values.data_type() {
            DataType::List(_) => u64::from(argument.values.as_list::<i32>().value_length(row).unsigned_abs()),
            DataType::LargeList(_) => argument.values.as_list::<i64>().value_length(row).unsigned_abs(),
            DataType::FixedSizeList(_, length) => u64::from(length.unsigned_abs()),
            _ => 1,
        }
    };
    arguments.iter().map(count).fold(0, u64::saturating_add)
}

fn replaced(text: &Argument, arguments: &[Argument], row: usize) -> u64 {
    let size = |at: usize| arguments.get(at).map_or(0, |argument| argument.size(row));
    let (length, from, to) = (text.size(row), size(1), size(2));
    if to <= from {
        return length;
    }
    let most = match length.checked_div(from) {
        Some(most) => most,
        // Nothing is between all characters.
        None => length + 1,
    };
    let bytes = |times: u64| length.saturating_add(times.saturating_mul(to - from));
    if bytes(most) <= super::MAX_VALUE_BYTES / 1024 {
        return bytes(most);
    }
    match (text.text(row), arguments.get(1).and_then(|from| from.text(row))) {
        (Some(text), Some(from)) => bytes(text.matches(from).count().try_into().unwrap_or(u64::MAX)),
        _ => bytes(most),
    }
}

/// How many pieces a text is cut into, or more: a pattern may match between all characters.
fn pieces(arguments: &[Argument], row: usize) -> u64 {
    let most = arguments.first().map_or(0, |text| text.size(row)).saturating_add(1);
    if most.saturating_mul(ITEM) <= super::MAX_VALUE_BYTES / 1024 {
        return most;
    }
    let text = |at: usize| arguments.get(at).and_then(|argument| argument.text(row));
    let is_plain = |between: &&str| {
        !between.is_empty() && between.chars().all(|c| c.is_alphanumeric() || " ,;:-_/\n\t".contains(c))
    };
    match (text(0), text(1).filter(is_plain)) {
        (Some(text), Some(between)) => {
            u64::try_from(text.matches(between).count()).unwrap_or(u64::MAX).saturating_add(1)
        }
        _ => most,
    }
}

/// How many values lie from one to another.
fn series(arguments: &[Argument], row: usize) -> u64 {
    let place = |at: usize| arguments.get(at).and_then(|argument| argument.place(row));
    let (start, stop) = match arguments.len() {
        1 => (Some(0), place(0)),
        _ => (place(0), place(1)),
    };
    let (Some(start), Some(stop)) = (start, stop) else { return 0 };
    let is_date = arguments.first().is_some_and(|first| first.values.data_type().is_temporal());
    let step = match arguments.len() {
        0..=2 if is_date => DAY_NANOS,
        0..=2 => 1,
        _ => place(2).unwrap_or(1),
    };
    let distance = if step > 0 { stop - start } else { start - stop };
    match distance.checked_div(step.abs()) {
        Some(count) if distance >= 0 => u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1),
        _ => 0,
    }
}

/// The numbers that stand in a format, such as `%1000d`.
fn widths(format: &Argument, row: usize) -> u64 {
    let numbers = format.text(row).unwrap_or_default().split(|letter: char| !letter.is_ascii_digit());
    numbers
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add)
}
