//! Text and values of files to typed columns.

mod cells;
mod keep;
mod kind;
mod marks;
mod nested;
mod pushed;
mod reason;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use pulse_core::sources::{Column, ColumnType, Feed};
use pulse_core::{Error, Result};
use serde::de::IgnoredAny;

use super::cell::Fault;
use super::data::Data;
use super::layout::{arrow_type, field_name};
use super::number::{Number, Whole, decimal_prefix, parse_double, parse_float, parse_whole, whole_prefix};
use super::stamp::read_date;
use kind::Kind;
pub(super) use marks::Marks;
use nested::Trouble;

pub(super) use nested::{Node, nested_arrow_type};

/// Every whole number up to it is a double.
const DOUBLE_HOLDS: f64 = 9_007_199_254_740_992.0;

/// One declared column of the batch under construction.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    name: String,
    field: String,
    required: bool,
    data_type: ColumnType,
    kind: Kind,
    rounds: bool,
    /// Whether what looks like a number or a stamp in its usual form is one: no text with a digit means null, and numbers have no
    /// marks of their own.
    is_plain: bool,
    /// Texts that mean null; `None` for the empty one alone.
    nulls: Option<Vec<Vec<u8>>>,
    marks: Option<Marks>,
    /// The pattern of its stamps, for a person's eyes.
    pattern: Option<String>,
    /// What was wrong inside of the value pushed last.
    trouble: Trouble,
    values: Option<Values>,
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
    /// `Invalid` when the feed's time zone does not exist, or a pattern is wrong.
    pub(super) fn new(column: &Column, feed: &Feed, wanted: Wanted) -> Result<Self> {
        let kind = Kind::of(column, feed)?;
        let data = match Data::of(&column.data_type) {
            Some(data) => data,
            None => Data::Nested(Box::new(Node::new(&column.data_type, column, feed)?)),
        };
        // Of two instants that a stamp may mean, one is chosen later; what is nested is built as it is read.
        let is_kept = wanted == Wanted::Kept || kind.goes_by_order() || matches!(kind, Kind::Nested);
        let nulls =
            feed.nulls.as_ref().map(|texts| texts.iter().map(|text| text.clone().into_bytes()).collect::<Vec<_>>());
        let has_digit = |text: &Vec<u8>| text.iter().any(u8::is_ascii_digit);
        let marks = Marks::of(feed);
        Ok(Self {
            name: column.name.clone(),
            field: field_name(feed, column).to_owned(),
            required: column.required,
            data_type: column.data_type.clone(),
            kind,
            rounds: column.round,
            is_plain: marks.is_none() && !nulls.iter().flatten().any(has_digit),
            nulls,
            marks,
            pattern: feed.pattern.get(&column.name).cloned(),
            trouble: Trouble::default(),
            values: is_kept.then(|| Values { data, valid: Vec::new() }),
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

    /// Whether it takes any text as it is.
    pub(super) fn takes_text(&self) -> bool {
        matches!(self.kind, Kind::Text)
    }

    /// Whether it takes the text of any value of JSON.
    pub(super) fn takes_json(&self) -> bool {
        matches!(self.kind, Kind::Json)
    }

    /// Reads the field that `line` starts with, without quotes, up to `delimiter` or the end; returns its length.
    #[inline]
    pub(super) fn push_field(&mut self, line: &[u8], delimiter: u8) -> Result<usize, Fault> {
        let ends_at = |length: usize| line.get(length).is_none_or(|byte| *byte == delimiter);
        match &mut self.kind {
            Kind::Double if self.is_plain => {
                if let Ok((value, length)) = fast_float2::parse_partial::<f64, _>(line)
                    && ends_at(length)
                    && value.abs() < DOUBLE_HOLDS
                {
                    self.keep_double(value);
                    return Ok(length);
                }
            }
            Kind::Bigint if self.is_plain => {
                if let Some((value, length)) = whole_prefix(line)
                    && ends_at(length)
                {
                    self.keep_bigint(value);
                    return Ok(length);
                }
            }
            Kind::Decimal { scale, below } if self.is_plain => {
                if let Some((value, length)) = decimal_prefix(line, *scale)
                    && ends_at(length)
                    && i128::from(value).abs() < *below
                {
                    self.keep_decimal(i128::from(value));
                    return Ok(length);
                }
            }
            Kind::Timestamp(stamps) if self.is_plain => {
                if let Some(text) = line.first_chunk::<19>()
                    && ends_at(19)
                    && let Ok(instant) = stamps.plain(text)
                {
                    self.keep_timestamp(instant);
                    return Ok(19);
                }
            }
            _ => {}
        }
        let length = memchr::memchr(delimiter, line).unwrap_or(line.len());
        self.push_text(line.get(..length).unwrap_or(line))?;
        Ok(length)
    }

    /// Reads a whole field; the caller has made sure that it is UTF-8.
    pub(super) fn push_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        let text = if matches!(self.kind, Kind::Text) { text } else { text.trim_ascii() };
        if self.means_null(text) {
            return self.push_null();
        }
        match &mut self.kind {
            Kind::Text => self.keep_text(text),
            Kind::Json => {
                serde_json::from_slice::<IgnoredAny>(text).map_err(|_| Fault::NotJson)?;
                self.keep_text(text);
            }
            Kind::Binary => {
                let bytes = kind::from_base64(text).ok_or(Fault::NotBase64)?;
                self.keep_text(&bytes);
            }
            Kind::Boolean => self.keep_boolean(kind::parse_boolean(text).ok_or(Fault::NotBoolean)?),
            Kind::Bigint | Kind::Narrow { .. } | Kind::Double | Kind::Float | Kind::Decimal { .. } => {
                return self.push_number_in_text(text);
            }
            Kind::Date(pattern) => {
                let days = match pattern {
                    Some(pattern) => read_date(pattern, text)?,
                    None => kind::usual_date(text)?,
                };
                return self.push_date(days);
            }
            Kind::Timestamp(stamps) => {
                let instant = stamps.text(text)?;
                self.keep_timestamp(instant);
            }
            Kind::Nested => return self.push_nested(|node, trouble| node.push_json(text, trouble)),
        }
        Ok(())
    }

    fn push_number_in_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        let Some(mut marks) = self.marks.take() else { return self.push_digits(text) };
        let pushed = match marks.plain(text) {
            Some(plain) => self.push_digits(plain),
            None => Err(Fault::NotNumber),
        };
        self.marks = Some(marks);
        pushed
    }

    /// Reads a number as programs write them.
    fn push_digits(&mut self, text: &[u8]) -> Result<(), Fault> {
        match &mut self.kind {
            Kind::Bigint | Kind::Narrow { .. } => match parse_whole(text) {
                Whole::Number(value) => self.push_bigint(value),
                Whole::Fraction => Err(Fault::NotWhole),
                Whole::TooBig => Err(Fault::TooBig),
                Whole::NotNumber => Err(Fault::NotNumber),
            },
            Kind::Double => {
                self.keep_double(parse_double(text, self.rounds)?);
                Ok(())
            }
            Kind::Float => {
                self.keep_double(f64::from(parse_float(text, self.rounds)?));
                Ok(())
            }
            Kind::Decimal { .. } => self.push_decimal(Number::parse(text).ok_or(Fault::NotNumber)?),
            Kind::Date(Some(pattern)) => {
                let days = read_date(pattern, text)?;
                self.push_date(days)
            }
            Kind::Timestamp(stamps) => {
                let instant = stamps.number(text)?;
                self.keep_timestamp(instant);
                Ok(())
            }
            Kind::Text | Kind::Json | Kind::Binary | Kind::Boolean | Kind::Date(None) | Kind::Nested => {
                Err(Fault::WrongType)
            }
        }
    }

    #[inline]
    fn means_null(&self, text: &[u8]) -> bool {
        match &self.nulls {
            None => text.is_empty(),
            Some(nulls) => nulls.iter().any(|null| null == text),
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
        values.data.push_null();
    }

    /// Forgets values beyond the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        let Some(values) = &mut self.values else { return };
        values.valid.truncate(rows);
        values.data.truncate(rows);
    }

    /// Bytes held of values whose size varies.
    pub(super) fn bytes(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.data.bytes())
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
        let array = values.data.finish(nulls).and_then(|array| match &self.kind {
            // They are kept in the widest type of their kind; each was looked at before.
            Kind::Narrow { .. } | Kind::Float => {
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(&array, &arrow_type(&self.data_type), &options)
            }
            _ => Ok(array),
        });
        array.map(Some).map_err(|error| {
            Error::internal(format!("column `{}` of a file's rows is malformed", self.name)).with_source(error)
        })
    }

    /// Whether the order of rows may have to say what its stamps mean.
    pub(super) fn goes_by_order(&self) -> bool {
        self.kind.goes_by_order()
    }
}

/// Whether a query needs a column's values, or only that they are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Kept,
    CheckedOnly,
}
