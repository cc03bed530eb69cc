//! Gzip, as its bytes arrive.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// Compressed bytes taken at a time: deflate yields at most a thousand times as much, 16 MiB.
const STEP_BYTES: usize = 16 << 10;

/// Decompresses a stream of one or more gzip members.
#[derive(Debug)]
pub(super) struct Inflater {
    decoder: MultiGzDecoder<Vec<u8>>,
    is_empty: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), is_empty: true }
    }

    /// Takes some bytes off the front of `bytes`; returns how many. What they yield is in `take`, even after an error.
    ///
    /// # Errors
    /// Why the stream cannot be read on.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let step = bytes.get(..STEP_BYTES).unwrap_or(bytes);
        self.is_empty &= step.is_empty();
        match self.decoder.write_all(step) {
            Ok(()) => Ok(step.len()),
            Err(error) => Err(format!("gzip stream is damaged: {error}")),
        }
    }

    /// Ends the stream. No bytes at all are an empty file.
    ///
    /// # Errors
    /// When the stream is not complete.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        if self.is_empty {
            return Ok(());
        }
        // The decoder does not tell a missing checksum from a wrong one.
        self.decoder.try_finish().map_err(|_| "gzip stream ends early, or its checksum is wrong".to_owned())
    }

    /// What was decompressed since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.decoder.get_mut())
    }
}
