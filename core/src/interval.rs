//! Intervals of data time, half-open and in UTC: an interval contains its start and not its end.

use std::fmt;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::IntervalUnit;

/// `start <= t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bounds", into = "Bounds")]
pub struct Interval {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// An interval in JSON.
#[derive(Serialize, Deserialize)]
struct Bounds {
    start: String,
    end: String,
}

impl TryFrom<Bounds> for Interval {
    type Error = Error;

    fn try_from(bounds: Bounds) -> Result<Self> {
        Self::parse_bounds(&bounds.start, &bounds.end)
    }
}

impl From<Interval> for Bounds {
    fn from(interval: Interval) -> Self {
        Self { start: stamp(interval.start), end: stamp(interval.end) }
    }
}

impl Interval {
    /// # Errors
    /// `Invalid` unless it ends after its start.
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Result<Self> {
        if start < end {
            return Ok(Self { start, end });
        }
        Err(Error::invalid(format!(
            "an interval must end after it starts, and it does not contain its end: {} to {}",
            stamp(start),
            stamp(end)
        )))
    }

    /// Parses `--from` and `--to`: each is a day (`YYYY-MM-DD`, its start in UTC) or an RFC 3339 timestamp.
    ///
    /// # Errors
    /// `Invalid` for any other text, and unless `to` is after `from`.
    pub fn parse_bounds(from: &str, to: &str) -> Result<Self> {
        Self::new(parse_stamp(from)?, parse_stamp(to)?)
    }

    /// The due interval: from where the input was consumed up to (or from `start`, if never) to the end of the last
    /// unit that has ended by `now`. `None` when nothing is due.
    pub fn pending(
        unit: IntervalUnit,
        start: DateTime<Utc>,
        consumed_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let from = unit.floor(consumed_until.unwrap_or(start));
        let to = unit.floor(now);
        (from < to).then_some(Self { start: from, end: to })
    }

    /// # Errors
    /// `Invalid` unless both ends are boundaries of the unit; names the nearest boundaries.
    pub fn check_aligned(&self, unit: IntervalUnit) -> Result<()> {
        for bound in [self.start, self.end] {
            let floor = unit.floor(bound);
            if floor != bound {
                return Err(Error::invalid(format!(
                    "{} is not the start of {unit}: use {} or {}",
                    stamp(bound),
                    stamp(floor),
                    stamp(unit.next(bound))
                )));
            }
        }
        Ok(())
    }

    /// Its units, oldest first; the first and the last are clipped to the interval.
    pub fn split(self, unit: IntervalUnit) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            if start >= self.end {
                return None;
            }
            let piece = Self { start, end: unit.next(start).min(self.end) };
            // At the end of the calendar `next` does not advance.
            start = if piece.end > start { piece.end } else { self.end };
            Some(piece)
        })
    }

    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        self.start <= time && time < self.end
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", stamp(self.start), stamp(self.end))
    }
}

impl IntervalUnit {
    /// Start of the unit that holds `time`.
    #[must_use]
    pub fn floor(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let day = time.date_naive();
        let hour = TimeDelta::seconds(i64::from(chrono::Timelike::hour(&time)) * 3600);
        match self {
            Self::Hour => midnight(day) + hour,
            Self::Day => midnight(day),
            // If a day of a month exists, so does its first day.
            Self::Month => midnight(day.with_day(1).unwrap_or(day)),
            Self::Year => midnight(day.with_ordinal(1).unwrap_or(day)),
        }
    }

    /// Start of the next unit, or the end of the calendar.
    #[must_use]
    pub fn next(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let floor = self.floor(time);
        let next = match self {
            Self::Hour => floor.checked_add_signed(TimeDelta::hours(1)),
            Self::Day => floor.checked_add_days(Days::new(1)),
            Self::Month => floor.checked_add_months(Months::new(1)),
            Self::Year => floor.checked_add_months(Months::new(12)),
        };
        next.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl fmt::Display for IntervalUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "an hour",
            Self::Day => "a day",
            Self::Month => "a month",
            Self::Year => "a year",
        })
    }
}

