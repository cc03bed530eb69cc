//! What JSON formats may declare.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Records of JSON, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonLines {
    /// Records follow each other with or without newlines between them, and may go over several lines, as Firehose and `jq` write them. `line`
    /// is then the number of the record. Without it, a record is a line.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
    /// Records are arrays, whose items have these names in this order: `["t", "o", "h", "l", "c"]`. An array with another number of items
    /// is rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// One JSON document a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// JSON pointer of the records, such as `/data/bars`; empty is the whole document.
    #[serde(default)]
    pub records: String,
    /// Field that takes the records' keys, when `records` is an object.
    #[serde(default)]
    pub key: Option<String>,
    /// What stands at `records`.
    #[serde(default, skip_serializing_if = "JsonLayout::is_default")]
    pub layout: JsonLayout,
    /// Records are arrays, whose items have these names in this order: `["t", "o", "h", "l", "c"]`. An array with another number of items
    /// is rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Columns whose value stands once in the document, beside the records, with its JSON pointer from the document's start: `{ symbol = "/ticker" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outer: BTreeMap<String, String>,
}

/// How a JSON document holds its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonLayout {
    /// The default: an array of records, or an object whose values are the records.
    #[default]
    Rows,
    /// An object with an array for each column, or an array of such objects. All arrays of an object have one length.
    Columns,
}

impl JsonLayout {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The steps of a JSON pointer (RFC 6901): names of fields, or places in arrays.
///
/// # Errors
/// What is wrong with it.
pub fn pointer_steps(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(steps) = pointer.strip_prefix('/') else {
        return Err(format!("`{pointer}` is not a JSON pointer: it begins with `/`"));
    };
    steps.split('/').map(|step| unescaped(step).ok_or_else(|| bad_escape(pointer))).collect()
}

/// Whether a feed of JSON reads a field by its path, rather than by its name.
pub fn is_pointer(field: &str) -> bool {
    field.is_empty() || field.starts_with('/')
}

fn unescaped(step: &str) -> Option<String> {
    let mut text = String::with_capacity(step.len());
    let mut characters = step.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

fn bad_escape(pointer: &str) -> String {
    format!("`{pointer}` is not a JSON pointer: write `~` as `~0`, and `/` within a name as `~1`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_of_rfc_6901() {
        for (pointer, expected) in [
            ("", vec![]),
            ("/", vec![""]),
            ("/a/b", vec!["a", "b"]),
            ("/a~1b", vec!["a/b"]),
            ("/m~0n", vec!["m~n"]),
            ("/~01", vec!["~1"]),
            ("/0/ ", vec!["0", " "]),
        ] {
            assert_eq!(pointer_steps(pointer).unwrap(), expected, "{pointer}");
        }
        for wrong in ["a", "a/b", "/a~", "/a~2b"] {
            assert!(pointer_steps(wrong).is_err(), "{wrong}");
        }
    }
}
