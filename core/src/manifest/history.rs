//! Sinks that keep versions of keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Since when a version is valid.
pub const VALID_FROM: &str = "valid_from";
/// When it stops to be valid: the start of the next version or of a gap. Null while it is valid.
pub const VALID_TO: &str = "valid_to";
/// Whether `valid_to` is null.
pub const IS_CURRENT: &str = "is_current";
/// The time of the run since which the row is known.
pub const RECORDED_FROM: &str = "recorded_from";
/// The time of the run since which it is known to be wrong. Null while it is known.
pub const RECORDED_TO: &str = "recorded_to";

/// [`History::effective`] of an extract that its producer overwrites.
const OBSERVED: &str = "observed";

/// What makes a version of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Columns of the key.
    pub keys: Vec<String>,
    /// A version begins where one of these columns has another value than before. Without it: all columns that the
    /// query writes but the keys, `effective` and the column that `deleted` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Vec<String>>,
    /// A date or timestamp column of the query that says since when a row holds. `"observed"`, of `scd2` alone, is for an extract
    /// that its producer overwrites: a row holds since the time of the run that read it first, and a key that is gone is closed.
    pub effective: String,
    /// A boolean column of the query, or a SQL condition on its row: where it is true, the row is no version and closes its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
}

impl History {
    /// Whether a version holds since it was read, and not since a time that the row says.
    pub fn is_observed(&self) -> bool {
        self.effective == OBSERVED
    }
}
