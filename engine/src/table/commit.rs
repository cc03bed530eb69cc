//! Performs one optimistic commit: writes and reads log entries as `pulse_core::commit` decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use chrono::{DateTime, Utc};
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::schema::StructType;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, Add, Metadata, Protocol, Remove, Transaction, new_metadata};
use deltalake_core::logstore::{CommitOrBytes, get_actions};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use pulse_core::commit::{CommitAction, CommitEvent, CommitIntent, CommitProtocol, EntrySummary};
use pulse_core::{Error, ErrorKind, Result};
use serde_json::Value;
use uuid::Uuid;

use super::{DataFile, Snapshot, Table};
use crate::error::{from_datafusion, from_delta, from_store};
use crate::job::holds_wall_clock;

pub use pulse_core::commit::{CommitOutcome, Removal};

/// Key of the run's id in `commitInfo`.
const RUN_ID_KEY: &str = "pulse.runId";
/// Key of the id of one call of [`Table::commit`]. Without it, two attempts of one run could mistake each other's commits for their own.
const ATTEMPT_KEY: &str = "pulse.attempt";

/// The changes that one run makes to a table.
#[derive(Debug, Clone)]
pub struct Commit {
    pub run_id: String,
    pub adds: Vec<Add>,
    pub removes: Vec<DataFile>,
    /// Whether the rows were computed from the table's own rows, as a merge's are.
    pub read_table: Removal,
    /// Bookmarks and consumed files, by id; [`Table::bookmarks`] returns them.
    pub transactions: Vec<(String, i64)>,
    /// Further keys of `commitInfo`.
    pub details: BTreeMap<String, Value>,
    /// The table's columns from this commit on. Columns that it adds are null in existing rows.
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    /// Set if the commit changes the table as a whole, and not only rows.
    pub whole: Option<Whole>,
    /// Milliseconds since the epoch, UTC.
    pub at: i64,
}

/// A commit about the table as a whole.
#[derive(Debug, Clone)]
pub enum Whole {
    /// Restores this version, which had this definition.
    Restored { version: u64, metadata: Box<Metadata> },
    /// For pulse, the table no longer exists. Others see an empty table until its files are deleted.
    Dropped,
}

/// Property of a dropped table while its files are being deleted.
pub(super) const DROPPED: &str = "pulse.dropped";

