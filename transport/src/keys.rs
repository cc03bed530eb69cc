//! The certificate of a process, its key, and whom it trusts.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pulse_core::{Error, Result};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::authority::{Authority, Issued};
use crate::files::{AUTHORITY, file_of};
use crate::role::Role;

/// Larger than any chain of certificates.
const MOST_BYTES: u64 = 1 << 20;
/// A key that others of the machine can read is none.
const OTHERS: u32 = 0o077;

/// What is shown and trusted in one handshake.
pub struct Keys {
    pub(crate) role: Role,
    pub(crate) authority: String,
    pub(crate) own: String,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Keys {
    /// `authority` holds certificates, `own` a chain and its key; all PEM.
    ///
    /// # Errors
    /// `Invalid` when one of them is missing.
    pub fn new(role: Role, authority: String, own: String) -> Result<Self> {
        let wrong = |what: &str| Error::invalid(format!("the certificates of role {}: {what}", role.word()));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&authority).map_err(|e| wrong(&format!("{AUTHORITY}: {e}")))? {
            roots.add(certificate).map_err(|e| wrong(&format!("{AUTHORITY}: {e}")))?;
        }
        let chain = certificates(&own).map_err(|e| wrong(&e))?;
        let key = PrivateKeyDer::from_pem_slice(own.as_bytes())
            .map_err(|e| wrong(&format!("no private key follows the certificate: {e}")))?;
        if roots.is_empty() || chain.is_empty() {
            return Err(wrong("a file holds no certificate; make them with `pulse certs init`"));
        }
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider())
            .map_err(|e| wrong(&format!("certificate and key do not fit together: {e}")))?;
        Ok(Self { role, authority, own, roots: Arc::new(roots), chain, key })
    }

    /// Issued in this process, and written nowhere.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn issued(authority: &Authority, role: Role, days: u32) -> Result<Self> {
        let Issued { certificate, key } = authority.issue(role, days)?;
        Self::new(role, authority.certificate().to_owned(), certificate + &key)
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// PEM of certificate and key, for clients of HTTP.
    pub fn pem(&self) -> &str {
        &self.own
    }

    /// Certificates of the authorities that this process trusts, as PEM.
    pub fn trusted(&self) -> &str {
        &self.authority
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("role", &self.role).finish_non_exhaustive()
    }
}

fn certificates(pem: &str) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<std::result::Result<_, _>>().map_err(|e| e.to_string())
}

/// Keys as they are now. Those in files are read again once the files change, so that they are replaced without a restart.
#[derive(Debug)]
pub struct Keyring {
    role: Role,
    folder: Option<PathBuf>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    keys: Arc<Keys>,
    seen: Vec<Seen>,
}

/// What changes with a file's content.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Keyring {
    /// The same for the whole life of the process.
    pub fn fixed(keys: Keys) -> Self {
        let role = keys.role;
        Self { role, folder: None, current: Mutex::new(Current { keys: Arc::new(keys), seen: Vec::new() }) }
    }

    /// From `authority.pem` and the role's file in `folder`.
    ///
    /// # Errors
    /// `Invalid` when they cannot be read, or others can read the key.
    pub fn in_folder(folder: &Path, role: Role) -> Result<Self> {
        let seen = seen(folder, role);
        let keys = Arc::new(read(folder, role)?);
        Ok(Self { role, folder: Some(folder.to_owned()), current: Mutex::new(Current { keys, seen }) })
    }

    /// Half of a change, or one that cannot be read, leaves the last ones in use.
    pub fn keys(&self) -> Arc<Keys> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &self.folder {
            let now = seen(folder, self.role);
            if now != current.seen {
                match read(folder, self.role) {
                    Ok(keys) => *current = Current { keys: Arc::new(keys), seen: now },
                    // Looked at again in the next handshake.
                    Err(error) => log::error!("new certificates are not used: {error}"),
                }
            }
        }
        Arc::clone(&current.keys)
    }
}

fn seen(folder: &Path, role: Role) -> Vec<Seen> {
    let of = |path: PathBuf| std::fs::metadata(path).ok();
    let seen =
        |file: Metadata| Seen { inode: file.ino(), bytes: file.len(), changed: (file.mtime(), file.mtime_nsec()) };
    [folder.join(AUTHORITY), file_of(folder, role)].into_iter().filter_map(of).map(seen).collect()
}

fn read(folder: &Path, role: Role) -> Result<Keys> {
    let authority = text(&folder.join(AUTHORITY), false)?;
    Keys::new(role, authority, text(&file_of(folder, role), true)?)
}

/// A file that does not stop the process when it is a pipe or has no end.
pub(crate) fn text(path: &Path, secret: bool) -> Result<String> {
    let failed = |e: &dyn fmt::Display| {
        Error::invalid(format!("certificate file {}: {e} (`cluster_certificates`)", path.display()))
    };
    let file: File = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| failed(&e))?;
    let about = file.metadata().map_err(|e| failed(&e))?;
    if !about.is_file() {
        return Err(failed(&"it is no file"));
    }
    if secret && about.mode() & OTHERS != 0 {
        return Err(failed(&"others of this machine can read its key; allow only the owner: chmod 600"));
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(|e| failed(&e))?;
    Ok(text)
}
