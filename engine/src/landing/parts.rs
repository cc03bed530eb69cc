//! Lines into compressed files, named by what they hold.

use std::io::Write as _;
use std::sync::Arc;

use pulse_core::{Error, Result};
use sha2::{Digest as _, Sha256};

use super::{LandedFile, LandingFolder};

/// Text that a file holds at most, but for its last line. A file is kept in memory until it is stored.
const FILE_BYTES: usize = 64 << 20;
const COMPRESSION_LEVEL: i32 = 3;
/// Of a digest, in a name.
const DIGEST_BYTES: usize = 16;

/// Writes the rows of one range. Equal rows in equal order have equal names.
pub struct PartWriter {
    folder: Arc<LandingFolder>,
    range: String,
    stays: bool,
    file_bytes: usize,
    current: Current,
    done: Vec<LandedFile>,
}

struct Current {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    digest: Sha256,
    rows: u64,
    bytes: usize,
}

impl PartWriter {
    /// `range` must be another one for each range of rows that is in a manifest at once. The files of ranges that stay must never be
    /// written again.
    ///
    /// # Errors
    /// When there is no memory for a compressor.
    pub fn new(folder: &Arc<LandingFolder>, range: impl Into<String>, stays: bool) -> Result<Self> {
        let folder = Arc::clone(folder);
        let current = Current::new()?;
        Ok(Self { folder, range: range.into(), stays, file_bytes: FILE_BYTES, current, done: Vec::new() })
    }

    /// Takes a row, without its newline.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn line(&mut self, line: &[u8]) -> Result<()> {
        self.current.add(line)?;
        if self.current.bytes >= self.file_bytes {
            self.store_current().await?;
        }
        Ok(())
    }

    /// The files with all rows; at least one file if `never_none`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn finish(mut self, never_none: bool) -> Result<Vec<LandedFile>> {
        if self.current.rows > 0 || (never_none && self.done.is_empty()) {
            self.store_current().await?;
        }
        Ok(self.done)
    }

    async fn store_current(&mut self) -> Result<()> {
        let Current { encoder, digest, rows, .. } = std::mem::replace(&mut self.current, Current::new()?);
        let bytes = encoder.finish().map_err(|e| compression(&e))?;
        let digest: String = digest.finalize().iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{}-{:04}-{digest}.jsonl.zst", self.range, self.done.len());
        self.folder.put(&path, bytes).await?;
        self.done.push(LandedFile { path, rows, stays: self.stays });
        Ok(())
    }
}

impl Current {
    fn new() -> Result<Self> {
        let encoder = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL).map_err(|e| compression(&e))?;
        Ok(Self { encoder, digest: Sha256::new(), rows: 0, bytes: 0 })
    }

    fn add(&mut self, line: &[u8]) -> Result<()> {
        for bytes in [line, b"\n"] {
            self.encoder.write_all(bytes).map_err(|e| compression(&e))?;
            self.digest.update(bytes);
            self.bytes += bytes.len();
        }
        self.rows += 1;
        Ok(())
    }
}

fn compression(error: &std::io::Error) -> Error {
    Error::exhausted(format!("rows of a database cannot be compressed: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    async fn written(folder: &Arc<LandingFolder>, lines: &[&str], file_bytes: usize) -> Vec<LandedFile> {
        let mut writer = PartWriter::new(folder, "w-0", false).unwrap();
        writer.file_bytes = file_bytes;
        for line in lines {
            writer.line(line.as_bytes()).await.unwrap();
        }
        writer.finish(true).await.unwrap()
    }

    #[tokio::test]
    async fn files_hold_all_lines_in_order_and_are_named_by_them() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Arc::new(LandingFolder::local(temporary.path()));
        let lines = ["[1]", "[\"two\"]", "[3]", "[4]"];
        for file_bytes in [1, 9, 1000] {
            let files = written(&folder, &lines, file_bytes).await;
            let mut text = String::new();
            for file in &files {
                let bytes = std::fs::File::open(temporary.path().join(&file.path)).unwrap();
                zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap();
            }
            assert_eq!(text, lines.join("\n") + "\n");
            assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 4);
            assert_eq!(files, written(&folder, &lines, file_bytes).await);
        }
        let other = written(&folder, &["[1]", "[\"two\"]", "[3]", "[5]"], 1000).await;
        assert_ne!(other, written(&folder, &lines, 1000).await);
    }

    #[tokio::test]
    async fn no_rows_are_a_file_too() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Arc::new(LandingFolder::local(temporary.path()));
        let files = written(&folder, &[], 1000).await;
        assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [0]);
        assert!(PartWriter::new(&folder, "w-1", false).unwrap().finish(false).await.unwrap().is_empty());
    }
}
