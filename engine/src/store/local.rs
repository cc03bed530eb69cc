//! Files of this machine, with the time at which anything about them changed last, and without what links lead to.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use super::private;
use super::walk::{Found, Links, Walk, change_time, link_below, location, meta, shown_path};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Entity tag of what lies in a source's folder and is a link that is not followed.
pub const LEFT_LINK: &str = "pulse: link";
/// Entity tag of a file of a source whose name is escaped, so that the store does not find it by that name.
pub const UNSHOWN: &str = "pulse: name";

/// Entries of a folder that are looked at without a pause.
const LISTED_AT_ONCE: usize = 1024;

/// [`LocalFileSystem`] whose [`ObjectMeta::version`] is the file's change time. Programs set the modification time as they like; the
/// change time is the kernel's. Listing does not follow links, and pipes and devices are not read: they may have no end.
#[derive(Debug, Default)]
pub struct LocalFiles {
    files: LocalFileSystem,
    scope: Scope,
}

/// Which files it is about.
#[derive(Debug, Clone, Default)]
enum Scope {
    #[default]
    All,
    /// Those of a source of files: links below `root` and names that cannot be shown are listed as such.
    Source { root: PathBuf, links: Links },
}

impl LocalFiles {
    pub(crate) fn of_source(root: PathBuf, links: Links) -> Self {
        Self { scope: Scope::Source { root, links }, ..Self::default() }
    }

    fn walked(
        &self,
        prefix: Option<&Path>,
        offset: Option<Path>,
    ) -> Box<dyn Iterator<Item = Result<ObjectMeta>> + Send> {
        let folder = prefix.map_or_else(|| PathBuf::from("/"), on_disk);
        let (links, is_source) = match &self.scope {
            Scope::All => (Links::Left, false),
            Scope::Source { root, links } => match link_below(root, &folder).filter(|_| *links == Links::Left) {
                Some(link) => return Box::new(left_link(&link).map(Ok).into_iter()),
                None => (*links, true),
            },
        };
        let listed = move |found: io::Result<Found>| match found {
            Ok(Found::File(meta)) => Some(Ok(meta)),
            Ok(Found::Link(path)) => left_link(&path).filter(|_| is_source).map(Ok),
            Ok(Found::Unshown(name, facts)) if is_source => Some(Ok(unshown(&name, &facts))),
            Ok(Found::Unshown(name, _)) => {
                log::warn!("`/{name}` is not looked at: its name has characters that cannot be shown");
                None
            }
            Err(error) => Some(Err(Error::Generic { store: "LocalFileSystem", source: Box::new(error) })),
        };
        Box::new(Walk::new(&folder, links).above(offset).filter_map(listed))
    }
}

/// No path of an object begins with a slash.
pub(super) fn on_disk(path: &Path) -> PathBuf {
    FilePath::new("/").join(path.as_ref())
}

pub(super) fn denied(path: &FilePath, why: String) -> Error {
    Error::PermissionDenied { path: shown_path(path), source: why.into() }
}

/// `None` for one that leads to nothing that could be read.
fn left_link(path: &FilePath) -> Option<ObjectMeta> {
    let target = std::fs::metadata(path).ok()?;
    if !target.is_file() && !target.is_dir() {
        return None;
    }
    let facts = path.symlink_metadata().ok()?;
    let place = location(path.as_os_str()).or_else(|| Path::parse(shown_path(path)).ok())?;
    Some(ObjectMeta { e_tag: Some(LEFT_LINK.to_owned()), ..meta(place, &facts) })
}

fn unshown(name: &str, facts: &Metadata) -> ObjectMeta {
    let place = Path::parse(name).unwrap_or_else(|_| Path::from(name));
    ObjectMeta { e_tag: Some(UNSHOWN.to_owned()), version: None, ..meta(place, facts) }
}

impl fmt::Display for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let present = match options.mode {
            PutMode::Create => private::Present::Stays,
            PutMode::Overwrite => private::Present::IsReplaced,
            // Refused below.
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        if !private::is_private(location) {
            return self.files.put_opts(location, payload, options).await;
        }
        let file = on_disk(location);
        let written = tokio::task::spawn_blocking(move || {
            private::write(&file, payload, present).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => {
                    Error::AlreadyExists { path: shown_path(&file), source: Box::new(source) }
                }
                kind => {
                    let named = io::Error::new(kind, format!("{}: {source}", shown_path(&file)));
                    Error::Generic { store: "LocalFileSystem", source: Box::new(named) }
                }
            })
        });
        written.await??;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let file = on_disk(location);
        // Opening a pipe waits until somebody writes to it.
        if std::fs::metadata(&file).is_ok_and(|facts| !facts.is_file() && !facts.is_dir()) {
            return Err(denied(&file, "it is a pipe or a device, and no file".to_owned()));
        }
        let mut result = self.files.get_opts(location, options).await?;
        if let GetResultPayload::File(file, _) = &result.payload {
            result.meta.version = file.metadata().ok().as_ref().map(change_time);
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
        streamed(self.walked(prefix, None))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        let walked = self.walked(prefix, Some(offset.clone()));
        streamed(walked).try_filter(move |meta| std::future::ready(meta.location > offset)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.map_or_else(|| PathBuf::from("/"), on_disk);
        tokio::task::spawn_blocking(move || children(&folder)).await?
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await
    }
}

/// Takes the entries in pieces, on a thread that may wait for the disk.
fn streamed(walked: Box<dyn Iterator<Item = Result<ObjectMeta>> + Send>) -> BoxStream<'static, Result<ObjectMeta>> {
    if tokio::runtime::Handle::try_current().is_err() {
        return stream::iter(walked).boxed();
    }
    let chunks = stream::try_unfold(Some(walked), |walked| async move {
        let Some(mut walked) = walked else { return Ok(None) };
        tokio::task::spawn_blocking(move || {
            let chunk: Vec<Result<ObjectMeta>> = walked.by_ref().take(LISTED_AT_ONCE).collect();
            let is_more = chunk.len() == LISTED_AT_ONCE;
            Ok::<_, Error>(Some((stream::iter(chunk), is_more.then_some(walked))))
        })
        .await?
    });
    chunks.try_flatten().boxed()
}

/// Files and folders of a folder, also those that a link leads to: somebody has named the folder itself. What cannot be shown is
/// left out.
fn children(folder: &FilePath) -> Result<ListResult> {
    let failed = |error: io::Error| Error::Generic { store: "LocalFileSystem", source: Box::new(error) };
    let mut listed = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
    let entries = match folder.read_dir() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(listed);
        }
        other => other.map_err(failed)?,
    };
    let mut folders = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let (Some(place), Ok(facts)) = (location(path.as_os_str()), std::fs::metadata(&path)) else { continue };
        if facts.is_dir() {
            folders.insert(place);
        } else if facts.is_file() && !is_begun(&place) {
            listed.objects.push(meta(place, &facts));
        }
    }
    listed.common_prefixes = folders.into_iter().collect();
    Ok(listed)
}

/// Whether `LocalFileSystem` is still writing it, and so refuses its name.
pub(super) fn is_begun(path: &Path) -> bool {
    let end = path.filename().and_then(|name| name.split_once('#')).map(|(_, end)| end);
    end.is_some_and(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
