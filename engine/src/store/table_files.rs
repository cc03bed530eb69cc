//! The files of one table: what links lead to is none of them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Component, Path as FilePath, PathBuf};
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
use rustix::fs::{AtFlags, Mode, OFlags, open, openat, unlinkat};

use super::local::{denied, on_disk};
use super::walk::{link_below, shown_path};

/// Local files of a table. Symbolic links below `lake` are not followed.
#[derive(Debug)]
pub(super) struct TableFiles {
    pub(super) files: Arc<dyn ObjectStore>,
    pub(super) lake: PathBuf,
}

impl TableFiles {
    /// # Errors
    /// `PermissionDenied` for a path that leads through a link.
    fn check(&self, path: &Path) -> Result<()> {
        refuse_links(&self.lake, &on_disk(path))
    }
}

fn refuse_links(above: &FilePath, path: &FilePath) -> Result<()> {
    match link_below(above, path) {
        None => Ok(()),
        Some(link) => Err(denied(
            path,
            format!(
                "`{}` is a symbolic link, which is not followed: put the folder itself there, or name its place in \
                 `_pulse/layers.json` of the lake",
                shown_path(&link)
            ),
        )),
    }
}

/// Deletes a file below `above`, following no link, not even one that is made meanwhile.
///
/// # Errors
/// Those of the file system; `NotADirectory` where a link is in the way.
pub(crate) fn delete_below(above: &FilePath, file: &FilePath) -> io::Result<()> {
    let below = file.strip_prefix(above).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    let (Some(name), Some(parent), true) = (below.file_name(), below.parent(), is_plain) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut folder = open(above, flags, Mode::empty())?;
    for component in parent {
        folder = openat(&folder, component, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(unlinkat(&folder, name, AtFlags::empty())?)
}

fn delete_of_table(lake: &FilePath, path: &Path) -> Result<()> {
    let file = on_disk(path);
    refuse_links(lake, file.parent().unwrap_or(lake))?;
    delete_below(lake, &file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_string(), source: error.into() },
        io::ErrorKind::NotADirectory => denied(&file, format!("a folder of it is a symbolic link: {error}")),
        _ => Error::Generic { store: "LocalFileSystem", source: Box::new(error) },
    })
}

impl fmt::Display for TableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} below {}", self.files, shown_path(&self.lake))
    }
}

#[async_trait]
impl ObjectStore for TableFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.check(location)?;
        self.files.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let lake = self.lake.clone();
        let delete = move |path: Path| {
            let lake = lake.clone();
            async move {
                let one = move || delete_of_table(&lake, &path).map(|()| path);
                tokio::task::spawn_blocking(one).await?
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.map_or(Ok(()), |prefix| self.check(prefix)) {
            Ok(()) => self.files.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.map_or(Ok(()), |prefix| self.check(prefix)) {
            Ok(()) => self.files.list_with_offset(prefix, offset),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        prefix.map_or(Ok(()), |prefix| self.check(prefix))?;
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.files.rename_opts(from, to, options).await
    }
}
