//! `sources.toml`: files that come from outside, with the contract of each feed, tables that others write, and databases.

mod column;
mod column_type;
mod database;
mod external;
mod feed;
mod format;
mod json;
mod stamp_pattern;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use column::Column;
pub use column_type::{ColumnType, MAX_PRECISION};
pub use database::{Address, Database, DatabaseTable, SslMode};
pub use external::ExternalTable;
pub use feed::{Ambiguous, Bar, BarLabel, Feed, Unknown};
pub use format::{Csv, Encoding, FixedField, FixedWidth, Format, Matching, Misuse, Ragged};
pub use json::{Json, JsonLayout, JsonLines, is_pointer, pointer_steps};
pub use stamp_pattern::{EpochUnit, StampParts, StampPattern, TextPattern};

/// Column of the fields of a file that no declared column is read from, of sources with a feed that keeps them.
pub const RESCUED: &str = "_rescued";

/// All sources of files of a project, which SQL names `raw.<name>`, and tables that others write, `external.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// By their name in SQL: `[files.bars]` is `raw.bars`.
    #[serde(default)]
    pub files: BTreeMap<String, FileSource>,
    /// By their name in SQL: `[tables.trades]` is `external.trades`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, ExternalTable>,
    /// Databases, by a name of yours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, Database>,
}

impl Sources {
    /// The database and its table that `raw.<source>` is read from, with the database's name.
    pub fn database_of(&self, source: &str) -> Option<(&str, &Database, &DatabaseTable)> {
        self.databases.iter().find_map(|(name, database)| {
            let table = database.tables.get(source)?;
            Some((name.as_str(), database, table))
        })
    }

    /// Adds what is landed of databases to the sources of files, as which it is read.
    pub(crate) fn with_landed(mut self) -> Self {
        for (database, declared) in &self.databases {
            for (name, table) in &declared.tables {
                self.files.entry(name.clone()).or_insert_with(|| table.landed(database, name));
            }
        }
        self
    }
}

/// Feeds that yield rows of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// URL or path of the folder that feeds' paths start at; `$raw` takes the value of `--var raw=URL`. A folder of this machine must
    /// exist; in an object store, `plan` and `run` warn of feeds without files.
    pub root: String,
    /// `root` as sources.toml has it, once variables got their values.
    #[serde(skip)]
    pub written_root: Option<String>,
    /// Columns in the order in which the query sees them.
    pub columns: Vec<Column>,
    /// What becomes of the rows of files that were read and are gone.
    #[serde(default, skip_serializing_if = "OnMissing::is_default")]
    pub on_missing: OnMissing,
    /// `max_rejected` of the jobs that read the source and set none of their own; with several sources, the smallest one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rejected: Option<f64>,
    /// Whether symbolic links below `root`, a folder of this machine, are followed. They are not unless this is `true`: a link may lead to
    /// files that those who put it there may not read themselves. `plan` and `run` warn of links to folders; a link to a file is one
    /// rejected row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_links: bool,
    /// Folders or patterns of files, each with its own contract; the name is the row's `feed`.
    pub feed: BTreeMap<String, Feed>,
}

/// What becomes of the rows of files that were read and are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// The default: they stay. `plan` and `run` say which files are gone, and a run that would lose their rows needs `--allow-loss`.
    #[default]
    Keep,
    /// The next run removes them.
    Remove,
    /// `plan` and `run` fail until the files are back, or `pulse table forget` has removed the rows.
    Fail,
}

impl OnMissing {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
