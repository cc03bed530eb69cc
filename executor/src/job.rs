//! Names of jobs: they become names of folders here, so only those that a scheduler makes are taken.

use std::path::{Path, PathBuf};

use tonic::Status;

/// Longer than any that a scheduler makes.
const LONGEST: usize = 64;

/// Letters, digits and `-`: nothing that leads out of a folder.
pub(crate) fn is_name(job: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !job.is_empty() && job.len() <= LONGEST && job.bytes().all(is_plain)
}

/// # Errors
/// For every other name.
pub(crate) fn named(job: &str) -> Result<(), Status> {
    match is_name(job) {
        true => Ok(()),
        false => Err(Status::invalid_argument("no job has such a name")),
    }
}

/// Refuses what lies below `folder` through a link: the folder belongs to this process, but other processes of the account could
/// make one. A path that does not exist passes: opening it fails.
///
/// # Errors
/// When a part of the way is a link, or leads out of `folder`.
pub(crate) fn without_links(folder: &Path, parts: &[String]) -> Result<(), Status> {
    let mut path = PathBuf::from(folder);
    for part in parts {
        path.push(part);
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.is_symlink() => return Err(Status::permission_denied("that is a link")),
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pulse_engine::cluster::job_id;

    use super::*;

    #[test]
    fn only_names_that_schedulers_make_are_taken() {
        assert!(is_name(&job_id("00ff00aa", 17)));
        for wrong in ["", ".", "..", "/etc", "../x", "a/b", "a\0b", "A", "a b", "%2e", "a.b", &"a".repeat(65)] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("j/1/2")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("j/1/3")).unwrap();
        let at = |parts: &[&str]| {
            without_links(folder.path(), &parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())
        };
        at(&["j", "1", "2", "data.arrow"]).unwrap();
        at(&["unknown", "1"]).unwrap();
        at(&["j", "1", "3", "data.arrow"]).unwrap_err();
    }
}
