//! The rows that were added and removed between two versions, as files.

use std::collections::{HashMap, HashSet};

use deltalake_core::kernel::{Action, Add, Remove};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use pulse_core::{Error, Result};

use super::{DataFile, DeletionPlace, DeletionVector, Snapshot, Table};
use crate::error::from_store;

/// Maximum number of concurrent requests to the store.
const LOOKS: usize = 16;

/// Rows that the newer version holds and the older does not, and the reverse: rows of the older, and of `added`, without
/// those of `removed`. Such a file need not be in either version.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub added: Vec<DataFile>,
    pub removed: Vec<DataFile>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// By the files of both versions alone: also what was only moved from file to file has come and gone.
    fn between(before: &Snapshot, now: &Snapshot) -> Self {
        Self { added: difference(now, before), removed: difference(before, now) }
    }
}

fn difference(of: &Snapshot, without: &Snapshot) -> Vec<DataFile> {
    let known: HashSet<Key<'_>> = without.files.iter().map(DataFile::key).collect();
    of.files.iter().filter(|file| !known.contains(&file.key())).cloned().collect()
}

type Key<'a> = (&'a str, Option<&'a DeletionVector>);

/// The objects that a file's rows need.
fn objects(file: &DataFile) -> impl Iterator<Item = &str> {
    let vector = file.deletion_vector.as_ref().and_then(|vector| match &vector.place {
        DeletionPlace::Below { path, .. } => Some(path.as_str()),
        DeletionPlace::Inline(_) | DeletionPlace::Elsewhere { .. } => None,
    });
    std::iter::once(file.path.as_str()).chain(vector)
}

impl Table {
    /// What changed from `before` to `now`; commits that only moved rows, as an optimization's, do not count. None when files
    /// of rows that changed are deleted by now.
    ///
    /// # Errors
    /// `Data` for a broken log, `Unavailable` when the store does not answer.
    pub async fn changes(&self, before: &Snapshot, now: &Snapshot) -> Result<Option<Changes>> {
        let plain = Changes::between(before, now);
        // Commits that only add files move no rows.
        if plain.removed.is_empty() {
            return Ok(Some(plain));
        }
        let gone: Vec<DataFile> = plain.removed.clone();
        let changes = self.replay(before, now).await?.unwrap_or(plain);
        if changes.is_empty() {
            return Ok(Some(changes));
        }
        let live: HashSet<&str> = now.files.iter().flat_map(objects).collect();
        let dead = changes.added.iter().chain(&changes.removed).chain(&gone);
        let dead: HashSet<&str> = dead.flat_map(objects).filter(|path| !live.contains(path)).collect();
        Ok(self.are_there(dead).await?.then_some(changes))
    }

    /// Collects the changes commit by commit; `None` if the log does not reach back so far.
    async fn replay(&self, before: &Snapshot, now: &Snapshot) -> Result<Option<Changes>> {
        let mut live: HashMap<OwnKey, DataFile> =
            before.files.iter().map(|file| (own_key(file), file.clone())).collect();
        let mut added: Vec<DataFile> = Vec::new();
        let mut removed: Vec<DataFile> = Vec::new();
        for version in before.version + 1..=now.version {
            let Some(actions) = self.entry(version).await? else { return Ok(None) };
            let moves = only_moves(&actions);
            // A file that comes in another state, as with more of its rows deleted, is removed and added, in either order.
            for remove in actions.iter().filter_map(removal) {
                let Some(file) = live.remove(&self.removed_key(remove)?) else { continue };
                match added.iter().position(|added| added.key() == file.key()) {
                    _ if moves => {}
                    Some(place) => drop(added.swap_remove(place)),
                    None => removed.push(file),
                }
            }
            for add in actions.iter().filter_map(addition) {
                let file = self.data_file(add, &now.physical)?;
                // One that is there already is described again, and brings no rows.
                if live.insert(own_key(&file), file.clone()).is_none() && !moves {
                    added.push(file);
                }
            }
        }
        added.sort_by(|a, b| a.path.cmp(&b.path));
        removed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Some(Changes { added, removed }))
    }

    fn removed_key(&self, remove: &Remove) -> Result<OwnKey> {
        let vector = remove.deletion_vector.as_ref().map(DeletionVector::new).transpose();
        let vector = vector.map_err(|e| Error::data(format!("{}: {}", self.doing("read the log of"), e.message())))?;
        Ok((remove.path.clone(), vector))
    }

    async fn are_there(&self, paths: HashSet<&str>) -> Result<bool> {
        Ok(self.missing_files(paths).await?.is_empty())
    }

    /// The paths without an object, sorted.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub(crate) async fn missing_files(&self, paths: HashSet<&str>) -> Result<Vec<String>> {
        let doing = self.doing("look for files of");
        let store = self.store();
        let paths: Vec<Path> = paths.into_iter().filter_map(|path| Path::parse(path).ok()).collect();
        let looks = futures::stream::iter(paths).map(|path| {
            let store = std::sync::Arc::clone(&store);
            async move {
                match store.head(&path).await {
                    Ok(_) => Ok(None),
                    Err(object_store::Error::NotFound { .. }) => Ok(Some(path.to_string())),
                    Err(error) => Err(error),
                }
            }
        });
        let looked: Vec<Option<String>> =
            looks.buffer_unordered(LOOKS).try_collect().await.map_err(|e| from_store(&doing, &e))?;
        let mut missing: Vec<String> = looked.into_iter().flatten().collect();
        missing.sort();
        Ok(missing)
    }
}

/// A path, and which rows are deleted there.
type OwnKey = (String, Option<DeletionVector>);

fn own_key(file: &DataFile) -> OwnKey {
    (file.path.clone(), file.deletion_vector.clone())
}

fn removal(action: &Action) -> Option<&Remove> {
    match action {
        Action::Remove(remove) => Some(remove),
        _ => None,
    }
}

fn addition(action: &Action) -> Option<&Add> {
    match action {
        Action::Add(add) => Some(add),
        _ => None,
    }
}

/// Whether a commit has files and says of each that it changes no data.
fn only_moves(actions: &[Action]) -> bool {
    let mut flags = actions
        .iter()
        .filter_map(|action| match action {
            Action::Add(add) => Some(add.data_change),
            Action::Remove(remove) => Some(remove.data_change),
            _ => None,
        })
        .peekable();
    flags.peek().is_some() && !flags.any(|changes| changes)
}
