//! How large the result of a function may be, row by row, from its arguments alone.

use super::argument::{Argument, ITEM, PLAIN_TEXT, null_bytes};
use super::estimate::{format, json_items, pieces, replaced, series};

/// From what the size of a result follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// The first argument as often as the second says.
    Repeated,
    /// A list of the first argument, as often as the second says.
    ListRepeated,
    /// As many characters as the second argument says, each as wide as those of the last one.
    Padded,
    /// As many blanks.
    Blanks,
    /// The third argument in the place of the second, as often as it is there.
    Replaced,
    /// The third argument in the place of items of a list.
    ItemsReplaced,
    /// The third argument in the place of every match of a pattern.
    Matches,
    /// All arguments one after the other.
    Sum,
    /// All arguments, with the first between them.
    Joined,
    /// The items of an array as text, with the second argument between them, and the third in the place of nulls.
    ItemsJoined,
    /// As many items as the second argument says, each the third.
    Resized,
    /// Lists side by side, filled up with nulls to the longest.
    Zipped,
    /// From the first argument to the second, by the third.
    Series,
    /// A few bytes for each one.
    Encoded,
    /// A letter that is not ASCII may become three times as long.
    Cased,
    /// The widths that a format asks for.
    Format,
    /// The text, cut at every match of the second argument.
    Pieces,
    /// The items or fields of a JSON text.
    JsonItems,
    /// A piece of the text for each further argument.
    JsonFields,
    /// What the second argument, a format of dates, asks for.
    Dated,
    /// Each character of one text with each of the other: time, not bytes.
    Compared,
    /// Each item of one list with each of the other.
    ItemsCompared,
    /// No more than the arguments, but their patterns are compiled.
    Patterns,
}

