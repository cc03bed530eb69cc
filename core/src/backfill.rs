//! Splits the time range of a backfill into runs.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Months, TimeDelta, Utc};

use crate::interval::Interval;
use crate::interval_set::IntervalSet;
use crate::manifest::IntervalUnit;
use crate::{Error, Result};

/// Length of the time range of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    count: u32,
    unit: IntervalUnit,
}

impl Chunk {
    /// The default for a job with intervals of this unit.
    pub fn usual(unit: IntervalUnit) -> Self {
        match unit {
            IntervalUnit::Hour => Self { count: 1, unit: IntervalUnit::Day },
            IntervalUnit::Day => Self { count: 7, unit: IntervalUnit::Day },
            IntervalUnit::Month | IntervalUnit::Year => Self { count: 1, unit: IntervalUnit::Year },
        }
    }

    /// The range in chunks of this length, oldest first; the last one may be shorter.
    ///
    /// # Errors
    /// `Invalid` unless each chunk consists of whole intervals of the job.
    pub fn split(self, span: Interval, unit: IntervalUnit) -> Result<Vec<Interval>> {
        span.check_aligned(unit)?;
        let mut pieces = Vec::new();
        let mut start = span.start;
        for place in 1_u32.. {
            // Counted from the start of the range; otherwise chunks of months would begin on ever earlier days.
            let end = self.after(span.start, place).filter(|end| *end < span.end).unwrap_or(span.end);
            let piece = Interval::new(start, end)?;
            piece.check_aligned(unit).map_err(|error| {
                Error::invalid(format!("chunks of {self} do not hold whole intervals: {}", error.message()))
            })?;
            pieces.push(piece);
            if end == span.end {
                break;
            }
            start = end;
        }
        Ok(pieces)
    }

    /// The end of that many chunks; `None` beyond the calendar.
    fn after(self, start: DateTime<Utc>, chunks: u32) -> Option<DateTime<Utc>> {
        let count = self.count.checked_mul(chunks)?;
        match self.unit {
            IntervalUnit::Hour => start.checked_add_signed(TimeDelta::hours(i64::from(count))),
            IntervalUnit::Day => start.checked_add_days(Days::new(u64::from(count))),
            IntervalUnit::Month => start.checked_add_months(Months::new(count)),
            IntervalUnit::Year => start.checked_add_months(Months::new(count.checked_mul(12)?)),
        }
    }
}

impl FromStr for Chunk {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "`{text}` is no length: write hours, days, months or years, such as 12h, 7d, 1mo or 1y"
            ))
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = text.split_at(digits);
        let unit = match unit {
            "h" => IntervalUnit::Hour,
            "d" => IntervalUnit::Day,
            "mo" => IntervalUnit::Month,
            "y" => IntervalUnit::Year,
            _ => return Err(wrong()),
        };
        match count.parse() {
            Ok(count) if count > 0 => Ok(Self { count, unit }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            IntervalUnit::Hour => "h",
            IntervalUnit::Day => "d",
            IntervalUnit::Month => "mo",
            IntervalUnit::Year => "y",
        };
        write!(f, "{}{unit}", self.count)
    }
}

/// Chunks that have something to compute.
#[must_use]
pub fn open(pieces: Vec<Interval>, computed: &IntervalSet, restate: bool) -> Vec<Interval> {
    let is_open = |piece: &Interval| restate || !IntervalSet::from(Some(*piece)).without(computed).is_empty();
    pieces.into_iter().filter(is_open).collect()
}

