//! Tables that others write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Delta table that another system writes; its own log says which columns it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalTable {
    /// URL or path of the table's folder, in which `_delta_log` lies; `$raw` takes the value of `--var raw=URL`.
    pub location: String,
    /// `location` as sources.toml has it, once variables got their values.
    #[serde(skip)]
    pub written_location: Option<String>,
}
