//! What lies below a folder of this machine.

use std::ffi::OsStr;
use std::fs::{DirEntry, Metadata, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use object_store::ObjectMeta;
use object_store::path::Path;
use pulse_core::shown::escaped_name;

use super::local::is_begun;

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A link is not its target.
    Left,
    Followed,
}

/// One thing that lies there. Pipes, sockets, devices and links that lead nowhere are none.
#[derive(Debug)]
pub(super) enum Found {
    File(ObjectMeta),
    /// A symbolic link that was not followed.
    Link(PathBuf),
    /// A file whose name is no text without control characters; the path is escaped.
    Unshown(String, Metadata),
}

/// All files below a folder, folder by folder, in no order.
#[derive(Debug)]
pub(super) struct Walk {
    links: Links,
    /// What lies in a folder with no path above this one is not looked at.
    above: Option<Path>,
    /// From the outermost to the one that is read.
    open: Vec<Folder>,
    /// The first folder could not be opened.
    failed: Option<io::Error>,
}

#[derive(Debug)]
struct Folder {
    entries: ReadDir,
    /// Device and number, by which a link to a folder above is known.
    id: (u64, u64),
}

impl Walk {
    /// What is no folder has nothing below it.
    pub(super) fn new(folder: &FilePath, links: Links) -> Self {
        let mut walk = Self { links, above: None, open: Vec::new(), failed: None };
        walk.failed = walk.enter(folder).err().filter(|error| error.kind() != io::ErrorKind::NotADirectory);
        walk
    }

    /// Leaves out folders whose paths all come before `offset`, in the order of an object store.
    pub(super) fn above(self, offset: Option<Path>) -> Self {
        Self { above: offset, ..self }
    }

    fn is_left_out(&self, folder: &FilePath) -> bool {
        // Everything in it begins with `<folder>/`, and `0` is the character after the slash.
        let end = self.above.as_ref().and_then(|above| Some((above, format!("{}0", location(folder.as_os_str())?))));
        end.is_some_and(|(above, end)| end.as_str() <= above.as_ref())
    }

    /// A folder that is gone meanwhile, or lies in itself, is empty.
    fn enter(&mut self, folder: &FilePath) -> io::Result<()> {
        let opened = std::fs::metadata(folder).and_then(|facts| Ok((facts, folder.read_dir()?)));
        let (facts, entries) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|error| at(folder, &error))?,
        };
        let id = (facts.dev(), facts.ino());
        if self.open.iter().all(|above| above.id != id) {
            self.open.push(Folder { entries, id });
        }
        Ok(())
    }

    fn look_at(&mut self, entry: &DirEntry) -> io::Result<Option<Found>> {
        let path = entry.path();
        let facts = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| at(&path, &error))?,
        };
        let facts = match (facts.is_symlink(), self.links) {
            (false, _) => facts,
            (true, Links::Left) => return Ok(Some(Found::Link(path))),
            // One that leads nowhere, or to itself.
            (true, Links::Followed) => match std::fs::metadata(&path) {
                Ok(facts) => facts,
                Err(_) => return Ok(None),
            },
        };
        if facts.is_dir() {
            return if self.is_left_out(&path) { Ok(None) } else { self.enter(&path).map(|()| None) };
        }
        Ok(if facts.is_file() { found(&path, facts) } else { None })
    }
}

impl Iterator for Walk {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        loop {
            let found = match self.open.last_mut()?.entries.next() {
                Some(Ok(entry)) => self.look_at(&entry).transpose(),
                Some(Err(error)) => Some(Err(error)),
                None => {
                    self.open.pop();
                    None
                }
            };
            if found.is_some() {
                return found;
            }
        }
    }
}

/// Removes a folder and those in it that hold no files. Stores on other machines have no folders.
pub fn remove_empty_folders(folder: &FilePath) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
        }
    }
    // Fails for a folder that is not empty.
    let _ = std::fs::remove_dir(folder);
}

/// The first component of `path` below `above` that is a symbolic link.
pub(crate) fn link_below(above: &FilePath, path: &FilePath) -> Option<PathBuf> {
    let below = path.strip_prefix(above).ok()?;
    let mut place = above.to_owned();
    for component in below.components() {
        place.push(component);
        // What is not there is no link.
        if place.symlink_metadata().ok()?.is_symlink() {
            return Some(place);
        }
    }
    None
}

/// A path for a message.
pub(crate) fn shown_path(path: &FilePath) -> String {
    escaped_name(path.as_os_str().as_bytes()).unwrap_or_else(|| path.display().to_string())
}

fn at(path: &FilePath, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", shown_path(path)))
}

fn found(path: &FilePath, facts: Metadata) -> Option<Found> {
    Some(match location(path.as_os_str()) {
        // The library for stores refuses the name of what it is still writing.
        Some(place) if is_begun(&place) => return None,
        Some(place) => Found::File(meta(place, &facts)),
        None => Found::Unshown(shown_path(path).trim_start_matches('/').to_owned(), facts),
    })
}

/// Stores take no control characters and no other bytes than those of UTF-8.
pub(super) fn location(path: &OsStr) -> Option<Path> {
    path.to_str().and_then(|text| Path::parse(text).ok())
}

/// As `LocalFileSystem` describes a file, with its change time.
pub(super) fn meta(location: Path, facts: &Metadata) -> ObjectMeta {
    let modified = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let micros = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    ObjectMeta {
        location,
        last_modified: modified.into(),
        size: facts.len(),
        e_tag: Some(format!("{:x}-{micros:x}-{:x}", facts.ino(), facts.len())),
        version: Some(change_time(facts)),
    }
}

/// Seconds and nanoseconds since the epoch.
pub(super) fn change_time(facts: &Metadata) -> String {
    format!("{}.{:09}", facts.ctime(), facts.ctime_nsec())
}
