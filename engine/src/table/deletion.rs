//! Rows of a file that are deleted although the file is still there.

use deltalake_core::kernel::{DeletionVectorDescriptor, StorageType};
use pulse_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Characters that a UUID has in base 85.
const UUID_CHARACTERS: usize = 20;

/// Where a deletion vector is, which is a set of row numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeletionVector {
    pub place: DeletionPlace,
    /// Of the vector itself.
    pub bytes: u64,
    /// Rows that are deleted.
    pub rows: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletionPlace {
    /// In the log itself, in base 85.
    Inline(String),
    /// Below the table's folder.
    Below { path: String, offset: u64 },
    /// At a URL.
    Elsewhere { url: String, offset: u64 },
}

impl DeletionVector {
    /// # Errors
    /// `Data` when it does not say where it is.
    pub(super) fn new(descriptor: &DeletionVectorDescriptor) -> Result<Self> {
        let text = &descriptor.path_or_inline_dv;
        let wrong = || Error::data(format!("the deletion vector `{text}` of the log is damaged"));
        // The first byte of a file of vectors is its version.
        let offset = u64::try_from(descriptor.offset.unwrap_or(1)).map_err(|_| wrong())?;
        let place = match descriptor.storage_type {
            StorageType::Inline => DeletionPlace::Inline(text.clone()),
            StorageType::AbsolutePath => DeletionPlace::Elsewhere { url: text.clone(), offset },
            StorageType::UuidRelativePath => {
                DeletionPlace::Below { path: relative_path(text).ok_or_else(wrong)?, offset }
            }
        };
        let bytes = u64::try_from(descriptor.size_in_bytes).map_err(|_| wrong())?;
        let rows = u64::try_from(descriptor.cardinality).map_err(|_| wrong())?;
        Ok(Self { place, bytes, rows })
    }
}

/// `ab^-aqEH.-t@S}K{vb[*k^` is `ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin`.
fn relative_path(text: &str) -> Option<String> {
    let (folder, encoded) = text.split_at_checked(text.len().checked_sub(UUID_CHARACTERS)?)?;
    let uuid = uuid::Uuid::from_slice(&z85::decode(encoded).ok()?).ok()?;
    let separator = if folder.is_empty() { "" } else { "/" };
    Some(format!("{folder}{separator}deletion_vector_{uuid}.bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vectors_file_is_found_by_its_uuid() {
        // Examples of Delta's PROTOCOL.md.
        let path = "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        assert_eq!(relative_path("ab^-aqEH.-t@S}K{vb[*k^").as_deref(), Some(path));
        let path = "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        assert_eq!(relative_path("^-aqEH.-t@S}K{vb[*k^").as_deref(), Some(path));
        for wrong in ["", "short", "^-aqEH.-t@S}K{vb[*k", "ä^-aqEH.-t@S}K{vb[*k\u{e4}"] {
            assert_eq!(relative_path(wrong), None, "{wrong}");
        }
    }
}
