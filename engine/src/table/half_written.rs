//! Finds files that killed processes left unfinished in a local lake. The object store library writes to `name#1` and renames the file
//! when it is complete. It neither lists nor deletes such files.

use std::io;
use std::path::Path;

use super::file::{Unneeded, is_hidden};
use super::file_marks::FOLDER as SEGMENTS;

const LOG: &str = "_delta_log";

/// Unfinished files in and below the table's `folder`, of any age.
pub(super) fn half_written(folder: &Path) -> io::Result<Vec<Unneeded>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir()? {
            let entry = entry?;
            let path = entry.path();
            // pulse writes no such name.
            let Some(below) = path.strip_prefix(folder).ok().and_then(Path::to_str).map(str::to_owned) else {
                continue;
            };
            if is_hidden([LOG, SEGMENTS].iter().find_map(|ours| below.strip_prefix(ours)).unwrap_or(&below)) {
                continue;
            }
            let facts = match entry.metadata() {
                // Renamed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if facts.is_dir() {
                folders.push(path);
            } else if facts.is_file() && is_half_written(&below) {
                found.push(Unneeded { path: below, bytes: facts.len(), modified: facts.modified()?.into() });
            }
        }
    }
    Ok(found)
}

/// A name that the library for stores refuses.
pub(super) fn is_half_written(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split_once('#').is_some_and(|(_, end)| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_library_gives() {
        for name in ["part-0.parquet#1", "day=1/part-0.parquet#12", "_delta_log/00.json#3"] {
            assert!(is_half_written(name), "{name}");
        }
        for name in ["part-0.parquet", "a#b", "a#", "a#1.parquet", "day#1/part-0.parquet"] {
            assert!(!is_half_written(name), "{name}");
        }
    }
}
