//! Finds and deletes files that no version within the retention needs.

use std::collections::HashSet;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use deltalake_core::kernel::Action;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use pulse_core::{Error, Result};

use super::file::{Unneeded, is_hidden};
use super::file_marks::{FOLDER as SEGMENTS, segment_path};
use super::half_written::{half_written, is_half_written};
use super::log_files::LogFiles;
use super::snapshot::is_absolute;
use super::{RowChange, Table};
use crate::error::{from_io, from_store};
use crate::store::{delete_below, link_below, local_path, shown_path};

/// Maximum number of concurrent deletions.
const DELETES: usize = 16;

impl Table {
    /// Finds files that were last written before `since` and belong to no version that was current at `since` or later: files that
    /// commits removed, files that were never committed, and on this machine files that were not written to their end.
    ///
    /// Leaves out paths with a part that begins with `_` or `.`, except bookmarks of files and unfinished log entries.
    ///
    /// # Errors
    /// `Invalid` if the table does not exist or has an unknown feature, which may need other files; `Data` if its log does not say which
    /// files belong to it; `Unavailable` if the store does not answer.
    pub async fn unneeded(&self, since: DateTime<Utc>) -> Result<Vec<Unneeded>> {
        self.refuse_linked()?;
        // Listed first: a file that is committed later is not among these, or its commit is read below.
        let doing = self.doing("list the files of");
        let objects: Vec<ObjectMeta> =
            self.store().list(None).try_collect().await.map_err(|e| from_store(&doing, &e))?;
        let old: Vec<&ObjectMeta> = objects
            .iter()
            .filter(|object| !is_kept(object.location.as_ref()) && object.last_modified < since)
            .collect();
        let needed = self.needed(since, &objects).await?;
        let mut unneeded: Vec<Unneeded> = old
            .into_iter()
            .filter(|object| !needed.contains(object.location.as_ref()))
            .map(|object| Unneeded {
                path: object.location.to_string(),
                bytes: object.size,
                modified: object.last_modified,
            })
            .collect();
        let begun = self.half_written()?.into_iter();
        // An external table may have files with such names.
        unneeded.extend(begun.filter(|file| file.modified < since && !needed.contains(&file.path)));
        unneeded.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(unneeded)
    }

    /// # Errors
    /// `Unavailable` or `Invalid` if the store does not delete a file; others may be deleted.
    pub async fn delete(&self, files: &[Unneeded]) -> Result<()> {
        let deleted = futures::stream::iter(files).map(|file| self.delete_one(&file.path));
        deleted.buffer_unordered(DELETES).try_collect().await
    }

    /// A file that does not exist is no error.
    async fn delete_one(&self, path: &str) -> Result<()> {
        let doing = self.doing("delete files of");
        if let Some(folder) = self.folder().filter(|_| is_half_written(path)) {
            return match delete_below(&self.above(&folder), &folder.join(path)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(from_io(&doing, &error)),
                _ => Ok(()),
            };
        }
        let path = Path::parse(path).map_err(|e| from_store(&doing, &e.into()))?;
        match self.store().delete(&path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => other.map_err(|e| from_store(&doing, &e)),
        }
    }

    /// # Errors
    /// `Invalid` if the path of the table's folder contains a link: the files there may belong to somebody else.
    pub(super) fn refuse_linked(&self) -> Result<()> {
        let Some(folder) = self.folder() else { return Ok(()) };
        match link_below(&self.above(&folder), &folder) {
            None => Ok(()),
            Some(link) => Err(Error::invalid(format!(
                "{}: `{}` is a symbolic link, and what it leads to is not deleted; name the folder that it leads to in \
                 `_pulse/layers.json` of the lake",
                self.doing("delete files of"),
                shown_path(&link)
            ))),
        }
    }

    /// The lake's folder on this machine.
    fn above(&self, folder: &std::path::Path) -> PathBuf {
        local_path(&self.lake).unwrap_or_else(|| folder.to_owned())
    }

    pub(super) fn half_written(&self) -> Result<Vec<Unneeded>> {
        let Some(folder) = self.folder() else { return Ok(Vec::new()) };
        half_written(&folder).map_err(|e| from_io(&self.doing("list the files of"), &e))
    }

    /// The folder of a table on this machine.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        local_path(self.url())
    }

    /// Paths of all files of the version that was current at `since`, and of all versions after it.
    async fn needed(&self, since: DateTime<Utc>, objects: &[ObjectMeta]) -> Result<HashSet<String>> {
        let first = LogFiles::among(objects).first_needed(since).ok_or_else(|| self.missing())?;
        let Some(snapshot) = self.snapshot(Some(first)).await? else { return Err(self.missing()) };
        let mut needed = HashSet::new();
        for file in &snapshot.files {
            needed.insert(self.plain(&file.path)?);
        }
        needed.extend(snapshot.transactions.iter().filter_map(|(id, number)| segment_path(id, *number)));
        let mut version = first + 1;
        loop {
            while let Some(actions) = self.entry(version).await? {
                for action in &actions {
                    match action {
                        Action::Add(add) => drop(needed.insert(self.plain(&add.path)?)),
                        Action::Txn(txn) => needed.extend(segment_path(&txn.app_id, txn.version)),
                        // Refuses a path that only its writer can resolve.
                        Action::Remove(remove) => drop(self.plain(&remove.path)?),
                        _ => {}
                    }
                }
                version += 1;
            }
            let Some(newest) = self.snapshot(None).await? else { return Err(self.missing()) };
            self.refuse_unwritable(&newest, RowChange::Kept)?;
            if newest.version < version {
                return Ok(needed);
            }
            // If the entry was deleted, the files that it added are unknown.
            if self.entry(version).await?.is_none() {
                return Err(Error::data(format!(
                    "{}: entry {version} of its log is gone, so nobody knows which files are needed; nothing was deleted",
                    self.doing("vacuum")
                )));
            }
        }
    }

    /// The store's name of a path in the log.
    fn plain(&self, path: &str) -> Result<String> {
        let outside = || {
            Error::data(format!(
                "{}: its log names `{path}`, which is no path below its folder; nothing was deleted",
                self.doing("vacuum")
            ))
        };
        if is_absolute(path) {
            return Err(outside());
        }
        Path::parse(path).map(String::from).map_err(|e| outside().with_source(e))
    }

    fn missing(&self) -> Error {
        Error::invalid(format!("no table lies at {}; `pulse table list` shows what does", self.url()))
    }
}

/// Whether vacuum never deletes a file of this name.
fn is_kept(path: &str) -> bool {
    is_hidden(path.strip_prefix(SEGMENTS).and_then(|path| path.strip_prefix('/')).unwrap_or(path))
}

#[cfg(test)]
mod tests;
