//! Tables that others write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Delta table that another system writes; its own log says which columns it has. `location` or `glue` says where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalTable {
    /// URL or path of the table's folder, in which `_delta_log` lies; `$raw` takes the value of `--var raw=URL`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// `database.table` of the Glue Data Catalog of the account and region of the environment, which says where the table lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glue: Option<String>,
    /// `location` as sources.toml has it, once variables got their values.
    #[serde(skip)]
    pub written_location: Option<String>,
}

impl ExternalTable {
    /// Database and table of `glue`; `None` without it, or when it is not of this form.
    pub fn glue_name(&self) -> Option<(&str, &str)> {
        let (database, table) = self.glue.as_deref()?.split_once('.')?;
        let is_name = |name: &str| !name.is_empty() && !name.contains(['.', '/']) && name.trim() == name;
        (is_name(database) && is_name(table)).then_some((database, table))
    }
}
