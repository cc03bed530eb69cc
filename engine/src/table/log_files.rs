//! The versions of a table that its log still contains.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use pulse_core::Result;

use super::Table;
use crate::error::from_store;

/// Versions with an entry of the log, and when it was written; versions with a checkpoint.
#[derive(Debug, Default)]
pub(super) struct LogFiles {
    entries: BTreeMap<u64, DateTime<Utc>>,
    checkpoints: BTreeSet<u64>,
}

impl LogFiles {
    pub(super) fn among(objects: &[ObjectMeta]) -> Self {
        let mut files = Self::default();
        for object in objects {
            match log_file(&object.location) {
                Some(LogFile::Entry(version)) => drop(files.entries.insert(version, object.last_modified)),
                Some(LogFile::Checkpoint(version)) => drop(files.checkpoints.insert(version)),
                None => {}
            }
        }
        files
    }

    /// Versions with an entry, the oldest first.
    pub(super) fn entries(&self) -> Vec<u64> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn has_checkpoint(&self, version: u64) -> bool {
        self.checkpoints.contains(&version)
    }

    /// Whether the log can reconstruct `version`: it has all entries up to it, or a checkpoint and those after it.
    pub(super) fn reach(&self, version: u64) -> bool {
        let first = match self.checkpoints.range(..=version).next_back() {
            Some(checkpoint) => checkpoint + 1,
            None => 0,
        };
        (first..=version).all(|version| self.entries.contains_key(&version))
    }

    /// The version that was current at `since`; the oldest readable version if the log does not reach back so far.
    pub(super) fn first_needed(&self, since: DateTime<Utc>) -> Option<u64> {
        let current = self.entries.iter().rev().find(|(_, written)| **written <= since).map(|(version, _)| *version);
        let readable = if self.entries.contains_key(&0) { Some(0) } else { self.checkpoints.first().copied() };
        match (current, readable) {
            (Some(current), Some(readable)) => Some(current.max(readable)),
            (None, Some(readable)) => Some(readable),
            (_, None) => None,
        }
    }
}

impl Table {
    /// # Errors
    /// By the kind of the store's error.
    pub(super) async fn log_files(&self) -> Result<LogFiles> {
        let listed = self.store().list(Some(&Path::from("_delta_log"))).try_collect::<Vec<ObjectMeta>>().await;
        listed.map(|objects| LogFiles::among(&objects)).map_err(|e| from_store(&self.doing("list the log of"), &e))
    }
}

enum LogFile {
    Entry(u64),
    Checkpoint(u64),
}

/// The version in the name of a log file.
pub(super) fn log_version(name: &str) -> Option<u64> {
    name.split_once('.')?.0.parse().ok()
}

fn log_file(path: &Path) -> Option<LogFile> {
    let name = path.as_ref().strip_prefix("_delta_log/")?;
    let (version, rest) = name.split_once('.')?;
    let version = version.parse().ok()?;
    match rest {
        "json" => Some(LogFile::Entry(version)),
        // Version 2 checkpoints may be JSON.
        _ if rest.starts_with("checkpoint.") && (rest.ends_with(".parquet") || rest.ends_with(".json")) => {
            Some(LogFile::Checkpoint(version))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
