//! What commands print for programs: one shape each. Numbers are numbers, stamps are ISO 8601 in UTC, and what is not known is null.
//! docs/reference/output.md is written from these types.

mod land;
mod queue;

use chrono::{DateTime, SecondsFormat, Utc};
use pulse_core::Error;
use pulse_core::diagnostic::Diagnostic;
use pulse_core::interval::Interval;
use pulse_core::run::{ExpectationOutcome, InputRecord, Place, RunError, RunRecord, RunState};
use pulse_engine::table::History;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use land::{LandPeriod, LandPlan, LandStatus, Landed};
pub(crate) use queue::Queue;

/// Such as `2024-01-31T14:30:00.123Z`.
pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(crate) fn stamp_of_millis(at: i64) -> Option<String> {
    DateTime::from_timestamp_millis(at).map(stamp)
}

/// A span of time; its end is not part of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Span {
    pub(crate) start: String,
    pub(crate) end: String,
}

impl From<Interval> for Span {
    fn from(interval: Interval) -> Self {
        Self { start: stamp(interval.start), end: stamp(interval.end) }
    }
}

/// A job that was checked.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckedJob {
    /// Null for mistakes that belong to no job.
    pub(crate) job: Option<String>,
    /// Names of its table's columns; null where a mistake hides them.
    pub(crate) columns: Option<Vec<String>>,
    /// Empty for a job that is in order.
    pub(crate) mistakes: Vec<Mistake>,
}

/// A mistake in a file of the project.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Mistake {
    /// Path below the project's folder; null for a mistake that has no place.
    pub(crate) file: Option<String>,
    /// From 1; null for a mistake of the whole file.
    pub(crate) line: Option<usize>,
    /// In characters, from 1.
    pub(crate) column: Option<usize>,
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl Mistake {
    /// All of an error.
    pub(crate) fn all(error: &Error) -> Vec<Self> {
        if error.diagnostics().is_empty() {
            let message = error.message().to_owned();
            return vec![Self { file: None, line: None, column: None, message, help: None }];
        }
        error.diagnostics().iter().map(Self::from).collect()
    }
}

impl From<&Diagnostic> for Mistake {
    fn from(found: &Diagnostic) -> Self {
        let place = |at: usize| (!found.is_of_file()).then_some(at);
        Self {
            file: Some(found.path.clone()),
            line: place(found.line),
            column: place(found.column),
            message: found.message.clone(),
            help: found.help.clone(),
        }
    }
}

/// A table or a source of the project's graph.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// `files`, `database`, `external` or `job`.
    pub(crate) kind: &'static str,
    /// Tables and sources that its query reads.
    pub(crate) reads: Vec<String>,
    /// Tables that its expectations compare it with.
    pub(crate) refers: Vec<String>,
}

/// A table or a source that a query can name.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queryable {
    pub(crate) table: String,
    /// `table`, `source of files` or `table of others`.
    pub(crate) kind: &'static str,
}

/// A column of a table or a source.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueryColumn {
    pub(crate) column: String,
    #[serde(rename = "type")]
    pub(crate) data_type: String,
}

/// What a backfill will do to one table.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackfillJob {
    pub(crate) job: String,
    /// Intervals that are computed for the first time, in words.
    pub(crate) missing: String,
    /// Intervals that are computed again, in words.
    pub(crate) again: String,
    /// Size of what is read.
    pub(crate) bytes: u64,
    pub(crate) runs: usize,
    /// What else is computed, or why nothing is.
    pub(crate) why: String,
}

/// A table of the lake.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Table {
    pub(crate) table: String,
    pub(crate) version: u64,
    /// Null where its log does not say.
    pub(crate) rows: Option<u64>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Whether a job of the project writes it; null where there is no project.
    pub(crate) job: Option<bool>,
}

/// One table in detail.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TableDetail {
    pub(crate) table: String,
    pub(crate) version: u64,
    pub(crate) location: String,
    pub(crate) rows: Option<u64>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) columns: Vec<Column>,
    pub(crate) partition_by: Vec<String>,
    /// Tables that it was made from.
    pub(crate) read_tables: Vec<ReadTable>,
    /// Files that it was made from, by source.
    pub(crate) read_files: Vec<ReadFiles>,
    /// Intervals that were computed.
    pub(crate) computed: Vec<Span>,
    /// Intervals of its job that are due and not computed; null where the project has no such job.
    pub(crate) missing: Option<Vec<Span>>,
    /// Its newest commits.
    pub(crate) commits: Vec<Commit>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Column {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) data_type: String,
}

