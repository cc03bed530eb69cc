//! Restores an earlier version of a table as its newest: files, columns, bookmarks and rejected rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake_core::kernel::Add;
use pulse_core::commit::pair::{Named, SETTLES_ID};
use pulse_core::decide::Bookmarks;
use pulse_core::name::TableName;
use pulse_core::{Error, ErrorKind, Result};
use serde_json::json;
use uuid::Uuid;

use super::pin::named;
use super::run::{SEQUENCE_ID, sequence};
use crate::table::{Commit, CommitOptions, CommitOutcome, DataFile, Lake, Removal, Snapshot, Table, Whole};

/// Result of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// `None` if the table already equals that version.
    pub version: Option<u64>,
    pub files_added: usize,
    pub files_removed: usize,
    /// Row count of the table now; `None` if its log does not have it.
    pub rows: Option<u64>,
    pub warnings: Vec<String>,
}

/// Attempts against concurrent commits.
const ATTEMPTS: u32 = 5;

/// Restores a table to `version`, in one commit after its newest version. Bookmarks are restored too, so its job
/// resumes from there, and readers of its changes see the difference.
///
/// # Errors
/// `Invalid` when the version or its files are gone, or the table has writer features that we do not support;
/// `Conflict` when every attempt lost against another commit.
pub async fn restore(
    lake: &Lake,
    options: &CommitOptions,
    name: &TableName,
    version: u64,
    now: DateTime<Utc>,
) -> Result<Restored> {
    if let Some(owner) = name.quarantined() {
        return Err(Error::invalid(format!("table {name} is restored with its table: `pulse table restore {owner}`")));
    }
    let (table, quarantine) = (lake.table(name)?, lake.table(&name.quarantine())?);
    for _ in 0..ATTEMPTS {
        let Some(newest) = table.snapshot(None).await? else {
            return Err(Error::invalid(format!(
                "table {name} does not exist in {}; `pulse table list` shows what does",
                lake.root()
            )));
        };
        let then = earlier(&table, &newest, version).await?;
        let rejects = Rejects::of(&quarantine, &then).await?;
        let (known, wanted) = (table.bookmarks(&newest).await?, bookmarks_of(&table, &then).await?);
        let transactions = Bookmarks::restored(&known, &wanted);
        let is_same = |(id, _): &(String, i64)| id == SEQUENCE_ID;
        let step = Step::between(&table, &newest, &then).await?;
        if step.is_empty() && transactions.iter().all(is_same) && newest.metadata() == then.metadata() {
            return Ok(Restored { rows: newest.rows(), ..Restored::default() });
        }
        let done = Restored {
            version: None,
            files_added: step.adds.len(),
            files_removed: step.removes.len(),
            rows: then.rows(),
            warnings: Vec::new(),
        };
        let sequence = sequence(Some(&newest)) + 1;
        let commit = table_commit(step, &then, transactions, sequence, now);
        match table.commit(Some(&newest), &commit, options).await? {
            CommitOutcome::Committed { version }
            | CommitOutcome::AlreadyCommitted { version }
            | CommitOutcome::CommittedByAnother { version } => {
                let warnings = match rejects.settle(&quarantine, options, sequence, now).await {
                    Ok(()) => Vec::new(),
                    Err(error) => {
                        vec![format!("{} is not what it was; the next run puts it right ({error})", quarantine.name())]
                    }
                };
                return Ok(Restored { version: Some(version), warnings, ..done });
            }
            CommitOutcome::Conflict { .. } => {}
        }
    }
    Err(Error::conflict(format!(
        "table {name}: others committed at each of {ATTEMPTS} attempts to restore it; restore it when no run writes it"
    )))
}

async fn earlier(table: &Table, newest: &Snapshot, version: u64) -> Result<Snapshot> {
    let name = table.name();
    if version > newest.version {
        return Err(Error::invalid(format!(
            "table {name} has no version {version}, its newest is {}; `pulse table history {name}` shows them",
            newest.version
        )));
    }
    table.past_snapshot(version).await?.ok_or_else(|| {
        Error::invalid(format!(
            "the log of table {name} does not reach back to version {version}; `pulse table history {name}` shows those that it has"
        ))
    })
}

async fn bookmarks_of(table: &Table, then: &Snapshot) -> Result<HashMap<String, i64>> {
    table.bookmarks(then).await.map_err(|error| match error.kind() {
        ErrorKind::Data => Error::invalid(format!(
            "version {} of table {} cannot be restored: {}; nothing was changed",
            then.version,
            table.name(),
            error.message()
        )),
        _ => error,
    })
}

/// The change from one version's files to another's.
struct Step {
    adds: Vec<Add>,
    removes: Vec<DataFile>,
}

