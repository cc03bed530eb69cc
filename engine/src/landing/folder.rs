//! Where the rows of one source of a database lie.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use pulse_core::sources::DatabaseTable;
use pulse_core::{Error, Result};
use url::Url;

use super::Manifest;
use crate::error::from_store;
use crate::store::store_path;
use crate::table::Lake;

const MANIFESTS: &str = "manifests";
/// Runs that began before may still read files that no manifest lists any more.
const KEPT: TimeDelta = TimeDelta::days(2);

/// The folder of one source.
pub struct LandingFolder {
    store: Arc<dyn ObjectStore>,
    path: Path,
    source: String,
}

impl fmt::Debug for LandingFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LandingFolder({})", self.path)
    }
}

impl LandingFolder {
    pub(crate) fn new(lake: &Lake, database: &str, source: &str) -> Result<Self> {
        let url = landing_root(lake, database, source)?;
        let store = lake.stores().client(&url)?;
        Ok(Self { store, path: store_path(&url)?, source: source.to_owned() })
    }

    #[cfg(test)]
    pub(super) fn local(folder: &std::path::Path) -> Self {
        let path = Path::from_absolute_path(folder).unwrap();
        Self { store: Arc::new(crate::store::LocalFiles::default()), path, source: "test".to_owned() }
    }

    /// The newest manifest.
    pub(crate) async fn newest(&self) -> Result<Option<Manifest>> {
        let manifests = self.list(&self.path.clone().join(MANIFESTS)).await?;
        let Some((number, meta)) =
            manifests.iter().filter_map(|meta| Some((number_of(meta)?, meta))).max_by_key(|m| m.0)
        else {
            return Ok(None);
        };
        let manifest = self.manifest(meta).await?;
        match manifest.number == number {
            true => Ok(Some(manifest)),
            false => Err(self.broken(meta, "it has the number of another one")),
        }
    }

    async fn manifest(&self, meta: &ObjectMeta) -> Result<Manifest> {
        let doing = self.doing("read");
        let found = self.store.get(&meta.location).await.map_err(|e| from_store(&doing, &e))?;
        let bytes = found.bytes().await.map_err(|e| from_store(&doing, &e))?;
        serde_json::from_slice(&bytes).map_err(|e| self.broken(meta, &e.to_string()))
    }

    fn broken(&self, meta: &ObjectMeta, why: &str) -> Error {
        Error::data(format!(
            "raw.{}: manifest `{}` cannot be understood: {why}; remove the folder above it to read the database again",
            self.source, meta.location
        ))
    }

    /// Makes a manifest, if nobody has made one of this number.
    pub(super) async fn commit(&self, manifest: &Manifest) -> Result<bool> {
        let path = self.path.clone().join(MANIFESTS).join(format!("{:08}.json", manifest.number));
        let text = serde_json::to_vec(manifest).map_err(|e| Error::internal("a manifest is JSON").with_source(e))?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, text.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(from_store(&self.doing("write"), &error)),
        }
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path.clone().join(name);
        self.store.put(&path, bytes.into()).await.map(|_| ()).map_err(|e| from_store(&self.doing("write"), &e))
    }

    /// Removes what nobody reads any more. A failure only leaves it for the next time.
    pub(super) async fn clean(&self, newest: &Manifest) {
        if let Err(error) = self.try_clean(newest, Utc::now() - KEPT).await {
            log::warn!("raw.{}: old rows of the database are not removed: {error}", self.source);
        }
    }

    async fn try_clean(&self, newest: &Manifest, before: DateTime<Utc>) -> Result<()> {
        let mut manifests = self.list(&self.path.clone().join(MANIFESTS)).await?;
        manifests.retain(|meta| number_of(meta).is_some_and(|number| number <= newest.number));
        manifests.sort_by_key(number_of);
        let times: Vec<DateTime<Utc>> = manifests.iter().map(|meta| meta.last_modified).collect();
        let young = manifests.split_off(first_in_use(&times, before));
        let old = manifests;
        let mut listed: BTreeSet<String> = newest.files.iter().map(|file| file.path.clone()).collect();
        for meta in young.iter().filter(|meta| number_of(meta) != Some(newest.number)) {
            listed.extend(self.manifest(meta).await?.files.into_iter().map(|file| file.path));
        }
        let is_unlisted = |meta: &ObjectMeta| {
            meta.last_modified < before && meta.location.filename().is_some_and(|name| !listed.contains(name))
        };
        let files = self
            .list(&self.path)
            .await?
            .into_iter()
            .filter(|meta| meta.location.as_ref().ends_with(".jsonl.zst") && is_unlisted(meta));
        // Files first: as long as a manifest is there, nothing is lost that could not be removed later.
        for meta in files.chain(old) {
            self.store.delete(&meta.location).await.map_err(|e| from_store(&self.doing("clean up"), &e))?;
        }
        Ok(())
    }

    async fn list(&self, below: &Path) -> Result<Vec<ObjectMeta>> {
        self.store.list(Some(below)).try_collect().await.map_err(|e| from_store(&self.doing("list"), &e))
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} what was landed of raw.{} in `{}`", self.source, self.path)
    }
}

