//! Files of this machine, with the time at which anything about them changed last.

use std::fmt;
use std::fs::Metadata;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// [`LocalFileSystem`] whose [`ObjectMeta::version`] is the file's change time. Programs set the modification time as they like; the
/// change time is the kernel's.
#[derive(Debug, Default)]
pub struct LocalFiles {
    files: LocalFileSystem,
}

/// `LocalFileSystem` has just looked at the same file: what this call asks for is in the kernel's cache.
#[cfg(unix)]
fn with_change_time(meta: ObjectMeta) -> ObjectMeta {
    let metadata = std::fs::metadata(std::path::Path::new("/").join(meta.location.as_ref()));
    ObjectMeta { version: metadata.ok().as_ref().and_then(change_time), ..meta }
}

/// Seconds and nanoseconds since the epoch.
#[cfg(unix)]
fn change_time(metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    Some(format!("{}.{:09}", metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn with_change_time(meta: ObjectMeta) -> ObjectMeta {
    meta
}

#[cfg(not(unix))]
fn change_time(_: &Metadata) -> Option<String> {
    None
}

impl fmt::Display for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.files.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result = self.files.get_opts(location, options).await?;
        if let GetResultPayload::File(file, _) = &result.payload {
            result.meta.version = file.metadata().ok().as_ref().and_then(change_time);
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix).map(|meta| meta.map(with_change_time)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset).map(|meta| meta.map(with_change_time)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.files.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(with_change_time).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}