impl Step {
    /// # Errors
    /// `Invalid` when files of `then` are deleted.
    async fn between(table: &Table, newest: &Snapshot, then: &Snapshot) -> Result<Self> {
        let (there, wanted) = (paths(newest), paths(then));
        let back: HashSet<&str> = wanted.difference(&there).copied().collect();
        let missing = table.missing_files(back.clone()).await?;
        if let Some(first) = missing.first() {
            return Err(Error::invalid(format!(
                "version {} of table {} cannot be restored: {} of its files were deleted by a vacuum, such as {first}; nothing was changed",
                then.version,
                table.name(),
                missing.len()
            )));
        }
        let adds = match back.is_empty() {
            true => Vec::new(),
            false => table.adds(then.version).await?,
        };
        let adds = adds.into_iter().filter(|add| back.contains(add.path.as_str()));
        Ok(Self {
            adds: adds.map(|add| Add { data_change: true, ..add }).collect(),
            removes: newest.files.iter().filter(|file| !wanted.contains(file.path.as_str())).cloned().collect(),
        })
    }

    fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.removes.is_empty()
    }
}

fn paths(snapshot: &Snapshot) -> HashSet<&str> {
    snapshot.files.iter().map(|file| file.path.as_str()).collect()
}

fn table_commit(
    step: Step,
    then: &Snapshot,
    mut transactions: Vec<(String, i64)>,
    sequence: i64,
    now: DateTime<Utc>,
) -> Commit {
    // Runs that pinned a version before this one must not commit after it.
    transactions.retain(|(id, _)| id != SEQUENCE_ID);
    transactions.push((SEQUENCE_ID.to_owned(), sequence));
    Commit {
        run_id: format!("restore-{}", Uuid::new_v4()),
        adds: step.adds,
        removes: step.removes,
        read_table: Removal::FromRows,
        transactions,
        details: BTreeMap::from([("pulse.mode".to_owned(), json!(format!("restore of version {}", then.version)))]),
        schema: Arc::clone(&then.schema),
        partition_by: then.partition_by.clone(),
        whole: Some(Whole::Restored { version: then.version, metadata: Box::new(then.metadata().clone()) }),
        at: now.timestamp_millis(),
    }
}

/// The contents to restore in the quarantine.
struct Rejects {
    named: Named,
    /// The version to restore; `None` for an empty quarantine.
    then: Option<Snapshot>,
}

impl Rejects {
    /// # Errors
    /// `Invalid` when the rejected rows of that version are gone.
    async fn of(quarantine: &Table, then: &Snapshot) -> Result<Self> {
        let named = named(Some(then));
        let newest = quarantine.snapshot(None).await?;
        let (Named::Version(version), Some(newest)) = (named, newest) else { return Ok(Self { named, then: None }) };
        // The quarantine was dropped since, with its rows.
        if version > newest.version {
            return Ok(Self { named: Named::Unknown, then: None });
        }
        let own = earlier(quarantine, &newest, version).await?;
        Step::between(quarantine, &newest, &own).await?;
        Ok(Self { named, then: Some(own) })
    }

    /// The table names the restored version, so the next run settles the quarantine if this is interrupted.
    async fn settle(
        &self,
        quarantine: &Table,
        options: &CommitOptions,
        sequence: i64,
        now: DateTime<Utc>,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some(newest) = quarantine.snapshot(None).await? else { return Ok(()) };
            let step = match (self.named, &self.then) {
                (Named::Unknown, _) | (Named::Version(_), None) => return Ok(()),
                (Named::Version(_), Some(then)) => Step::between(quarantine, &newest, then).await?,
                (Named::Nothing, _) => Step { adds: Vec::new(), removes: newest.files.clone() },
            };
            if step.is_empty() {
                return Ok(());
            }
            let commit = Commit {
                run_id: format!("restore-{}", Uuid::new_v4()),
                adds: step.adds,
                removes: step.removes,
                read_table: Removal::FromRows,
                transactions: vec![(SEQUENCE_ID.to_owned(), sequence), (SETTLES_ID.to_owned(), self.named.to_number())],
                details: BTreeMap::from([("pulse.mode".to_owned(), json!("restore"))]),
                schema: Arc::clone(&self.then.as_ref().unwrap_or(&newest).schema),
                partition_by: newest.partition_by.clone(),
                whole: None,
                at: now.timestamp_millis(),
            };
            match quarantine.commit(Some(&newest), &commit, options).await? {
                CommitOutcome::Conflict { .. } => {}
                CommitOutcome::Committed { .. }
                | CommitOutcome::AlreadyCommitted { .. }
                | CommitOutcome::CommittedByAnother { .. } => return Ok(()),
            }
        }
        Err(Error::conflict("others always commit to it first"))
    }
}
