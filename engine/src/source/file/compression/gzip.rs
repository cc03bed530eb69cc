//! Gzip: members one behind the other.

use std::io::Write;

use flate2::write::MultiGzDecoder;

use super::Codec;

/// The decoder takes a whole step at once: deflate yields at most a thousand times as much, 8 MiB.
pub(super) struct Gzip {
    decoder: MultiGzDecoder<Vec<u8>>,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()) }
    }
}

impl Codec for Gzip {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let written = self.decoder.write_all(bytes);
        out.append(self.decoder.get_mut());
        written.map_err(|error| format!("gzip stream is damaged: {error}"))?;
        Ok(bytes.len())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        let finished = self.decoder.try_finish();
        out.append(self.decoder.get_mut());
        // The decoder does not tell a missing checksum from a wrong one.
        finished.map_err(|_| "gzip stream ends early, or its checksum is wrong".to_owned())?;
        Ok(true)
    }
}
