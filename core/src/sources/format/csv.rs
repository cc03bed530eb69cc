//! Options of CSV.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Encoding;
use super::misuse::{Misuse, comment_misuse, named_field_misuses};
use crate::sources::Column;

/// What separates records and fields in a CSV file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// What stands between two fields: one or several characters. Of places that overlap the first counts.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// The ASCII character around a field that holds delimiters or newlines; a double quote, unless it is said. `""` is for files without quotes: in
    /// them a quote is a character like others.
    #[serde(default = "quote", skip_serializing_if = "is_quote")]
    pub quote: String,
    /// The ASCII character before a quote that belongs to a quoted field, and before itself; before other characters it stands for
    /// itself. So Spark writes, with `"\\"`. Without it, a quote within quotes is doubled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escape: Option<String>,
    /// Whether the first record names the fields; it does, unless `false` is said.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub header: bool,
    /// The names of all fields in their order, for files without a header, or whose header does not count (`match = "position"`). A
    /// field that no column is read from has a name here, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// How a column finds its field.
    #[serde(rename = "match", default, skip_serializing_if = "Matching::is_default")]
    pub matching: Matching,
    /// Lines before the header, or before the first record, that are no part of the table.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip_lines: u32,
    /// A line that begins with this text is no record. A line within a quoted field is none of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What becomes of a record with fewer fields than there are names.
    #[serde(default, skip_serializing_if = "Ragged::is_default")]
    pub ragged: Ragged,
    /// Which bytes stand for which characters; UTF-8, unless it is said.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// How a column finds its field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// The default: by the field's name, letter by letter.
    #[default]
    Name,
    /// By the field's name in capital or small letters. A header with two such names for one column is rejected.
    NameIgnoringCase,
    /// By its place: they are those that `fields` names or, without it, the columns of the source in their order. A header is read past, and
    /// rejected when it has another number of fields.
    Position,
}

/// What becomes of a record with too few or too many fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ragged {
    /// The default: it is rejected.
    #[default]
    Reject,
    /// Fields that a line does not have are null. Fields beyond the last name must be empty. A record over several lines is rejected
    /// all the same: a stray quote may have joined them.
    Null,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: comma(),
            quote: quote(),
            escape: None,
            header: true,
            fields: Vec::new(),
            matching: Matching::default(),
            skip_lines: 0,
            comment: None,
            ragged: Ragged::default(),
            encoding: Encoding::default(),
        }
    }
}

impl Csv {
    /// Options that contradict each other, or have no effect, for a source with these `columns`.
    pub(super) fn misuses(&self, columns: &[Column], rename: &BTreeMap<String, String>) -> Vec<Misuse> {
        let mut misuses = self.text_misuses();
        misuses.extend(self.header_misuse());
        if !self.fields.is_empty() {
            let names: Vec<&str> = self.fields.iter().map(String::as_str).collect();
            misuses.extend(named_field_misuses("fields", &names, columns, rename));
        } else if self.matching == Matching::Position && !rename.is_empty() {
            misuses.push(Misuse::new(
                "match",
                "`rename` has no effect where the columns of the source are the fields in their order",
                "remove `rename`, or name them in `fields`",
            ));
        }
        misuses
    }

    /// What is wrong with the characters that tell fields and records apart.
    pub fn text_misuses(&self) -> Vec<Misuse> {
        let Self { delimiter, quote, escape, comment, .. } = self;
        let mut misuses = Vec::new();
        misuses.extend(delimiter_misuse(delimiter));
        let is_one = |text: &str| matches!(text.as_bytes(), [byte] if byte.is_ascii_punctuation());
        if !quote.is_empty()
            && (!is_one(quote) || "+-.:".contains(quote.as_str()) || delimiter.contains(quote.as_str()))
        {
            misuses.push(Misuse::new(
                "quote",
                format!("`{quote}` cannot be the quote"),
                "use one ASCII punctuation mark that no number, stamp or delimiter holds, or `\"\"` for none",
            ));
        }
        if let Some(escape) = escape {
            if quote.is_empty() {
                let message = "`escape` has no effect without a quote";
                misuses.push(Misuse::new("escape", message, "remove it, or say which character is the `quote`"));
            } else if escape == quote {
                let message = "a quote within quotes is doubled without `escape`, too";
                misuses.push(Misuse::new("escape", message, "remove `escape`"));
            } else if !is_one(escape) || delimiter.contains(escape.as_str()) {
                let remedy = "use one ASCII punctuation mark that the delimiter does not hold, such as `\"\\\\\"`";
                misuses.push(Misuse::new("escape", format!("`{escape}` cannot be the escape"), remedy));
            }
        }
        if let Some(comment) = comment {
            let is_start =
                |text: &str| !text.is_empty() && (comment.starts_with(text) || text.starts_with(comment.as_str()));
            let may_be_record = (is_start(quote) || is_start(delimiter)).then(|| {
                let message = format!("a line that begins with `{comment}` may be a record");
                Misuse::new("comment", message, "use a text that begins like neither `quote` nor `delimiter`")
            });
            misuses.extend(comment_misuse(comment).or(may_be_record));
        }
        misuses
    }

    fn header_misuse(&self) -> Option<Misuse> {
        let has_names = !self.fields.is_empty();
        let (key, message, remedy) = match (self.header, self.matching, has_names) {
            (true, Matching::Name | Matching::NameIgnoringCase, true) => (
                "fields",
                "`fields` has no effect: the header names the fields",
                "remove it, say `header = false`, or let the header not count by `match = \"position\"`",
            ),
            (false, Matching::Name, false) => (
                "header",
                "nothing names the fields",
                "list their names in `fields`, or take the columns of the source in their order by `match = \"position\"`",
            ),
            (false, Matching::NameIgnoringCase, _) => (
                "match",
                "without a header no name differs in case",
                "remove `match`, and write the names in `fields` as `rename` has them",
            ),
            (false, Matching::Position, true) => {
                ("match", "`match` has no effect: `fields` says where each field lies", "remove `match`")
            }
            (true, Matching::Name | Matching::NameIgnoringCase, false)
            | (true, Matching::Position, _)
            | (false, Matching::Name, true)
            | (false, Matching::Position, false) => return None,
        };
        Some(Misuse::new(key, message, remedy))
    }
}

fn delimiter_misuse(delimiter: &str) -> Option<Misuse> {
    let mut characters = delimiter.chars();
    let is_wrong = match (characters.next(), characters.next()) {
        (None, _) => true,
        // Numbers, stamps and quotes hold these.
        (Some(one), None) if one.is_alphanumeric() || ".+-:'\"".contains(one) => true,
        _ => delimiter.contains(['\r', '\n', '\0', '\u{feff}', '\u{fffd}']),
    };
    let message = format!("`{delimiter}` cannot be a delimiter");
    is_wrong.then(|| Misuse::new("delimiter", message, "use `,`, `;`, `|`, a tab, or several characters"))
}

impl Matching {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Ragged {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn comma() -> String {
    ",".to_owned()
}

fn quote() -> String {
    "\"".to_owned()
}

fn is_quote(text: &str) -> bool {
    text == "\""
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_zero(value: &u32) -> bool {
    *value == 0
}
