//! The edge: files on a disk or objects in a store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use pulse_core::{Error, ErrorKind, Result};
use url::Url;

use super::record::{FileRecord, Record, Summary};
use super::{Feed, GenerateOptions, Plan, PlannedFile};

/// Name of the record in the output's root.
const RECORD: &str = "defects.json";
/// Files per processor that are under way at once, so that one is generated while another is uploaded.
const FILES_PER_PROCESSOR: usize = 2;

/// Writes all files and, last, `defects.json`: where that is, the output is complete. `on_file` hears of each file, in
/// the order of [`Plan::files`].
///
/// # Errors
/// `Invalid` for options out of their range, an unusable URL, and feed folders that hold other files: readers would find
/// more than the record says. `Exhausted` for a full disk. `Unavailable` when the disk or the store does not answer.
pub async fn write(out: &Url, options: GenerateOptions, on_file: impl FnMut(&FileRecord)) -> Result<Summary> {
    write_to(Destination::open(out)?, options, on_file).await
}

pub(super) async fn write_to(
    destination: Destination,
    options: GenerateOptions,
    mut on_file: impl FnMut(&FileRecord),
) -> Result<Summary> {
    let plan = Arc::new(Plan::new(options)?);
    let files: Vec<PlannedFile> = plan.files().collect();
    destination.refuse_others(&files).await?;
    destination.remove_record().await?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut record = Record::new(&plan);
    let mut written = futures::stream::iter(files)
        .map(|file| destination.clone().write_file(Arc::clone(&plan), file))
        .buffered(processors * FILES_PER_PROCESSOR);
    while let Some(file) = written.try_next().await? {
        on_file(&file);
        record.add(file);
    }
    let mut text = serde_json::to_vec_pretty(&record)
        .map_err(|error| Error::internal("the record of the defects is always JSON").with_source(error))?;
    text.push(b'\n');
    destination.put(RECORD, text).await?;
    Ok(record.summary())
}

/// Where the output goes.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    Folder(PathBuf),
    Store { store: Arc<dyn ObjectStore>, prefix: ObjectPath },
}

impl Destination {
    /// Credentials and region of a store come from the environment (`AWS_*`) or the instance.
    fn open(out: &Url) -> Result<Self> {
        if out.scheme() == "file" {
            let folder = out.to_file_path();
            return folder
                .map(Self::Folder)
                .map_err(|()| Error::invalid(format!("`{out}` is not a path on this machine")));
        }
        let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(out, settings).map_err(|error| {
            Error::invalid(format!("`{out}` cannot be written to: give a file:// or s3:// URL")).with_source(error)
        })?;
        Ok(Self::Store { store: Arc::from(store), prefix })
    }

    async fn write_file(self, plan: Arc<Plan>, file: PlannedFile) -> Result<FileRecord> {
        match self {
            Self::Folder(root) => {
                let path = root.join(file.path());
                let work = move || {
                    let failed = |error| io_error(&path, error);
                    let out = create(&path).map_err(failed)?;
                    plan.write_file(&file, out).map_err(failed)
                };
                blocking(work).await
            }
            Self::Store { .. } => {
                // A file is at most some megabytes long, and few are under way.
                let work = move || {
                    let mut text = Vec::new();
                    let written = plan.write_file(&file, &mut text);
                    let record = written.map_err(|error| Error::internal("memory takes bytes").with_source(error))?;
                    Ok((record, text))
                };
                let (record, text) = blocking(work).await?;
                self.put(&record.path, text).await?;
                Ok(record)
            }
        }
    }

    async fn put(&self, path: &str, text: Vec<u8>) -> Result<()> {
        match self {
            Self::Folder(root) => {
                let path = root.join(path);
                blocking(move || fs::write(&path, text).map_err(|error| io_error(&path, error))).await
            }
            Self::Store { store, prefix } => {
                let object = below(prefix, path);
                store.put(&object, text.into()).await.map(|_| ()).map_err(|error| store_error(&object, error))
            }
        }
    }

    /// Fails when a feed's folder holds what is not about to be written.
    async fn refuse_others(&self, files: &[PlannedFile]) -> Result<()> {
        let ours: std::collections::BTreeSet<String> = files.iter().map(PlannedFile::path).collect();
        for feed in Feed::ALL {
            for path in self.list(feed.folder()).await? {
                if !ours.contains(&path) {
                    return Err(Error::invalid(format!(
                        "the output already holds `{path}`, which is not of these options: name an empty folder"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Paths of the files of a folder, below the root.
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match self {
            Self::Folder(root) => {
                let path = root.join(folder);
                let names = match blocking(move || Ok(names_in(&path).map_err(|error| (path, error)))).await? {
                    Ok(names) => names,
                    Err((_, error)) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                    Err((path, error)) => return Err(io_error(&path, error)),
                };
                Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
            }
            Self::Store { store, prefix } => {
                let folder_path = below(prefix, folder);
                let listed = store.list_with_delimiter(Some(&folder_path)).await;
                let objects = listed.map_err(|error| store_error(&folder_path, error))?.objects;
                let names = objects.iter().filter_map(|object| object.location.filename());
                Ok(names.map(|name| format!("{folder}/{name}")).collect())
            }
        }
    }

    /// A record of an earlier output must not stand beside files of this one.
    async fn remove_record(&self) -> Result<()> {
        match self {
            Self::Folder(root) => {
                let path = root.join(RECORD);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path, error)),
                    _ => Ok(()),
                }
            }
            Self::Store { store, prefix } => {
                let object = below(prefix, RECORD);
                match store.delete(&object).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(store_error(&object, error)),
                }
            }
        }
    }
}

fn create(path: &Path) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create(path)
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn below(prefix: &ObjectPath, path: &str) -> ObjectPath {
    prefix.parts().chain(path.split('/').map(Into::into)).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("generating a file never panics").with_source(error)),
    }
}

fn io_error(path: &Path, error: io::Error) -> Error {
    let (kind, remedy) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::Exhausted, "free some space"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::Invalid, "name a folder that you may write to")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => {
            (ErrorKind::Invalid, "name a folder, not a file")
        }
        _ => (ErrorKind::Unavailable, "look at the disk and try again"),
    };
    Error::new(kind, format!("`{}` cannot be written: {remedy}", path.display())).with_source(error)
}

fn store_error(object: &ObjectPath, error: object_store::Error) -> Error {
    let kind = match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("`{object}` cannot be written: look at the store's address and credentials"))
        .with_source(error)
}
