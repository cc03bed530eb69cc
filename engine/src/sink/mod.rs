//! Sinks: every task checks its rows and writes its own Parquet files, which are invisible until the driver commits.

mod bounds;
mod exec;
mod node;
mod planner;
mod task;
mod ties;
mod verdict;
mod writer;

use serde::{Deserialize, Serialize};

use deltalake_core::kernel::Add;
use pulse_core::manifest::OnFail;
use pulse_core::notes::Notes;
use pulse_core::reasons::Reasons;

pub use exec::SinkExec;
pub use node::SinkNode;
pub use planner::SinkPlanner;
pub use task::quarantine_schema;
pub(crate) use verdict::without_notes;

pub use crate::source::file::{NOTE, RAW, REASON};

/// Column of a quarantine table: the run that rejected the row.
pub const RUN_ID: &str = "_run_id";

/// What a sink does with its rows; columns have the names of its input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct SinkSpec {
    pub run_id: String,
    /// URL of the table's folder.
    pub table: String,
    /// Written columns, in the table's order. Other input columns serve only checks.
    pub columns: Vec<String>,
    pub partition_by: Vec<String>,
    /// Order of rows within a file.
    pub order: Vec<String>,
    /// Approximate target size of files.
    pub target_file_bytes: u64,
    /// URL of the quarantine table's folder.
    pub quarantine: String,
    pub checks: Vec<RowCheck>,
    pub unique: Option<UniqueCheck>,
    /// If set, the sink looks for adjacent rows with equal grain among the kept ones.
    pub grain: Option<UniqueCheck>,
}

/// A condition that the plan below has evaluated as a boolean column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct RowCheck {
    pub name: String,
    pub column: String,
    pub on_fail: FailAction,
}

/// Of rows with equal `columns`, keeps the first by `keep_first_by`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct UniqueCheck {
    pub name: String,
    /// In the order of the input's sort keys.
    pub columns: Vec<String>,
    pub adjacency: Adjacency,
    pub on_fail: FailAction,
    pub keep_first_by: Vec<SortKey>,
}

/// Why rows with equal unique columns are adjacent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub enum Adjacency {
    /// The columns lead the order.
    Proven,
    /// Other columns are between them in the order, such as a day between a symbol and a time; the rows show whether
    /// these depend on the unique ones.
    Watched,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct SortKey {
    pub column: String,
    pub descending: bool,
    pub nulls_first: bool,
}

/// [`OnFail`] as it applies to a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub enum FailAction {
    Count,
    Drop,
    Quarantine,
    /// Drops a repeated row in favour of a later one.
    Supersede,
}

impl From<OnFail> for FailAction {
    fn from(on_fail: OnFail) -> Self {
        match on_fail {
            // The driver refuses the commit, so the treatment of the rows does not matter.
            OnFail::Warn | OnFail::Fail => Self::Count,
            OnFail::Drop => Self::Drop,
            OnFail::Quarantine => Self::Quarantine,
        }
    }
}

impl SinkSpec {
    /// The required input order: partition, then file order, then the order among equal rows.
    pub fn input_order(&self) -> Vec<SortKey> {
        let mut keys: Vec<SortKey> = Vec::new();
        let ascending =
            |columns: &[String]| columns.iter().map(|column| SortKey::ascending(column)).collect::<Vec<_>>();
        let ties = self.unique.iter().flat_map(|unique| unique.keep_first_by.iter().cloned());
        // If only one of several equal rows is kept, the order of the others affects nothing else.
        let one_left = self
            .unique
            .iter()
            .filter(|unique| unique.on_fail != FailAction::Count && unique.adjacency == Adjacency::Proven);
        let first =
            one_left.flat_map(|unique| ascending(&unique.columns).into_iter().chain(unique.keep_first_by.clone()));
        let partitions = ascending(&self.partition_by).into_iter();
        for key in partitions.chain(first).chain(ascending(&self.order)).chain(ties) {
            if !keys.iter().any(|known| known.column == key.column) {
                keys.push(key);
            }
        }
        keys
    }

    /// The prefix of the file order that the table's own columns prove.
    pub fn written_order(&self) -> Vec<String> {
        self.order.iter().take_while(|column| self.columns.contains(column)).cloned().collect()
    }

    /// Rows with equal values in these columns must reach the same task; empty if there is no such requirement.
    pub fn meeting_columns(&self) -> &[String] {
        match &self.unique {
            _ if !self.partition_by.is_empty() => &self.partition_by,
            Some(unique) => &unique.columns,
            None => &[],
        }
    }
}

impl SortKey {
    pub fn ascending(column: &str) -> Self {
        Self { column: column.to_owned(), descending: false, nulls_first: false }
    }
}

/// Result of one partition of a sink; its only output row, as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PartitionResult {
    pub rows_in: u64,
    pub rows_written: u64,
    pub rows_quarantined: u64,
    pub rows_dropped: u64,
    /// Lines rejected by a file source; included in `rows_quarantined`.
    pub rows_rejected: u64,
    /// Failures of each row check, in the spec's order.
    pub failed: Vec<u64>,
    pub repeated: u64,
    /// Duplicates may have been missed, because rows were not in the order of the unique columns.
    pub disordered: bool,
    /// Different rows of one key tie in the order that decides which one is kept. All of them are written.
    pub tied: bool,
    /// The grain may not be unique: some rows had equal grain, or rows were not in its order.
    pub grain_in_doubt: bool,
    /// Quarantined rows.
    #[serde(default)]
    pub reasons: Reasons,
    /// Notes of the file readers, passed along with the rows.
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub notes: Notes,
    /// Rows that were such notes.
    #[serde(default)]
    pub note_rows: u64,
    pub files: Vec<Add>,
    pub quarantine_files: Vec<Add>,
}
