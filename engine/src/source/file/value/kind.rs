//! How the values of a column are read, decided once for each file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulse_core::Result;
use pulse_core::sources::{Column, ColumnType, Feed, TextPattern};

use crate::source::file::cell::Fault;
use crate::source::file::stamp::{StampReader, date_pattern, parse_date};

#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Json,
    Binary,
    Boolean,
    Bigint,
    /// Whole numbers of fewer bits than 64.
    Narrow {
        bits: u32,
    },
    Double,
    Float,
    /// Whole multiples of `10^-scale`, of a size below `below` of these.
    Decimal {
        scale: u8,
        below: i128,
    },
    Date(Option<Box<TextPattern>>),
    Timestamp(Box<StampReader>),
    Nested,
}

impl Kind {
    /// # Errors
    /// `Invalid` when the feed's time zone does not exist, or a pattern is wrong.
    pub(super) fn of(column: &Column, feed: &Feed) -> Result<Self> {
        Ok(match &column.data_type {
            ColumnType::String => Kind::Text,
            ColumnType::Json => Kind::Json,
            ColumnType::Binary => Kind::Binary,
            ColumnType::Boolean => Kind::Boolean,
            ColumnType::Tinyint => Kind::Narrow { bits: 8 },
            ColumnType::Smallint => Kind::Narrow { bits: 16 },
            ColumnType::Int => Kind::Narrow { bits: 32 },
            ColumnType::Bigint => Kind::Bigint,
            ColumnType::Float => Kind::Float,
            ColumnType::Double => Kind::Double,
            ColumnType::Decimal { precision, scale } => {
                Kind::Decimal { scale: *scale, below: 10_i128.saturating_pow(u32::from(*precision)) }
            }
            ColumnType::Date => Kind::Date(date_pattern(column, feed)?.map(Box::new)),
            ColumnType::Timestamp | ColumnType::TimestampNtz => {
                Kind::Timestamp(Box::new(StampReader::new(column, feed)?))
            }
            ColumnType::Array(_) | ColumnType::Map(_) | ColumnType::Struct(_) => Kind::Nested,
        })
    }

    pub(super) fn goes_by_order(&self) -> bool {
        matches!(self, Kind::Timestamp(stamps) if stamps.stamps().go_by_order())
    }
}

pub(super) fn parse_boolean(text: &[u8]) -> Option<bool> {
    let any = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    match (any(["true", "t", "yes", "y", "1"]), any(["false", "f", "no", "n", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Bytes of base64 with its padding, which is what Spark writes into CSV and JSON; no other text of it means the same bytes.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Days since 1970 of `YYYY-MM-DD`.
pub(super) fn usual_date(text: &[u8]) -> Result<i32, Fault> {
    let days = text.try_into().ok().and_then(parse_date).ok_or(Fault::NotDate)?;
    i32::try_from(days).map_err(|_| Fault::OutOfRange)
}

/// # Errors
/// `NotWhole`, or `TooBig` beyond 64 bits.
pub(super) fn whole(value: f64) -> Result<i64, Fault> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 {
        return Err(Fault::NotWhole);
    }
    if !(-BEYOND..BEYOND).contains(&value) {
        return Err(Fault::TooBig);
    }
    Ok(value as i64)
}
