//! Compressed bytes to bytes, as they arrive.

mod blocks;
mod gzip;
mod snappy;
mod zip;

use std::fmt;

use pulse_core::{Error, Result};

/// Compressed bytes that are decompressed at a time. Steps start at multiples of it in the file, however its bytes arrive: of a step with
/// damage nothing may be left, so that the rows before the damage depend on the file alone.
const STEP_BYTES: usize = 8 << 10;
/// Bytes that a step yields at a time, so that a small file which stands for a huge one is never held.
const OUTPUT_BYTES: usize = 256 << 10;

/// How a file's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Snappy,
    Zip,
}

impl Compression {
    const BY_ENDING: [(&'static str, Self); 6] = [
        (".gz", Self::Gzip),
        (".zst", Self::Zstd),
        (".bz2", Self::Bzip2),
        (".xz", Self::Xz),
        (".snappy", Self::Snappy),
        (".zip", Self::Zip),
    ];

    pub(super) fn of(path: &str) -> Self {
        Self::and_inner_name(path).map_or(Self::None, |(compression, _)| compression)
    }

    /// The name of the file without the ending that says how it is compressed; `None` when it has no such ending.
    pub(super) fn inner_name(path: &str) -> Option<&str> {
        Self::and_inner_name(path).map(|(_, inner)| inner)
    }

    fn and_inner_name(path: &str) -> Option<(Self, &str)> {
        Self::BY_ENDING.iter().find_map(|(ending, compression)| Some((*compression, path.strip_suffix(ending)?)))
    }

    /// `max_bytes` limits what has to be held as a whole: a zip file, or a block of snappy.
    ///
    /// # Errors
    /// `Internal` when a library does not start.
    pub(super) fn decompressor(self, max_bytes: usize) -> Result<Option<Decompressor>> {
        let codec: Box<dyn Codec> = match self {
            Self::None => return Ok(None),
            Self::Gzip => Box::new(gzip::Gzip::new()),
            Self::Zstd => Box::new(blocks::Zstd::new().map_err(unstarted)?),
            Self::Bzip2 => Box::new(blocks::Bzip2::new()),
            Self::Xz => Box::new(blocks::Xz::new().map_err(unstarted)?),
            Self::Snappy => Box::new(snappy::Snappy::new(max_bytes)),
            Self::Zip => Box::new(zip::Zip::new(max_bytes)),
        };
        // Snappy's blocks of no bytes are none.
        let is_missing = self != Self::Snappy;
        Ok(Some(Decompressor { codec, is_missing, step: Vec::new(), step_at: 0 }))
    }
}

fn unstarted(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::internal("a decompressor does not start").with_source(error)
}

/// One way to compress. What came out before an error is in `out`.
trait Codec: Send {
    /// Takes bytes off the front of `bytes`; returns how many. Appends to `out` what they yield, or a part of it.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String>;

    /// Appends to `out` what the last bytes still yield, or a part of it; true when that was all.
    ///
    /// # Errors
    /// When the stream is not complete.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String>;
}

/// Decompresses one file.
pub(super) struct Decompressor {
    codec: Box<dyn Codec>,
    /// Until a byte arrives, where the compressed form of an empty file has some.
    is_missing: bool,
    step: Vec<u8>,
    step_at: usize,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Takes bytes off the front of `bytes`, or none while earlier ones have more to yield; returns how many. Appends to `out`,
    /// even before an error.
    ///
    /// # Errors
    /// Why the stream cannot be read on.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        self.is_missing &= bytes.is_empty();
        if self.step.len() == STEP_BYTES {
            self.decompress(out)?;
            return Ok(0);
        }
        let missing = STEP_BYTES - self.step.len();
        let bytes = bytes.get(..missing).unwrap_or(bytes);
        self.step.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Appends to `out` what the last bytes yield, or a part of it; true when that was all.
    ///
    /// # Errors
    /// When the stream is not complete, or damaged.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        if self.is_missing {
            return Err("the compressed stream ends early: it has no bytes".to_owned());
        }
        if self.step.is_empty() {
            return self.codec.finish(out);
        }
        self.decompress(out)?;
        Ok(false)
    }

    fn decompress(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let before = out.len();
        let used = self.codec.push(self.step.get(self.step_at..).unwrap_or_default(), out)?;
        self.step_at += used;
        if self.step_at >= self.step.len() {
            self.step.clear();
            self.step_at = 0;
        } else if used == 0 && out.len() == before {
            return Err("the compressed stream is damaged: it makes no progress".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