/// `YYYY-MM-DD` (its first moment in UTC) or RFC 3339 with an offset.
///
/// # Errors
/// `Invalid` for any other text.
pub fn parse_stamp(text: &str) -> Result<DateTime<Utc>> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(midnight(day));
    }
    DateTime::parse_from_rfc3339(text).map(|stamp| stamp.to_utc()).map_err(|error| {
        Error::invalid(format!("`{text}` is no time: write 2024-01-31 or 2024-01-31T14:30:00Z")).with_source(error)
    })
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// A day if it is midnight, else RFC 3339.
fn stamp(time: DateTime<Utc>) -> String {
    match time.time() == NaiveTime::MIN {
        true => time.date_naive().to_string(),
        false => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNITS: [IntervalUnit; 4] = [IntervalUnit::Hour, IntervalUnit::Day, IntervalUnit::Month, IntervalUnit::Year];

    fn at(text: &str) -> DateTime<Utc> {
        parse_stamp(text).unwrap()
    }

    #[test]
    fn units_start_and_end_where_the_calendar_says() {
        let cases = [
            (IntervalUnit::Hour, "2024-02-29T23:59:59.999Z", "2024-02-29T23:00:00Z", "2024-03-01"),
            (IntervalUnit::Day, "2024-02-28T00:00:00Z", "2024-02-28", "2024-02-29"),
            (IntervalUnit::Day, "1969-12-31T23:59:59Z", "1969-12-31", "1970-01-01"),
            (IntervalUnit::Month, "2024-02-29T12:00:00Z", "2024-02-01", "2024-03-01"),
            (IntervalUnit::Month, "2023-12-31", "2023-12-01", "2024-01-01"),
            (IntervalUnit::Year, "2024-12-31T23:59:59Z", "2024-01-01", "2025-01-01"),
        ];
        for (unit, time, floor, next) in cases {
            assert_eq!((unit.floor(at(time)), unit.next(at(time))), (at(floor), at(next)), "{time} by {unit}");
        }
    }

    #[test]
    fn bounds_are_days_or_stamps() {
        let bounds = Interval::parse_bounds("2024-01-01", "2024-01-02T01:00:00+02:00").unwrap();
        assert_eq!(bounds.to_string(), "[2024-01-01, 2024-01-01T23:00:00Z)");
        assert!(bounds.contains(bounds.start) && !bounds.contains(bounds.end));
        let wrong = |from, to| Interval::parse_bounds(from, to).unwrap_err().to_string();
        insta::assert_snapshot!(
            wrong("01/02/2024", "2024-01-02"),
            @"`01/02/2024` is no time: write 2024-01-31 or 2024-01-31T14:30:00Z"
        );
        insta::assert_snapshot!(
            wrong("2024-02-30", "2024-03-01"),
            @"`2024-02-30` is no time: write 2024-01-31 or 2024-01-31T14:30:00Z"
        );
        insta::assert_snapshot!(
            wrong("2024-01-02", "2024-01-02"),
            @"an interval must end after it starts, and it does not contain its end: 2024-01-02 to 2024-01-02"
        );
        insta::assert_snapshot!(
            bounds.check_aligned(IntervalUnit::Day).unwrap_err(),
            @"2024-01-01T23:00:00Z is not the start of a day: use 2024-01-01 or 2024-01-02"
        );
        bounds.check_aligned(IntervalUnit::Hour).unwrap();
    }

    #[test]
    fn json_keeps_the_bounds() {
        let interval = Interval::parse_bounds("2024-01-01", "2024-01-01T00:00:00.123456Z").unwrap();
        let json = serde_json::to_string(&interval).unwrap();
        assert_eq!(json, r#"{"start":"2024-01-01","end":"2024-01-01T00:00:00.123456Z"}"#);
        assert_eq!(serde_json::from_str::<Interval>(&json).unwrap(), interval);
        assert!(serde_json::from_str::<Interval>(r#"{"start":"2024-01-01","end":"2024-01-01"}"#).is_err());
    }

    #[test]
    fn only_units_that_have_ended_are_pending() {
        let day = IntervalUnit::Day;
        let pending = |consumed, now| {
            Interval::pending(day, at("2024-01-01"), consumed, at(now)).map_or("nothing".to_owned(), |i| i.to_string())
        };
        assert_eq!(pending(None, "2024-01-03T05:00:00Z"), "[2024-01-01, 2024-01-03)");
        assert_eq!(pending(Some(at("2024-01-02")), "2024-01-03T05:00:00Z"), "[2024-01-02, 2024-01-03)");
        assert_eq!(pending(Some(at("2024-01-03")), "2024-01-03T23:59:59Z"), "nothing");
        assert_eq!(pending(Some(at("2024-01-09")), "2024-01-03"), "nothing");
        assert_eq!(pending(None, "2024-01-02"), "[2024-01-01, 2024-01-02)");
    }

    #[test]
    fn the_end_of_the_calendar_is_no_panic() {
        for unit in UNITS {
            assert_eq!(unit.next(DateTime::<Utc>::MAX_UTC), DateTime::<Utc>::MAX_UTC);
            assert!(unit.floor(DateTime::<Utc>::MIN_UTC) <= DateTime::<Utc>::MIN_UTC);
        }
    }

    proptest! {
        #[test]
        fn pieces_cover_the_interval_without_a_gap(
            start in -2_000_000_000_i64..4_000_000_000,
            length in 1_i64..3_000_000,
            unit in prop::sample::select(&UNITS[..]),
        ) {
            let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
            let whole = Interval::new(time(start), time(start + length)).unwrap();
            let mut reached = whole.start;
            for piece in whole.split(unit) {
                prop_assert_eq!(piece.start, reached);
                prop_assert!(piece.start < piece.end && piece.end <= unit.next(piece.start));
                reached = piece.end;
            }
            prop_assert_eq!(reached, whole.end);
            prop_assert!(unit.floor(whole.start) <= whole.start && whole.start < unit.next(whole.start));
        }
    }
}
