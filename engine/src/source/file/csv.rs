//! CSV: a record a line, and a delimiter between its fields.
//!
//! A record that is wrong costs itself alone. A record over several lines whose quotes do not work out (it does not close
//! within the limit or the file, goes on behind a closing quote, or has too few or too many fields) costs its first
//! line only, and reading resumes at the next: a stray quote does not swallow what follows.

mod dialect;
mod fields;
mod plain;
mod quoted;

use memchr::{memchr, memchr_iter, memrchr};
use pulse_core::Result;
use pulse_core::sources::{Csv, Ragged};

use super::cell::Fault;
use super::framing::{Front, Input, Records, text_fault};
use super::rows::Rows;
use dialect::{Delimiter, Dialect};
use fields::{Fields, Header};
use plain::Plain;
use quoted::{Quoted, Record};

/// Turns the text of one CSV file into rows.
#[derive(Debug)]
pub(super) struct CsvRecords {
    rows: Rows,
    dialect: Dialect,
    ragged: Ragged,
    header: Header,
    /// Line at which the next record starts.
    line: i64,
    /// Lines before the header.
    skipped_lines: i64,
    in_long_line: bool,
    quoted: Quoted,
}

/// Why a record is not a row.
enum Wrong {
    Count,
    Value { field: usize, fault: Fault },
}