/// Limits of the optimistic loop.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    pub attempts: u32,
    /// Delay before the second attempt; doubles up to 64 times.
    pub backoff: Duration,
    /// Commits between two checkpoints.
    pub checkpoint_every: u64,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self { attempts: 16, backoff: Duration::from_millis(50), checkpoint_every: 20 }
    }
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
    /// Writes the commit after `read`, or after later commits of others that do not conflict.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer, `Invalid` when it refuses or the table requires more of a writer than we do,
    /// `Conflict` when attempts run out.
    pub async fn commit(
        &self,
        read: Option<&Snapshot>,
        commit: &Commit,
        options: &CommitOptions,
    ) -> Result<CommitOutcome> {
        if let Some(snapshot) = read {
            self.refuse_unwritable(snapshot, commit.row_change())?;
        }
        let attempt = Uuid::new_v4().to_string();
        let (transactions, segment) = self.store_marks(read, commit.transactions.clone()).await?;
        let bytes = self.commit_bytes(read, commit, &transactions, &attempt)?;
        let outcome = self.write_entry(read, intent(commit, &transactions, attempt), bytes, options).await;
        // After an error the entry may still appear.
        if let (Ok(CommitOutcome::Conflict { .. }), Some(segment)) = (&outcome, segment) {
            self.discard_segment(&segment).await;
        }
        outcome
    }

    async fn write_entry(
        &self,
        read: Option<&Snapshot>,
        intent: CommitIntent,
        bytes: bytes::Bytes,
        options: &CommitOptions,
    ) -> Result<CommitOutcome> {
        let first = read.map_or(0, |snapshot| snapshot.version + 1);
        let mut protocol = CommitProtocol::new(intent, first, options.attempts);
        let mut action = protocol.start();
        let mut failure = None;
        loop {
            let event = match action {
                CommitAction::Write { version, retry } => {
                    if retry > 0 {
                        tokio::time::sleep(options.backoff * 2u32.pow((retry - 1).min(6))).await;
                    }
                    let entry = CommitOrBytes::LogBytes(bytes.clone());
                    match self.log().write_commit_entry(version, entry, Uuid::new_v4()).await {
                        Ok(()) => CommitEvent::Written,
                        Err(TransactionError::VersionAlreadyExists(_)) => CommitEvent::AlreadyExists,
                        Err(error) => self.not_written(error, &mut failure),
                    }
                }
                CommitAction::Read { version } => match self.entry(version).await? {
                    Some(actions) => CommitEvent::Entry(summary(&actions)),
                    None => CommitEvent::NothingThere,
                },
                CommitAction::Done(outcome) => {
                    if let CommitOutcome::Committed { version } = outcome {
                        self.checkpoint_if_due(version, options).await;
                    }
                    return Ok(outcome);
                }
                CommitAction::GiveUp => return Err(failure.unwrap_or_else(|| self.overtaken(options))),
                CommitAction::Overtaken => return Err(self.overtaken(options)),
            };
            action = protocol.apply(event);
        }
    }

    /// A refused entry does not exist. After any other error, only the log shows whether it exists.
    fn not_written(&self, error: TransactionError, failure: &mut Option<Error>) -> CommitEvent {
        let error = from_delta(&self.doing("commit to"), DeltaTableError::from(error));
        let event = match error.kind() {
            ErrorKind::Invalid => CommitEvent::Refused,
            _ => CommitEvent::Doubtful,
        };
        *failure = Some(error);
        event
    }

    fn overtaken(&self, options: &CommitOptions) -> Error {
        Error::conflict(format!(
            "table {}: {} attempts to commit were overtaken; raise `commit_attempts` or run less at once",
            self.name(),
            options.attempts
        ))
    }

    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let doing = self.doing("read the log of");
        let Some(bytes) = self.log().read_commit_entry(version).await.map_err(|e| self.broken(&doing, e))? else {
            return Ok(None);
        };
        get_actions(version, &bytes).map(Some).map_err(|e| self.broken(&doing, e))
    }

    fn commit_bytes(
        &self,
        read: Option<&Snapshot>,
        commit: &Commit,
        transactions: &[(String, i64)],
        attempt: &str,
    ) -> Result<bytes::Bytes> {
        let mut actions = Vec::new();
        match read {
            None => actions.extend(self.creation(commit)?),
            Some(snapshot) if commit.whole.is_some() || differs(snapshot, commit) => {
                actions.extend(widened(snapshot, commit)?.map(Action::Protocol));
                actions.push(self.redefinition(snapshot, commit)?);
            }
            Some(_) => {}
        }
        actions.extend(commit.removes.iter().map(|file| Action::Remove(removal(file, commit))));
        actions.extend(commit.adds.iter().cloned().map(Action::Add));
        let mut details: std::collections::HashMap<String, Value> = commit.details.clone().into_iter().collect();
        details.insert(RUN_ID_KEY.to_owned(), Value::String(commit.run_id.clone()));
        details.insert(ATTEMPT_KEY.to_owned(), Value::String(attempt.to_owned()));
        details.insert("engineInfo".to_owned(), Value::String(format!("pulse/{}", env!("CARGO_PKG_VERSION"))));
        let mode = if commit.removes.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
        let partition_by = Some(commit.partition_by.clone()).filter(|columns| !columns.is_empty());
        let operation = match (&commit.whole, commit.read_table) {
            (Some(Whole::Restored { version, .. }), _) => {
                DeltaOperation::Restore { version: Some(*version), datetime: None }
            }
            (Some(Whole::Dropped), _) | (None, Removal::Independent | Removal::FromRows) => {
                DeltaOperation::Write { mode, partition_by, predicate: None }
            }
            (None, Removal::Moved) => {
                let target_size = commit.details.get("pulse.targetBytes").and_then(Value::as_i64).unwrap_or_default();
                DeltaOperation::Optimize { predicate: None, target_size }
            }
        };
        let transactions = transactions
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
        // The lowest protocol that its columns need, so that as many readers as possible support it.
        let protocol = match has_wall_clock(commit) {
            true => with_features(&[TIMESTAMP_NTZ], &[TIMESTAMP_NTZ])?,
            false => protocol(&serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2}))?,
        };
        Ok([Action::Protocol(protocol), Action::Metadata(metadata)])
    }

    /// The table's metadata with the commit's columns and partitioning; for a restore, the earlier metadata.
    fn redefinition(&self, snapshot: &Snapshot, commit: &Commit) -> Result<Action> {
        let broken = |e: serde_json::Error| {
            Error::internal(format!("the metadata of table {} is not JSON", self.name())).with_source(e)
        };
        let mut metadata = serde_json::to_value(&snapshot.metadata).map_err(broken)?;
        match &commit.whole {
            Some(Whole::Restored { metadata: earlier, .. }) => {
                let mut restored = serde_json::to_value(earlier.as_ref()).map_err(broken)?;
                // Readers identify the table by its id.
                restored["id"] = metadata["id"].take();
                return serde_json::from_value(restored).map(Action::Metadata).map_err(broken);
            }
            Some(Whole::Dropped) => metadata["configuration"][DROPPED] = Value::String(commit.at.to_string()),
            None => {}
        }
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

    /// Logs a failure and goes on: a checkpoint only shortens the next read of the log.
    async fn checkpoint_if_due(&self, version: u64, options: &CommitOptions) {
        if version == 0 || !version.is_multiple_of(options.checkpoint_every.max(1)) {
            return;
        }
        if let Err(error) = self.checkpoint(version).await {
            log::warn!("checkpoint of table {} at version {version}: {error}", self.name());
        }
    }

    pub(super) async fn checkpoint(&self, version: u64) -> Result<()> {
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

    /// Returns at most `limit` commits from the newest to the oldest, as far back as the log reaches.
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

    /// Finds the newest commit of a run since `since`, by the store's clock.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer, `Data` for a broken log.
    pub async fn commit_of(&self, run_id: &str, since: DateTime<Utc>) -> Result<Option<History>> {
        let Some(snapshot) = self.snapshot(None).await? else { return Ok(None) };
        let doing = self.doing("read the log of");
        for version in (0..=snapshot.version).rev() {
            let path = Path::from_iter(["_delta_log".to_owned(), format!("{version:020}.json")]);
            let got = match self.store().get(&path).await {
                Ok(got) => got,
                // Older entries may have been cleaned up behind a checkpoint.
                Err(object_store::Error::NotFound { .. }) => break,
                Err(error) => return Err(from_store(&doing, &error)),
            };
            if got.meta.last_modified < since {
                break;
            }
            let bytes = got.bytes().await.map_err(|e| from_store(&doing, &e))?;
            let actions = get_actions(version, &bytes).map_err(|e| self.broken(&doing, e))?;
            if info(&actions, RUN_ID_KEY) == Some(run_id) {
                return Ok(Some(history(version, &actions)));
            }
        }
        Ok(None)
    }

    /// The `txn` actions of a log entry; `None` if no run wrote it.
    ///
    /// # Errors
    /// `Data` for a broken log, `Unavailable` when the store does not answer.
    pub(crate) async fn run_transactions(&self, version: u64) -> Result<Option<BTreeMap<String, i64>>> {
        let actions = self.entry(version).await?.unwrap_or_default();
        let transactions = actions.iter().filter_map(|action| match action {
            Action::Txn(txn) => Some((txn.app_id.clone(), txn.version)),
            _ => None,
        });
        Ok(info(&actions, RUN_ID_KEY).map(|_| transactions.collect()))
    }

    /// # Errors
    /// As of the query that reads it.
    pub fn failed(&self, doing: &str, error: datafusion::error::DataFusionError) -> Error {
        from_datafusion(&self.doing(doing), error)
    }
}

/// The table feature for timestamps without a zone.
const TIMESTAMP_NTZ: &str = "timestampNtz";

/// Features that writer versions without named features imply, each with the first version.
const LEGACY_WRITER_FEATURES: [(i32, &str); 7] = [
    (2, "appendOnly"),
    (2, "invariants"),
    (3, "checkConstraints"),
    (4, "changeDataFeed"),
    (4, "generatedColumns"),
    (5, "columnMapping"),
    (6, "identityColumns"),
];

fn has_wall_clock(commit: &Commit) -> bool {
    commit.schema.fields().iter().any(|field| holds_wall_clock(field.data_type()))
}

/// The protocol that the new columns need; `None` if the table has it.
fn widened(snapshot: &Snapshot, commit: &Commit) -> Result<Option<Protocol>> {
    let protocol = &snapshot.protocol;
    let read = protocol.reader_features().unwrap_or_default().iter();
    let mut read: Vec<String> = read.map(ToString::to_string).collect();
    let written = protocol.writer_features().unwrap_or_default().iter();
    let mut written: Vec<String> = written.map(ToString::to_string).collect();
    if !has_wall_clock(commit) || read.iter().any(|feature| feature == TIMESTAMP_NTZ) {
        return Ok(None);
    }
    let version = protocol.min_writer_version();
    if written.is_empty() {
        let legacy = LEGACY_WRITER_FEATURES.iter().filter(|(since, _)| *since <= version);
        written.extend(legacy.map(|(_, feature)| (*feature).to_owned()));
    }
    for features in [&mut read, &mut written] {
        features.push(TIMESTAMP_NTZ.to_owned());
    }
    with_features(&read, &written).map(Some)
}

fn with_features<T: serde::Serialize>(read: &[T], written: &[T]) -> Result<Protocol> {
    protocol(&serde_json::json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": read,
        "writerFeatures": written}))
}

