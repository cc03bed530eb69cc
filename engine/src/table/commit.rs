//! One optimistic commit: our own conflict rules, and a look-up of our run id after every doubtful answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::schema::StructType;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, Add, Protocol, Remove, Transaction, new_metadata};
use deltalake_core::logstore::{CommitOrBytes, get_actions};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use pulse_core::{Error, Result};
use serde_json::Value;
use uuid::Uuid;

use super::{DataFile, Snapshot, Table};
use crate::error::{from_datafusion, from_delta};

/// Key of the run's id in `commitInfo`.
const RUN_ID_KEY: &str = "pulse.runId";

/// What one run does to a table.
#[derive(Debug, Clone)]
pub struct Commit {
    pub run_id: String,
    pub adds: Vec<Add>,
    pub removes: Vec<DataFile>,
    /// Whether the rows were computed from the table's own rows, as a merge's are.
    pub read_table: Removal,
    /// Bookmarks and consumed files: application id to version.
    pub transactions: Vec<(String, i64)>,
    /// Further keys of `commitInfo`.
    pub details: BTreeMap<String, Value>,
    /// The table's columns from this commit on; other ones than it has only in a commit that replaces all rows.
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    /// Milliseconds since the epoch, UTC.
    pub at: i64,
}

/// How a commit depends on the rows that were in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Rows are added whatever is there.
    Independent,
    /// The rows that are there decide what is written or removed.
    FromRows,
}

/// Limits of the optimistic loop.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    pub attempts: u32,
    /// Before the second attempt; doubles up to 64 times.
    pub backoff: Duration,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self { attempts: 16, backoff: Duration::from_millis(50), checkpoint_every: 20 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed {
        version: u64,
    },
    /// An earlier try of this run had succeeded although its answer was lost.
    AlreadyCommitted {
        version: u64,
    },
    /// Somebody else changed what we read; plan again.
    Conflict {
        version: u64,
        reason: String,
    },
}

/// One entry of a table's history.
#[derive(Debug, Clone, serde::Serialize)]
pub struct History {
    pub version: u64,
    /// Milliseconds since the epoch, UTC.
    pub timestamp: Option<i64>,
    pub run_id: Option<String>,
    pub files_added: usize,
    pub files_removed: usize,
    pub details: BTreeMap<String, Value>,
}

impl Table {
    /// Writes the commit after `read`, or after what others committed meanwhile if that does not conflict.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer, `Invalid` when it refuses, `Conflict` when attempts run out.
    pub async fn commit(
        &self,
        read: Option<&Snapshot>,
        commit: &Commit,
        options: &CommitOptions,
    ) -> Result<CommitOutcome> {
        let bytes = self.commit_bytes(read, commit)?;
        let mut version = read.map_or(0, |snapshot| snapshot.version + 1);
        for attempt in 0..options.attempts {
            let entry = CommitOrBytes::LogBytes(bytes.clone());
            let written = self.log().write_commit_entry(version, entry, Uuid::new_v4()).await;
            let Err(error) = written else {
                self.checkpoint_if_due(version, options).await;
                return Ok(CommitOutcome::Committed { version });
            };
            match self.look_up(version, commit).await? {
                Found::Nothing if matches!(error, TransactionError::VersionAlreadyExists(_)) => {}
                Found::Nothing => return Err(self.not_written(error)),
                Found::Ours { version } => return Ok(CommitOutcome::AlreadyCommitted { version }),
                Found::Conflict { version, reason } => return Ok(CommitOutcome::Conflict { version, reason }),
                Found::Others { next } => version = next,
            }
            tokio::time::sleep(options.backoff * 2u32.pow(attempt.min(6))).await;
        }
        Err(Error::conflict(format!(
            "table {}: {} attempts to commit were overtaken; raise `commit_attempts` or run less at once",
            self.name(),
            options.attempts
        )))
    }

    fn not_written(&self, error: TransactionError) -> Error {
        from_delta(&self.doing("commit to"), DeltaTableError::from(error))
    }

    /// What stands in the log from `first` on: our own commit, a conflict, or harmless commits of others.
    async fn look_up(&self, first: u64, commit: &Commit) -> Result<Found> {
        let mut next = first;
        while let Some(actions) = self.entry(next).await? {
            if run_id(&actions) == Some(commit.run_id.as_str()) {
                return Ok(Found::Ours { version: next });
            }
            if let Some(reason) = conflict(&actions, commit) {
                return Ok(Found::Conflict { version: next, reason });
            }
            next += 1;
        }
        Ok(if next == first { Found::Nothing } else { Found::Others { next } })
    }

