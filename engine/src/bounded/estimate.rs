//! What a call makes of texts and lists, counted without making it.

use std::collections::HashSet;

use super::argument::{Argument, DAY_NANOS, ITEM};

pub(super) fn replaced(text: &Argument, arguments: &[Argument], row: usize) -> u64 {
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
pub(super) fn pieces(arguments: &[Argument], row: usize) -> u64 {
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

/// How many items or fields a JSON text may have: one more than it has commas.
pub(super) fn json_items(text: &Argument, row: usize) -> u64 {
    let commas = text.text(row).map_or(0, |text| text.bytes().filter(|byte| *byte == b',').count());
    u64::try_from(commas).unwrap_or(u64::MAX).saturating_add(1)
}

/// How many values lie from one to another.
pub(super) fn series(arguments: &[Argument], row: usize) -> u64 {
    let place = |at: usize| arguments.get(at).and_then(|argument| argument.place(row));
    let (start, stop) = match arguments.len() {
        1 => (Some(0), place(0)),
        _ => (place(0), place(1)),
    };
    let (Some(start), Some(stop)) = (start, stop) else { return 0 };
    if arguments.get(2).is_some_and(|step| step.comes_back(row)) {
        return u64::MAX;
    }
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

/// What a format asks for: widths such as that of `%1000d`, those that arguments give (`%*d`), and arguments that it names again.
pub(super) fn format(arguments: &[Argument], row: usize) -> u64 {
    let Some((format, values)) = arguments.split_first() else { return 0 };
    let text = format.text(row).unwrap_or_default();
    let numbers = text.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let widths = numbers.map(|digits| digits.parse().unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
    let asked = u64::try_from(text.matches('%').count()).unwrap_or(u64::MAX);
    let given = match text.contains('*') {
        true => values.iter().map(|value| value.number(row)).max().unwrap_or(0).saturating_mul(asked),
        false => 0,
    };
    let again = match text.contains(['$', '<']) {
        true => values.iter().map(|value| value.size(row)).max().unwrap_or(0).saturating_mul(asked),
        false => 0,
    };
    widths.saturating_add(given).saturating_add(again)
}

/// Bytes of the compiled patterns of a batch, which are all kept until its last row.
pub(super) fn patterns(patterns: &Argument, rows: usize) -> u64 {
    let rows = if patterns.is_constant { rows.min(1) } else { rows };
    let distinct: HashSet<&str> = (0..rows).filter_map(|row| patterns.text(row)).collect();
    distinct.into_iter().map(compiled).fold(0, u64::saturating_add)
}

/// Bytes of a compiled pattern or so, from what makes it large: classes of Unicode characters, and numbers of repetitions.
fn compiled(pattern: &str) -> u64 {
    /// Of the library; twice, as it compiles a pattern forwards and backwards.
    const MOST: u64 = 2 * (10 << 20);
    const CLASS: u64 = 32 << 10;
    let count = |letters: &[char]| u64::try_from(pattern.matches(letters).count()).unwrap_or(u64::MAX);
    let length = u64::try_from(pattern.len()).unwrap_or(u64::MAX);
    let once = 4096 + length.saturating_mul(128) + count(&['\\', '[', '.']).saturating_mul(CLASS);
    let numbers = pattern.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let times = match pattern.contains('{') {
        true => numbers.map(|digits| digits.parse::<u64>().unwrap_or(u64::MAX).max(1)).fold(1, u64::saturating_mul),
        false => 1,
    };
    once.saturating_mul(times).min(MOST)
}
