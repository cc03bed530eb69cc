//! CSV by RFC 4180, with a header line.
//!
//! A record that is wrong costs itself alone. A record over several lines whose quotes do not work out (it does not close
//! within the limit or the file, goes on behind a closing quote, or has too few or too many fields) costs its first
//! line only, and reading resumes at the next: a stray quote does not swallow what follows.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use pulse_core::{Error, Result};

use super::absent::{Names, places};
use super::cell::Fault;
use super::framing::{Front, Input, Records, is_blank};
use super::quoted::{Quoted, Record};
use super::rows::Rows;

/// Bytes that are looked at together for anything but plain text.
const WINDOW_BYTES: usize = 32 << 10;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// # Errors
/// `Invalid` when values can contain the delimiter, or it is not one byte.
fn delimiter_byte(delimiter: char) -> Result<u8> {
    match u8::try_from(delimiter) {
        Ok(byte) if byte == b'\t' || (byte.is_ascii_punctuation() && !b"\".+-:'".contains(&byte)) => Ok(byte),
        _ => Err(Error::invalid(format!("`{delimiter}` cannot be a delimiter: use `,`, `;`, `|` or a tab"))),
    }
}

/// Turns the bytes of one CSV file into rows.
#[derive(Debug)]
pub(super) struct CsvRecords {
    rows: Rows,
    delimiter: u8,
    header: Header,
    /// Line at which the next record starts.
    line: i64,
    in_long_line: bool,
    quoted: Quoted,
}

#[derive(Debug)]
enum Header {
    Expected,
    Read(Fields),
    /// Why no line of the file can be read.
    Broken(String),
}

/// Where a record's fields go.
#[derive(Debug)]
struct Fields {
    /// For each field of a record, the column that it goes to.
    targets: Vec<Option<usize>>,
    /// Columns that the file does not have.
    absent: Vec<usize>,
}

/// Why a record is not a row.
enum Wrong {
    Count,
    Value { field: usize, fault: Fault },
}

impl Records for CsvRecords {
    fn read(&mut self, bytes: &[u8], input: Input) -> usize {
        let mut at = self.skip_long_line(bytes);
        let mut plain = Plain { until: at, is_plain: false };
        while !self.rows.is_full() {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let taken = match Front::of(rest, input, self.limit()) {
                Front::Line(line, taken) => match &self.header {
                    Header::Read(_) if plain.covers(bytes, at, taken) => {
                        self.plain_line(line);
                        taken
                    }
                    _ => match self.any_line(rest, line, taken, input) {
                        Some(taken) => taken,
                        None => break,
                    },
                },
                Front::LongLine(taken) => {
                    self.long_line(rest);
                    taken
                }
                Front::LongLineGoesOn => {
                    self.long_line(rest);
                    self.in_long_line = true;
                    return bytes.len();
                }
                Front::Incomplete => break,
            };
            at += taken;
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
        self.line
    }
}

impl CsvRecords {
    /// # Errors
    /// `Invalid` when the delimiter can occur within values or is not one byte.
    pub(super) fn new(rows: Rows, delimiter: char) -> Result<Self> {
        Ok(Self {
            rows,
            delimiter: delimiter_byte(delimiter)?,
            header: Header::Expected,
            line: 1,
            in_long_line: false,
            quoted: Quoted::default(),
        })
    }

    fn skip_long_line(&mut self, bytes: &[u8]) -> usize {
        match (self.in_long_line, memchr(b'\n', bytes)) {
            (false, _) => 0,
            (true, None) => bytes.len(),
            (true, Some(at)) => {
                self.in_long_line = false;
                at + 1
            }
        }
    }

    #[cold]
    fn long_line(&mut self, line: &[u8]) {
        let reason = format!("the line is longer than {} bytes", self.limit());
        if matches!(self.header, Header::Expected) {
            self.header = Header::Broken(format!("the header cannot be read: {reason}"));
        }
        // Of a long line only this much is surely there: the rest depends on how its bytes arrive.
        let line = line.get(..self.limit()).unwrap_or(line);
        self.rows.reject(self.line, reason, line);
        self.line += 1;
    }