/// Where the rows of a source lie.
pub(crate) fn landing_root(lake: &Lake, database: &str, source: &str) -> Result<Url> {
    let folder = format!("{}/", DatabaseTable::folder(database, source));
    lake.root().join(&folder).map_err(|e| Error::internal("a lake has no folders").with_source(e))
}

/// Place of the first manifest that was the newest one at some time since `before`: one is until the next is made.
fn first_in_use(made: &[DateTime<Utc>], before: DateTime<Utc>) -> usize {
    let replaced = made.get(1..).unwrap_or_default();
    replaced.iter().take_while(|time| **time < before).count()
}

fn number_of(meta: &ObjectMeta) -> Option<u64> {
    meta.location.filename()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{LandedFile, ReadFiles};
    use super::*;

    fn manifest(number: u64, path: &str) -> Manifest {
        let files = vec![LandedFile { path: path.to_owned(), rows: 1, stays: false }];
        Manifest::after(None, "d".to_owned(), number, ReadFiles { files, ..ReadFiles::default() })
    }

    #[tokio::test]
    async fn a_number_is_taken_once() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = LandingFolder::local(temporary.path());
        assert_eq!(folder.newest().await.unwrap(), None);
        assert!(folder.commit(&manifest(1, "a")).await.unwrap());
        assert!(folder.commit(&manifest(2, "b")).await.unwrap());
        assert!(!folder.commit(&manifest(2, "c")).await.unwrap());
        assert_eq!(folder.newest().await.unwrap(), Some(manifest(2, "b")));
    }

    #[test]
    fn a_manifest_is_in_use_until_the_next_one_is_made() {
        let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
        for (made, expected) in
            [(&[][..], 0), (&[1], 0), (&[1, 12], 0), (&[1, 5, 12], 1), (&[1, 5, 9], 2), (&[11, 12], 0)]
        {
            let made: Vec<_> = made.iter().map(|seconds| at(*seconds)).collect();
            assert_eq!(first_in_use(&made, at(10)), expected, "{made:?}");
        }
    }

    #[tokio::test]
    async fn what_a_younger_manifest_lists_is_kept() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = LandingFolder::local(temporary.path());
        for (number, name) in [(1, "a.jsonl.zst"), (2, "b.jsonl.zst"), (3, "c.jsonl.zst")] {
            folder.put(name, vec![1]).await.unwrap();
            folder.commit(&manifest(number, name)).await.unwrap();
        }
        folder.put("orphan.jsonl.zst", vec![1]).await.unwrap();
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(temporary.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let long_ago = DateTime::from_timestamp(0, 0).unwrap();
        folder.try_clean(&manifest(3, "c.jsonl.zst"), long_ago).await.unwrap();
        assert_eq!(names(), ["a.jsonl.zst", "b.jsonl.zst", "c.jsonl.zst", "manifests", "orphan.jsonl.zst"]);
        folder.try_clean(&manifest(3, "c.jsonl.zst"), Utc::now() + TimeDelta::days(1)).await.unwrap();
        assert_eq!(names(), ["c.jsonl.zst", "manifests"]);
        assert_eq!(folder.newest().await.unwrap(), Some(manifest(3, "c.jsonl.zst")));
    }
}
