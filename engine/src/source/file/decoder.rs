//! Bytes of one file to rows, whatever its format: no I/O.

use pulse_core::Result;
use pulse_core::sources::Format;

use super::avro::AvroRows;
use super::compression::{Compression, Decompressor};
use super::csv::CsvRecords;
use super::encoding::{Transcoder, Unknown};
use super::fixed_width::FixedRecords;
use super::framing::Framed;
use super::json::{Document, JoinedRecords, LineRecords};
use super::rows::Rows;

/// Bytes that are transcoded at a time.
const STEP_BYTES: usize = 64 << 10;

/// Turns the bytes of one text file, compressed or not, into rows.
///
/// Feed it until `is_full`, take the batch, and go on with the bytes that are left; after the last byte call `finish` and take
/// a batch until `finish` says that it is done.
#[derive(Debug)]
pub(super) struct Decoder {
    format: TextFormat,
    decompressor: Option<Decompressor>,
    decompressed: Vec<u8>,
    transcoder: Transcoder,
    /// Text that the format has not read yet.
    text: Vec<u8>,
    text_at: usize,
    end: End,
}

/// How far the file's bytes are behind.
#[derive(Debug, PartialEq, Eq)]
enum End {
    NotReached,
    /// Why the compressed stream cannot be read on.
    Broken(String),
    Reached,
    /// The file is rejected as a whole.
    Rejected,
}

#[derive(Debug)]
enum TextFormat {
    Csv(Framed<CsvRecords>),
    FixedWidth(Framed<FixedRecords>),
    JsonLines(Framed<LineRecords>),
    JoinedJson(Framed<JoinedRecords>),
    Json(Box<Document>),
    Avro(Box<AvroRows>),
}

impl Decoder {
    /// `None` for Parquet, which is not read from front to back.
    ///
    /// # Errors
    /// `Invalid` when the format's settings make no sense.
    pub(super) fn new(rows: Rows, format: &Format, compression: Compression) -> Result<Option<Self>> {
        let transcoder = Transcoder::new(format.encoding());
        let max_bytes = rows.options().max_object_bytes;
        let format = match format {
            Format::Csv(csv) => TextFormat::Csv(Framed::new(CsvRecords::new(rows, csv)?)),
            Format::FixedWidth(fixed) => TextFormat::FixedWidth(Framed::new(FixedRecords::new(rows, fixed)?)),
            Format::JsonLines(lines) if lines.joined => {
                TextFormat::JoinedJson(Framed::new(JoinedRecords::new(rows, lines)?))
            }
            Format::JsonLines(lines) => TextFormat::JsonLines(Framed::new(LineRecords::new(rows, lines)?)),
            Format::Json(json) => TextFormat::Json(Box::new(Document::new(rows, json)?)),
            Format::Avro {} => TextFormat::Avro(Box::new(AvroRows::new(rows))),
            Format::Parquet {} => return Ok(None),
        };
        Ok(Some(Self {
            format,
            decompressor: compression.decompressor(max_bytes)?,
            decompressed: Vec::new(),
            transcoder,
            text: Vec::new(),
            text_at: 0,
            end: End::NotReached,
        }))
    }

