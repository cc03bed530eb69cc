//! A record a line, whose fields lie at fixed places.

use pulse_core::sources::{FixedWidth, Ragged};
use pulse_core::{Error, Result};

use super::absent::{Names, absent, places};
use super::framing::{Input, Lines, Records, is_blank, read_lines, text_fault};
use super::rows::Rows;

/// Turns the text of one file of fixed width into rows.
#[derive(Debug)]
pub(super) struct FixedRecords {
    rows: Rows,
    fields: Vec<Field>,
    /// Columns that no field is of.
    absent: Vec<usize>,
    /// Characters of a whole line.
    length: usize,
    /// The field that ends last.
    last: String,
    ragged: Ragged,
    comment: Option<Box<[u8]>>,
    skipped_lines: i64,
    line: i64,
    in_long_line: bool,
}

/// A field that a column is read from.
#[derive(Debug)]
struct Field {
    column: usize,
    /// Characters before it.
    start: usize,
    end: usize,
}

impl FixedRecords {
    /// # Errors
    /// `Invalid` when a field has no place, or the fields do not serve the columns.
    pub(super) fn new(mut rows: Rows, fixed: &FixedWidth) -> Result<Self> {
        let names: Vec<&str> = fixed.fields.iter().map(|field| field.name.as_str()).collect();
        let places = places(&rows.columns, &names, Names::OF_LIST).map_err(Error::invalid)?;
        let mut fields = Vec::with_capacity(places.len());
        for (column, place) in places.iter().enumerate() {
            let Some(field) = place.and_then(|place| fixed.fields.get(place)) else { continue };
            let (Some(end), 1..) = (field.end(), field.width) else {
                return Err(Error::invalid(format!("the field `{}` has no characters", field.name)));
            };
            let (start, end) = (end.saturating_sub(field.width), end);
            fields.push(Field { column, start: place_in_line(start)?, end: place_in_line(end)? });
        }
        let absent = absent(&places);
        rows.miss(&absent);
        let last = fixed.fields.iter().max_by_key(|field| field.end());
        Ok(Self {
            fields,
            absent,
            length: place_in_line(last.and_then(|field| field.end()).unwrap_or_default())?,
            last: last.map(|field| field.name.clone()).unwrap_or_default(),
            ragged: fixed.ragged,
            comment: fixed.comment.as_deref().map(|comment| comment.as_bytes().into()),
            skipped_lines: i64::from(fixed.skip_lines),
            rows,
            line: 1,
            in_long_line: false,
        })
    }

    fn read_record(&mut self, line: &[u8]) {
        let place = Places::of(line);
        let length = place.count();
        if length < self.length && self.ragged == Ragged::Reject {
            let reason = format!("the line has {length} characters, and `{}` ends at {}", self.last, self.length);
            self.rows.reject(self.line, reason, line);
            return;
        }
        for field in &self.fields {
            let value = place.between(field.start, field.end).trim_ascii();
            if let Some(Err(fault)) = self.rows.columns.get_mut(field.column).map(|column| column.push_text(value)) {
                let value = String::from_utf8_lossy(value);
                self.rows.reject_value(self.line, field.column, fault, &value, line);
                return;
            }
        }
        self.rows.leave_null(&self.absent);
        self.rows.keep(self.line, || line);
    }
}

fn place_in_line(place: u32) -> Result<usize> {
    usize::try_from(place).map_err(|error| Error::invalid("a field lies too far to the right").with_source(error))
}

/// Where the characters of a line are.
struct Places<'a> {
    line: &'a [u8],
    /// The first byte of each character; `None` where each is one byte.
    starts: Option<Vec<usize>>,
}

impl<'a> Places<'a> {
    fn of(line: &'a [u8]) -> Self {
        let is_start = |byte: u8| byte & 0xC0 != 0x80;
        let starts = || line.iter().enumerate().filter(|(_, byte)| is_start(**byte)).map(|(at, _)| at).collect();
        Self { line, starts: (!line.is_ascii()).then(starts) }
    }

    fn count(&self) -> usize {
        self.starts.as_ref().map_or(self.line.len(), Vec::len)
    }

    /// The characters between two places; those beyond the line's end are not there.
    fn between(&self, start: usize, end: usize) -> &'a [u8] {
        let byte = |place: usize| match &self.starts {
            Some(starts) => starts.get(place).copied().unwrap_or(self.line.len()),
            None => place.min(self.line.len()),
        };
        self.line.get(byte(start)..byte(end)).unwrap_or_default()
    }
}

impl Records for FixedRecords {
    fn read(&mut self, bytes: &[u8], input: Input) -> usize {
        read_lines(self, bytes, input)
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

impl Lines for FixedRecords {
    fn take_line(&mut self, line: &[u8]) {
        let is_comment = self.comment.as_deref().is_some_and(|comment| line.starts_with(comment));
        if self.line > self.skipped_lines && !is_blank(line) && !is_comment {
            match text_fault(line, &self.rows) {
                Some(reason) => self.rows.reject(self.line, reason, line),
                None => self.read_record(line),
            }
        }
        self.line += 1;
    }

    fn take_long_line(&mut self, reason: String, line: &[u8]) {
        if self.line > self.skipped_lines {
            self.rows.reject(self.line, reason, line);
        }
        self.line += 1;
    }

    fn in_long_line(&mut self) -> &mut bool {
        &mut self.in_long_line
    }
}