    #[inline]
    fn plain_line(&mut self, line: &[u8]) {
        if !is_blank(line) {
            match self.fields(line) {
                Ok(()) => self.rows.keep(self.line, || line),
                Err(wrong) => self.reject_line(line, &wrong),
            }
        }
        self.line += 1;
    }

    #[inline]
    fn fields(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let Header::Read(Fields { targets, absent }) = &self.header else { return Err(Wrong::Count) };
        let mut rest = Some(line);
        for (field, target) in targets.iter().enumerate() {
            let text = rest.ok_or(Wrong::Count)?;
            let length = match target.and_then(|column| self.rows.columns.get_mut(column)) {
                Some(column) => {
                    column.push_field(text, self.delimiter).map_err(|fault| Wrong::Value { field, fault })?
                }
                None => memchr(self.delimiter, text).unwrap_or(text.len()),
            };
            rest = text.get(length + 1..);
        }
        if rest.is_some() {
            return Err(Wrong::Count);
        }
        self.rows.leave_null(absent);
        Ok(())
    }

    /// A line that is not plain or not a row. `None` when it starts a record that goes on beyond `rest`.
    #[cold]
    fn any_line(&mut self, rest: &[u8], line: &[u8], taken: usize, input: Input) -> Option<usize> {
        let bom = if self.line == 1 && rest.starts_with(BOM) { BOM.len() } else { 0 };
        let line = line.get(bom..).unwrap_or_default();
        if is_blank(line) {
            self.line += 1;
            return Some(taken);
        }
        if let Header::Broken(reason) = &self.header {
            self.rows.reject(self.line, reason.clone(), line);
            self.line += 1;
            return Some(taken);
        }
        if memchr(b'"', line).is_none() && matches!(self.header, Header::Read(_)) {
            match text_fault(line) {
                Some(reason) => self.rows.reject(self.line, reason, line),
                None => match self.fields(line) {
                    Ok(()) => self.rows.keep(self.line, || line),
                    Err(wrong) => self.reject_line(line, &wrong),
                },
            }
            self.line += 1;
            return Some(taken);
        }
        let rest = rest.get(bom..).unwrap_or_default();
        let window = rest.get(..self.limit() + 1).unwrap_or(rest);
        let is_all = window.len() == rest.len();
        let record = match self.quoted.parse(window, self.delimiter) {
            Record::Incomplete | Record::EndsWithInput if input == Input::MayGoOn && is_all => return None,
            record => record,
        };
        let ends_here = input == Input::Ends && is_all;
        match self.quoted_record(rest, line, &record, ends_here) {
            Some(taken) => Some(bom + taken),
            None => {
                self.line += 1;
                Some(taken)
            }
        }
    }

    /// Takes a whole record with quotes. `None` when only its first line was used up.
    fn quoted_record(&mut self, rest: &[u8], line: &[u8], record: &Record, ends_here: bool) -> Option<usize> {
        let length = match record {
            Record::Whole(length) => *length,
            Record::EndsWithInput if ends_here => rest.len(),
            Record::EndsWithInput | Record::Incomplete => {
                self.reject_quotes(line, "a quoted field is not closed");
                return None;
            }
            Record::Malformed => {
                self.reject_quotes(line, "text follows the closing quote of a field");
                return None;
            }
        };
        let text = rest.get(..length).unwrap_or(rest);
        let newlines = memchr_iter(b'\n', text).count() as i64;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let is_one_line = text.len() == line.len();
        let targets = match &self.header {
            Header::Read(Fields { targets, .. }) => targets,
            Header::Expected | Header::Broken(_) => {
                self.read_header(text);
                self.line += newlines.max(1);
                return Some(length);
            }
        };
        let fault = if self.quoted.count() == targets.len() { text_fault(text) } else { Some(self.count_reason()) };
        match fault {
            Some(reason) if is_one_line => self.rows.reject(self.line, reason, text),
            Some(reason) => {
                self.rows.reject(self.line, reason, line);
                return None;
            }
            None => self.quoted_row(text),
        }
        self.line += newlines.max(1);
        Some(length)
    }

