//! Zstandard, bzip2 and xz: streams of blocks, read by their own libraries.

use std::io;

use bzip2::{Decompress, Status as Bzip2Status};
use liblzma::stream::{Action, CONCATENATED, Error as XzError, Status as XzStatus, Stream};
use zstd::stream::raw::{Decoder, Operation};

use super::{Codec, OUTPUT_BYTES};

/// Memory that reading an xz file may take: the strongest preset needs 65 MiB.
const XZ_MEMORY_BYTES: u64 = 256 << 20;

/// Frames one behind the other.
pub(super) struct Zstd {
    decoder: Decoder<'static>,
    buffer: Vec<u8>,
    is_within_frame: bool,
}

impl Zstd {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { decoder: Decoder::new()?, buffer: vec![0; OUTPUT_BYTES], is_within_frame: false })
    }

    fn run(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let status = self.decoder.run_on_buffers(bytes, &mut self.buffer);
        let status = status.map_err(|error| format!("zstd stream is damaged: {error}"))?;
        out.extend_from_slice(self.buffer.get(..status.bytes_written).unwrap_or_default());
        self.is_within_frame = status.remaining > 0;
        Ok(status.bytes_read)
    }
}

impl Codec for Zstd {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        if !self.is_within_frame {
            self.decoder.reinit().map_err(|error| format!("zstd stream is damaged: {error}"))?;
        }
        self.run(bytes, out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        if !self.is_within_frame {
            return Ok(true);
        }
        let before = out.len();
        self.run(&[], out)?;
        match out.len() > before || !self.is_within_frame {
            true => Ok(false),
            false => Err("zstd stream ends early".to_owned()),
        }
    }
}

/// Streams one behind the other.
pub(super) struct Bzip2 {
    /// `None` between two streams.
    decoder: Option<Decompress>,
    buffer: Vec<u8>,
}

impl Bzip2 {
    pub(super) fn new() -> Self {
        Self { decoder: None, buffer: vec![0; OUTPUT_BYTES] }
    }

    fn run(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let decoder = self.decoder.get_or_insert_with(|| Decompress::new(false));
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(bytes, &mut self.buffer);
        let status = status.map_err(|error| format!("bzip2 stream is damaged: {error}"))?;
        let (read, written) = (decoder.total_in() - read, decoder.total_out() - written);
        out.extend_from_slice(usize::try_from(written).ok().and_then(|end| self.buffer.get(..end)).unwrap_or_default());
        if status == Bzip2Status::StreamEnd {
            self.decoder = None;
        }
        usize::try_from(read).map_err(|error| error.to_string())
    }
}

impl Codec for Bzip2 {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        self.run(bytes, out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        if self.decoder.is_none() {
            return Ok(true);
        }
        let before = out.len();
        self.run(&[], out)?;
        match out.len() > before || self.decoder.is_none() {
            true => Ok(false),
            false => Err("bzip2 stream ends early".to_owned()),
        }
    }
}

/// Streams one behind the other, with padding.
pub(super) struct Xz {
    decoder: Stream,
    buffer: Vec<u8>,
}

impl Xz {
    pub(super) fn new() -> Result<Self, XzError> {
        let decoder = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED)?;
        Ok(Self { decoder, buffer: vec![0; OUTPUT_BYTES] })
    }

    fn run(&mut self, bytes: &[u8], action: Action, out: &mut Vec<u8>) -> Result<(usize, XzStatus), String> {
        let (read, written) = (self.decoder.total_in(), self.decoder.total_out());
        let status = self.decoder.process(bytes, &mut self.buffer, action);
        let (read, written) = (self.decoder.total_in() - read, self.decoder.total_out() - written);
        out.extend_from_slice(usize::try_from(written).ok().and_then(|end| self.buffer.get(..end)).unwrap_or_default());
        let status = status.map_err(|error| match error {
            XzError::MemLimit => format!("xz stream needs more than {} MiB of memory", XZ_MEMORY_BYTES >> 20),
            error => format!("xz stream is damaged: {error}"),
        })?;
        Ok((usize::try_from(read).map_err(|error| error.to_string())?, status))
    }
}

impl Codec for Xz {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        self.run(bytes, Action::Run, out).map(|(used, _)| used)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        let before = out.len();
        let (_, status) = self.run(&[], Action::Finish, out)?;
        match status {
            XzStatus::StreamEnd => Ok(true),
            XzStatus::Ok | XzStatus::GetCheck | XzStatus::MemNeeded if out.len() > before => Ok(false),
            XzStatus::Ok | XzStatus::GetCheck | XzStatus::MemNeeded => Err("xz stream ends early".to_owned()),
        }
    }
}
