//! The report of a run.

use deltalake_core::kernel::Add;
use pulse_core::interval_set::IntervalSet;
use pulse_core::name::TableName;
use pulse_core::reasons::RejectedRows;
use pulse_core::run::{ExpectationOutcome, InputRecord, Place, RunCounts};

use super::changes::files_read;
use super::pin::{Mode, Pinned};
use crate::sink::PartitionResult;
use crate::table::DataFile;

/// Outcome of a run without errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do: no commit.
    Unchanged,
    Committed {
        version: u64,
    },
    /// An expectation with `on_fail = "fail"` did not hold; the table is unchanged.
    ExpectationFailed {
        message: String,
    },
}

#[derive(Debug, Clone)]
pub struct Report {
    pub job: TableName,
    pub outcome: Outcome,
    pub mode: Mode,
    pub place: Place,
    pub intervals: IntervalSet,
    pub inputs: Vec<InputRecord>,
    pub counts: RunCounts,
    pub expectations: Vec<ExpectationOutcome>,
    /// Rows that went to quarantine, by reason, the most frequent first.
    pub rejected: Vec<RejectedRows>,
    /// Fields in which files and their contract differ.
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
    /// From 1; increased when other commits conflicted.
    pub attempt: u32,
}

/// Results of all partitions, added up.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) total: PartitionResult,
    /// Rows that the scans yielded.
    pub(super) rows_read: u64,
    /// Whether all rows with equal grain reached the same task.
    pub(super) grain_gathered: bool,
}

impl Staged {
    pub(super) fn new(results: Vec<PartitionResult>, checks: usize, grain_gathered: bool) -> Self {
        let total = PartitionResult { failed: vec![0; checks], ..PartitionResult::default() };
        let mut staged = Self { total, rows_read: 0, grain_gathered };
        results.into_iter().for_each(|result| staged.count(result));
        staged
    }

    /// Adds the results of another plan. No task saw the rows of both, so the tasks' findings about repeated rows do
    /// not count.
    pub(super) fn add(&mut self, other: Self) {
        self.count(other.total);
        self.grain_gathered = false;
        self.total.grain_in_doubt = true;
        self.total.disordered = true;
    }

    fn count(&mut self, result: PartitionResult) {
        let total = &mut self.total;
        total.rows_in += result.rows_in;
        total.note_rows += result.note_rows;
        total.rows_written += result.rows_written;
        total.rows_quarantined += result.rows_quarantined;
        total.rows_dropped += result.rows_dropped;
        total.rows_rejected += result.rows_rejected;
        total.repeated += result.repeated;
        total.disordered |= result.disordered;
        total.tied |= result.tied;
        total.grain_in_doubt |= result.grain_in_doubt;
        for (sum, failed) in total.failed.iter_mut().zip(result.failed) {
            *sum += failed;
        }
        total.reasons.merge(result.reasons);
        total.notes.merge(result.notes);
        total.files.extend(result.files);
        total.quarantine_files.extend(result.quarantine_files);
    }

    /// Rows that were read from the sources.
    pub(super) fn rows_in(&self) -> u64 {
        self.rows_read.saturating_sub(self.total.note_rows)
    }

    pub(super) fn counts(&self) -> RunCounts {
        RunCounts {
            rows_in: self.rows_in(),
            rows_out: self.total.rows_written,
            rows_quarantined: self.total.rows_quarantined,
            rows_dropped: self.total.rows_dropped,
            ..RunCounts::default()
        }
    }
}

/// Bytes of staged files.
pub(super) fn bytes(adds: &[Add]) -> u64 {
    adds.iter().map(|add| u64::try_from(add.size).unwrap_or_default()).sum()
}

/// The sources as the run reads them.
pub(super) fn inputs(pinned: &Pinned) -> Vec<InputRecord> {
    let files = pinned.files.iter().map(|(name, files)| InputRecord {
        source: format!("raw.{name}"),
        version: None,
        files: files.read.len() as u64,
        rows: 0,
        bytes: files.read.iter().map(|file| file.size).sum(),
    });
    let tables = pinned.tables.iter().map(|(name, table)| {
        let read = files_read(pinned, table);
        InputRecord {
            source: name.to_string(),
            version: Some(table.now.version),
            files: read.len() as u64,
            rows: read.iter().filter_map(DataFile::rows).sum(),
            bytes: read.iter().map(|file| file.bytes).sum(),
        }
    });
    let referred = pinned.referred.iter().filter(|(name, _)| !pinned.tables.contains_key(name));
    let referred = referred.map(|(name, (_, snapshot))| InputRecord {
        source: name.to_string(),
        version: Some(snapshot.version),
        files: snapshot.files.len() as u64,
        rows: snapshot.files.iter().filter_map(DataFile::rows).sum(),
        bytes: snapshot.bytes(),
    });
    files.chain(tables).chain(referred).collect()
}