/// A bookmark: the version of a table that the last run has read.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReadTable {
    pub(crate) table: String,
    pub(crate) version: u64,
    /// Null where the table is not in the lake.
    pub(crate) newest: Option<u64>,
    /// Whether another table lies there now: the next run computes everything.
    pub(crate) recreated: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReadFiles {
    pub(crate) source: String,
    pub(crate) files: u64,
    /// With `--files all`, else null.
    pub(crate) paths: Option<Vec<String>>,
}

/// An entry of a table's log.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    pub(crate) timestamp: Option<String>,
    /// `incremental`, `full: <reason>`, `optimize`, `restore of version <n>`; null for commits of others.
    pub(crate) mode: Option<String>,
    pub(crate) run_id: Option<String>,
    pub(crate) files_added: u64,
    pub(crate) files_removed: u64,
    /// What else the run has noted: `pulse.inputs`, `pulse.counts` and others.
    pub(crate) details: Map<String, Value>,
}

impl From<History> for Commit {
    fn from(entry: History) -> Self {
        Self {
            version: entry.version,
            timestamp: entry.timestamp.and_then(stamp_of_millis),
            mode: entry.details.get("pulse.mode").and_then(Value::as_str).map(str::to_owned),
            run_id: entry.run_id,
            files_added: entry.files_added as u64,
            files_removed: entry.files_removed as u64,
            details: entry.details.into_iter().collect(),
        }
    }
}

/// What an optimization did to one table.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Optimized {
    pub(crate) table: String,
    /// Null when nothing was committed.
    pub(crate) version: Option<u64>,
    pub(crate) files_removed: u64,
    pub(crate) bytes_removed: u64,
    pub(crate) files_added: u64,
    pub(crate) bytes_added: u64,
}

/// A file that a vacuum deletes, or with `--dry-run` would delete.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UnneededFile {
    pub(crate) table: String,
    /// Below the table's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) modified: String,
}

/// A table that was dropped.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Dropped {
    pub(crate) table: String,
    /// Deleted, the log's among them.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// A table that was restored.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Restored {
    pub(crate) table: String,
    /// The version that it is like now.
    pub(crate) restored: u64,
    /// Null when it was so before.
    pub(crate) version: Option<u64>,
    pub(crate) files_added: u64,
    pub(crate) files_removed: u64,
    pub(crate) rows: Option<u64>,
}

/// A table with another name.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Renamed {
    pub(crate) old: String,
    pub(crate) new: String,
    /// Whether its quarantine moved with it.
    pub(crate) quarantine: bool,
}

/// Files whose rows were taken out of a table.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Forgotten {
    pub(crate) table: String,
    /// Null when nothing was committed.
    pub(crate) version: Option<u64>,
    pub(crate) files: Vec<String>,
    pub(crate) rows: u64,
}

/// A difference between a table and its entry in the catalog.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogDifference {
    pub(crate) table: String,
    pub(crate) difference: String,
}

/// What was done about an entry of the catalog.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogChange {
    pub(crate) table: String,
    pub(crate) done: String,
}

/// A fixture of a job.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tested {
    pub(crate) job: String,
    /// Null for a job that cannot be tested.
    pub(crate) test: Option<String>,
    pub(crate) passed: bool,
    /// A line for each row that is missing or not expected, or why there was no test.
    pub(crate) differences: Vec<String>,
}

/// A rejected row of a source.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reject {
    pub(crate) file: String,
    pub(crate) line: i64,
    pub(crate) reason: String,
    pub(crate) raw: String,
}

/// One run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Run {
    pub(crate) run: String,
    pub(crate) trigger: String,
    pub(crate) job: String,
    pub(crate) table: String,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) state: RunState,
    pub(crate) started: Option<String>,
    pub(crate) ended: Option<String>,
    /// Wall clock, from start to end.
    pub(crate) seconds: f64,
    pub(crate) place: Option<Place>,
    pub(crate) interval: Option<Span>,
    pub(crate) inputs: Vec<InputRecord>,
    /// Version of the table that it committed.
    pub(crate) version: Option<u64>,
    /// Rows that were read from the sources, with the records that the reader rejected: a source that the query names twice counts twice,
    /// and so does what was read again after the loss of an executor.
    pub(crate) rows_in: u64,
    /// Rows of the query in the table's new files.
    pub(crate) rows_out: u64,
    /// Rejected by the reader, or by an expectation with `on_fail = "quarantine"`.
    pub(crate) rows_quarantined: u64,
    /// Taken out by an expectation with `on_fail = "drop"`.
    pub(crate) rows_dropped: u64,
    /// Size of the files of all sources that were read, whole, and of the table's own files that were read again to replace rows in them.
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) files_added: u64,
    pub(crate) files_removed: u64,
    pub(crate) expectations: Vec<ExpectationOutcome>,
    /// Rows that went to quarantine, by reason.
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) notes: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) error: Option<RunError>,
    /// Attempts that failed, oldest first.
    pub(crate) failures: Vec<Failure>,
    /// Why it was skipped or cancelled.
    pub(crate) reason: Option<String>,
}

