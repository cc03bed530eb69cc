//! Columns of a source of files and their types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One column of a source of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Lower-case letters, digits and `_`, a letter first.
    pub name: String,
    /// What a field's text is read as; one that cannot be goes to quarantine with its row.
    #[serde(rename = "type")]
    pub data_type: ColumnType,
    /// A row in which it is empty goes to quarantine. A column that is not required is null in rows of files that do not have it.
    #[serde(default)]
    pub required: bool,
}

/// What a field's text is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// UTF-8 as it is.
    String,
    /// `true` or `false`.
    Boolean,
    /// 64 bits, signed; `737.0` is 737.
    Bigint,
    /// 64 bits, finite.
    Double,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY-MM-DD HH:MM:SS[.ffffff]` or ISO 8601 with an offset; microseconds, UTC. A stamp without an offset is wall
    /// clock in the feed's time zone.
    Timestamp,
}
