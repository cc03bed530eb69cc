//! The ledger's record of a run.

mod not_run;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::interval::Interval;
use crate::manifest::OnFail;
use crate::name::TableName;
use crate::reasons::RejectedRows;

pub use not_run::{NotRun, NotRunJobs};

/// Id of a trigger: `<yyyymmddThhmmss, UTC>-<8 hex digits>`. Ids sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TriggerId(String);

/// Id of a run: `<trigger>-<layer>.<table>`. A trigger runs a job once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    trigger: TriggerId,
    job: TableName,
}

const TIME_FORMAT: &str = "%Y%m%dT%H%M%S";

impl TriggerId {
    /// `random` distinguishes triggers of the same second.
    pub fn new(now: DateTime<Utc>, random: u32) -> Self {
        Self(format!("{}-{random:08x}", now.format(TIME_FORMAT)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What ids of triggers from this second on are not below.
    pub fn first_of(time: DateTime<Utc>) -> String {
        time.format(TIME_FORMAT).to_string()
    }

    /// Its creation time, truncated to seconds.
    pub fn time(&self) -> DateTime<Utc> {
        let time = self.0.split_once('-').and_then(|(time, _)| NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok());
        time.unwrap_or_default().and_utc()
    }
}

impl FromStr for TriggerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_id = text.split_once('-').is_some_and(|(time, random)| {
            NaiveDateTime::parse_from_str(time, TIME_FORMAT).is_ok()
                && time.len() == "yyyymmddThhmmss".len()
                && random.len() == 8
                && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        match is_id {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::invalid(format!(
                "`{text}` is not a trigger's id: write it as `20240131T143000-0a1b2c3d`; `pulse runs list` shows them"
            ))),
        }
    }
}

impl RunId {
    pub fn new(trigger: TriggerId, job: TableName) -> Self {
        Self { trigger, job }
    }

    pub fn trigger(&self) -> &TriggerId {
        &self.trigger
    }

    pub fn job(&self) -> &TableName {
        &self.job
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.match_indices('-').nth(1).map(|(second, _)| (&text[..second], &text[second + 1..]));
        let id = parts.and_then(|(trigger, job)| Some(Self { trigger: trigger.parse().ok()?, job: job.parse().ok()? }));
        id.ok_or_else(|| {
            Error::invalid(format!(
                "`{text}` is not a run's id: write it as `20240131T143000-0a1b2c3d-silver.bars`; `pulse runs list` shows them"
            ))
        })
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.trigger, self.job)
    }
}

impl TryFrom<String> for TriggerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TriggerId> for String {
    fn from(id: TriggerId) -> Self {
        id.0
    }
}

impl TryFrom<String> for RunId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for its upstream or for a free slot.
    Queued,
    Planning,
    Running,
    Committing,
    /// A version was committed.
    Succeeded,
    /// There was nothing to commit.
    Unchanged,
    Failed,
    Cancelled,
    /// Its upstream did not succeed; it never started.
    Skipped,
    /// Its driver died and no other has resumed it. Never stored: readers of the ledger derive it from the lease.
    Lost,
}

impl RunState {
    /// Whether no other state follows.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Planning | Self::Running | Self::Committing | Self::Lost => false,
            Self::Succeeded | Self::Unchanged | Self::Failed | Self::Cancelled | Self::Skipped => true,
        }
    }

    /// Whether the table is up to date with its sources.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::Unchanged)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Committing => "committing",
            Self::Succeeded => "succeeded",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
        })
    }
}

/// Where a run's tasks ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the driver's process.
    Local,
    /// On executors.
    Cluster,
}

/// Version of the record's format; a reader refuses unknown ones.
pub const RECORD_FORMAT: u32 = 1;

