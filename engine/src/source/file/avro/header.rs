//! The header of an Avro file, and where its blocks end.

use arrow::array::RecordBatch;
use arrow_avro::reader::ReaderBuilder;

use super::super::damage::caught;
use super::super::legacy_calendar::Legacy;
use super::codec::Codec;
use super::schema::{NoLong, Schema, long, put_long, simplified};

const MAGIC: &[u8] = b"Obj\x01";
pub(super) const MARKER_BYTES: usize = 16;

/// What a file says of its blocks.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) schema: Schema,
    codec: Codec,
    pub(super) marker: [u8; MARKER_BYTES],
    pub(super) legacy: Legacy,
    /// The header of a file of the same schema whose blocks are not compressed.
    plain: Vec<u8>,
}

/// What the bytes begin with.
pub(super) enum Front {
    /// A block, its rows, and its length with its marker.
    Block(Vec<u8>, u64, usize),
    Damaged(String, u64),
    Incomplete(u64),
}

impl Header {
    /// `None` when it goes on.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let magic = bytes.get(..MAGIC.len()).unwrap_or(bytes);
        if !MAGIC.starts_with(magic) {
            return Err("it does not begin as Avro's object container files do".to_owned());
        }
        let mut cursor = Cursor { bytes, at: MAGIC.len() };
        let (mut schema, mut codec, mut entries) = (None, b"null".to_vec(), Vec::new());
        loop {
            let Some(count) = cursor.long()? else { return Ok(None) };
            if count == 0 {
                break;
            }
            if count < 0 && cursor.long()?.is_none() {
                return Ok(None);
            }
            for _ in 0..count.unsigned_abs() {
                let Some(key) = cursor.sized()? else { return Ok(None) };
                let Some(value) = cursor.sized()? else { return Ok(None) };
                match key {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = value.to_vec(),
                    other => entries.push((other, std::str::from_utf8(value).unwrap_or_default())),
                }
            }
        }
        let entry = |key: &str| entries.iter().find(|(known, _)| *known == key.as_bytes()).map(|(_, value)| *value);
        let legacy = Legacy::of("avro", entry);
        let Some(marker) = bytes.get(cursor.at..).and_then(|rest| rest.first_chunk::<MARKER_BYTES>()) else {
            return Ok(None);
        };
        let schema = schema.ok_or("it has no schema")?;
        let text = std::str::from_utf8(schema).map_err(|_| "its schema is not UTF-8")?;
        let mut plain = MAGIC.to_vec();
        put_long(1, &mut plain);
        let simple = simplified(text)?;
        for part in ["avro.schema", &simple].map(str::as_bytes) {
            put_long(i64::try_from(part.len()).map_err(|_| "its schema is too long")?, &mut plain);
            plain.extend_from_slice(part);
        }
        put_long(0, &mut plain);
        plain.extend_from_slice(marker);
        let header =
            Self { schema: Schema::parse(text)?, codec: Codec::named(&codec)?, marker: *marker, legacy, plain };
        Ok(Some((header, cursor.at + MARKER_BYTES)))
    }

    pub(super) fn front(&self, bytes: &[u8], limit: usize) -> Front {
        let damaged = |reason: &str, rows: u64| Front::Damaged(format!("a block is damaged: {reason}"), rows);
        let (rows, at) = match long(bytes) {
            Ok((rows, at)) => (rows, at),
            Err(NoLong::Incomplete) => return Front::Incomplete(0),
            Err(NoLong::TooLong) => return damaged("its number of rows is none", 1),
        };
        let Ok(rows) = u64::try_from(rows) else { return damaged("its number of rows is below 0", 1) };
        let (size, more) = match long(bytes.get(at..).unwrap_or_default()) {
            Ok(found) => found,
            Err(NoLong::Incomplete) => return Front::Incomplete(0),
            Err(NoLong::TooLong) => return damaged("its length is none", 1),
        };
        let start = at + more;
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= limit) else {
            return damaged(&format!("its length is {size} bytes: if that is right, raise `max_object_mib`"), 1);
        };
        let Some(marker) = bytes.get(start + size..).and_then(|rest| rest.first_chunk::<MARKER_BYTES>()) else {
            return Front::Incomplete(rows);
        };
        if *marker != self.marker {
            return damaged("it does not end with the file's marker", 1);
        }
        let data = bytes.get(start..start + size).unwrap_or_default();
        let length = start + size + MARKER_BYTES;
        match caught(|| self.codec.decompress(data, limit)).flatten() {
            Ok(content) if rows > content.len() as u64 => {
                damaged(&format!("it says that it has {rows} rows, and has {} bytes", content.len()), 1)
            }
            Ok(content) => Front::Block(content, rows, length),
            Err(reason) => Front::Damaged(format!("a block of {rows} rows is damaged: {reason}"), rows),
        }
    }

    /// The rows of a block that is not compressed.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(super) fn decode(&self, bytes: &[u8], rows: usize) -> Result<RecordBatch, String> {
        caught(|| self.decoded(bytes, rows)).flatten()
    }

    fn decoded(&self, bytes: &[u8], rows: usize) -> Result<RecordBatch, String> {
        let mut file = self.plain.clone();
        if rows > 0 {
            for number in [rows, bytes.len()] {
                put_long(i64::try_from(number).map_err(|error| error.to_string())?, &mut file);
            }
            file.extend_from_slice(bytes);
            file.extend_from_slice(&self.marker);
        }
        // Full with the last row, so that nothing is looked for behind it.
        let builder = ReaderBuilder::new().with_batch_size(rows.max(1));
        let mut reader = builder.build(file.as_slice()).map_err(|error| schema_fault(&error.to_string()))?;
        if rows == 0 {
            return Ok(RecordBatch::new_empty(reader.schema()));
        }
        match reader.next() {
            Some(Ok(batch)) if batch.num_rows() == rows => Ok(batch),
            Some(Ok(batch)) => Err(format!("{} rows were read instead of {rows}", batch.num_rows())),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no row was read".to_owned()),
        }
    }
}

/// What a library says of a schema, without the schema: it shows it in another order each time.
fn schema_fault(error: &str) -> String {
    let said = error.split(['(', '{']).next().unwrap_or(error);
    format!("its schema is not read: {}", said.trim_end())
}

/// Reads a header.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn long(&mut self) -> Result<Option<i64>, String> {
        match long(self.bytes.get(self.at..).unwrap_or_default()) {
            Ok((value, length)) => {
                self.at += length;
                Ok(Some(value))
            }
            Err(NoLong::Incomplete) => Ok(None),
            Err(NoLong::TooLong) => Err("its header is damaged".to_owned()),
        }
    }

    fn sized(&mut self) -> Result<Option<&'a [u8]>, String> {
        let Some(length) = self.long()? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| "its header is damaged")?;
        let end = self.at.checked_add(length).ok_or("its header is damaged")?;
        let Some(part) = self.bytes.get(self.at..end) else { return Ok(None) };
        self.at = end;
        Ok(Some(part))
    }
}
