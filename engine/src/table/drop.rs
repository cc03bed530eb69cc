//! Drops a table. One commit removes all rows and marks the table as dropped: from then on it does not exist for pulse, and is empty
//! for others. Then its files are deleted, the log last, so that the drop can be resumed after a crash.

use chrono::{DateTime, Utc};
use deltalake_core::kernel::Snapshot as DeltaSnapshot;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use pulse_core::{Error, Result};
use serde_json::json;
use uuid::Uuid;

use super::commit::DROPPED;
use super::file::Unneeded;
use super::log_files::log_version;
use super::{Commit, CommitOptions, CommitOutcome, Removal, Snapshot, Table, Whole};
use crate::error::from_store;
use crate::store::remove_empty_folders;

const LOG: &str = "_delta_log/";
/// Names the newest checkpoint.
const HINT: &str = "_delta_log/_last_checkpoint";

/// Attempts against concurrent commits.
const ATTEMPTS: u32 = 5;

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deleted {
    pub files: usize,
    pub bytes: u64,
}

impl Table {
    /// The version that marks the table as dropped; `None` if the table does not exist or is not dropped.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer, `Data` for a broken log.
    pub async fn dropped(&self) -> Result<Option<u64>> {
        if !self.exists().await? {
            return Ok(None);
        }
        let doing = self.doing("read the log of");
        let delta = DeltaSnapshot::try_new(self.log().as_ref(), None).await.map_err(|e| self.broken(&doing, e))?;
        Ok(delta.metadata().configuration().contains_key(DROPPED).then(|| delta.version()))
    }

    /// Refuses a location where files are still being deleted: those of a new table would be among them.
    ///
    /// # Errors
    /// `Invalid` if a drop has not ended.
    pub(crate) async fn refuse_half_dropped(&self) -> Result<()> {
        match self.dropped().await? {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!(
                "table {name} at {} was dropped, and its files are not all deleted: `pulse table drop {name}` goes on with it",
                self.url(),
                name = self.name()
            ))),
        }
    }

    /// Commits a version that marks the table as dropped. Runs that pinned an earlier version can no longer commit.
    ///
    /// # Errors
    /// `Invalid` when the table requires more of a writer than we do, `Conflict` when others always commit first.
    pub async fn mark_dropped(&self, options: &CommitOptions, now: DateTime<Utc>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some(snapshot) = self.snapshot(None).await? else { return Ok(()) };
            match self.commit(Some(&snapshot), &ending(&snapshot, now), options).await? {
                CommitOutcome::Committed { .. }
                | CommitOutcome::AlreadyCommitted { .. }
                | CommitOutcome::CommittedByAnother { .. } => return Ok(()),
                CommitOutcome::Conflict { .. } => {}
            }
        }
        Err(Error::conflict(format!(
            "table {}: others committed at each of {ATTEMPTS} attempts to drop it; drop it when no run writes it",
            self.name()
        )))
    }

    /// Deletes all files of a table that is marked as dropped, the log last. A second call resumes an interrupted one.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the store does not delete one, `Internal` for a table that is not marked.
    pub async fn delete_dropped(&self) -> Result<Deleted> {
        let Some(version) = self.dropped().await? else {
            return Err(Error::internal(format!("table {} is not marked as dropped", self.name())));
        };
        self.checkpoint_of_drop(version).await?;
        let mut deleted = Deleted::default();
        for step in self.deletions(version).await? {
            self.delete(&step).await?;
            deleted.files += step.len();
            deleted.bytes += step.iter().map(|file| file.bytes).sum::<u64>();
        }
        if let Some(folder) = self.folder() {
            remove_empty_folders(&folder);
        }
        Ok(deleted)
    }

    /// Writes a checkpoint, so that the log stays readable until its last file is deleted.
    pub(crate) async fn checkpoint_of_drop(&self, version: u64) -> Result<()> {
        match self.log_files().await?.has_checkpoint(version) {
            true => Ok(()),
            false => self.checkpoint(version).await,
        }
    }

    /// All files, as [`steps`].
    pub(crate) async fn deletions(&self, version: u64) -> Result<[Vec<Unneeded>; 5]> {
        self.refuse_linked()?;
        let doing = self.doing("list the files of");
        let objects: Vec<ObjectMeta> =
            self.store().list(None).try_collect().await.map_err(|e| from_store(&doing, &e))?;
        let mut all: Vec<Unneeded> = objects.iter().map(unneeded).collect();
        all.extend(self.half_written()?);
        Ok(steps(all, version))
    }
}

fn ending(snapshot: &Snapshot, now: DateTime<Utc>) -> Commit {
    Commit {
        run_id: format!("drop-{}", Uuid::new_v4()),
        adds: Vec::new(),
        removes: snapshot.files.clone(),
        read_table: Removal::FromRows,
        transactions: Vec::new(),
        details: [("pulse.mode".to_owned(), json!("drop"))].into(),
        schema: std::sync::Arc::clone(&snapshot.schema),
        partition_by: snapshot.partition_by.clone(),
        whole: Some(Whole::Dropped),
        at: now.timestamp_millis(),
    }
}

/// Groups files by the order in which they are deleted: data; the log before the checkpoint of `version`; its entry; the hint; the
/// checkpoint.
fn steps(files: Vec<Unneeded>, version: u64) -> [Vec<Unneeded>; 5] {
    let mut steps: [Vec<Unneeded>; 5] = Default::default();
    for file in files {
        let step = match file.path.strip_prefix(LOG) {
            None => 0,
            Some(_) if file.path == HINT => 3,
            Some(name) => match log_version(name) {
                Some(of) if of == version && name.contains(".checkpoint.") => 4,
                Some(of) if of == version => 2,
                Some(_) | None => 1,
            },
        };
        steps[step].push(file);
    }
    steps
}

fn unneeded(object: &ObjectMeta) -> Unneeded {
    Unneeded { path: object.location.to_string(), bytes: object.size, modified: object.last_modified }
}
