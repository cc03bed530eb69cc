//! Text and values of files to typed columns.

mod pushed;

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use pulse_core::sources::{Column, ColumnType, Feed};
use pulse_core::{Error, Result};

use super::cell::{Cell, Fault};
use super::data::Data;
use super::layout::{bar_shift_seconds, field_name};
use super::number::{Whole, parse_whole, whole_prefix};
use super::stamp::{Stamps, parse_date};

/// Characters of a wrong value that its reason repeats.
const SHOWN_CHARACTERS: usize = 80;

/// One declared column of the batch under construction.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    name: String,
    field: String,
    required: bool,
    kind: Kind,
    values: Option<Values>,
}

#[derive(Debug)]
enum Kind {
    Text,
    Boolean,
    Bigint,
    Double,
    Date,
    /// With the seconds from a stamp back to its bar's start.
    Timestamp(Box<Stamps>, u32),
}

#[derive(Debug)]
struct Values {
    data: Data,
    /// Empty while no value is null.
    valid: Vec<bool>,
}

impl ColumnBuilder {
    /// A column that checks every value and, when `wanted`, keeps it.
    ///
    /// # Errors
    /// `Invalid` when the feed's time zone does not exist.
    pub(super) fn new(column: &Column, feed: &Feed, wanted: Wanted) -> Result<Self> {
        let (kind, data) = match column.data_type {
            ColumnType::String => (Kind::Text, Data::Text { ends: vec![0], bytes: Vec::new() }),
            ColumnType::Boolean => (Kind::Boolean, Data::Boolean(Vec::new())),
            ColumnType::Bigint => (Kind::Bigint, Data::Bigint(Vec::new())),
            ColumnType::Double => (Kind::Double, Data::Double(Vec::new())),
            ColumnType::Date => (Kind::Date, Data::Date(Vec::new())),
            ColumnType::Timestamp => {
                let stamps = Stamps::new(Stamps::zone(&feed.time_zone)?, feed.ambiguous);
                (Kind::Timestamp(Box::new(stamps), bar_shift_seconds(feed, column)), Data::Timestamp(Vec::new()))
            }
        };
        let by_order = matches!(&kind, Kind::Timestamp(stamps, _) if stamps.go_by_order());
        Ok(Self {
            name: column.name.clone(),
            field: field_name(feed, column).to_owned(),
            required: column.required,
            kind,
            values: match wanted {
                Wanted::Kept => Some(Values { data, valid: Vec::new() }),
                // Of two instants that a stamp may mean, one is chosen later.
                Wanted::CheckedOnly if by_order => Some(Values { data, valid: Vec::new() }),
                Wanted::CheckedOnly => None,
            },
        })
    }

    /// The column's name in the source.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The column's name in the feed's files.
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// Whether a row needs a value of this column.
    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    /// Reads the field that `line` starts with, without quotes, up to `delimiter` or the end; returns its length.
    #[inline]
    pub(super) fn push_field(&mut self, line: &[u8], delimiter: u8) -> Result<usize, Fault> {
        let ends_at = |length: usize| line.get(length).is_none_or(|byte| *byte == delimiter);
        match &mut self.kind {
            Kind::Double => {
                if let Ok((value, length)) = fast_float2::parse_partial::<f64, _>(line)
                    && ends_at(length)
                    && value.is_finite()
                {
                    self.keep_double(value);
                    return Ok(length);
                }
            }
            Kind::Bigint => {
                if let Some((value, length)) = whole_prefix(line)
                    && ends_at(length)
                {
                    self.keep_bigint(value);
                    return Ok(length);
                }
            }
            Kind::Timestamp(stamps, shift) => {
                if let Some(text) = line.first_chunk::<19>()
                    && ends_at(19)
                    && let Ok(instant) = stamps.parse_plain(text)
                    && let Ok(instant) = Stamps::shifted(instant, *shift)
                {
                    self.keep_timestamp(instant);
                    return Ok(19);
                }
            }
            Kind::Text | Kind::Boolean | Kind::Date => {}
        }
        let length = memchr::memchr(delimiter, line).unwrap_or(line.len());
        self.push_text(line.get(..length).unwrap_or(line))?;
        Ok(length)
    }