/// Of a run, what CSV has: all that is one value.
pub(crate) const RUN_KEYS: [&str; 17] = [
    "run",
    "job",
    "attempt",
    "state",
    "started",
    "ended",
    "seconds",
    "version",
    "rows_in",
    "rows_out",
    "rows_quarantined",
    "rows_dropped",
    "bytes_read",
    "bytes_written",
    "files_added",
    "files_removed",
    "reason",
];

/// A cluster on EMR.
#[derive(Debug, Serialize, JsonSchema)]
#[cfg_attr(not(feature = "aws"), allow(dead_code, reason = "only its schema is printed"))]
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    /// Why it is in this state, when EMR says.
    pub(crate) reason: String,
    pub(crate) log_uri: String,
    pub(crate) created: Option<String>,
    /// Seconds after which EMR ends it when it is idle.
    pub(crate) idle_timeout: Option<i64>,
    pub(crate) groups: Vec<MachineGroup>,
    /// Newest first.
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[cfg_attr(not(feature = "aws"), allow(dead_code, reason = "only its schema is printed"))]
pub(crate) struct MachineGroup {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `primary`, `core`, `task` or `other`.
    pub(crate) role: String,
    /// `on_demand` or `spot`.
    pub(crate) market: String,
    pub(crate) instance_type: String,
    pub(crate) requested: u64,
    pub(crate) running: u64,
    pub(crate) state: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[cfg_attr(not(feature = "aws"), allow(dead_code, reason = "only its schema is printed"))]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Rejected {
    pub(crate) rows: u64,
    pub(crate) reason: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Failure {
    pub(crate) attempt: u32,
    pub(crate) at: Option<String>,
    pub(crate) place: Option<Place>,
    pub(crate) error: RunError,
    /// Milliseconds to the next attempt; null when there was none.
    pub(crate) retried_after: Option<i64>,
}

impl From<&RunRecord> for Run {
    fn from(record: &RunRecord) -> Self {
        let counts = &record.counts;
        let failures = record.failures.iter().map(|failure| Failure {
            attempt: failure.attempt,
            at: stamp_of_millis(failure.at),
            place: failure.place,
            error: failure.error.clone(),
            retried_after: failure.retried_after,
        });
        let rejected = record.rejected.iter().map(|one| Rejected { rows: one.rows, reason: one.reason.clone() });
        Self {
            run: record.run.to_string(),
            trigger: record.trigger.to_string(),
            job: record.job.to_string(),
            table: record.table.to_string(),
            attempt: record.attempt,
            state: record.state,
            started: record.started.and_then(stamp_of_millis),
            ended: record.ended.and_then(stamp_of_millis),
            seconds: record.seconds,
            place: record.place,
            interval: record.interval.map(Span::from),
            inputs: record.inputs.clone(),
            version: record.version,
            rows_in: counts.rows_in,
            rows_out: counts.rows_out,
            rows_quarantined: counts.rows_quarantined,
            rows_dropped: counts.rows_dropped,
            bytes_read: counts.bytes_read,
            bytes_written: counts.bytes_written,
            files_added: counts.files_added,
            files_removed: counts.files_removed,
            expectations: record.expectations.clone(),
            rejected: rejected.collect(),
            notes: record.notes.clone(),
            warnings: record.warnings.clone(),
            error: record.error.clone(),
            failures: failures.collect(),
            reason: record.reason.clone(),
        }
    }
}

/// A schedule of the project.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Schedule {
    pub(crate) schedule: String,
    /// Null where a table holds the times.
    pub(crate) cron: Option<String>,
    /// Table, column and delay of the times; null with `cron`.
    pub(crate) sessions: Option<String>,
    pub(crate) time_zone: String,
    /// Patterns of jobs; empty for all jobs.
    pub(crate) jobs: Vec<String>,
    pub(crate) enabled: bool,
    /// Null while it is paused.
    pub(crate) next: Option<String>,
    /// The newest time whose jobs have run.
    pub(crate) last: Option<String>,
}

/// An incident that an alert knows of.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Alert {
    pub(crate) alert: String,
    pub(crate) job: String,
    pub(crate) kind: pulse_core::alert::Kind,
    /// When the run ended that showed it first, or the last one that was in order.
    pub(crate) since: Option<String>,
    /// When a run showed that it is over; null before.
    pub(crate) over: Option<String>,
    /// Whether a message about this state was delivered.
    pub(crate) delivered: bool,
    /// The trigger that showed it first; null where there was no run.
    pub(crate) trigger: Option<String>,
    pub(crate) what: String,
}

/// A time of a schedule.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ScheduledTime {
    /// In the schedule's time zone.
    pub(crate) local: String,
    pub(crate) time: String,
}
