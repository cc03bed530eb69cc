//! Which files hold the rows of one source of a database.

use serde::{Deserialize, Serialize};

use super::ReadFiles;

/// The rows of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// From 1, without gaps.
    pub number: u64,
    /// Of the declaration that they were read by.
    pub definition: String,
    /// The moment in the database's own words. Equal words mean equal rows; `None` where they would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Rows whose bookmark is smaller lie in files that stay, and are not read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    pub files: Vec<LandedFile>,
}

/// One file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandedFile {
    /// Its name in the source's folder, which says what it holds.
    pub path: String,
    pub rows: u64,
    /// Whether it is in all later manifests of the same definition.
    #[serde(default)]
    pub stays: bool,
}

impl Manifest {
    /// The next one.
    pub(super) fn after(known: Option<&Self>, definition: String, number: u64, read: ReadFiles) -> Self {
        let stay = known.into_iter().flat_map(|known| &known.files).filter(|file| file.stays).cloned();
        let mut files: Vec<LandedFile> = stay.chain(read.files).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { number, definition, snapshot: read.snapshot, cut: read.cut, files }
    }

    /// Whether only the number differs.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { number: self.number, ..other.clone() }
    }

    pub fn holds(&self, path: &str) -> bool {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, stays: bool) -> LandedFile {
        LandedFile { path: path.to_owned(), rows: 1, stays }
    }

    fn read(cut: &str, files: Vec<LandedFile>) -> ReadFiles {
        ReadFiles { snapshot: Some("5:5:".to_owned()), cut: Some(cut.to_owned()), files }
    }

    #[test]
    fn files_that_stay_are_in_every_later_manifest_and_others_in_one() {
        let first = Manifest::after(None, "d".into(), 1, read("10", vec![file("t-a", false), file("c1", true)]));
        let second =
            Manifest::after(Some(&first), "d".into(), 2, read("20", vec![file("t-b", false), file("c2", true)]));
        let paths: Vec<&str> = second.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["c1", "c2", "t-b"]);
        assert!(second.holds("c1") && second.holds("t-b") && !second.holds("t-a"));
        assert_eq!((second.number, second.cut.as_deref()), (2, Some("20")));
    }

    #[test]
    fn equal_content_needs_no_manifest() {
        let first = Manifest::after(None, "d".into(), 1, read("10", vec![file("t-a", false), file("c1", true)]));
        let again = Manifest::after(Some(&first), "d".into(), 2, read("10", vec![file("t-a", false)]));
        assert!(first.says_the_same(&again));
        let other = Manifest::after(Some(&first), "d".into(), 2, read("10", vec![file("t-b", false)]));
        assert!(!first.says_the_same(&other));
    }
}
