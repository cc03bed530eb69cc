//! Reads a password, and other small files that sources.toml names.

use std::path::Path;

use pulse_core::{Error, Result};

/// Maximum size of a file with a password or certificates.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a small regular file; a device or a pipe would never end.
pub(crate) fn small_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(std::io::Error::other(format!("it is no regular file of at most {MOST_BYTES} bytes")));
    }
    std::fs::read(path)
}

/// Reads the password from `env:NAME` or `file:/path`, without its trailing newline.
///
/// # Errors
/// `Invalid` when there is none. Names the location and never its contents.
pub(crate) fn password(database: &str, place: &str) -> Result<String> {
    let missing = |what: String| {
        Error::invalid(format!(
            "`databases.{database}`: its password is not there: {what}; `password` of sources.toml says where the process that runs \
             the job finds it"
        ))
    };
    let text = match place.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|e| missing(format!("variable {name}: {e}")))?,
        Some(("file", path)) => {
            let bytes = small_file(Path::new(path)).map_err(|e| missing(format!("file {path}: {e}")))?;
            String::from_utf8(bytes).map_err(|_| missing(format!("file {path}: it is not in UTF-8")))?
        }
        _ => return Err(missing("write env:NAME or file:/path".to_owned())),
    };
    match text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)) {
        "" => Err(missing(format!("`{place}` is empty"))),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_lies_elsewhere() {
        let folder = std::env::temp_dir().join(format!("pulse-secret-{}", std::process::id()));
        std::fs::write(&folder, "a b \n").unwrap();
        let place = format!("file:{}", folder.display());
        assert_eq!(password("d", &place).unwrap(), "a b ");
        std::fs::write(&folder, "\n").unwrap();
        assert!(password("d", &place).unwrap_err().message().contains("is empty"));
        std::fs::remove_file(&folder).unwrap();
        assert!(password("d", &place).is_err());
        assert!(password("d", "file:/dev/zero").unwrap_err().message().contains("no regular file"));
        assert!(password("d", "env:PULSE_NO_SUCH_VARIABLE").unwrap_err().message().contains("PULSE_NO_SUCH_VARIABLE"));
        let secret = password("d", "hunter2").unwrap_err();
        assert!(!secret.message().contains("hunter2"));
    }
}
