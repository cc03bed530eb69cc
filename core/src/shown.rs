//! Text that a terminal does not take for commands.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A message as it may be printed: control characters but newline and tab are written as `\x1b`.
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_raw = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if !text.contains(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        push(&mut escaped, character, is_raw(character));
    }
    Cow::Owned(escaped)
}

/// A file's name as text without a control character, and without bytes that are not UTF-8: `a\x0ab\xff.csv`.
/// `None` when the name can be shown as it is.
pub fn escaped_name(name: &[u8]) -> Option<String> {
    if std::str::from_utf8(name).is_ok_and(|text| !text.contains(|character: char| character.is_ascii_control())) {
        return None;
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut escaped, character, character.is_control());
        }
        for byte in chunk.invalid() {
            push_code(&mut escaped, u32::from(*byte));
        }
    }
    Some(escaped)
}

fn push(text: &mut String, character: char, is_raw: bool) {
    if is_raw { push_code(text, character.into()) } else { text.push(character) }
}

fn push_code(text: &mut String, code: u32) {
    // Writing to a string does not fail.
    let _ = write!(text, "\\x{code:02x}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_moves_a_cursor_is_written_out() {
        assert_eq!(shown("a\u{1b}[2Jb\u{7f}\u{9b}\rc"), "a\\x1b[2Jb\\x7f\\x9b\\x0dc");
        assert_eq!(shown("two\nlines\tand ☃"), "two\nlines\tand ☃");
        assert_eq!(escaped_name(b"a\nb\xffc\x1b.csv").as_deref(), Some("a\\x0ab\\xffc\\x1b.csv"));
        assert_eq!(escaped_name("ä ☃#1%2e".as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_message_and_no_name_has_a_raw_character(text: String, name: Vec<u8>) {
            prop_assert!(!shown(&text).contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
            let name = escaped_name(&name).unwrap_or_else(|| String::from_utf8(name.clone()).unwrap());
            prop_assert!(!name.contains(|c: char| c.is_ascii_control()));
        }
    }
}