    fn quoted_row(&mut self, text: &[u8]) {
        let Header::Read(Fields { targets, absent }) = &self.header else { return };
        for (field, target) in targets.iter().enumerate() {
            let Some(at) = target else { continue };
            let value = self.quoted.field(field);
            if let Some(Err(fault)) = self.rows.columns.get_mut(*at).map(|column| column.push_text(value)) {
                let value = String::from_utf8_lossy(value);
                self.rows.reject_value(self.line, *at, fault, &value, text);
                return;
            }
        }
        self.rows.leave_null(absent);
        self.rows.keep(self.line, || text);
    }

    fn reject_quotes(&mut self, line: &[u8], reason: &str) {
        if matches!(self.header, Header::Expected) {
            self.header = Header::Broken(format!("the header cannot be read: {reason}"));
        }
        self.rows.reject(self.line, reason, line);
    }

    fn read_header(&mut self, text: &[u8]) {
        match self.targets() {
            Ok(fields) => self.header = Header::Read(fields),
            Err(reason) => {
                self.rows.reject(self.line, reason.clone(), text);
                self.header = Header::Broken(reason);
            }
        }
    }

    fn targets(&self) -> Result<Fields, String> {
        let names: Vec<Cow<'_, str>> = (0..self.quoted.count())
            .map(|field| String::from_utf8_lossy(self.quoted.field(field).trim_ascii()))
            .collect();
        let names: Vec<&str> = names.iter().map(Cow::as_ref).collect();
        let places = places(&self.rows.columns, &names, Names::OF_CSV)?;
        let mut targets = vec![None; names.len()];
        for (column, place) in places.iter().enumerate() {
            if let Some(target) = place.and_then(|field| targets.get_mut(field)) {
                *target = Some(column);
            }
        }
        let absent = places.iter().enumerate().filter(|(_, place)| place.is_none()).map(|(column, _)| column);
        Ok(Fields { targets, absent: absent.collect() })
    }

    fn count_reason(&self) -> String {
        count_reason(self.expected(), self.quoted.count())
    }

    fn expected(&self) -> usize {
        match &self.header {
            Header::Read(Fields { targets, .. }) => targets.len(),
            Header::Expected | Header::Broken(_) => 0,
        }
    }

    /// A wrong number of fields goes before a wrong value, which it has probably caused.
    #[cold]
    fn reject_line(&mut self, line: &[u8], wrong: &Wrong) {
        let values: Vec<&[u8]> = line.split(|byte| *byte == self.delimiter).collect();
        let target = match (wrong, &self.header) {
            (Wrong::Value { field, fault }, Header::Read(Fields { targets, .. })) if values.len() == targets.len() => {
                targets.get(*field).copied().flatten().map(|column| (column, *field, *fault))
            }
            _ => None,
        };
        match target {
            Some((column, field, fault)) => {
                let value = String::from_utf8_lossy(values.get(field).copied().unwrap_or_default());
                self.rows.reject_value(self.line, column, fault, value.trim(), line);
            }
            None => self.rows.reject(self.line, count_reason(self.expected(), values.len()), line),
        }
    }
}

fn count_reason(expected: usize, found: usize) -> String {
    format!("expected {expected} fields, found {found}")
}

fn text_fault(text: &[u8]) -> Option<String> {
    if memchr(0, text).is_some() {
        Some("the line holds a NUL byte".to_owned())
    } else if std::str::from_utf8(text).is_err() {
        Some("the line is not UTF-8".to_owned())
    } else {
        None
    }
}

/// The stretch of bytes that was looked at last, and whether it is ASCII without quotes and NUL.
struct Plain {
    until: usize,
    is_plain: bool,
}

impl Plain {
    #[inline]
    fn covers(&mut self, bytes: &[u8], at: usize, length: usize) -> bool {
        if at + length > self.until {
            let window = bytes.get(at..).map(|rest| rest.get(..WINDOW_BYTES).unwrap_or(rest)).unwrap_or_default();
            self.is_plain = is_plain(window);
            self.until = at + window.len();
        }
        self.is_plain && at + length <= self.until
    }
}

#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let odd = bytes
        .iter()
        .fold(0_u8, |odd, byte| odd | u8::from(*byte >= 0x80) | u8::from(*byte == 0) | u8::from(*byte == b'"'));
    odd == 0
}
