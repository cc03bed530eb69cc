//! Stamps of one column: by their usual form, by a pattern, or as a number since 1970.

use chrono::{Datelike, NaiveDate};
use pulse_core::sources::{Column, ColumnType, EpochUnit, Feed, StampParts, StampPattern, TextPattern};
use pulse_core::{Error, Result};

use super::{DAY_MICROS, MICROS, StampError, Stamps};
use crate::source::file::cell::Fault;
use crate::source::file::layout::bar_shift_seconds;
use crate::source::file::number::{Number, double_at_scale};

/// Reads the stamps of one column.
#[derive(Debug)]
pub(in super::super) struct StampReader {
    stamps: Stamps,
    /// Seconds from a stamp back to its bar's start.
    shift: u32,
    /// `None` for the usual form.
    pattern: Option<StampPattern>,
    rounds: bool,
}

impl StampReader {
    /// # Errors
    /// `Invalid` when the feed's time zone does not exist, or its pattern is wrong.
    pub(in super::super) fn new(column: &Column, feed: &Feed) -> Result<Self> {
        let stamps = match column.data_type {
            ColumnType::TimestampNtz => Stamps::of_no_zone(),
            _ => Stamps::new(Stamps::zone(&feed.time_zone)?, feed.ambiguous),
        };
        Ok(Self {
            stamps: if column.round { stamps.rounded() } else { stamps },
            shift: bar_shift_seconds(feed, column),
            pattern: pattern_of(column, feed)?,
            rounds: column.round,
        })
    }

    /// `YYYY-MM-DD HH:MM:SS`, the form of nearly every row.
    #[inline]
    pub(in super::super) fn plain(&mut self, text: &[u8; 19]) -> Result<i64, StampError> {
        if self.pattern.is_some() {
            return Err(StampError::Malformed);
        }
        let instant = self.stamps.parse_plain(text)?;
        Stamps::shifted(instant, self.shift)
    }

    pub(in super::super) fn text(&mut self, text: &[u8]) -> Result<i64, Fault> {
        let instant = match &self.pattern {
            None => self.stamps.parse(text)?,
            Some(StampPattern::Text(pattern)) => {
                let parts = pattern.read(text).ok_or(StampError::Malformed)?;
                self.instant_of(parts)?
            }
            Some(StampPattern::Epoch(unit)) => {
                let number = Number::parse(text).ok_or(Fault::NotNumber)?;
                micros(number.at_scale(scale(*unit), self.rounds))?
            }
        };
        Ok(Stamps::shifted(instant, self.shift)?)
    }

    /// A number that the format knows as one, by its digits.
    pub(in super::super) fn number(&mut self, digits: &[u8]) -> Result<i64, Fault> {
        if self.pattern.is_some() { self.text(digits) } else { Err(Fault::WrongType) }
    }

    pub(in super::super) fn double(&mut self, value: f64) -> Result<i64, Fault> {
        match self.pattern {
            Some(StampPattern::Epoch(unit)) => {
                let instant = micros(double_at_scale(value, scale(unit), self.rounds))?;
                Ok(Stamps::shifted(instant, self.shift)?)
            }
            Some(StampPattern::Text(_)) | None => Err(Fault::WrongType),
        }
    }

    /// Wall clock of the feed's zone, or of none when the column has none.
    pub(in super::super) fn wall_clock(&mut self, micros: i64, nanos: u32) -> Result<i64, Fault> {
        let wall = self.stamps.micros(micros, nanos)?;
        Ok(Stamps::shifted(self.stamps.at_wall_clock(wall)?, self.shift)?)
    }

    pub(in super::super) fn instant(&mut self, micros: i64, nanos: u32) -> Result<i64, Fault> {
        if !self.stamps.takes_offset {
            return Err(Fault::WrongType);
        }
        Ok(Stamps::shifted(self.stamps.micros(micros, nanos)?, self.shift)?)
    }

    pub(in super::super) fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// See [`Stamps::take_repeat`].
    #[inline]
    pub(in super::super) fn take_repeat(&mut self) -> Option<i64> {
        self.stamps.take_repeat()
    }

    /// What the text showed that was read as `instant`.
    pub(in super::super) fn shown(&self, instant: i64) -> String {
        self.stamps.wall_clock(instant.saturating_add(i64::from(self.shift) * MICROS))
    }

    fn instant_of(&mut self, parts: StampParts) -> Result<i64, StampError> {
        let day = days_of(parts).ok_or(StampError::Malformed)?;
        let second = i64::from(parts.hour * 3600 + parts.minute * 60 + parts.second);
        let wall = i64::from(day) * DAY_MICROS + second * MICROS + i64::from(parts.nanos / 1000);
        let wall = self.stamps.micros(wall, parts.nanos % 1000)?;
        match parts.offset {
            None => self.stamps.at_wall_clock(wall),
            Some(offset) => Ok(wall - i64::from(offset) * MICROS),
        }
    }
}

/// How the column's text shows a stamp or a date, where the feed says so.
///
/// # Errors
/// `Invalid` when the pattern is wrong.
fn pattern_of(column: &Column, feed: &Feed) -> Result<Option<StampPattern>> {
    let Some(text) = feed.pattern.get(&column.name) else { return Ok(None) };
    let pattern = StampPattern::parse(text, &column.data_type);
    pattern.map(Some).map_err(|message| Error::invalid(format!("pattern of `{}`: {message}", column.name)))
}

/// As [`pattern_of`], of a date.
///
/// # Errors
/// As [`pattern_of`].
pub(in super::super) fn date_pattern(column: &Column, feed: &Feed) -> Result<Option<TextPattern>> {
    Ok(match pattern_of(column, feed)? {
        Some(StampPattern::Text(pattern)) => Some(pattern),
        Some(StampPattern::Epoch(_)) | None => None,
    })
}

/// Days since 1970 of a text of a date.
///
/// # Errors
/// `NotDate`, or `Inexact` when it says a time other than midnight.
pub(in super::super) fn read_date(pattern: &TextPattern, text: &[u8]) -> Result<i32, Fault> {
    let parts = pattern.read(text).ok_or(Fault::NotDate)?;
    let day = days_of(parts).ok_or(Fault::NotDate)?;
    match (parts.hour, parts.minute, parts.second, parts.nanos) {
        (0, 0, 0, 0) => Ok(day),
        _ => Err(Fault::Inexact),
    }
}

/// `None` when the calendar has no such day, or it is another day of the week.
fn days_of(parts: StampParts) -> Option<i32> {
    let date = NaiveDate::from_ymd_opt(parts.year, parts.month, parts.day)?;
    let is_weekday = parts.weekday.is_none_or(|weekday| weekday == date.weekday().num_days_from_monday());
    is_weekday.then(|| date.to_epoch_days())
}

/// Powers of ten from the unit to a microsecond.
fn scale(unit: EpochUnit) -> i32 {
    match unit {
        EpochUnit::Seconds => 6,
        EpochUnit::Millis => 3,
        EpochUnit::Micros => 0,
        EpochUnit::Nanos => -3,
    }
}

fn micros(scaled: Result<i128, Fault>) -> Result<i64, Fault> {
    match scaled {
        Ok(micros) => i64::try_from(micros).map_err(|_| Fault::OutOfRange),
        Err(Fault::TooBig) => Err(Fault::OutOfRange),
        Err(fault) => Err(fault),
    }
}
