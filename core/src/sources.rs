//! `sources.toml`: files that come from outside, and the contract of each feed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All sources of files of a project; SQL names them `raw.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    #[serde(default)]
    pub files: BTreeMap<String, FileSource>,
}

/// Feeds that yield rows of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// URL or path of the folder that feeds' paths start at; `$raw` takes the value of `--var raw=URL`.
    pub root: String,
    /// Columns in the order in which the query sees them.
    pub columns: Vec<Column>,
    pub feed: BTreeMap<String, Feed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: ColumnType,
    /// A row in which it is empty goes to quarantine.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    String,
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

/// The contract of one feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Path below `root`; `{name}` matches a part of a path segment and becomes a column, `*` matches too but does not.
    pub path: String,
    pub format: Format,
    /// Column name to the file's own field name, where they differ.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// IANA name of the zone of stamps without an offset.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// What a bar's stamp labels; stamps become the bar's start.
    #[serde(default)]
    pub bar: Option<Bar>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Bars of one length whose stamp names their start or their end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// The timestamp column that is shifted to the bar's start.
    pub column: String,
    pub label: BarLabel,
    pub seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BarLabel {
    Start,
    End,
}

/// Format of a feed's files. A name that ends in `.gz` is decompressed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Format {
    /// RFC 4180 with a header line.
    Csv {
        #[serde(default = "comma")]
        delimiter: char,
    },
    /// One JSON object a line.
    JsonLines {},
    /// One JSON document; `records` is the JSON pointer of an array of objects, or of an object whose values are the
    /// records and whose keys become the field `key`.
    Json {
        #[serde(default)]
        records: String,
        #[serde(default)]
        key: Option<String>,
    },
    Parquet {},
}

fn comma() -> char {
    ','
}