    /// Reads until all bytes are used or a batch is full; returns how many were used.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.pass_on() && used < bytes.len() {
            let rest = bytes.get(used..).unwrap_or_default();
            if self.decompressor.is_none() && self.transcoder.is_idle() {
                return used + self.format.feed(rest);
            }
            used += self.advance(rest);
        }
        used
    }

    /// Reads what is left after the last byte; false when a batch is full and there is more.
    pub(super) fn finish(&mut self) -> bool {
        if !self.pass_on() {
            return false;
        }
        while self.end == End::NotReached {
            self.drain();
            if !self.pass_on() {
                return false;
            }
        }
        if let End::Broken(reason) = &self.end {
            self.format.break_off(reason);
            self.end = End::Reached;
        }
        if !self.format.finish() {
            return false;
        }
        self.format.note_fields();
        self.rows().end();
        true
    }

    pub(super) fn rows(&mut self) -> &mut Rows {
        match &mut self.format {
            TextFormat::Csv(decoder) => decoder.rows(),
            TextFormat::FixedWidth(decoder) => decoder.rows(),
            TextFormat::JsonLines(decoder) => decoder.rows(),
            TextFormat::JoinedJson(decoder) => decoder.rows(),
            TextFormat::Json(decoder) => decoder.rows(),
            TextFormat::Avro(decoder) => decoder.rows(),
        }
    }

    /// Turns the front of `bytes` into text; returns how many were used.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        if self.end != End::NotReached {
            return bytes.len();
        }
        let Some(decompressor) = &mut self.decompressor else {
            let step = bytes.get(..STEP_BYTES).unwrap_or(bytes);
            self.transcode(|transcoder, text| transcoder.push(step, text));
            return step.len();
        };
        let pushed = decompressor.push(bytes, &mut self.decompressed);
        self.pass_decompressed();
        match pushed {
            Ok(used) => used,
            Err(reason) => {
                self.break_off(reason);
                bytes.len()
            }
        }
    }

    /// Turns bytes that the last ones still stand for into text.
    fn drain(&mut self) {
        let drained = match &mut self.decompressor {
            Some(decompressor) => decompressor.finish(&mut self.decompressed),
            None => Ok(true),
        };
        self.pass_decompressed();
        match drained {
            Ok(false) => {}
            Ok(true) => {
                self.transcode(Transcoder::finish);
                if self.end == End::NotReached {
                    self.end = End::Reached;
                }
            }
            Err(reason) => self.break_off(reason),
        }
    }

    /// The stream cannot be read on, unless the file was rejected before.
    fn break_off(&mut self, reason: String) {
        self.transcode(Transcoder::finish);
        if self.end == End::NotReached {
            self.end = End::Broken(reason);
        }
    }

    fn pass_decompressed(&mut self) {
        if self.transcoder.is_idle() && self.text.is_empty() {
            std::mem::swap(&mut self.text, &mut self.decompressed);
            return;
        }
        let bytes = std::mem::take(&mut self.decompressed);
        self.transcode(|transcoder, text| transcoder.push(&bytes, text));
        self.decompressed = bytes;
        self.decompressed.clear();
    }

    fn transcode(&mut self, step: impl FnOnce(&mut Transcoder, &mut Vec<u8>) -> Result<(), Unknown>) {
        if self.end == End::Rejected {
            return;
        }
        let done = step(&mut self.transcoder, &mut self.text);
        let name = self.transcoder.name();
        self.rows().set_encoding(name);
        if let Err(Unknown { reason, start }) = done {
            self.rows().reject(1, reason, &start);
            self.end = End::Rejected;
        }
    }

    /// Passes on the text so far; false when a batch is full before its end.
    fn pass_on(&mut self) -> bool {
        self.text_at += self.format.feed(self.text.get(self.text_at..).unwrap_or_default());
        if self.text_at < self.text.len() {
            return false;
        }
        self.text.clear();
        self.text_at = 0;
        !self.rows().is_full()
    }
}

impl TextFormat {
    fn feed(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Csv(decoder) => decoder.feed(bytes),
            Self::FixedWidth(decoder) => decoder.feed(bytes),
            Self::JsonLines(decoder) => decoder.feed(bytes),
            Self::JoinedJson(decoder) => decoder.feed(bytes),
            Self::Json(decoder) => decoder.feed(bytes),
            Self::Avro(decoder) => decoder.feed(bytes),
        }
    }

    fn finish(&mut self) -> bool {
        match self {
            Self::Csv(decoder) => decoder.finish(),
            Self::FixedWidth(decoder) => decoder.finish(),
            Self::JsonLines(decoder) => decoder.finish(),
            Self::JoinedJson(decoder) => decoder.finish(),
            Self::Json(decoder) => decoder.finish(),
            Self::Avro(decoder) => decoder.finish(),
        }
    }

    /// Says which fields the file's records had, where no header does.
    fn note_fields(&mut self) {
        match self {
            Self::JsonLines(decoder) => decoder.records().note_fields(),
            Self::JoinedJson(decoder) => decoder.records().note_fields(),
            Self::Json(decoder) => decoder.note_fields(),
            Self::Csv(_) | Self::FixedWidth(_) | Self::Avro(_) => {}
        }
    }

    fn break_off(&mut self, reason: &str) {
        match self {
            Self::Csv(decoder) => decoder.break_off(reason),
            Self::FixedWidth(decoder) => decoder.break_off(reason),
            Self::JsonLines(decoder) => decoder.break_off(reason),
            Self::JoinedJson(decoder) => decoder.break_off(reason),
            Self::Json(decoder) => decoder.break_off(reason),
            Self::Avro(decoder) => decoder.break_off(reason),
        }
    }
}
