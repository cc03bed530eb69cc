//! Snappy: the framing format, and the blocks of Hadoop, which Spark writes.

use std::io::Read;

use snap::raw::{Decoder, decompress_len, max_compress_len};
use snap::read::FrameDecoder;

use super::Codec;

/// The chunk that a stream of frames begins with.
const STREAM_START: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// A byte of snappy yields at most 64 bytes: 3 bytes copy 64.
const MAX_GROWTH: usize = 64;

pub(super) struct Snappy {
    kind: Kind,
    held: Vec<u8>,
    max_bytes: usize,
}

enum Kind {
    /// Too few bytes are there to say.
    Unknown,
    Frames,
    /// With the bytes that the rest of a block stands for.
    Blocks(usize),
}

impl Snappy {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { kind: Kind::Unknown, held: Vec::new(), max_bytes }
    }

    /// Decompresses what the held bytes begin with; returns the bytes used, 0 when it is not complete.
    fn one(&mut self, from: usize, out: &mut Vec<u8>) -> Result<usize, String> {
        let bytes = self.held.get(from..).unwrap_or_default();
        match &mut self.kind {
            Kind::Unknown if bytes.len() < 4 => Ok(0),
            Kind::Unknown => {
                let is_frames = bytes.iter().zip(STREAM_START).take(4).all(|(found, expected)| found == expected);
                self.kind = if is_frames { Kind::Frames } else { Kind::Blocks(0) };
                self.one(from, out)
            }
            Kind::Frames => frame(bytes, out),
            Kind::Blocks(rest) => block(bytes, rest, self.max_bytes, out),
        }
    }
}

impl Codec for Snappy {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            match self.one(at, out)? {
                0 => break,
                used => at += used,
            }
        }
        self.held.drain(..at);
        Ok(bytes.len())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<bool, String> {
        match (&self.kind, self.held.is_empty()) {
            (Kind::Unknown | Kind::Frames | Kind::Blocks(0), true) => Ok(true),
            _ => Err("snappy stream ends early".to_owned()),
        }
    }
}

/// A chunk of the framing format.
fn frame(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    let Some((header, _)) = bytes.split_first_chunk::<4>() else { return Ok(0) };
    let [kind, low, middle, high] = *header;
    let length = 4 + usize::from(low) + (usize::from(middle) << 8) + (usize::from(high) << 16);
    let Some(chunk) = bytes.get(..length) else { return Ok(0) };
    match kind {
        0xff if chunk == STREAM_START => {}
        0x00 | 0x01 => {
            // The library checks the checksum of each chunk.
            let stream = STREAM_START.chain(chunk);
            let mut stream = FrameDecoder::new(stream);
            stream.read_to_end(out).map_err(|error| format!("snappy stream is damaged: {error}"))?;
        }
        // Padding. That of a damaged chunk is not empty.
        0xfe if chunk.iter().skip(4).all(|byte| *byte == 0) => {}
        0x80..=0xfd => {
            return Err(format!("snappy stream is damaged: a chunk of the kind {kind:#04x}, which no writer writes"));
        }
        _ => return Err(format!("snappy stream is damaged: a chunk of the kind {kind:#04x}")),
    }
    Ok(length)
}

/// A part of a block of Hadoop: the length of the block, or the length of a part and the part.
fn block(bytes: &[u8], rest: &mut usize, max_bytes: usize, out: &mut Vec<u8>) -> Result<usize, String> {
    let damaged =
        |what: &str| format!("snappy stream is damaged, or in neither the framing format nor Hadoop's: {what}");
    let Some((length, behind)) = bytes.split_first_chunk::<4>() else { return Ok(0) };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|error| error.to_string())?;
    if *rest == 0 {
        if length > max_bytes {
            return Err(damaged(&format!("a block of {length} bytes, and no more than {max_bytes} are read")));
        }
        *rest = length;
        return Ok(4);
    }
    if length > max_compress_len(*rest) {
        return Err(damaged("a part is longer than its block"));
    }
    let Some(part) = behind.get(..length) else { return Ok(0) };
    let yields = decompress_len(part).map_err(|error| damaged(&error.to_string()))?;
    if yields > *rest || yields > part.len() * MAX_GROWTH {
        return Err(damaged("a part yields more than its block"));
    }
    let text = Decoder::new().decompress_vec(part).map_err(|error| damaged(&error.to_string()))?;
    *rest -= text.len();
    out.extend_from_slice(&text);
    Ok(4 + length)
}
