//! `job.toml`: what a job reads, how its rows are checked and how they reach the table.

mod history;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::TableName;
use crate::trigger::RunLimits;

pub use history::{History, IS_CURRENT, RECORDED_FROM, RECORDED_TO, VALID_FROM, VALID_TO};

/// One job's manifest. The job's name is its folder: `silver/bars_1m` writes the table `silver.bars_1m`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Who answers for the table; needed unless project.toml has a default.
    #[serde(default)]
    pub owner: String,
    /// One sentence on what a row is.
    #[serde(default)]
    pub description: String,
    /// Words by which commands and schedules select jobs: `tag:daily` stands for all jobs with the tag `daily`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Length of the unit of work of a query that uses `$interval_start` and `$interval_end`.
    #[serde(default)]
    pub interval: Option<IntervalUnit>,
    /// First interval's start, `YYYY-MM-DD`; needed with `interval` before the first run.
    #[serde(default)]
    pub start: Option<String>,
    /// Columns that identify one row. A run that would commit two rows that agree in them fails; nulls agree.
    pub grain: Vec<String>,
    /// Order of rows within a data file; the grain when absent.
    #[serde(default)]
    pub order: Option<Vec<String>>,
    /// Columns that the table is partitioned by: text, whole numbers, decimals, dates, timestamps or booleans. With
    /// `overwrite_partitions` it is the `by` of the sink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Columns of the table that the query yields under another name: the new name, and the one that the table has, such as
    /// `{ price = "px" }`. A rebuild may then drop the former name; a column that is lost otherwise is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
    /// How each source is read; a source that is not named is read whole.
    #[serde(default)]
    pub source: BTreeMap<String, Source>,
    /// How rows reach the table.
    pub sink: Sink,
    /// Checks of rows and of the table, evaluated before the commit.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// Names of groups of expectations in project.toml (`[[expect_group.prices]]`); they are checked behind those of the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_groups: Vec<String>,
    /// Largest share of a run's rows, from 0 to 1, that may be rejected: quarantined by the reader or a `check`, or dropped
    /// by a `check`. With more the run fails. Without it a run fails all of whose rows were rejected; 1 allows that too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rejected: Option<f64>,
    /// Attempts of a run of this job, 1 to 100, in the place of the setting `run_attempts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_attempts: Option<u32>,
    /// A run of this job that takes longer, in seconds, all attempts together, is stopped and fails: 1 to 604800, in the place of the setting
    /// `run_timeout_s`. `shuffle_ttl_s` limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout_s: Option<u32>,
    /// Size that data files are cut at, in MiB.
    #[serde(default = "default_target_file_mib")]
    pub target_file_mib: u32,
    /// What columns of the table mean, for people: `pulse docs` shows it. A name that the table does not have is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
}

impl Manifest {
    /// Order of rows within a data file.
    pub fn order(&self) -> &[String] {
        self.order.as_deref().unwrap_or(&self.grain)
    }

    /// Limits in the place of settings.
    pub fn run_limits(&self) -> RunLimits {
        let timeout = self.run_timeout_s.map(|seconds| TimeDelta::seconds(seconds.into()));
        RunLimits { attempts: self.run_attempts, timeout }
    }

    /// Columns that the table is partitioned by.
    pub fn partition_by(&self) -> &[String] {
        match &self.sink {
            Sink::OverwritePartitions { by } => by,
            Sink::Append {} | Sink::Overwrite {} | Sink::Merge { .. } | Sink::Scd2(_) | Sink::Bitemporal(_) => {
                &self.partition_by
            }
        }
    }

    /// Which row of a key `merge` keeps; empty where a key has one row.
    pub fn latest_by(&self) -> &[String] {
        match &self.sink {
            Sink::Merge { latest_by, .. } => latest_by,
            Sink::Append {}
            | Sink::Overwrite {}
            | Sink::OverwritePartitions { .. }
            | Sink::Scd2(_)
            | Sink::Bitemporal(_) => &[],
        }
    }

    /// The place in `expect` of the `unique` that the sink enforces while it writes: the one that takes rows out, or the
    /// first that can. The others are counted on the written files, as all are where `latest_by` takes rows out.
    pub fn unique_in_sink(&self) -> Option<usize> {
        if !self.latest_by().is_empty() {
            return None;
        }
        let removes = |expectation: &Expectation| expectation.unique.is_some() && expectation.removes_rows();
        self.expect.iter().position(removes).or_else(|| {
            let can = |expectation: &Expectation| expectation.unique.as_ref().is_some_and(|unique| self.finds(unique));
            self.expect.iter().position(can)
        })
    }

