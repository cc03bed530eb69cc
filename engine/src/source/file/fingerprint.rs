//! What tells one content of a file from another, as the number that a bookmark holds.

use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};

/// What a store says of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fingerprint {
    /// 63 bits of an object's entity tag and size, or of a file's modification time and size where no change time is known. The
    /// bookmark is this number.
    Content(i64),
    /// A file on a file system. Its bookmark has 31 bits of this status and, below them, a digest of the content.
    Status {
        /// 31 bits of the change time, the modification time and the size. They change with the content, and also with a copy of
        /// the tree, a further hard link or `chmod`: then the digest decides.
        status: u32,
        /// The bookmark of builds that knew neither change time nor digest.
        former: i64,
    },
}

/// What a bookmark says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Same,
    Changed,
    /// The file has another status: only its content tells.
    Unsure,
}

impl Fingerprint {
    /// `ObjectMeta::version` is the change time on a file system ([`crate::store::LocalFiles`]).
    pub fn of(meta: &ObjectMeta) -> Self {
        if let Some(tag) = meta.e_tag.as_ref().filter(|tag| tag.starts_with('"') || tag.starts_with("W/\"")) {
            return Self::Content(hash63(&format!("{tag} {}", meta.size)));
        }
        let modified = format!("{} {}", meta.last_modified.timestamp_micros(), meta.size);
        match &meta.version {
            Some(changed) => {
                let hash = fnv1a(format!("{changed} {modified}").as_bytes());
                Self::Status { status: (hash ^ (hash >> 32)) as u32 >> 1, former: hash63(&modified) }
            }
            None => Self::Content(hash63(&modified)),
        }
    }

    pub fn compared_with(self, bookmark: i64) -> Known {
        match self {
            Self::Content(number) if number == bookmark => Known::Same,
            Self::Content(_) => Known::Changed,
            Self::Status { status, former } if i64::from(status) == bookmark >> 32 || former == bookmark => Known::Same,
            Self::Status { .. } => Known::Unsure,
        }
    }

    pub fn needs_digest(self) -> bool {
        matches!(self, Self::Status { .. })
    }

    /// The bookmark of a file with this content; not negative.
    pub fn bookmark(self, digest: u32) -> i64 {
        match self {
            Self::Content(number) => number,
            Self::Status { status, .. } => (i64::from(status) << 32) | i64::from(digest),
        }
    }
}

/// The bookmark of a file that a feed read, from that of its content, and back: another feed may read the same bytes as other rows, so
/// its bookmark has neither the same status nor the same digest.
pub fn by_feed(feed: &str, bookmark: i64) -> i64 {
    bookmark ^ hash63(&format!("feed {feed}"))
}

/// Of a bookmark with a status.
pub fn has_digest(bookmark: i64, digest: u32) -> bool {
    bookmark as u32 == digest
}

fn hash63(text: &str) -> i64 {
    (fnv1a(text.as_bytes()) >> 1) as i64
}

/// Stable across releases, as bookmarks must be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use object_store::path::Path;
    use proptest::prelude::*;

    use super::*;

    fn meta(tag: Option<&str>, modified: i64, size: u64, version: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            location: Path::from("a.csv"),
            last_modified: DateTime::from_timestamp_micros(modified).unwrap(),
            size,
            e_tag: tag.map(str::to_owned),
            version: version.map(str::to_owned),
        }
    }

    /// FNV-1a of `1700000000123456 42` and of `"abc" 42`, without the last bit, as a Python program computes it.
    #[test]
    fn bookmarks_of_earlier_builds_are_known() {
        const FILE: i64 = 8_311_683_825_908_293_212;
        const OBJECT: i64 = 5_631_281_225_477_986_283;
        let file = Fingerprint::of(&meta(Some("1f-2-3"), 1_700_000_000_123_456, 42, Some("1700000001.5")));
        assert_eq!(file.compared_with(FILE), Known::Same);
        assert_eq!(Fingerprint::of(&meta(Some("\"abc\""), 1, 42, None)), Fingerprint::Content(OBJECT));
        assert_eq!(Fingerprint::of(&meta(None, 1_700_000_000_123_456, 42, None)), Fingerprint::Content(FILE));
    }

    proptest! {
        #[test]
        fn whatever_differs_asks_for_the_content(
            modified: u32, size: u32, changed: u32, digest: u32, by in 1..1000_u32, what in 0..3_usize,
        ) {
            let at = |[modified, size, changed]: [u32; 3]| {
                let changed = format!("{changed}.000000007");
                Fingerprint::of(&meta(Some("1-2-3"), i64::from(modified), u64::from(size), Some(&changed)))
            };
            let one = [modified, size, changed];
            let bookmark = at(one).bookmark(digest);
            prop_assert!(bookmark >= 0 && has_digest(bookmark, digest) && !has_digest(bookmark, digest ^ by));
            prop_assert_eq!(at(one).compared_with(bookmark), Known::Same);
            let mut other = one;
            other[what] = other[what].wrapping_add(by);
            prop_assert_eq!(at(other).compared_with(bookmark), Known::Unsure);
        }
    }
}