/// The intervals of a downstream job that overlap a range: whole ones that have ended, from the job's start on.
#[must_use]
pub fn overlapped(span: Interval, unit: IntervalUnit, start: DateTime<Utc>, now: DateTime<Utc>) -> Option<Interval> {
    let floor = unit.floor(span.end);
    let end = if floor == span.end { floor } else { unit.next(span.end) };
    Interval::new(unit.floor(span.start).max(unit.floor(start)), end.min(unit.floor(now))).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: [IntervalUnit; 4] = [IntervalUnit::Hour, IntervalUnit::Day, IntervalUnit::Month, IntervalUnit::Year];

    fn interval(from: &str, to: &str) -> Interval {
        Interval::parse_bounds(from, to).unwrap()
    }

    fn split(from: &str, to: &str, chunk: &str, unit: IntervalUnit) -> String {
        match chunk.parse::<Chunk>().and_then(|chunk| chunk.split(interval(from, to), unit)) {
            Ok(pieces) => pieces.into_iter().map(|piece| piece.to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn a_span_is_cut_into_chunks() {
        let (day, month, hour) = (IntervalUnit::Day, IntervalUnit::Month, IntervalUnit::Hour);
        for (from, to, chunk, unit, expected) in [
            ("2024-01-01", "2024-01-05", "2d", day, "[2024-01-01, 2024-01-03) [2024-01-03, 2024-01-05)"),
            ("2024-02-28", "2024-03-02", "2d", day, "[2024-02-28, 2024-03-01) [2024-03-01, 2024-03-02)"),
            (
                "2024-01-31",
                "2024-04-01",
                "1mo",
                day,
                "[2024-01-31, 2024-02-29) [2024-02-29, 2024-03-31) [2024-03-31, 2024-04-01)",
            ),
            ("2023-11-01", "2024-03-01", "1y", month, "[2023-11-01, 2024-03-01)"),
            (
                "2024-01-01",
                "2024-01-02",
                "12h",
                hour,
                "[2024-01-01, 2024-01-01T12:00:00Z) [2024-01-01T12:00:00Z, 2024-01-02)",
            ),
            (
                "2024-01-01",
                "2024-01-02",
                "12h",
                day,
                "chunks of 12h do not hold whole intervals: 2024-01-01T12:00:00Z is not the start of a day: use 2024-01-01 or 2024-01-02",
            ),
            (
                "2024-01-01",
                "2024-01-03",
                "0d",
                day,
                "`0d` is no length: write hours, days, months or years, such as 12h, 7d, 1mo or 1y",
            ),
        ] {
            assert_eq!(split(from, to, chunk, unit), expected, "{chunk}");
        }
        for wrong in ["", "d", "7", "7w", "-7d", "7 d", "99999999999d", "٣d"] {
            assert!(wrong.parse::<Chunk>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_downstream_job_takes_the_whole_intervals() {
        let time = |text| crate::interval::parse_stamp(text).unwrap();
        let of = |from, to, unit| {
            let found = overlapped(interval(from, to), unit, time("2024-01-10"), time("2024-03-15T05:00:00Z"));
            found.map_or_else(|| "nothing".to_owned(), |found| found.to_string())
        };
        assert_eq!(of("2024-01-12T03:00:00Z", "2024-01-13T04:00:00Z", IntervalUnit::Day), "[2024-01-12, 2024-01-14)");
        assert_eq!(of("2024-01-01", "2024-01-12", IntervalUnit::Day), "[2024-01-10, 2024-01-12)");
        assert_eq!(of("2024-02-10", "2024-02-12", IntervalUnit::Month), "[2024-02-01, 2024-03-01)");
        assert_eq!(of("2024-03-10", "2024-03-12", IntervalUnit::Month), "nothing");
        assert_eq!(of("2023-03-10", "2023-03-12", IntervalUnit::Day), "nothing");
    }

    proptest! {
        #[test]
        fn chunks_cover_the_span_once(
            unit in prop::sample::select(&UNITS[..]), by in prop::sample::select(&UNITS[..]), count in 1_u32..40,
            from in 0_i64..2_000_000_000, length in 1_i64..10_000_000,
        ) {
            let time = |seconds| unit.floor(DateTime::from_timestamp(seconds, 0).unwrap());
            let Ok(span) = Interval::new(time(from), time(from + length)) else { return Ok(()) };
            let Ok(pieces) = (Chunk { count, unit: by }).split(span, unit) else { return Ok(()) };
            let mut reached = span.start;
            for piece in &pieces {
                prop_assert_eq!(piece.start, reached);
                prop_assert!(piece.check_aligned(unit).is_ok() && piece.start < piece.end);
                reached = piece.end;
            }
            prop_assert_eq!(reached, span.end);
            // Computed intervals are not recomputed, wherever the backfill was interrupted.
            for done in 0..pieces.len().min(5) {
                let computed: IntervalSet = pieces[..done].iter().copied().collect();
                prop_assert_eq!(open(pieces.clone(), &computed, false), pieces[done..].to_vec());
                prop_assert_eq!(open(pieces.clone(), &computed, true), pieces.clone());
            }
        }
    }
}