/// One run in the ledger. Times are in milliseconds since 1970 in UTC; sizes in bytes of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub format: u32,
    pub run: RunId,
    pub trigger: TriggerId,
    pub job: TableName,
    /// The table that is written; the job's name.
    pub table: TableName,
    /// From 1.
    pub attempt: u32,
    pub state: RunState,
    /// None until it starts.
    #[serde(default)]
    pub started: Option<i64>,
    /// None until it ends.
    #[serde(default)]
    pub ended: Option<i64>,
    #[serde(default)]
    pub place: Option<Place>,
    #[serde(default)]
    pub interval: Option<Interval>,
    #[serde(default)]
    pub inputs: Vec<InputRecord>,
    /// Version of the table that the run committed.
    #[serde(default)]
    pub version: Option<u64>,
    #[serde(flatten)]
    pub counts: RunCounts,
    #[serde(default)]
    pub expectations: Vec<ExpectationOutcome>,
    /// Rows that went to quarantine, by reason, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedRows>,
    /// Fields in which files and their contract differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    #[serde(default)]
    pub error: Option<RunError>,
    /// Failed attempts, oldest first, including the last one of a failed run.
    #[serde(default)]
    pub failures: Vec<AttemptFailure>,
    /// Why it was skipped or cancelled.
    #[serde(default)]
    pub reason: Option<String>,
    /// Warnings: problems that did not fail the run.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Wall clock, from start to end.
    #[serde(default)]
    pub seconds: f64,
}

/// One source as the run saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRecord {
    /// `<layer>.<table>`, or `raw.<name>`.
    pub source: String,
    /// The pinned version; null for a source of files.
    #[serde(default)]
    pub version: Option<u64>,
    /// Files that were read.
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// Totals of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCounts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_quarantined: u64,
    pub rows_dropped: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub files_added: u64,
    pub files_removed: u64,
}

/// What one expectation found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationOutcome {
    pub name: String,
    pub on_fail: OnFail,
    /// Rows that were checked; 1 for a check of the table.
    pub checked: u64,
    pub failed: u64,
    /// Values, limits and sample rows of a failure that no quarantine shows.
    #[serde(default)]
    pub evidence: Vec<String>,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunError {
    pub kind: ErrorKind,
    pub message: String,
    /// The causes of the message, the root cause first.
    #[serde(default)]
    pub causes: Vec<String>,
}

/// One attempt of a run that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// From 1.
    pub attempt: u32,
    /// When it ended, in milliseconds since 1970 in UTC.
    pub at: i64,
    #[serde(default)]
    pub place: Option<Place>,
    pub error: RunError,
    /// Delay until the next attempt, in milliseconds; `None` if there was none.
    #[serde(default)]
    pub retried_after: Option<i64>,
}

impl RunError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new() }
    }

    /// The root cause.
    pub fn root(&self) -> &str {
        self.causes.first().unwrap_or(&self.message)
    }
}

impl From<&Error> for RunError {
    fn from(error: &Error) -> Self {
        let mut causes = Vec::new();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            causes.push(inner.to_string());
            source = inner.source();
        }
        causes.reverse();
        Self { kind: error.kind(), message: error.to_string(), causes }
    }
}

impl RunRecord {
    /// A queued run.
    pub fn queued(run: RunId) -> Self {
        Self {
            format: RECORD_FORMAT,
            trigger: run.trigger.clone(),
            job: run.job.clone(),
            table: run.job.clone(),
            run,
            attempt: 1,
            state: RunState::Queued,
            started: None,
            ended: None,
            place: None,
            interval: None,
            inputs: Vec::new(),
            version: None,
            counts: RunCounts::default(),
            expectations: Vec::new(),
            rejected: Vec::new(),
            notes: Vec::new(),
            error: None,
            failures: Vec::new(),
            reason: None,
            warnings: Vec::new(),
            seconds: 0.0,
        }
    }

    /// # Errors
    /// `Data` when it is not a record; `Invalid` when a newer pulse wrote it.
    pub fn from_json(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let broken = |error: serde_json::Error| {
            Error::data("a record of the run ledger cannot be read: delete it").with_source(error)
        };
        let head: Head = serde_json::from_str(text).map_err(broken)?;
        if head.format != RECORD_FORMAT {
            return Err(Error::invalid(format!(
                "a record of the run ledger has format {}, this pulse reads {RECORD_FORMAT}: use a later pulse",
                head.format
            )));
        }
        serde_json::from_str(text).map_err(broken)
    }

    /// # Errors
    /// `Internal`, when a value has no JSON.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::internal("a run record is always JSON").with_source(error))
    }
}

#[cfg(test)]
mod tests;
