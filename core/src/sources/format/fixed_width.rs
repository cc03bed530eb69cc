//! Options of records whose fields lie at fixed places.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::csv::is_zero;
use super::misuse::{Misuse, comment_misuse, named_field_misuses};
use super::{Encoding, Ragged};
use crate::sources::Column;

/// Where the fields of a line lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedWidth {
    /// The fields that columns are read from. What lies between and behind them is ignored.
    pub fields: Vec<FixedField>,
    /// Lines before the first record that are no part of the table, such as a header.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip_lines: u32,
    /// A line that begins with this text is no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What becomes of a line that ends before its last field does. With `null` it is read as if blanks followed.
    #[serde(default, skip_serializing_if = "Ragged::is_default")]
    pub ragged: Ragged,
    /// Which bytes stand for which characters; UTF-8, unless it is said.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// One field of a line. Blanks around its text are no part of it; one that holds nothing else is null. A line of blanks alone is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedField {
    /// The name by which a column, or its `rename`, finds the field.
    pub name: String,
    /// Its first character; that of the line is 1.
    pub start: u32,
    /// Its length in characters, whatever their bytes.
    pub width: u32,
}

impl FixedField {
    /// The number of characters up to its end; `None` when it does not fit in 32 bits.
    pub fn end(&self) -> Option<u32> {
        self.start.checked_sub(1)?.checked_add(self.width)
    }
}

impl FixedWidth {
    /// Options that contradict each other, or have no effect, for a source with these `columns`.
    pub(super) fn misuses(&self, columns: &[Column], rename: &BTreeMap<String, String>) -> Vec<Misuse> {
        let mut misuses = Vec::new();
        for field in self.fields.iter().filter(|field| field.width == 0 || field.end().is_none()) {
            let FixedField { name, start, width } = field;
            misuses.push(Misuse::new(
                "fields",
                format!("the field `{name}` has no characters: it starts at {start} and is {width} wide"),
                "the first character of a line is 1, and a field is at least 1 wide",
            ));
        }
        let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
        misuses.extend(named_field_misuses("fields", &names, columns, rename));
        misuses.extend(self.comment.as_deref().and_then(comment_misuse));
        misuses
    }
}