    async fn entry(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let doing = self.doing("read the log of");
        let Some(bytes) = self.log().read_commit_entry(version).await.map_err(|e| self.broken(&doing, e))? else {
            return Ok(None);
        };
        get_actions(version, &bytes).map(Some).map_err(|e| self.broken(&doing, e))
    }

    fn commit_bytes(&self, read: Option<&Snapshot>, commit: &Commit) -> Result<bytes::Bytes> {
        let mut actions = Vec::new();
        match read {
            None => actions.extend(self.creation(commit)?),
            Some(snapshot) if differs(snapshot, commit) => actions.push(self.redefinition(snapshot, commit)?),
            Some(_) => {}
        }
        actions.extend(commit.removes.iter().map(|file| Action::Remove(removal(file, commit.at))));
        actions.extend(commit.adds.iter().cloned().map(Action::Add));
        let mut details: std::collections::HashMap<String, Value> = commit.details.clone().into_iter().collect();
        details.insert(RUN_ID_KEY.to_owned(), Value::String(commit.run_id.clone()));
        details.insert("engineInfo".to_owned(), Value::String(format!("pulse/{}", env!("CARGO_PKG_VERSION"))));
        let mode = if commit.removes.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
        let partition_by = Some(commit.partition_by.clone()).filter(|columns| !columns.is_empty());
        let operation = DeltaOperation::Write { mode, partition_by, predicate: None };
        let transactions = commit
            .transactions
            .iter()
            .map(|(id, version)| Transaction { app_id: id.clone(), version: *version, last_updated: Some(commit.at) })
            .collect();
        CommitData::new(actions, operation, details, transactions).get_bytes().map_err(|e| {
            Error::internal(format!("commit to table {} cannot be written as JSON", self.name())).with_source(e)
        })
    }

    /// The first two actions of a new table.
    fn creation(&self, commit: &Commit) -> Result<[Action; 2]> {
        let schema = self.delta_schema(commit)?;
        let doing = self.doing("create");
        let metadata = new_metadata(&schema, &commit.partition_by, Vec::<(String, String)>::new())
            .map_err(|e| from_delta(&doing, e.into()))?;
        let protocol: Protocol =
            serde_json::from_value(serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2}))
                .map_err(|e| Error::internal("protocol (1,2) is not a protocol").with_source(e))?;
        Ok([Action::Protocol(protocol), Action::Metadata(metadata)])
    }

    /// The table as it is but for its columns and what it is partitioned by.
    fn redefinition(&self, snapshot: &Snapshot, commit: &Commit) -> Result<Action> {
        let broken = |e: serde_json::Error| {
            Error::internal(format!("the metadata of table {} is not JSON", self.name())).with_source(e)
        };
        let mut metadata = serde_json::to_value(&snapshot.metadata).map_err(broken)?;
        metadata["schemaString"] = Value::String(serde_json::to_string(&self.delta_schema(commit)?).map_err(broken)?);
        metadata["partitionColumns"] = serde_json::to_value(&commit.partition_by).map_err(broken)?;
        serde_json::from_value(metadata).map(Action::Metadata).map_err(broken)
    }

    fn delta_schema(&self, commit: &Commit) -> Result<StructType> {
        commit.schema.as_ref().try_into_kernel().map_err(|e| {
            Error::invalid(format!("table {}: its columns have no Delta type; cast them in the query", self.name()))
                .with_source(e)
        })
    }

    /// A checkpoint only shortens the next read of the log, so a failure is told and not raised.
    async fn checkpoint_if_due(&self, version: u64, options: &CommitOptions) {
        if version == 0 || !version.is_multiple_of(options.checkpoint_every.max(1)) {
            return;
        }
        if let Err(error) = self.checkpoint(version).await {
            log::warn!("checkpoint of table {} at version {version}: {error}", self.name());
        }
    }

    async fn checkpoint(&self, version: u64) -> Result<()> {
        use deltalake_core::kernel::Snapshot as DeltaSnapshot;
        let doing = self.doing("checkpoint");
        let delta =
            DeltaSnapshot::try_new(self.log().as_ref(), Some(version)).await.map_err(|e| from_delta(&doing, e))?;
        let scan = delta.scan_builder().build().map_err(|e| from_delta(&doing, e))?;
        let (kernel, engine) = (Arc::clone(scan.snapshot()), self.log().engine(None));
        tokio::task::spawn_blocking(move || kernel.checkpoint(engine.as_ref(), None).map(|_| ()))
            .await
            .map_err(|e| Error::internal(format!("{doing}: stopped")).with_source(e))?
            .map_err(|e| from_delta(&doing, e.into()))
    }

    /// Commits from newest to oldest, as far back as the log reaches and at most `limit`.
    ///
    /// # Errors
    /// `Data` for a broken log.
    pub async fn history(&self, limit: usize) -> Result<Vec<History>> {
        let Some(snapshot) = self.snapshot(None).await? else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        for version in (0..=snapshot.version).rev().take(limit) {
            // Older entries may have been cleaned up behind a checkpoint.
            let Some(actions) = self.entry(version).await? else { break };
            entries.push(history(version, &actions));
        }
        Ok(entries)
    }

    /// Files with new rows that the commit of `version` added; not those whose rows it only moved.
    ///
    /// # Errors
    /// `Data` for a broken log.
    pub async fn added_by(&self, version: u64, snapshot: &Snapshot) -> Result<Vec<DataFile>> {
        let actions = self.entry(version).await?.unwrap_or_default();
        Ok(actions
            .iter()
            .filter_map(|action| match action {
                Action::Add(add) if add.data_change => Some(DataFile::from_add(add, &snapshot.schema)),
                _ => None,
            })
            .collect())
    }

    /// # Errors
    /// As of the query that reads it.
    pub fn failed(&self, doing: &str, error: datafusion::error::DataFusionError) -> Error {
        from_datafusion(&self.doing(doing), error)
    }
}

