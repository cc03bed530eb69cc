//! Compressed files are read to their end before any of their rows is kept.
//!
//! The checksum of a compressed stream stands behind what it is of. Until it is reached, damage may have changed values in ways that no reader sees.

use bytes::Bytes;
use futures::{StreamExt, stream};
use pulse_core::{Error, Result};

use super::chunks::Chunks;
use super::compression::{Compression, Decompressor};

/// Decompressed bytes of a file that are held while it is looked at: 64 MiB. A larger file is read and decompressed a second time.
pub(super) const HELD_BYTES: usize = 64 << 20;

/// What a compressed file turned out to be.
pub(super) enum Whole {
    /// It is right, and these are its bytes.
    Held(Chunks),
    /// It is right.
    Large,
    /// Why it cannot be read to its end.
    Damaged(String),
}

impl Whole {
    /// Reads a file to its end.
    ///
    /// # Errors
    /// `Unavailable` when the store breaks off.
    pub(super) async fn of(chunks: Chunks, compression: Compression, max_bytes: usize) -> Result<Self> {
        Self::with_limit(chunks, compression, max_bytes, HELD_BYTES).await
    }

    /// As [`Whole::of`], holding at most `held` bytes.
    ///
    /// # Errors
    /// As [`Whole::of`].
    pub(super) async fn with_limit(
        mut chunks: Chunks,
        compression: Compression,
        max_bytes: usize,
        held: usize,
    ) -> Result<Self> {
        let decompressor = compression.decompressor(max_bytes)?;
        let decompressor =
            decompressor.ok_or_else(|| Error::internal("a file that is not compressed has no checksum"))?;
        let mut pass = Pass { decompressor, out: Vec::new(), held: Some(Vec::new()), bytes: 0, limit: held };
        while let Some(chunk) = chunks.next().await? {
            if let Err(reason) = pass.push(&chunk) {
                return Ok(Self::Damaged(reason));
            }
        }
        if let Err(reason) = pass.finish() {
            return Ok(Self::Damaged(reason));
        }
        Ok(match pass.held {
            Some(held) => Self::Held(chunks.with_bytes(stream::iter(held.into_iter().map(Ok)).boxed())),
            None => Self::Large,
        })
    }
}

/// One reading of the bytes of a file.
struct Pass {
    decompressor: Decompressor,
    out: Vec<u8>,
    /// `None` once there are too many.
    held: Option<Vec<Bytes>>,
    bytes: usize,
    limit: usize,
}

impl Pass {
    fn push(&mut self, mut chunk: &[u8]) -> std::result::Result<(), String> {
        while !chunk.is_empty() {
            let used = self.decompressor.push(chunk, &mut self.out)?;
            chunk = chunk.get(used..).unwrap_or_default();
            self.take();
        }
        Ok(())
    }

    fn finish(&mut self) -> std::result::Result<(), String> {
        loop {
            let is_done = self.decompressor.finish(&mut self.out)?;
            self.take();
            if is_done {
                return Ok(());
            }
        }
    }

    /// Takes what came out.
    fn take(&mut self) {
        self.bytes = self.bytes.saturating_add(self.out.len());
        if self.bytes > self.limit {
            self.held = None;
        }
        match &mut self.held {
            Some(held) if !self.out.is_empty() => held.push(Bytes::from(std::mem::take(&mut self.out))),
            _ => self.out.clear(),
        }
    }
}
