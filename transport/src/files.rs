//! Certificates of a cluster in a folder: `authority.pem` for all, `authority.key` for who signs, and one file a role.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use pulse_core::{Error, Result};

use crate::authority::{Authority, Issued};
use crate::keys::text;
use crate::role::Role;

/// Whom all trust.
pub(crate) const AUTHORITY: &str = "authority.pem";
/// What signs; only where certificates are issued.
const AUTHORITY_KEY: &str = "authority.key";
/// The certificate of the authority that signs, beside those that are still trusted.
const SIGNS: &str = "authority.signs.pem";
/// How every certificate ends.
const END: &str = "-----END CERTIFICATE-----\n";

/// Of a change of the authority. Every process takes in the files of one before the next is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The new authority is trusted beside the old one, which still signs.
    Trust,
    /// The new one signs: certificates of all roles are issued again.
    Sign,
    /// The old one is trusted no more.
    Forget,
}

/// Certificate and key of a role.
pub(crate) fn file_of(folder: &Path, role: Role) -> PathBuf {
    folder.join(format!("{}.pem", role.word()))
}

/// Makes an authority in `folder`, and a certificate of each role.
///
/// # Errors
/// `Invalid` when there is one already or the folder cannot be written.
pub fn init(folder: &Path, authority_days: u32, days: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| failed("make", folder, &e))?;
    let key = folder.join(AUTHORITY_KEY);
    if key.exists() || folder.join(AUTHORITY).exists() {
        return Err(Error::invalid(format!(
            "{} holds an authority already: `pulse certs issue` makes new certificates, `pulse certs rotate` a new authority",
            folder.display()
        )));
    }
    let authority = Authority::new(authority_days)?;
    replace(&key, &authority.key())?;
    replace(&folder.join(SIGNS), authority.certificate())?;
    replace(&folder.join(AUTHORITY), authority.certificate())?;
    Role::ALL.into_iter().try_for_each(|role| write(folder, &authority, role, days))
}

/// Issues a certificate of `role` again.
///
/// # Errors
/// `Invalid` when the authority's key is not in `folder`.
pub fn issue(folder: &Path, role: Role, days: u32) -> Result<()> {
    write(folder, &signing(folder, "")?, role, days)
}

/// One step from the authority in `folder` to a new one.
///
/// # Errors
/// `Invalid` when the step before is missing.
pub fn rotate(folder: &Path, step: Step, authority_days: u32, days: u32) -> Result<()> {
    let trusted = folder.join(AUTHORITY);
    match step {
        Step::Trust => {
            if next_of(AUTHORITY_KEY, folder).exists() {
                return Err(Error::invalid("a new authority is trusted already: go on with `--step sign`"));
            }
            let (old, new) = (signing(folder, "")?, Authority::new(authority_days)?);
            replace(&next_of(AUTHORITY_KEY, folder), &new.key())?;
            replace(&next_of(SIGNS, folder), new.certificate())?;
            replace(&trusted, &(old.certificate().to_owned() + new.certificate()))
        }
        Step::Sign => {
            let new = signing(folder, NEXT).map_err(|e| {
                Error::invalid(format!("no new authority is trusted yet: begin with `--step trust` ({e})"))
            })?;
            for name in [AUTHORITY_KEY, SIGNS] {
                let (from, to) = (next_of(name, folder), folder.join(name));
                std::fs::rename(&from, &to).map_err(|e| failed("replace", &to, &e))?;
            }
            Role::ALL.into_iter().try_for_each(|role| write(folder, &new, role, days))
        }
        Step::Forget => {
            if next_of(AUTHORITY_KEY, folder).exists() {
                return Err(Error::invalid("the new authority does not sign yet: `--step sign` comes first"));
            }
            let signs = signing(folder, "")?;
            if text(&trusted, false)?.matches(END.trim()).count() < 2 {
                return Err(Error::invalid("only one authority is trusted: there is none to forget"));
            }
            replace(&trusted, signs.certificate())
        }
    }
}

/// Behind the names of files of an authority that does not sign yet.
const NEXT: &str = ".next";

fn next_of(name: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{name}{NEXT}"))
}

fn signing(folder: &Path, suffix: &str) -> Result<Authority> {
    let file = |name: &str, secret| text(&folder.join(format!("{name}{suffix}")), secret);
    Authority::from_pem(&file(SIGNS, false)?, &file(AUTHORITY_KEY, true)?)
}

fn write(folder: &Path, authority: &Authority, role: Role, days: u32) -> Result<()> {
    let Issued { certificate, key } = authority.issue(role, days)?;
    replace(&file_of(folder, role), &(certificate + &key))
}

/// Whole or not at all; for the owner alone.
pub(crate) fn replace(path: &Path, content: &str) -> Result<()> {
    static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|e| failed("write", path, &e))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::invalid(format!("{doing} {}: {error}", path.display()))
}