impl Records for CsvRecords {
    fn read(&mut self, bytes: &[u8], input: Input) -> usize {
        let mut at = self.skip_long_line(bytes);
        at += self.skip_lines(bytes.get(at..).unwrap_or_default());
        let mut plain = Plain::new(at, self.dialect.quote);
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
    /// `Invalid` when options contradict each other.
    pub(super) fn new(mut rows: Rows, csv: &Csv) -> Result<Self> {
        let (mut dialect, header) = (Dialect::new(csv)?, Header::new(csv, &rows.columns)?);
        if let Header::Read(fields) | Header::ReadPast(fields) = &header {
            rows.miss(&fields.absent);
        }
        dialect.blanks_are_a_value = header.names_one_field();
        Ok(Self {
            dialect,
            ragged: csv.ragged,
            header,
            rows,
            line: 1,
            skipped_lines: i64::from(csv.skip_lines),
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

    /// Passes over lines before the header, however long; returns their bytes as far as they are there.
    fn skip_lines(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.line <= self.skipped_lines {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else { return bytes.len() };
            at += end + 1;
            self.line += 1;
        }
        at
    }

    #[cold]
    fn long_line(&mut self, line: &[u8]) {
        let reason = format!("the line is longer than {} bytes", self.limit());
        self.break_header(&reason);
        // Of a long line only this much is surely there: the rest depends on how its bytes arrive.
        let line = line.get(..self.limit()).unwrap_or(line);
        self.rows.reject(self.line, reason, line);
        self.line += 1;
    }

    #[inline]
    fn plain_line(&mut self, line: &[u8]) {
        if !self.dialect.is_passed_over(line) {
            match self.fields(line) {
                Ok(()) => self.keep(line),
                Err(wrong) => self.wrong_line(line, &wrong),
            }
        }
        self.line += 1;
    }

    #[inline]
    fn keep(&mut self, line: &[u8]) {
        if let Header::Read(fields) = &self.header
            && !fields.rescued.is_empty()
        {
            let values = self.dialect.split(line);
            self.rows.rescue(fields.rescued_object(|at| values.get(at).copied()));
        }
        self.rows.keep(self.line, || line);
    }

    #[inline]
    fn fields(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let Header::Read(Fields { targets, absent, .. }) = &self.header else { return Err(Wrong::Count) };
        let Delimiter::Byte(delimiter) = self.dialect.delimiter else { return self.fields_by_text(line) };
        let mut rest = Some(line);
        for (field, target) in targets.iter().enumerate() {
            let text = rest.ok_or(Wrong::Count)?;
            let length = match target.and_then(|column| self.rows.columns.get_mut(column)) {
                Some(column) => column.push_field(text, delimiter).map_err(|fault| Wrong::Value { field, fault })?,
                None => memchr(delimiter, text).unwrap_or(text.len()),
            };
            rest = text.get(length + 1..);
        }
        if rest.is_some() {
            return Err(Wrong::Count);
        }
        self.rows.leave_null(absent);
        Ok(())
    }

    /// As `fields`, for a delimiter of several bytes.
    fn fields_by_text(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let (Header::Read(Fields { targets, absent, .. }), Delimiter::Text(finder)) =
            (&self.header, &self.dialect.delimiter)
        else {
            return Err(Wrong::Count);
        };
        let mut rest = Some(line);
        for (field, target) in targets.iter().enumerate() {
            let text = rest.ok_or(Wrong::Count)?;
            let length = finder.find(text).unwrap_or(text.len());
            if let Some(column) = target.and_then(|column| self.rows.columns.get_mut(column)) {
                let value = text.get(..length).unwrap_or(text);
                column.push_text(value).map_err(|fault| Wrong::Value { field, fault })?;
            }
            rest = text.get(length + finder.needle().len()..);
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
        if self.dialect.is_passed_over(line) {
            self.line += 1;
            return Some(taken);
        }
        if let Header::Broken(reason) = &self.header {
            self.rows.reject(self.line, reason.clone(), line);
            self.line += 1;
            return Some(taken);
        }
        let has_quote = self.dialect.quote.is_some_and(|quote| memchr(quote, line).is_some());
        if !has_quote && matches!(self.header, Header::Read(_)) {
            match text_fault(line, &self.rows) {
                Some(reason) => self.rows.reject(self.line, reason, line),
                None => match self.fields(line) {
                    Ok(()) => self.keep(line),
                    Err(wrong) => self.wrong_line(line, &wrong),
                },
            }
            self.line += 1;
            return Some(taken);
        }
        let window = rest.get(..self.limit() + 1).unwrap_or(rest);
        let is_all = window.len() == rest.len();
        let record = match self.quoted.parse(window, &self.dialect) {
            Record::Incomplete | Record::IncompleteDelimiter | Record::EndsWithInput
                if input == Input::MayGoOn && is_all =>
            {
                return None;
            }
            record => record,
        };
        let ends_here = input == Input::Ends && is_all;
        match self.quoted_record(rest, line, &record, ends_here) {
            Some(taken) => Some(taken),
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
            Record::Malformed | Record::IncompleteDelimiter => {
                self.reject_quotes(line, "text follows the closing quote of a field");
                return None;
            }
        };
        let text = rest.get(..length).unwrap_or(rest);
        let newlines = memchr_iter(b'\n', text).count() as i64;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let is_one_line = text.len() == line.len();
        if !matches!(self.header, Header::Read(_)) {
            self.read_header(text);
            self.line += newlines.max(1);
            return Some(length);
        }
        let found = self.quoted.count();
        let is_uneven = is_one_line && self.ragged == Ragged::Null;
        let fault = if found == self.header.count() || is_uneven {
            text_fault(text, &self.rows)
        } else {
            Some(count_reason(self.header.count(), found))
        };
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
        let Header::Read(fields) = &self.header else { return };
        let surplus = (fields.targets.len()..self.quoted.count()).filter_map(|at| self.quoted.field(at));
        match surplus_reason(fields.targets.len(), surplus) {
            Some(reason) => self.rows.reject(self.line, reason, text),
            None => fields.read(&mut self.rows, self.line, text, |at| self.quoted.field(at)),
        }
    }

    fn reject_quotes(&mut self, line: &[u8], reason: &str) {
        self.break_header(reason);
        self.rows.reject(self.line, reason, line);
    }

    fn break_header(&mut self, reason: &str) {
        if matches!(self.header, Header::Expected(_) | Header::ReadPast(_)) {
            self.header = Header::Broken(format!("the header cannot be read: {reason}"));
        }
    }

    fn read_header(&mut self, text: &[u8]) {
        let header = std::mem::replace(&mut self.header, Header::Broken(String::new()));
        // Where a carriage return alone ends the lines, the whole file is the header.
        let fields = match memchr(b'\r', text) {
            Some(_) if memrchr(b'\n', text).is_none() => {
                Err("the header holds a carriage return: a line must end with a newline".to_owned())
            }
            _ => header.behind(&mut self.rows, &self.quoted),
        };
        match fields {
            Ok(fields) => {
                self.header = Header::Read(fields);
                self.dialect.blanks_are_a_value = self.header.names_one_field();
            }
            Err(reason) => {
                self.rows.reject(self.line, reason.clone(), text);
                self.header = Header::Broken(reason);
            }
        }
    }

    /// A wrong number of fields goes before a wrong value, which it has probably caused.
    #[cold]
    fn wrong_line(&mut self, line: &[u8], wrong: &Wrong) {
        let Header::Read(fields) = &self.header else { return };
        let values = self.dialect.split(line);
        let (expected, found) = (fields.targets.len(), values.len());
        let target = match wrong {
            Wrong::Value { field, fault } if found == expected => {
                fields.targets.get(*field).copied().flatten().map(|column| (column, *field, *fault))
            }
            Wrong::Value { .. } | Wrong::Count => None,
        };
        match target {
            Some((column, field, fault)) => {
                let value = String::from_utf8_lossy(values.get(field).copied().unwrap_or_default());
                self.rows.reject_value(self.line, column, fault, value.trim(), line);
            }
            None if self.ragged == Ragged::Null && found != expected => {
                self.rows.undo();
                match surplus_reason(expected, values.iter().skip(expected).copied()) {
                    Some(reason) => self.rows.reject(self.line, reason, line),
                    None => fields.read(&mut self.rows, self.line, line, |at| values.get(at).copied()),
                }
            }
            None => self.rows.reject(self.line, count_reason(expected, found), line),
        }
    }
}

fn count_reason(expected: usize, found: usize) -> String {
    format!("expected {expected} fields, found {found}")
}

/// Fields beyond the last name may be there as long as they hold nothing.
fn surplus_reason<'a>(expected: usize, surplus: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let surplus: Vec<&[u8]> = surplus.collect();
    let holds = surplus.iter().any(|value| !value.trim_ascii().is_empty());
    holds.then(|| count_reason(expected, expected + surplus.len()))
}
