//! Where rows go: every task checks its rows and writes its own Parquet files; nobody sees them before the driver commits.

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

/// What a sink does with its rows; columns are named as in its input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct SinkSpec {
    pub run_id: String,
    /// URL of the table's folder.
    pub table: String,
    /// Columns that are written, in the table's order. Others serve checks only.
    pub columns: Vec<String>,
    pub partition_by: Vec<String>,
    /// Order of rows within a file.
    pub order: Vec<String>,
    /// Files are cut at about this size.
    pub target_file_bytes: u64,
    /// URL of the quarantine table's folder.
    pub quarantine: String,
    pub checks: Vec<RowCheck>,
    pub unique: Option<UniqueCheck>,
    /// Neighbours that agree in the grain are looked for, wherever rows go.
    pub grain: Option<UniqueCheck>,
}

/// A condition already evaluated by the plan below, as a boolean column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct RowCheck {
    pub name: String,
    pub column: String,
    pub on_fail: FailAction,
}

/// Rows that agree in `columns`; the first by `keep_first_by` stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct UniqueCheck {
    pub name: String,
    /// In the order's order.
    pub columns: Vec<String>,
    pub adjacency: Adjacency,
    pub on_fail: FailAction,
    pub keep_first_by: Vec<SortKey>,
}

/// Why rows that agree in the unique columns lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub enum Adjacency {
    /// The columns lead the order.
    Proven,
    /// Other columns lie between them in the order, such as a day between a symbol and a time; rows tell whether these follow
    /// from the unique ones.
    Watched,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct SortKey {
    pub column: String,
    pub descending: bool,
    pub nulls_first: bool,
}

/// [`OnFail`] as far as a single row is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash, Serialize, Deserialize)]
pub enum FailAction {
    Count,
    Drop,
    Quarantine,
    /// Of a repeated row: dropped, unless it is not equal to the one that stays and no less by its order. Then it stays too, and
    /// the run fails.
    Supersede,
}

impl From<OnFail> for FailAction {
    fn from(on_fail: OnFail) -> Self {
        match on_fail {
            // The driver refuses the commit; the rows' fate does not matter.
            OnFail::Warn | OnFail::Fail => Self::Count,
            OnFail::Drop => Self::Drop,
            OnFail::Quarantine => Self::Quarantine,
        }
    }
}

impl SinkSpec {
    /// The order that input rows must arrive in: partition, then file order, then which of equal rows comes first.
    pub fn input_order(&self) -> Vec<SortKey> {
        let mut keys: Vec<SortKey> = Vec::new();
        let ascending =
            |columns: &[String]| columns.iter().map(|column| SortKey::ascending(column)).collect::<Vec<_>>();
        let ties = self.unique.iter().flat_map(|unique| unique.keep_first_by.iter().cloned());
        // Where one row of those that agree is left, the order of the others matters to nobody else.
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

    /// The file order as far as the table's own columns prove it.
    pub fn written_order(&self) -> Vec<String> {
        self.order.iter().take_while(|column| self.columns.contains(column)).cloned().collect()
    }

    /// Columns whose equal rows must meet in one task; empty when rows may go anywhere.
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

/// What one partition of a sink did; its only output row, as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PartitionResult {
    pub rows_in: u64,
    pub rows_written: u64,
    pub rows_quarantined: u64,
    pub rows_dropped: u64,
    /// Lines that a file source rejected; a part of `rows_quarantined`.
    pub rows_rejected: u64,
    /// Failures of each row check, in the spec's order.
    pub failed: Vec<u64>,
    pub repeated: u64,
    /// Rows that repeat others may have been missed: they did not come in the order of the unique columns.
    pub disordered: bool,
    /// Rows of one key differ, and none is greater by the order that says which one stays. All of them are written.
    pub tied: bool,
    /// Rows may agree in the grain: some did, or they did not come in its order.
    pub grain_in_doubt: bool,
    /// Rows that went to quarantine.
    #[serde(default)]
    pub reasons: Reasons,
    /// What readers of files noted; it came beside the rows.
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub notes: Notes,
    pub files: Vec<Add>,
    pub quarantine_files: Vec<Add>,
}
