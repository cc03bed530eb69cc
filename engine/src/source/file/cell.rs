//! One value of a file, and what can be wrong with it.

use std::borrow::Cow;

use super::arrow_values::Values;
use super::stamp::StampError;

/// A value that a file holds, as its format knows it.
#[derive(Debug, Clone)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A number of JSON as it is written.
    Number(&'a str),
    /// A decimal of a format that has them, as text.
    Decimal(&'a str),
    /// Any value of JSON as it is written.
    Json(&'a str),
    Boolean(bool),
    Int(i64),
    /// A whole number beyond `i64`.
    Uint(u64),
    Double(f64),
    Bytes(&'a [u8]),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970 on the clock of the feed's zone, and nanoseconds below one microsecond.
    WallClock(i64, u32),
    /// As `WallClock`, in UTC.
    Instant(i64, u32),
    /// A list, a map or a struct of a columnar file, and its row.
    Nested(&'a Values, usize),
    /// A value that no column takes; the word for it.
    Other(&'static str),
}

impl Cell<'_> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }

    /// The value for a person's eyes.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Cell::Null => Cow::Borrowed(""),
            Cell::Text(text) => Cow::Borrowed(text),
            Cell::Json(text) if text.starts_with('{') => Cow::Borrowed("an object"),
            Cell::Json(text) if text.starts_with('[') => Cow::Borrowed("an array"),
            Cell::Number(text) | Cell::Decimal(text) | Cell::Json(text) => Cow::Borrowed(text),
            Cell::Boolean(value) => Cow::Owned(value.to_string()),
            Cell::Int(value) => Cow::Owned(value.to_string()),
            Cell::Uint(value) => Cow::Owned(value.to_string()),
            Cell::Double(value) => Cow::Owned(value.to_string()),
            Cell::Bytes(bytes) => Cow::Owned(format!("{} bytes", bytes.len())),
            Cell::Date(days) => Cow::Owned(format!("day {days}")),
            Cell::WallClock(micros, nanos) | Cell::Instant(micros, nanos) => {
                let instant = chrono::DateTime::from_timestamp_micros(*micros)
                    .and_then(|at| at.checked_add_signed(chrono::TimeDelta::nanoseconds(i64::from(*nanos))));
                Cow::Owned(instant.map_or_else(|| micros.to_string(), |i| i.format("%F %T%.f").to_string()))
            }
            Cell::Nested(values, _) => Cow::Borrowed(values.word()),
            Cell::Other(word) => Cow::Borrowed(word),
        }
    }
}

/// Why a value does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Empty,
    NotNumber,
    NotFinite,
    NotWhole,
    TooBig,
    /// The type holds no value that is equal to it.
    Inexact,
    NotBoolean,
    NotBase64,
    NotJson,
    NotDate,
    NotStamp,
    Gap,
    Repeated,
    OutOfRange,
    WrongType,
    /// Of a name of JSON that is there twice.
    Twice,
    /// A value inside of it; the column remembers which.
    Inside,
}

impl From<StampError> for Fault {
    fn from(error: StampError) -> Self {
        match error {
            StampError::Malformed => Self::NotStamp,
            StampError::Gap => Self::Gap,
            StampError::Repeated => Self::Repeated,
            StampError::OutOfRange => Self::OutOfRange,
            StampError::Inexact => Self::Inexact,
        }
    }
}
