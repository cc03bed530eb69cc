//! How the blocks of an Avro file are compressed.

use std::io::Read;

/// One of the specification's codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

impl Codec {
    /// # Errors
    /// A reason when it is none that can be read.
    pub(super) fn named(name: &[u8]) -> Result<Self, String> {
        match name {
            b"null" => Ok(Self::Null),
            b"deflate" => Ok(Self::Deflate),
            b"snappy" => Ok(Self::Snappy),
            b"zstandard" => Ok(Self::Zstandard),
            b"bzip2" => Ok(Self::Bzip2),
            b"xz" => Ok(Self::Xz),
            other => Err(format!("its codec is `{}`, which is not read", String::from_utf8_lossy(other))),
        }
    }

    /// The content of a block, of at most `limit` bytes.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn decompress(self, data: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        match self {
            Self::Null => Ok(data.to_vec()),
            Self::Deflate => read(flate2::read::DeflateDecoder::new(data), limit),
            Self::Snappy => snappy(data, limit),
            Self::Zstandard => read(zstd::stream::read::Decoder::new(data).map_err(|error| error.to_string())?, limit),
            Self::Bzip2 => read(bzip2::read::BzDecoder::new(data), limit),
            Self::Xz => read(liblzma::read::XzDecoder::new(data), limit),
        }
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bound).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() > limit { Err(too_large(limit)) } else { Ok(content) }
}

/// Snappy, and a checksum of the content behind it.
fn snappy(data: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let (data, sum) = data.split_last_chunk::<4>().ok_or("it has no checksum")?;
    if snap::raw::decompress_len(data).map_err(|error| error.to_string())? > limit {
        return Err(too_large(limit));
    }
    let content = snap::raw::Decoder::new().decompress_vec(data).map_err(|error| error.to_string())?;
    if crc32fast::hash(&content) == u32::from_be_bytes(*sum) {
        Ok(content)
    } else {
        Err("its checksum is wrong".to_owned())
    }
}

fn too_large(limit: usize) -> String {
    format!("it is larger than {limit} bytes: raise `max_object_mib`")
}
