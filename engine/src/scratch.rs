//! Scratch folders of a process. A killed process cannot empty its own: the next one in the same parent does.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

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
        remove_abandoned(parent, prefix)?;
        loop {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            // Until it is locked, it looks abandoned and may be deleted.
            if let Some(lock) = found(File::open(folder.path()))? {
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

fn remove_abandoned(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(parent)?.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let folder = entry.path();
        // It was deleted just now, or belongs to another user.
        let Ok(lock) = File::open(&folder) else { continue };
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
