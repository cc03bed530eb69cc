//! Bytes of one file to rows, whatever its format: no I/O.

use pulse_core::Result;
use pulse_core::sources::Format;

use super::avro::AvroRows;
use super::csv::CsvRecords;
use super::framing::Framed;
use super::gzip::Inflater;
use super::json::{Document, JoinedRecords, LineRecords};
use super::rows::Rows;

/// Turns the bytes of one text file, compressed or not, into rows.
///
/// Feed it until `is_full`, take the batch, and go on with the bytes that are left; after the last byte call `finish` and take
/// a batch until `finish` says that it is done.
#[derive(Debug)]
pub(super) struct Decoder {
    format: TextFormat,
    inflater: Option<Inflater>,
    inflated: Vec<u8>,
    inflated_at: usize,
    is_inflated: bool,
    /// Why the compressed stream cannot be read on.
    broken: Option<String>,
}

#[derive(Debug)]
enum TextFormat {
    Csv(Framed<CsvRecords>),
    JsonLines(Framed<LineRecords>),
    JoinedJson(Framed<JoinedRecords>),
    Json(Box<Document>),
    Avro(Box<AvroRows>),
}

/// How a file's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

impl Compression {
    pub(super) fn of(path: &str) -> Self {
        if path.ends_with(".gz") { Self::Gzip } else { Self::None }
    }
}

impl Decoder {
    /// `None` for Parquet, which is not read from front to back.
    ///
    /// # Errors
    /// `Invalid` when the format's settings make no sense.
    pub(super) fn new(rows: Rows, format: &Format, compression: Compression) -> Result<Option<Self>> {
        let format = match format {
            Format::Csv { delimiter } => TextFormat::Csv(Framed::new(CsvRecords::new(rows, *delimiter)?)),
            Format::JsonLines(lines) if lines.joined => {
                TextFormat::JoinedJson(Framed::new(JoinedRecords::new(rows, lines)?))
            }
            Format::JsonLines(lines) => TextFormat::JsonLines(Framed::new(LineRecords::new(rows, lines)?)),
            Format::Json(json) => TextFormat::Json(Box::new(Document::new(rows, json)?)),
            Format::Avro {} => TextFormat::Avro(Box::new(AvroRows::new(rows))),
            Format::Parquet {} => return Ok(None),
        };
        let inflater = match compression {
            Compression::None => None,
            Compression::Gzip => Some(Inflater::new()),
        };
        let is_inflated = inflater.is_none();
        Ok(Some(Self { format, inflater, inflated: Vec::new(), inflated_at: 0, is_inflated, broken: None }))
    }

    /// Reads until all bytes are used or a batch is full; returns how many were used.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.inflater.is_none() {
            return self.format.feed(bytes);
        }
        let mut used = 0;
        while self.pass_on() && used < bytes.len() {
            used += self.inflate(bytes.get(used..).unwrap_or_default());
        }
        used
    }

    /// Reads what is left after the last byte; false when a batch is full and there is more.
    pub(super) fn finish(&mut self) -> bool {
        if !self.pass_on() {
            return false;
        }
        if !self.is_inflated {
            self.is_inflated = true;
            if let Some(inflater) = &mut self.inflater {
                self.broken = self.broken.take().or(inflater.finish().err());
                self.inflated = inflater.take();
            }
            if !self.pass_on() {
                return false;
            }
        }
        if let Some(reason) = self.broken.take() {
            self.format.break_off(&reason);
        }
        self.format.finish()
    }

    pub(super) fn rows(&mut self) -> &mut Rows {
        match &mut self.format {
            TextFormat::Csv(decoder) => decoder.rows(),
            TextFormat::JsonLines(decoder) => decoder.rows(),
            TextFormat::JoinedJson(decoder) => decoder.rows(),
            TextFormat::Json(decoder) => decoder.rows(),
            TextFormat::Avro(decoder) => decoder.rows(),
        }
    }

    fn inflate(&mut self, bytes: &[u8]) -> usize {
        let Some(inflater) = &mut self.inflater else { return bytes.len() };
        if self.broken.is_some() {
            return bytes.len();
        }
        let used = match inflater.push(bytes) {
            Ok(used) => used,
            Err(reason) => {
                self.broken = Some(reason);
                bytes.len()
            }
        };
        self.inflated = inflater.take();
        used
    }

    /// Passes on what is decompressed; false when a batch is full before its end.
    fn pass_on(&mut self) -> bool {
        self.inflated_at += self.format.feed(self.inflated.get(self.inflated_at..).unwrap_or_default());
        if self.inflated_at < self.inflated.len() {
            return false;
        }
        self.inflated.clear();
        self.inflated_at = 0;
        !self.rows().is_full()
    }
}

impl TextFormat {
    fn feed(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Csv(decoder) => decoder.feed(bytes),
            Self::JsonLines(decoder) => decoder.feed(bytes),
            Self::JoinedJson(decoder) => decoder.feed(bytes),
            Self::Json(decoder) => decoder.feed(bytes),
            Self::Avro(decoder) => decoder.feed(bytes),
        }
    }

    fn finish(&mut self) -> bool {
        match self {
            Self::Csv(decoder) => decoder.finish(),
            Self::JsonLines(decoder) => decoder.finish(),
            Self::JoinedJson(decoder) => decoder.finish(),
            Self::Json(decoder) => decoder.finish(),
            Self::Avro(decoder) => decoder.finish(),
        }
    }

    fn break_off(&mut self, reason: &str) {
        match self {
            Self::Csv(decoder) => decoder.break_off(reason),
            Self::JsonLines(decoder) => decoder.break_off(reason),
            Self::JoinedJson(decoder) => decoder.break_off(reason),
            Self::Json(decoder) => decoder.break_off(reason),
            Self::Avro(decoder) => decoder.break_off(reason),
        }
    }
}