impl Growth {
    /// Of a function of DataFusion, of Spark, or of ours.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "repeat" => Self::Repeated,
            "array_repeat" => Self::ListRepeated,
            "lpad" | "rpad" => Self::Padded,
            "space" => Self::Blanks,
            "replace" => Self::Replaced,
            "array_replace" | "array_replace_n" | "array_replace_all" => Self::ItemsReplaced,
            "regexp_replace" => Self::Matches,
            "concat"
            | "overlay"
            | "array_concat"
            | "array_append"
            | "array_prepend"
            | "list_prepend"
            | "spark_array_prepend"
            | "make_array"
            | "array"
            | "struct"
            | "named_struct"
            | "map"
            | "map_from_arrays"
            | "map_from_entries"
            | "array_union"
            | "array_insert" => Self::Sum,
            "concat_ws" => Self::Joined,
            "array_to_string" => Self::ItemsJoined,
            "array_resize" => Self::Resized,
            "arrays_zip" => Self::Zipped,
            "range" | "generate_series" | "sequence" => Self::Series,
            "encode" | "hex" | "base64" | "url_encode" | "try_url_encode" | "translate" | "quote"
            | "make_valid_utf8" => Self::Encoded,
            "upper" | "ucase" | "lower" | "lcase" | "initcap" => Self::Cased,
            "format_string" | "printf" => Self::Format,
            "string_to_array" | "string_to_list" | "split" | "regexp_match" | "regexp_extract_all" | "str_to_map" => {
                Self::Pieces
            }
            "json_array_elements" | "json_object_keys" => Self::JsonItems,
            "json_tuple" => Self::JsonFields,
            "to_char" | "date_format" => Self::Dated,
            "levenshtein" => Self::Compared,
            "array_has_all" | "array_has_any" => Self::ItemsCompared,
            "regexp_like" | "regexp_count" | "regexp_instr" | "regexp_extract" | "regexp" | "rlike" => Self::Patterns,
            _ => return None,
        })
    }

    /// Which argument is a pattern that is compiled.
    pub(super) fn pattern(name: &str) -> Option<usize> {
        let has = name.starts_with("regexp_") || matches!(name, "split" | "str_to_map" | "regexp" | "rlike");
        has.then_some(1)
    }

    /// Whether all rows of a batch together are far below the limit of one: most are, and then no row is looked at.
    pub(super) fn is_small(self, arguments: &[Argument], rows: usize) -> bool {
        let times = match self {
            Self::Patterns => return true,
            Self::Sum => 1,
            Self::Encoded | Self::Cased => 4,
            _ => return false,
        };
        let mut sizes = arguments.iter().map(|argument| argument.all_bytes(rows));
        let all = sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?));
        all.and_then(|all| all.checked_mul(times)).is_some_and(|all| all <= super::MAX_VALUE_BYTES)
    }

    /// The bytes of a row's result, or more; the arguments have more rows than that.
    pub(super) fn bytes(self, arguments: &[Argument], row: usize) -> u64 {
        let size = |at: usize| arguments.get(at).map_or(0, |argument| argument.size(row));
        let number = |at: usize| arguments.get(at).map_or(0, |argument| argument.number(row));
        let items = |at: usize| arguments.get(at).map_or(0, |argument| argument.items(row));
        let leaves = |at: usize| arguments.get(at).map_or(0, |argument| argument.leaves(row));
        let sum = || arguments.iter().map(|argument| argument.size(row)).fold(0, u64::saturating_add);
        let most = |of: fn(&Argument, usize) -> u64| arguments.iter().map(|argument| of(argument, row)).max();
        match self {
            Self::Patterns => 0,
            Self::Repeated => size(0).max(1).saturating_mul(number(1)),
            Self::ListRepeated => size(0).saturating_add(ITEM).saturating_mul(number(1)),
            Self::Padded => {
                let width = if arguments.len() > 2 { size(2).clamp(1, 4) } else { 1 };
                number(1).saturating_mul(width).saturating_add(size(0))
            }
            Self::Blanks => number(0),
            Self::Replaced => arguments.first().map_or(0, |first| replaced(first, arguments, row)),
            Self::ItemsReplaced => size(0).saturating_add(items(0).saturating_mul(size(2).saturating_add(ITEM))),
            Self::Matches => {
                let (text, with) = (size(0), size(2));
                // What groups hold of the text, as often as the replacement names them.
                let groups = text.saturating_mul(with / 2 + 1);
                let all = arguments.get(3).is_some_and(|flags| flags.may_hold(row, 'g'));
                groups.saturating_add(with.saturating_mul(if all { text + 1 } else { 1 }))
            }
            Self::Sum => sum(),
            Self::Joined => {
                let items = arguments.iter().map(|argument| argument.items(row)).fold(0, u64::saturating_add);
                sum().saturating_add(size(0).saturating_mul(items))
            }
            Self::ItemsJoined => {
                let each = size(1).saturating_add(size(2)).saturating_add(PLAIN_TEXT);
                size(0).saturating_add(leaves(0).saturating_mul(each))
            }
            Self::Resized => {
                let null = arguments.first().map_or(0, item_null_bytes);
                number(1).saturating_mul(size(2).max(null).saturating_add(ITEM))
            }
            Self::Zipped => {
                let null = arguments.iter().map(item_null_bytes).fold(0, u64::saturating_add);
                let items = most(Argument::items).unwrap_or(0);
                sum().saturating_add(items.saturating_mul(null.saturating_add(ITEM)))
            }
            Self::Series => series(arguments, row).saturating_mul(ITEM),
            Self::Encoded => sum().saturating_mul(4),
            Self::Cased => size(0).saturating_mul(cased(arguments, row)),
            Self::Format => sum().saturating_add(format(arguments, row)),
            Self::Pieces => size(0).saturating_add(pieces(arguments, row).saturating_mul(ITEM)),
            Self::JsonItems => {
                let items = arguments.first().map_or(0, |text| json_items(text, row));
                size(0).saturating_add(items.saturating_mul(ITEM))
            }
            Self::JsonFields => {
                let fields = u64::try_from(arguments.len()).unwrap_or(u64::MAX);
                size(0).saturating_mul(fields)
            }
            // `%c`, the widest of two letters, takes 24 characters.
            Self::Dated => PLAIN_TEXT.saturating_add(size(1).saturating_mul(12)),
            // A step takes a nanosecond or so: a value may take some seconds.
            Self::Compared => size(0).saturating_mul(size(1)) >> 6,
            Self::ItemsCompared => items(0).saturating_mul(items(1)) >> 6,
        }
    }
}

/// How many times as long a long text may become.
fn cased(arguments: &[Argument], row: usize) -> u64 {
    let is_ascii = arguments.first().and_then(|text| text.text(row)).is_some_and(str::is_ascii);
    if is_ascii { 1 } else { 3 }
}

/// Bytes of a null among the items of a list.
fn item_null_bytes(list: &Argument) -> u64 {
    use arrow::datatypes::DataType::{FixedSizeList, LargeList, List};
    match list.values.data_type() {
        List(item) | LargeList(item) | FixedSizeList(item, _) => null_bytes(item.data_type()),
        _ => 0,
    }
}
