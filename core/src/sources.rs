//! `sources.toml`: files that come from outside, with the contract of each feed, tables that others write, databases, and providers.

mod column;
mod column_type;
mod database;
mod external;
mod feed;
mod format;
mod json;
mod provider;
mod stamp_pattern;
mod template;

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
pub use provider::{
    Answer, CsvAnswer, FileAnswer, JsonAnswer, Landing, Provider, ProviderRequest, RequestLimits, RequestPeriod,
    is_date, wrong_symbol,
};
pub use stamp_pattern::{EpochUnit, StampParts, StampPattern, TextPattern};
pub use template::{Placeholder, Template};

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
    /// Providers that `pulse land` asks over HTTP, by names of yours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<String, Provider>,
    /// What `pulse land` keeps landed, by names of yours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub landings: BTreeMap<String, Landing>,
}

impl Sources {
    /// The database and its table that `raw.<source>` is read from, with the database's name.
    pub fn database_of(&self, source: &str) -> Option<(&str, &Database, &DatabaseTable)> {
        self.databases.iter().find_map(|(name, database)| {
            let table = database.tables.get(source)?;
            Some((name.as_str(), database, table))
        })
    }

    /// What a landing asks for: the provider and the request, with their names.
    pub fn requested(&self, landing: &Landing) -> Option<Requested<'_>> {
        let (provider, request) = landing.request.split_once('.')?;
        let (provider_name, provider) = self.providers.get_key_value(provider)?;
        let (request_name, request) = provider.requests.get_key_value(request)?;
        Some(Requested { provider_name, provider, request_name, request })
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

/// A request with its provider.
#[derive(Debug, Clone, Copy)]
pub struct Requested<'a> {
    pub provider_name: &'a str,
    pub provider: &'a Provider,
    pub request_name: &'a str,
    pub request: &'a ProviderRequest,
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
