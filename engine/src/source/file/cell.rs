//! One value of a file, and what can be wrong with it.

use std::borrow::Cow;

use super::stamp::StampError;

/// A value that a file holds, as its format knows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Boolean(bool),
    Int(i64),
    /// A whole number beyond `i64`.
    Uint(u64),
    Double(f64),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970 on the clock of the feed's zone.
    WallClock(i64),
    /// Microseconds since 1970 in UTC.
    Instant(i64),
    /// An object, an array or another value that no column takes; the word for it.
    Other(&'static str),
}

impl Cell<'_> {
    /// The value for a person's eyes.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Cell::Null => Cow::Borrowed(""),
            Cell::Text(text) => Cow::Borrowed(text),
            Cell::Boolean(value) => Cow::Owned(value.to_string()),
            Cell::Int(value) => Cow::Owned(value.to_string()),
            Cell::Uint(value) => Cow::Owned(value.to_string()),
            Cell::Double(value) => Cow::Owned(value.to_string()),
            Cell::Date(days) => Cow::Owned(format!("day {days}")),
            Cell::WallClock(micros) | Cell::Instant(micros) => {
                let instant = chrono::DateTime::from_timestamp_micros(*micros);
                Cow::Owned(instant.map_or_else(|| micros.to_string(), |i| i.format("%F %T%.f").to_string()))
            }
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
    NotBoolean,
    NotDate,
    NotStamp,
    Gap,
    Repeated,
    OutOfRange,
    WrongType,
}

impl From<StampError> for Fault {
    fn from(error: StampError) -> Self {
        match error {
            StampError::Malformed => Self::NotStamp,
            StampError::Gap => Self::Gap,
            StampError::Repeated => Self::Repeated,
            StampError::OutOfRange => Self::OutOfRange,
        }
    }
}
