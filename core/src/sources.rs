//! `sources.toml`: files that come from outside, and the contract of each feed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::is_identifier;

/// All sources of files of a project; SQL names them `raw.<name>`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// By their name in SQL: `[files.bars]` is `raw.bars`.
    #[serde(default)]
    pub files: BTreeMap<String, FileSource>,
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

/// The contract of one feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Path below `root`; `{name}` matches a part of a path segment and becomes a column, `*` matches a part or nothing and does not.
    /// A value is percent-decoded; `__HIVE_DEFAULT_PARTITION__` is null.
    pub path: String,
    /// What the files hold.
    pub format: Format,
    /// Column name to the file's own field name, where they differ.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// IANA name of the zone of stamps without an offset. A stamp that its clock skipped goes to quarantine with its row.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// How a stamp is read that the zone's clock shows twice, when it is set back.
    #[serde(default, skip_serializing_if = "Ambiguous::is_default")]
    pub ambiguous: Ambiguous,
    /// What a bar's stamp labels; stamps become the bar's start.
    #[serde(default)]
    pub bar: Option<Bar>,
}

impl Feed {
    /// Names in braces of `path`, in its order: the columns that come from a file's path.
    ///
    /// # Errors
    /// What is wrong with the path.
    pub fn path_columns(&self) -> Result<Vec<&str>, String> {
        let path = self.path.as_str();
        if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("`{path}` is not a path below `root`: write `folder/{{name}}.csv`"));
        }
        let mut names = Vec::new();
        let mut rest = path;
        while let Some(brace) = rest.find(['{', '}']) {
            let after = &rest[brace + 1..];
            let name = match after.split_once('}') {
                Some((name, _)) if rest[brace..].starts_with('{') => name,
                Some(_) | None => return Err(format!("a brace of `{path}` has no other half")),
            };
            if !is_identifier(name) {
                return Err(format!(
                    "`{{{name}}}` does not name a column: use lower-case letters, digits and `_`, a letter first"
                ));
            }
            if names.contains(&name) {
                return Err(format!("`{{{name}}}` is in the path twice"));
            }
            names.push(name);
            rest = &after[name.len() + 1..];
            if rest.starts_with(['{', '*']) || path[..path.len() - rest.len() - name.len() - 2].ends_with('*') {
                return Err(format!("where `{{{name}}}` ends is not clear: put text between it and its neighbour"));
            }
        }
        Ok(names)
    }
}

/// How a stamp is read that a clock shows twice, because it is set back by an hour at the end of daylight saving time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguous {
    /// The default: by the order of the rows. Rows of one file that agree in all `string` columns are one series. Where its stamps ascend, or descend,
    /// but for one step back within the hour that occurs twice, this step tells its first occurrence from the second. Other rows
    /// with such a stamp go to quarantine.
    #[default]
    ByOrder,
    /// As `by_order`, for series in which no time occurs twice: two rows with an equal stamp in that hour are the step, too.
    ByStrictOrder,
    /// The first time that the clock shows it.
    Earlier,
    /// The second time.
    Later,
    /// Every row with such a stamp goes to quarantine.
    Reject,
}

impl Ambiguous {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
    /// Which end of the bar the files' stamp names.
    pub label: BarLabel,
    /// Length of a bar.
    pub seconds: u32,
}

/// Which end of a bar its stamp names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BarLabel {
    /// The stamp stays.
    Start,
    /// The bar's length is taken from the stamp.
    End,
}

/// Format of a feed's files. A name that ends in `.gz` is decompressed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Format {
    /// RFC 4180 with a header line.
    Csv {
        /// One ASCII character.
        #[serde(default = "comma")]
        delimiter: char,
    },
    /// One JSON object a line.
    JsonLines {},
    /// One JSON document: somewhere in it an array of objects, or an object whose values are the records.
    Json {
        /// JSON pointer of the records, such as `/data/bars`; empty is the whole document.
        #[serde(default)]
        records: String,
        /// Field that takes the records' keys, when `records` is an object.
        #[serde(default)]
        key: Option<String>,
    },
    /// Columns by their names.
    Parquet {},
}

fn comma() -> char {
    ','
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(path: &str) -> Result<Vec<String>, String> {
        let feed = Feed {
            path: path.to_owned(),
            format: Format::Parquet {},
            rename: BTreeMap::new(),
            time_zone: utc(),
            ambiguous: Ambiguous::default(),
            bar: None,
        };
        feed.path_columns().map(|names| names.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn braces_of_a_path_name_columns() {
        assert_eq!(columns("a/{year}/bars_{symbol}_1m*.csv.gz").unwrap(), ["year", "symbol"]);
        assert_eq!(columns("*/all.parquet").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_path_that_cannot_be_matched_is_refused() {
        for wrong in ["", "/a", "a/../b", "a//b", "{a", "a}", "}a{", "{A}", "{}", "{a}/{a}", "{a}{b}", "*{a}", "{a}*"] {
            assert!(columns(wrong).is_err(), "{wrong}");
        }
    }
}
