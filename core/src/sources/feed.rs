//! The contract of one feed: which files, what they hold, and how their text is read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Format;
use crate::name::is_identifier;

/// The contract of one feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Path below `root`; `{name}` matches a part of a path segment and becomes a column, `*` matches a part or nothing and does not.
    /// A value is percent-decoded; `__HIVE_DEFAULT_PARTITION__` is null.
    pub path: String,
    /// What the files hold.
    pub format: Format,
    /// Columns that a file's path says, in folders named `column=value`, as Hive and Spark lay them out: `path = "bars/*.parquet"` and
    /// `partitions = ["day", "venue"]` read `bars/day=2026-01-02/venue=X/part-0.parquet`. Such folders may lie anywhere before the last
    /// part of `path`, in any order. A value is percent-decoded and read as the column's type, with the feed's `nulls`, `pattern` and
    /// `time_zone`; `__HIVE_DEFAULT_PARTITION__` is null. A file whose path lacks one of them, has others, or says a value that the type
    /// cannot hold, is rejected as a whole. A field of that name within the file is not read. A filter on nothing but such columns
    /// picks files: others are not opened, and neither their rows nor what is wrong in them is seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
    /// Column name to the file's own field name, where they differ; of a column of `partitions`, to the folder's. A column whose field no
    /// record of a file has is null there; the run says so.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Texts that mean null: a whole field without its quotes, a JSON string, a JSON number. The default is `[""]`, the empty field;
    /// a list replaces it, so that it names `""` when an empty field still means null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls: Option<Vec<String>>,
    /// Column to how its text shows a date or a stamp: letters of Spark (`dd/MM/yyyy HH:mm:ss`), or `epoch_s`, `epoch_ms`, `epoch_us` or
    /// `epoch_ns` for a number since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pattern: BTreeMap<String, String>,
    /// The decimal mark of numbers in text, `.` or `,`. Numbers of JSON and Parquet have their own.
    #[serde(default = "point", skip_serializing_if = "is_point")]
    pub decimal: char,
    /// What stands between groups of three digits of numbers in text: `,`, `.`, `'`, `_` or a space. Without it, no number has groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousands: Option<char>,
    /// IANA name of the zone of stamps without an offset. A stamp that its clock skipped goes to quarantine with its row.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// How a stamp is read that the zone's clock shows twice, when it is set back.
    #[serde(default, skip_serializing_if = "Ambiguous::is_default")]
    pub ambiguous: Ambiguous,
    /// What a bar's stamp labels; stamps become the bar's start.
    #[serde(default)]
    pub bar: Option<Bar>,
    /// What becomes of fields that no column is read from, in records of CSV with a header, JSON, Parquet and Avro. A field of JSON or Avro that a
    /// JSON pointer leads into is read.
    #[serde(default, skip_serializing_if = "Unknown::is_default")]
    pub unknown: Unknown,
}

impl Feed {
    /// Whether the path of a file says the value of a column, rather than its content.
    pub fn has_from_path(&self, column: &str) -> bool {
        self.partitions.iter().any(|partition| partition == column)
    }

    /// The name of a column in the feed's files, or in the folders that they lie in.
    pub fn field_name<'a>(&'a self, column: &'a str) -> &'a str {
        self.rename.get(column).map_or(column, String::as_str)
    }

    /// Files of Parquet, read as they are.
    pub fn parquet(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            format: Format::Parquet {},
            partitions: Vec::new(),
            rename: BTreeMap::new(),
            nulls: None,
            pattern: BTreeMap::new(),
            decimal: point(),
            thousands: None,
            time_zone: utc(),
            ambiguous: Ambiguous::default(),
            bar: None,
            unknown: Unknown::default(),
        }
    }

    /// Whether numbers in text are as programs write them: a point, no groups.
    pub fn has_plain_numbers(&self) -> bool {
        is_point(&self.decimal) && self.thousands.is_none()
    }

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

/// What becomes of fields of a file that no column is read from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// The default: they are not read. A run names them in its notes.
    #[default]
    Ignore,
    /// A record with such a field goes to quarantine. Where the file names its fields once, as CSV, Parquet and Avro do, these are all its records.
    Reject,
    /// The source has a further column `_rescued` of JSON text: an object of these fields as they were, null where there are none.
    Rescue,
}

impl Unknown {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Its word in sources.toml.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Reject => "reject",
            Self::Rescue => "rescue",
        }
    }
}

fn point() -> char {
    '.'
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_point(mark: &char) -> bool {
    *mark == point()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(path: &str) -> Result<Vec<String>, String> {
        let feed = Feed::parquet(path);
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
