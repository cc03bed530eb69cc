//! Reads a password.

use pulse_core::{Error, Result};

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
        Some(("file", path)) => std::fs::read_to_string(path).map_err(|e| missing(format!("file {path}: {e}")))?,
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
        assert!(password("d", "env:PULSE_NO_SUCH_VARIABLE").unwrap_err().message().contains("PULSE_NO_SUCH_VARIABLE"));
        let secret = password("d", "hunter2").unwrap_err();
        assert!(!secret.message().contains("hunter2"));
    }
}