    /// Whether rows that agree in the unique columns meet in one task and in the order of its rows, where the sink looks.
    pub fn finds(&self, unique: &Unique) -> bool {
        self.orders_by(&unique.columns) && self.partition_by().iter().all(|by| unique.columns.contains(by))
    }

    /// Whether the order of rows in the sink is one by these columns, and perhaps by others between them.
    pub fn orders_by(&self, columns: &[String]) -> bool {
        let in_order = |column: &String| self.partition_by().contains(column) || self.order().contains(column);
        columns.iter().all(in_order)
    }

    /// Whether rows of the table are told apart by this column.
    pub fn is_key(&self, column: &str) -> bool {
        let keys: &[String] = match &self.sink {
            Sink::Merge { keys, .. } | Sink::Scd2(History { keys, .. }) | Sink::Bitemporal(History { keys, .. }) => {
                keys
            }
            Sink::Append {} | Sink::Overwrite {} | Sink::OverwritePartitions { .. } => &[],
        };
        [keys, &self.grain, self.partition_by()].concat().iter().any(|key| key == column)
    }

    /// `unique` expectations whose columns are all in the grain, with their places: where one holds, the grain holds.
    pub fn stricter_than_grain(&self) -> impl Iterator<Item = (usize, &Expectation)> {
        let is_stricter = |unique: &Unique| unique.columns.iter().all(|column| self.grain.contains(column));
        let expectations = self.expect.iter().enumerate();
        expectations.filter(move |(_, expectation)| expectation.unique.as_ref().is_some_and(is_stricter))
    }

    /// Whether rows that a run leaves in the table may agree with its new rows in `columns`.
    pub fn keeps_rows_beside(&self, columns: &[String]) -> bool {
        let within = |replaced: &[String]| replaced.iter().all(|column| columns.contains(column));
        match &self.sink {
            Sink::Append {} => true,
            Sink::Overwrite {} => false,
            Sink::OverwritePartitions { by } => !within(by),
            Sink::Merge { keys, .. } => !within(keys),
            Sink::Scd2(_) | Sink::Bitemporal(_) if self.sink.remembers() => true,
            Sink::Scd2(History { keys, .. }) | Sink::Bitemporal(History { keys, .. }) => !within(keys),
        }
    }
}

/// 128 MiB: what Athena and DataFusion read best, and Delta's usual target.
fn default_target_file_mib() -> u32 {
    128
}

/// The unit of work, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalUnit {
    /// From `:00` to `:00`.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first to the first.
    Month,
    /// From 1 January to 1 January.
    Year,
}

/// How one source is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `all` rows of the pinned version, or only those `changed` since the bookmark.
    pub read: Read,
    /// With `changed`: read again every row that agrees in these columns with a changed row, so that the query
    /// sees whole groups. Without it the query sees the added rows alone, and all rows once some were changed or removed.
    /// Where the query or the sink looks across these groups, a run reads all rows; `pulse check` says so, and which `by` would do.
    #[serde(default)]
    pub by: Vec<String>,
    /// With `changed`: also read this much before the first changed row, such as `{ column = "ts", days = 3 }`. The first rows
    /// of these lack the rows before them, so that a run reads all rows; use `by`.
    #[serde(default)]
    pub lookback: Option<Lookback>,
}

/// Which rows of a source are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// All rows of the version that the run has pinned.
    All,
    /// Rows that were added since the version that the last run has read; of a source of files, the new files.
    Changed,
}

/// `column` minus `days` before the earliest changed row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookback {
    /// A date or timestamp column of the source.
    pub column: String,
    /// Calendar days.
    pub days: u32,
}

/// How the query's rows reach the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sink {
    /// Rows are added. Of a source of files that changed, the rows of its earlier content are replaced.
    Append {},
    /// The table holds exactly the query's rows.
    Overwrite {},
    /// The partitions that occur in the query's rows are replaced whole.
    OverwritePartitions {
        /// Columns that the table is partitioned by.
        by: Vec<String>,
    },
    /// The table holds the query's rows, each key once; keys whose source rows are gone are deleted.
    Merge {
        /// Columns of the key.
        keys: Vec<String>,
        /// Which of several rows of a key stays: the greatest by these columns, compared one after the other, such as
        /// `["ts", "line"]`; the least by one with `desc`. A row with a null
        /// stays only if no other has a value there. Rows that agree in all of these columns must be equal. Without it, a key with several rows is an error.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        latest_by: Vec<String>,
    },
    /// The history of each key: one row for each version, with `valid_from`, `valid_to` (null while it is valid) and
    /// `is_current`. Late and corrected rows change the history that they belong to.
    Scd2(History),
    /// As `scd2`, and what was known of it when: each row also has `recorded_from` and `recorded_to` (null while it is known),
    /// and no row goes.
    Bitemporal(History),
}

