//! JSON records one behind the other, with or without newlines between them.
//!
//! A record that is wrong costs what stands before the next place at which a record surely begins: where an object or array follows the
//! end of another, or stands at the start of a line. Neither occurs within a record that is JSON.

use pulse_core::Result;
use pulse_core::sources::JsonLines;
use serde::de::IgnoredAny;

use super::super::framing::{Input, Records};
use super::super::rows::Rows;
use super::record::{RecordReader, parse_reason};

/// Turns the bytes of one file of joined records into rows.
#[derive(Debug)]
pub(in super::super) struct JoinedRecords {
    rows: Rows,
    reader: RecordReader,
    record: i64,
    /// What has been seen of a record whose end is not known.
    skipping: Option<Boundary>,
}

/// The front of some bytes, as records.
enum Front {
    /// A record of this length.
    Record(usize),
    /// Something else of this length, and why it is no record.
    Wrong(usize, String),
    /// Something else that goes on beyond the limit.
    WrongBeyond(Boundary, String),
    Incomplete,
}

impl JoinedRecords {
    /// # Errors
    /// `Invalid` when a field begins with `/` and is no JSON pointer.
    pub(in super::super) fn new(rows: Rows, format: &JsonLines) -> Result<Self> {
        let reader = RecordReader::new(&rows, &format.fields)?;
        Ok(Self { rows, reader, record: 1, skipping: None })
    }

    fn reject(&mut self, reason: String, raw: &[u8]) {
        self.rows.reject(self.record, reason, raw.trim_ascii_end());
        self.record += 1;
    }

    /// See [`RecordReader::note_fields`].
    pub(in super::super) fn note_fields(&mut self) {
        let absent = self.reader.note_fields(&mut self.rows);
        self.rows.miss(&absent);
    }
}

impl Records for JoinedRecords {
    fn read(&mut self, bytes: &[u8], input: Input) -> usize {
        let mut at = 0;
        while !self.rows.is_full() {
            let rest = bytes.get(at..).unwrap_or_default();
            if let Some(boundary) = &mut self.skipping {
                let Some(skipped) = boundary.find(rest) else { return bytes.len() };
                self.skipping = None;
                at += skipped;
                continue;
            }
            let blank = rest.iter().take_while(|byte| is_blank(**byte)).count();
            at += blank;
            let mut rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let limit = self.limit();
            rest = rest.get(..=limit).unwrap_or(rest);
            at += match front(rest, input, limit) {
                Front::Record(length) => {
                    self.reader.read(&mut self.rows, self.record, rest.get(..length).unwrap_or(rest), &[]);
                    self.record += 1;
                    length
                }
                Front::Wrong(length, reason) => {
                    self.reject(reason, rest.get(..length).unwrap_or(rest));
                    length
                }
                Front::WrongBeyond(boundary, reason) => {
                    self.reject(reason, rest.get(..limit).unwrap_or(rest));
                    self.skipping = Some(boundary);
                    rest.len()
                }
                Front::Incomplete => break,
            };
        }
        at
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn rows_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }

    fn line(&self) -> i64 {
        self.record
    }
}

/// What `window` begins with: all that is there, but at most one byte more than `limit`.
fn front(window: &[u8], input: Input, limit: usize) -> Front {
    let is_beyond = window.len() > limit;
    let reason = if matches!(window, [b'{' | b'[', ..]) {
        let mut values = serde_json::Deserializer::from_slice(window).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) if values.byte_offset() <= limit => return Front::Record(values.byte_offset()),
            // Half a number is an error to the parser, too.
            Some(Err(error)) if !error.is_eof() && (is_beyond || input == Input::Ends || !ends_in_number(window)) => {
                parse_reason("record", &error)
            }
            Some(Ok(_) | Err(_)) if is_beyond => format!("the record is longer than {limit} bytes"),
            Some(Err(_)) if input == Input::MayGoOn => return Front::Incomplete,
            Some(Err(error)) => parse_reason("record", &error),
            Some(Ok(_)) | None => "not a JSON record".to_owned(),
        }
    } else {
        "neither a JSON object nor an array".to_owned()
    };
    let mut boundary = Boundary { is_record: matches!(window, [b'{' | b'[', ..]), ..Boundary::default() };
    let length = boundary.find(window.get(1..).unwrap_or_default()).map(|at| at + 1);
    match (length, input) {
        (Some(length), _) => Front::Wrong(length, reason),
        (None, _) if is_beyond => Front::WrongBeyond(boundary, reason),
        (None, Input::MayGoOn) => Front::Incomplete,
        (None, Input::Ends) => Front::Wrong(window.len(), reason),
    }
}

fn ends_in_number(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'])
}

/// White space, and the separator of RFC 7464.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x1e)
}

/// Looks for the place at which the next record begins.
#[derive(Debug, Default)]
struct Boundary {
    /// Whether what is skipped began as a record. If not, any object ends it, and any newline.
    is_record: bool,
    is_closed: bool,
    is_line_start: bool,
}

impl Boundary {
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let opens = match byte {
                b'{' => self.is_closed || self.is_line_start || !self.is_record,
                b'[' => self.is_closed || self.is_line_start,
                _ => self.is_line_start && !self.is_record,
            };
            if opens {
                return Some(at);
            }
            self.is_line_start = *byte == b'\n';
            self.is_closed = matches!(byte, b'}' | b']') || (self.is_closed && is_blank(*byte));
        }
        None
    }
}
