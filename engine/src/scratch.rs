//! Scratch folders of a process. A killed process cannot empty its own: the next one in the same parent does.

use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use tempfile::TempDir;

/// A folder that is deleted with its contents on drop.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// The kernel releases it however the process ends.
    _lock: File,
}

impl Scratch {
    /// Creates a folder in `parent` with a name that begins with `prefix`. Deletes those of processes that have ended.
    ///
    /// # Errors
    /// Those of the file system, for `parent` and the new folder; failed deletions are logged.
    pub fn make(parent: &Path, prefix: &str) -> io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        let scratch = Self::locked(parent, prefix)?;
        let own = scratch.path().symlink_metadata()?;
        remove_abandoned(parent, prefix, &own)?;
        Ok(scratch)
    }

    fn locked(parent: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let folder = tempfile::Builder::new().prefix(prefix).permissions(private()).tempdir_in(parent)?;
            // Until it is locked, it looks abandoned and may be deleted.
            if let Some(lock) = found(open_folder(folder.path()))? {
                match lock.lock() {
                    // Without locks, no process can tell which others have ended, so none deletes anything.
                    Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
                    _ if folder.path().exists() => return Ok(Self { folder, _lock: lock }),
                    _ => {}
                }
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Of a folder that only its owner may look into.
pub(crate) fn private() -> Permissions {
    Permissions::from_mode(0o700)
}

/// Does not wait, as opening a pipe does, and follows no link.
fn open_folder(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(open(folder, flags, Mode::empty())?))
}

/// Those of the owner of `own` alone: in the system's folder, others may leave whatever they like.
fn remove_abandoned(parent: &Path, prefix: &str, own: &Metadata) -> io::Result<()> {
    for entry in std::fs::read_dir(parent)?.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let folder = entry.path();
        let is_own = |facts: Metadata| facts.is_dir() && facts.uid() == own.uid();
        if !folder.symlink_metadata().is_ok_and(is_own) {
            continue;
        }
        // It was deleted just now.
        let Ok(lock) = open_folder(&folder) else { continue };
        match lock.try_lock() {
            Ok(()) => remove(&folder),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => log::debug!("whether {} is used: {error}", folder.display()),
        }
    }
    Ok(())
}

fn remove(folder: &Path) {
    match found(std::fs::remove_dir_all(folder)) {
        Ok(_) => log::info!("removed {}, which a process that has ended left", folder.display()),
        Err(error) => log::warn!("{}, which a process that has ended left: {error}", folder.display()),
    }
}

/// `None` if it no longer exists.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "scratch-";

    #[test]
    fn what_ended_processes_left_goes_and_what_is_used_stays() {
        let parent = tempfile::tempdir().unwrap();
        let used = Scratch::make(parent.path(), PREFIX).unwrap();
        std::fs::write(used.path().join("rows"), "spilled").unwrap();
        // As after a kill: no destructor ran, and the kernel released the lock.
        let left = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent.path()).unwrap().keep();
        std::fs::create_dir(left.join("stage")).unwrap();
        std::fs::write(left.join("stage/rows"), "shuffled").unwrap();
        let others = parent.path().join("mine");
        std::fs::create_dir(&others).unwrap();

        let new = Scratch::make(parent.path(), PREFIX).unwrap();

        assert!(!left.exists());
        assert!(used.path().join("rows").exists());
        assert!(others.exists());
        assert!(new.path() != used.path() && new.path().is_dir());
    }

    #[test]
    fn only_its_owner_looks_into_it() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Scratch::make(parent.path(), PREFIX).unwrap();
        assert_eq!(folder.path().metadata().unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_pipe_a_link_and_a_file_of_such_a_name_are_left_alone() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| parent.path().join(format!("{PREFIX}{name}"));
        let (mode, kind) = (Mode::from_raw_mode(0o600), rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), kind, mode, 0).unwrap();
        std::fs::write(elsewhere.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), at("link")).unwrap();
        std::fs::write(at("file"), "").unwrap();

        let (done, made) = std::sync::mpsc::channel();
        let folder = parent.path().to_owned();
        // It would wait for ever for somebody who writes to the pipe.
        std::thread::spawn(move || done.send(Scratch::make(&folder, PREFIX).map(drop)));
        made.recv_timeout(std::time::Duration::from_secs(20)).unwrap().unwrap();
        assert!(elsewhere.path().join("kept").exists());
        assert!(["pipe", "link", "file"].iter().all(|name| at(name).symlink_metadata().is_ok()));
    }

    #[test]
    fn folders_of_other_owners_are_skipped() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(format!("{PREFIX}theirs"));
        std::fs::create_dir(&left).unwrap();
        // Only root may give a folder away.
        if std::os::unix::fs::chown(&left, Some(65_534), None).is_ok() {
            drop(Scratch::make(parent.path(), PREFIX).unwrap());
            assert!(left.exists());
        }
    }

    #[test]
    fn it_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Scratch::make(&parent.path().join("new/one"), PREFIX).unwrap();
        std::fs::write(folder.path().join("rows"), "spilled").unwrap();
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn many_at_once_keep_their_own() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let folder = Scratch::make(parent.path(), PREFIX).unwrap();
                        assert!(folder.path().is_dir());
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