enum Found {
    Nothing,
    Ours { version: u64 },
    Conflict { version: u64, reason: String },
    Others { next: u64 },
}

/// Whether the commit gives the table other columns, another order of them, or other partitions.
fn differs(snapshot: &Snapshot, commit: &Commit) -> bool {
    let columns = |schema: &SchemaRef| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    snapshot.partition_by != commit.partition_by || columns(&snapshot.schema) != columns(&commit.schema)
}

fn run_id(actions: &[Action]) -> Option<&str> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.get(RUN_ID_KEY)?.as_str(),
        _ => None,
    })
}

/// Why a commit that came first rules ours out; none when both stand, in whichever order.
///
/// delta-rs' own checker lets two removals of one file pass when the winner only rearranged rows, and lets an overwrite
/// pass over a concurrent append; either would double or lose rows.
fn conflict(winner: &[Action], ours: &Commit) -> Option<String> {
    let removes: HashSet<&str> = ours.removes.iter().map(|file| file.path.as_str()).collect();
    winner.iter().find_map(|action| match action {
        Action::Metadata(_) | Action::Protocol(_) => Some("the table's definition changed".to_owned()),
        Action::Txn(txn) if ours.transactions.iter().any(|(id, _)| *id == txn.app_id) => {
            Some(format!("another run already moved `{}`", txn.app_id))
        }
        Action::Remove(remove) if removes.contains(remove.path.as_str()) => {
            Some(format!("file {} is already removed", remove.path))
        }
        Action::Add(add) if add.data_change && ours.read_table == Removal::FromRows => {
            Some("rows were added to the table".to_owned())
        }
        _ => None,
    })
}

fn removal(file: &DataFile, at: i64) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change: true,
        deletion_timestamp: Some(at),
        extended_file_metadata: Some(true),
        partition_values: Some(file.partition_values.clone()),
        size: i64::try_from(file.bytes).ok(),
        ..Remove::default()
    }
}

fn history(version: u64, actions: &[Action]) -> History {
    let mut entry = History {
        version,
        timestamp: None,
        run_id: run_id(actions).map(str::to_owned),
        files_added: 0,
        files_removed: 0,
        details: BTreeMap::new(),
    };
    for action in actions {
        match action {
            Action::Add(_) => entry.files_added += 1,
            Action::Remove(_) => entry.files_removed += 1,
            Action::CommitInfo(info) => {
                entry.timestamp = info.timestamp;
                entry.details = info.info.clone().into_iter().filter(|(key, _)| key.starts_with("pulse.")).collect();
            }
            _ => {}
        }
    }
    entry
}
