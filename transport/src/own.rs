//! The authority of one account on one machine. Processes of that account read its key and issue their own certificates; another
//! account cannot read it, so it can neither join nor be taken for a scheduler.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pulse_core::{Error, Result};

use crate::authority::Authority;
use crate::files::replace;
use crate::keys::{Keys, text};
use crate::role::Role;

/// It is never sent anywhere, and made again when it is removed.
pub(crate) const DAYS: u32 = 20 * 365;
/// Issued at each start and kept in memory: as long as any process lives.
pub(crate) const PROCESS_DAYS: u32 = 10 * 365;
const FILE: &str = "authority";
/// Between the certificate and the key.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// A certificate of `role` that processes of this account on this machine trust.
///
/// # Errors
/// `Invalid` when the account's folder belongs to another one, or cannot be written.
pub(crate) fn keys(role: Role) -> Result<Keys> {
    Keys::issued(&authority(&folder()?)?, role, PROCESS_DAYS)
}

fn folder() -> Result<PathBuf> {
    let state = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = state("XDG_STATE_HOME").or_else(|| state("HOME").map(|home| home.join(".local/state")));
    match home {
        Some(home) => Ok(home.join("pulse/this-machine")),
        None => Ok(std::env::temp_dir().join(format!("pulse-this-machine-{}", account()?))),
    }
}

fn account() -> Result<u32> {
    let process = std::fs::metadata("/proc/self");
    process.map(|process| process.uid()).map_err(|e| Error::unavailable("the own account is unknown").with_source(e))
}

fn authority(folder: &Path) -> Result<Authority> {
    private(folder)?;
    let file = folder.join(FILE);
    if !file.exists() {
        let new = Authority::new(DAYS)?;
        make(folder, &file, &(new.certificate().to_owned() + &new.key()))?;
    }
    let both = text(&file, true)?;
    let (certificate, key) = both.split_once(KEY).ok_or_else(|| {
        Error::invalid(format!("{} holds no key: remove it, a new one is made at the next start", file.display()))
    })?;
    Authority::from_pem(certificate, &format!("{KEY}{key}"))
}

/// Of two processes that start at once, the first to link its file wins.
fn make(folder: &Path, file: &Path, content: &str) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let beside = folder.join(format!("new-{}-{number}", std::process::id()));
    replace(&beside, content)?;
    let linked = std::fs::hard_link(&beside, file);
    let _ = std::fs::remove_file(&beside);
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::invalid(format!("make {}: {error}", file.display())))
        }
        _ => Ok(()),
    }
}

/// Made if it is missing; refused when another account could write or read there.
fn private(folder: &Path) -> Result<()> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::invalid(format!("the folder {} for the secrets of this account: {why}", folder.display()))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed(&e))?;
    let about = std::fs::symlink_metadata(folder).map_err(|e| failed(&e))?;
    if !about.is_dir() || about.uid() != account()? || about.mode() & 0o077 != 0 {
        return Err(failed(&"it must be a folder of this account that no other can enter: remove it, or chmod 700"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn processes_of_one_account_find_the_same_authority() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let keys: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| authority(&folder).map(|a| a.key()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let file = std::fs::metadata(folder.join(FILE)).unwrap();
        assert_eq!((file.mode() & 0o777, std::fs::metadata(&folder).unwrap().mode() & 0o777), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn what_others_can_enter_or_read_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("f");
        authority(&folder).unwrap();
        std::fs::set_permissions(folder.join(FILE), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(authority(&folder).err().unwrap().message().contains("chmod 600"));
        std::fs::set_permissions(folder.join(FILE), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(authority(&folder).err().unwrap().message().contains("chmod 700"));
        let link = parent.path().join("link");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(authority(&link).is_err());
    }
}
