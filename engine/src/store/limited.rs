//! An object store that allows only some prefixes.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use url::Url;

use super::places::Places;

/// `store`, which is at `url`, as far as `places` hold its objects.
#[derive(Debug, Clone)]
pub(super) struct Limited {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) url: Url,
    pub(super) places: Arc<Places>,
}

impl Limited {
    /// # Errors
    /// `PermissionDenied` for a path outside of the places.
    fn check(&self, path: &Path) -> Result<()> {
        if self.places.hold_file(&self.url, path) {
            return Ok(());
        }
        let why = "this process may use only the places in `task_places`";
        Err(Error::PermissionDenied { path: format!("{}{path}", self.url), source: why.into() })
    }

    fn check_prefix(&self, prefix: Option<&Path>) -> Result<()> {
        self.check(prefix.unwrap_or(&Path::default()))
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.store)
    }
}

#[async_trait]
impl ObjectStore for Limited {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.check(location)?;
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let limited = self.clone();
        self.store.delete_stream(
            locations
                .and_then(move |path| {
                    let checked = limited.check(&path).map(|()| path);
                    async move { checked }
                })
                .boxed(),
        )
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.store.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.store.list_with_offset(prefix, offset),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_prefix(prefix)?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.store.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.store.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::super::{StoreOptions, Stores, store_path};
    use super::*;

    fn url(path: &std::path::Path) -> Url {
        Url::from_directory_path(path).unwrap()
    }

    /// Every way to an object outside of `allowed` is refused, and leaves it as it was.
    #[tokio::test]
    async fn only_the_places_are_used() {
        let kept = tempfile::tempdir().unwrap();
        let (inside, outside) = (kept.path().join("lake"), kept.path().join("lake2"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("file"), "content").unwrap();
        }
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let places = Places::Below(vec![url(&inside)]);
        let stores = Stores::new(StoreOptions::default()).within(places);
        let store = stores.client(&url(&inside)).unwrap();
        let at = |path: std::path::PathBuf| Path::from_absolute_path(path).unwrap();
        let good = at(inside.join("file"));
        assert_eq!(store.get(&good).await.unwrap().bytes().await.unwrap(), "content");
        store.put(&at(inside.join("new/file")), "new".into()).await.unwrap();
        assert!(store.list(Some(&store_path(&url(&inside)).unwrap())).count().await >= 2);
        let source = stores.source_client(&url(&outside), super::super::Links::Left).unwrap();
        for bad in [at(outside.join("file")), at(inside.join("link/file"))] {
            assert!(store.get(&bad).await.is_err() && source.get(&bad).await.is_err());
            assert!(store.put(&bad, "other".into()).await.is_err());
            assert!(store.delete(&bad).await.is_err());
            assert!(store.copy(&bad, &good).await.is_err() && store.copy(&good, &bad).await.is_err());
            assert!(store.rename(&bad, &good).await.is_err() && store.rename(&good, &bad).await.is_err());
        }
        assert!(store.list(None).try_collect::<Vec<_>>().await.is_err());
        assert!(store.list(Some(&store_path(&url(&outside)).unwrap())).try_collect::<Vec<_>>().await.is_err());
        assert!(store.list_with_delimiter(Some(&store_path(&url(&outside)).unwrap())).await.is_err());
        for folder in [&inside, &outside] {
            assert_eq!(std::fs::read_to_string(folder.join("file")).unwrap(), "content");
        }
    }

    #[test]
    fn a_bucket_is_held_by_parts_of_its_paths() {
        let places = Places::parse("task_places", "s3://raw/a%20b/, s3://whole").unwrap();
        let holds = |store: &str, path: &str| places.hold_file(&Url::parse(store).unwrap(), &Path::from(path));
        assert!(holds("s3://raw/", "a b/c") && holds("s3a://raw/", "a b/c") && holds("s3://whole/", "x"));
        assert!(!holds("s3://raw/", "a bc/d") && !holds("s3://raw/", "x") && !holds("s3://other/", "a b/c"));
        assert!(!holds("file:///", "a b/c"));
    }
}