    /// Reads a whole field; the caller has made sure that it is UTF-8.
    pub(super) fn push_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        let trimmed = text.trim_ascii();
        match &mut self.kind {
            Kind::Text if text.is_empty() => self.push_null(),
            Kind::Text => {
                self.keep_text(text);
                Ok(())
            }
            _ if trimmed.is_empty() => self.push_null(),
            Kind::Boolean => self.push_boolean(parse_boolean(trimmed).ok_or(Fault::NotBoolean)?),
            Kind::Bigint => match parse_whole(trimmed) {
                Whole::Number(value) => self.push_bigint(value),
                Whole::Fraction => Err(Fault::NotWhole),
                Whole::TooBig => Err(Fault::TooBig),
                Whole::NotNumber => Err(Fault::NotNumber),
            },
            Kind::Double => self.push_double(fast_float2::parse(trimmed).map_err(|_| Fault::NotNumber)?),
            Kind::Date => {
                let days = trimmed.try_into().ok().and_then(parse_date).ok_or(Fault::NotDate)?;
                self.push_date(i32::try_from(days).map_err(|_| Fault::OutOfRange)?)
            }
            Kind::Timestamp(stamps, _) => {
                let instant = stamps.parse(trimmed)?;
                self.push_instant(instant)
            }
        }
    }

    /// Takes a value whose type the file's format knows.
    pub(super) fn push_cell(&mut self, cell: &Cell<'_>) -> Result<(), Fault> {
        match (&mut self.kind, cell) {
            (_, Cell::Null) => self.push_null(),
            (_, Cell::Text(text)) => self.push_text(text.as_bytes()),
            (Kind::Boolean, Cell::Boolean(value)) => self.push_boolean(*value),
            (Kind::Bigint, Cell::Int(value)) => self.push_bigint(*value),
            (Kind::Bigint | Kind::Double, Cell::Double(value)) if !value.is_finite() => Err(Fault::NotFinite),
            (Kind::Bigint, Cell::Double(value)) => self.push_bigint(whole(*value)?),
            (Kind::Bigint, Cell::Uint(_)) => Err(Fault::TooBig),
            (Kind::Double, Cell::Int(value)) => self.push_double(*value as f64),
            (Kind::Double, Cell::Uint(value)) => self.push_double(*value as f64),
            (Kind::Double, Cell::Double(value)) => self.push_double(*value),
            (Kind::Date, Cell::Date(value)) => self.push_date(*value),
            (Kind::Timestamp(stamps, _), Cell::WallClock(micros)) => {
                let instant = stamps.at_wall_clock(*micros)?;
                self.push_instant(instant)
            }
            (Kind::Timestamp(..), Cell::Instant(micros)) => self.push_instant(*micros),
            _ => Err(Fault::WrongType),
        }
    }

    /// # Errors
    /// `Empty` when the column is required.
    pub(super) fn push_null(&mut self) -> Result<(), Fault> {
        if self.required {
            return Err(Fault::Empty);
        }
        self.keep_null();
        Ok(())
    }

    /// A null of a rejected row, required or not.
    pub(super) fn keep_null(&mut self) {
        let Some(values) = &mut self.values else { return };
        let rows = values.data.len();
        values.valid.resize(rows, true);
        values.valid.push(false);
        match &mut values.data {
            Data::Text { ends, bytes } => ends.push(bytes.len() as i32),
            Data::Boolean(data) => data.push(false),
            Data::Bigint(data) | Data::Timestamp(data) => data.push(0),
            Data::Double(data) => data.push(0.0),
            Data::Date(data) => data.push(0),
        }
    }

    /// Forgets values beyond the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        let Some(values) = &mut self.values else { return };
        values.valid.truncate(rows);
        match &mut values.data {
            Data::Text { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Data::Boolean(data) => data.truncate(rows),
            Data::Bigint(data) | Data::Timestamp(data) => data.truncate(rows),
            Data::Double(data) => data.truncate(rows),
            Data::Date(data) => data.truncate(rows),
        }
    }

    /// Bytes of text held.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Some(Values { data: Data::Text { bytes, .. }, .. }) => bytes.len(),
            _ => 0,
        }
    }

    /// Takes the values so far; `None` for a column that is only checked. Room for as many is made at once.
    pub(super) fn finish(&mut self) -> Result<Option<ArrayRef>> {
        let Some(values) = &mut self.values else { return Ok(None) };
        let rows = values.data.len();
        let mut valid = std::mem::take(&mut values.valid);
        let nulls = (!valid.is_empty()).then(|| {
            valid.resize(rows, true);
            NullBuffer::from(valid)
        });
        values.data.finish(nulls).map(Some).map_err(|error| {
            Error::internal(format!("column `{}` of a file's rows is malformed", self.name)).with_source(error)
        })
    }

    /// What is wrong with `value`, in a sentence for a person.
    #[cold]
    pub(super) fn reason(&self, fault: Fault, value: &str) -> String {
        let field = &self.field;
        let value = shown(value);
        match (fault, &self.kind) {
            (Fault::Empty, _) => format!("`{field}` is empty"),
            (Fault::NotNumber, _) => format!("`{field}` is not a number: `{value}`"),
            (Fault::NotFinite, _) => format!("`{field}` is not a finite number: `{value}`"),
            (Fault::NotWhole, _) => format!("`{field}` is not a whole number: `{value}`"),
            (Fault::TooBig, _) => format!("`{field}` does not fit in 64 bits: `{value}`"),
            (Fault::NotBoolean, _) => format!("`{field}` is not true or false: `{value}`"),
            (Fault::NotDate, _) => format!("`{field}` is not a date (YYYY-MM-DD): `{value}`"),
            (Fault::NotStamp, _) => format!("`{field}` is not a timestamp (YYYY-MM-DD HH:MM:SS): `{value}`"),
            (Fault::Gap, Kind::Timestamp(stamps, _)) => {
                format!("`{field}`: {value} does not exist in {}", stamps.zone_name())
            }
            (Fault::Gap, _) => format!("`{field}`: {value} does not exist"),
            (Fault::Repeated, Kind::Timestamp(stamps, _)) => {
                format!("`{field}`: {value} occurs twice in {}", stamps.zone_name())
            }
            (Fault::Repeated, _) => format!("`{field}`: {value} occurs twice"),
            (Fault::OutOfRange, _) => format!("`{field}` is outside the years 1 to 9999: `{value}`"),
            (Fault::WrongType, _) => format!("`{field}` is not {}: `{value}`", self.expected()),
        }
    }

    /// Whether the order of rows may have to say what its stamps mean.
    pub(super) fn goes_by_order(&self) -> bool {
        matches!(&self.kind, Kind::Timestamp(stamps, _) if stamps.go_by_order())
    }

    fn expected(&self) -> &'static str {
        match self.kind {
            Kind::Text => "a text",
            Kind::Boolean => "true or false",
            Kind::Bigint => "a whole number",
            Kind::Double => "a number",
            Kind::Date => "a date",
            Kind::Timestamp(..) => "a timestamp",
        }
    }

    fn push_boolean(&mut self, value: bool) -> Result<(), Fault> {
        if let Some(Values { data: Data::Boolean(data), .. }) = &mut self.values {
            data.push(value);
        }
        Ok(())
    }

    fn push_bigint(&mut self, value: i64) -> Result<(), Fault> {
        self.keep_bigint(value);
        Ok(())
    }

    fn push_double(&mut self, value: f64) -> Result<(), Fault> {
        if !value.is_finite() {
            return Err(Fault::NotFinite);
        }
        self.keep_double(value);
        Ok(())
    }

    fn push_date(&mut self, days: i32) -> Result<(), Fault> {
        Stamps::shifted(i64::from(days) * 86_400_000_000, 0)?;
        if let Some(Values { data: Data::Date(data), .. }) = &mut self.values {
            data.push(days);
        }
        Ok(())
    }

    fn push_instant(&mut self, micros: i64) -> Result<(), Fault> {
        let shift = match &self.kind {
            Kind::Timestamp(_, shift) => *shift,
            _ => 0,
        };
        let micros = Stamps::shifted(micros, shift)?;
        self.keep_timestamp(micros);
        Ok(())
    }

    #[inline]
    fn keep_double(&mut self, value: f64) {
        if let Some(Values { data: Data::Double(data), .. }) = &mut self.values {
            data.push(value);
        }
    }

    #[inline]
    fn keep_bigint(&mut self, value: i64) {
        if let Some(Values { data: Data::Bigint(data), .. }) = &mut self.values {
            data.push(value);
        }
    }

    #[inline]
    fn keep_timestamp(&mut self, micros: i64) {
        if let Some(Values { data: Data::Timestamp(data), .. }) = &mut self.values {
            data.push(micros);
        }
    }

    fn keep_text(&mut self, text: &[u8]) {
        if let Some(Values { data: Data::Text { ends, bytes }, .. }) = &mut self.values {
            bytes.extend_from_slice(text);
            ends.push(bytes.len() as i32);
        }
    }
}

/// Whether a query needs a column's values, or only that they are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Kept,
    CheckedOnly,
}

fn parse_boolean(text: &[u8]) -> Option<bool> {
    let any = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    match (any(["true", "t", "yes", "y", "1"]), any(["false", "f", "no", "n", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn whole(value: f64) -> Result<i64, Fault> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 {
        return Err(Fault::NotWhole);
    }
    if !(-BEYOND..BEYOND).contains(&value) {
        return Err(Fault::TooBig);
    }
    Ok(value as i64)
}

fn shown(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => Cow::Owned(format!("{}...", value.get(..end).unwrap_or(value))),
        None => Cow::Borrowed(value),
    }
}