impl Sink {
    /// Of a sink that keeps versions of keys.
    pub fn history(&self) -> Option<&History> {
        match self {
            Self::Scd2(history) | Self::Bitemporal(history) => Some(history),
            Self::Append {} | Self::Overwrite {} | Self::OverwritePartitions { .. } | Self::Merge { .. } => None,
        }
    }

    /// Whether the table holds what inputs said at earlier runs, which cannot be computed again.
    pub fn remembers(&self) -> bool {
        match self {
            Self::Scd2(history) => history.is_observed(),
            Self::Bitemporal(_) => true,
            Self::Append {} | Self::Overwrite {} | Self::OverwritePartitions { .. } | Self::Merge { .. } => false,
        }
    }

    /// Columns that the table has after those of the query.
    pub fn added_columns(&self) -> &'static [&'static str] {
        match self {
            Self::Scd2(_) => &[VALID_FROM, VALID_TO, IS_CURRENT],
            Self::Bitemporal(_) => &[VALID_FROM, VALID_TO, IS_CURRENT, RECORDED_FROM, RECORDED_TO],
            Self::Append {} | Self::Overwrite {} | Self::OverwritePartitions { .. } | Self::Merge { .. } => &[],
        }
    }
}

/// One check. Exactly one of `check`, `unique`, `rows`, `fresh` and `refers` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What a person would say; it is the reason in the quarantine table.
    pub name: String,
    /// What happens when it does not hold.
    pub on_fail: OnFail,
    /// A SQL condition on one row. It holds only when it is true: null fails.
    #[serde(default)]
    pub check: Option<String>,
    /// No two rows agree in these columns.
    #[serde(default)]
    pub unique: Option<Unique>,
    /// Number of rows of the table as the run would leave it.
    #[serde(default)]
    pub rows: Option<Rows>,
    /// The newest value of a column, over the table as it would be committed, is not older than this.
    #[serde(default)]
    pub fresh: Option<Fresh>,
    /// The values of a column occur in another table, at the version that the run has pinned.
    #[serde(default)]
    pub refers: Option<Refers>,
}

impl Expectation {
    /// Whether rows that fail are left out of the table.
    pub fn removes_rows(&self) -> bool {
        matches!(self.on_fail, OnFail::Drop | OnFail::Quarantine)
    }

    /// Keys of the checks that are set; one, once the project is parsed.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let set = [
            ("check", self.check.is_some()),
            ("unique", self.unique.is_some()),
            ("rows", self.rows.is_some()),
            ("fresh", self.fresh.is_some()),
            ("refers", self.refers.is_some()),
        ];
        set.into_iter().filter(|(_, is_set)| *is_set).map(|(kind, _)| kind).collect()
    }
}

/// What happens to rows, or to the run, when an expectation does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    /// Counted, kept.
    Warn,
    /// Counted, left out.
    Drop,
    /// Counted, left out, kept in `<table>__quarantine`.
    Quarantine,
    /// The run fails and the table stays as it was.
    Fail,
}

/// No two rows agree in some columns. `warn` and `fail` compare the run's rows with each other and with those that stay in
/// the table; `drop` and `quarantine` look at the run's rows alone, so that no row may stay that could agree with them, and only
/// one expectation of a job may do so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// Columns that together occur once.
    pub columns: Vec<String>,
    /// With `drop` and `quarantine`: which of the repeated rows stays, such as `["source_file desc", "line"]`. Rows that agree
    /// in all of these columns must be equal.
    #[serde(default)]
    pub keep_first_by: Vec<String>,
}

/// Bounds of the number of rows; at least one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// Fewest rows of the table.
    #[serde(default)]
    pub at_least: Option<u64>,
    /// Most rows of the table.
    #[serde(default)]
    pub at_most: Option<u64>,
}

/// The newest value of a column is young enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fresh {
    /// A date or timestamp column of the query.
    pub column: String,
    /// Age of the newest value at the time of the run, in hours.
    pub hours: u32,
}

/// The values of a column occur in a column of another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refers {
    /// A column of the query.
    pub column: String,
    /// `<layer>.<table>.<column>` that holds all of its values; that table's job runs first.
    pub to: String,
}

impl Refers {
    /// Table and column of `to`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn target(&self) -> Result<(TableName, &str), String> {
        let wrong = || format!("`{}` is not a column: write `<layer>.<table>.<column>`", self.to);
        let (table, column) = self.to.rsplit_once('.').filter(|(_, column)| !column.is_empty()).ok_or_else(wrong)?;
        Ok((table.parse().map_err(|_| wrong())?, column))
    }
}
