//! Columns of a source of files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ColumnType;

/// One column of a source of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Lower-case letters, digits and `_`, a letter first.
    pub name: String,
    /// What a field's text is read as; one that cannot be goes to quarantine with its row.
    #[serde(rename = "type")]
    pub data_type: ColumnType,
    /// A row in which it is empty goes to quarantine. A column that is not required is null in rows of files that do not have it, and the run names file, column and field.
    #[serde(default)]
    pub required: bool,
    /// A value that the type cannot hold exactly becomes the nearest one that it can hold; a half goes away from zero. Without
    /// it, such a value goes to quarantine with its row. For `decimal`, `float`, `double`, `timestamp` and `timestamp_ntz`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub round: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