fn protocol(json: &Value) -> Result<Protocol> {
    serde_json::from_value(json.clone()).map_err(|e| Error::internal("a protocol is not one").with_source(e))
}

/// Whether the commit changes the table's columns, their order, or its partitioning.
fn differs(snapshot: &Snapshot, commit: &Commit) -> bool {
    let columns = |schema: &SchemaRef| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    snapshot.partition_by != commit.partition_by || columns(&snapshot.schema) != columns(&commit.schema)
}

fn info<'a>(actions: &'a [Action], key: &str) -> Option<&'a str> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.get(key)?.as_str(),
        _ => None,
    })
}

fn intent(commit: &Commit, transactions: &[(String, i64)], attempt: String) -> CommitIntent {
    CommitIntent {
        run: commit.run_id.clone(),
        attempt,
        transactions: transactions.iter().map(|(id, _)| id.clone()).collect(),
        removes: commit.removes.iter().map(|file| file.path.clone()).collect(),
        removal: commit.read_table,
    }
}

fn summary(actions: &[Action]) -> EntrySummary {
    let mut summary = EntrySummary {
        run: info(actions, RUN_ID_KEY).map(str::to_owned),
        attempt: info(actions, ATTEMPT_KEY).map(str::to_owned),
        ..EntrySummary::default()
    };
    for action in actions {
        match action {
            Action::Metadata(_) | Action::Protocol(_) => summary.redefines = true,
            Action::Txn(txn) => {
                summary.transactions.insert(txn.app_id.clone());
            }
            Action::Remove(remove) => {
                summary.removes.insert(remove.path.clone());
            }
            Action::Add(add) => summary.adds_rows |= add.data_change,
            _ => {}
        }
    }
    summary
}

fn removal(file: &DataFile, commit: &Commit) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change: commit.read_table != Removal::Moved,
        deletion_timestamp: Some(commit.at),
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
        run_id: info(actions, RUN_ID_KEY).map(str::to_owned),
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
