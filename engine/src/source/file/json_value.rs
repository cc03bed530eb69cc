//! A value of JSON as it is written: what it says without loss, whatever the type of its column.

use std::borrow::Cow;

use super::cell::Cell;

/// The value that `raw` is, which is JSON without blanks around it; `None` when a text has an escape that no text has. A column of
/// JSON text takes it as it stands.
pub(super) fn cell_for(raw: &str, takes_json: bool) -> Option<Cell<'_>> {
    if takes_json && raw != "null" { Some(Cell::Json(raw)) } else { json_cell(raw) }
}

/// As [`cell_for`], of any column that does not take the text of JSON.
pub(super) fn json_cell(raw: &str) -> Option<Cell<'_>> {
    Some(match raw.as_bytes() {
        b"null" => Cell::Null,
        b"true" => Cell::Boolean(true),
        b"false" => Cell::Boolean(false),
        [b'"', text @ .., b'"'] => Cell::Text(unescaped(raw, text)?),
        [b'{' | b'[', ..] => Cell::Json(raw),
        _ => Cell::Number(raw),
    })
}

fn unescaped<'a>(raw: &'a str, text: &'a [u8]) -> Option<Cow<'a, str>> {
    match memchr::memchr(b'\\', text) {
        None => raw.get(1..raw.len() - 1).map(Cow::Borrowed),
        Some(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}
