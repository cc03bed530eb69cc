//! Files that only their account reads: those of the ledger. Other accounts may read tables; queries, values and error messages are not for
//! them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::path::Path as Place;

/// The ledger's folder in a lake.
pub(crate) const LEDGER: &str = "_pulse";
/// Says where layers lie: readers of a lake's tables read it.
const LAYERS: &str = "layers.json";
const MODE: u32 = 0o600;

/// Whether only the account that writes a file may read it.
pub(super) fn is_private(place: &Place) -> bool {
    let parts: Vec<_> = place.parts().collect();
    let Some(at) = parts.iter().position(|part| part.as_ref() == LEDGER) else { return false };
    !matches!(&parts[at + 1..], [only] if only.as_ref() == LAYERS)
}

/// What becomes of a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Present {
    Stays,
    IsReplaced,
}

/// Writes a file whole, or not at all, as `LocalFileSystem` does.
///
/// # Errors
/// The file system's; `AlreadyExists` for one that stays.
pub(super) fn write(file: &Path, content: impl IntoIterator<Item = Bytes>, present: Present) -> Result<()> {
    let (mut begun, beside) = begin(file)?;
    let written = content.into_iter().try_for_each(|part| begun.write_all(&part));
    drop(begun);
    let placed = written.and_then(|()| match present {
        Present::IsReplaced => std::fs::rename(&beside, file),
        Present::Stays => std::fs::hard_link(&beside, file),
    });
    if placed.is_err() || present == Present::Stays {
        let _ = std::fs::remove_file(&beside);
    }
    placed
}

/// A name beside it that listings leave out (`is_begun`).
fn begin(file: &Path) -> Result<(File, PathBuf)> {
    let mut number = 1_u64;
    loop {
        let mut beside = file.as_os_str().to_owned();
        beside.push(format!("#{number}"));
        let beside = PathBuf::from(beside);
        match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside) {
            Ok(begun) => return Ok((begun, beside)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => match file.parent() {
                Some(folder) if !folder.exists() => std::fs::create_dir_all(folder)?,
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_private_and_tables_are_not() {
        for (place, expected) in [
            ("srv/lake/_pulse/runs/1/ended/00000001.json", true),
            ("srv/lake/_pulse/open/x", true),
            ("srv/lake/_pulse/layers.json", false),
            ("srv/lake/_pulse/runs/layers.json", true),
            ("srv/lake/silver/t/_delta_log/00000000000000000000.json", false),
            ("srv/lake/silver/t/part-0.parquet", false),
            ("srv/my_pulse/silver/x", false),
        ] {
            assert_eq!(is_private(&Place::from(place)), expected, "{place}");
        }
    }
}
