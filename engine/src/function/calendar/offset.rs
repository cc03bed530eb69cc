//! What a zone's clocks are ahead of UTC, at a few nanoseconds per look-up.

use std::collections::BTreeMap;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// How far a span is followed from the instant that asked for it: a batch of minute bars covers weeks.
const REACH_DAYS: i64 = 32;

/// Instants with one offset from UTC, all in microseconds, `end` exclusive.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: i64,
    end: i64,
    offset: i64,
}

/// The offsets met so far. The usual row falls into the span of the row before.
#[derive(Debug)]
pub(super) struct OffsetCache {
    zone: Tz,
    current: Span,
    known: BTreeMap<i64, Span>,
}

impl OffsetCache {
    pub(super) fn new(zone: Tz) -> Self {
        Self { zone, current: Span { start: 0, end: 0, offset: 0 }, known: BTreeMap::new() }
    }

    /// Wall-clock time as microseconds since 1970-01-01T00:00 there; `None` outside the calendar of chrono, some
    /// 262,000 years around year 0.
    pub(super) fn local(&mut self, instant: i64) -> Option<i64> {
        if instant < self.current.start || instant >= self.current.end {
            self.current = self.span_at(instant)?;
        }
        Some(instant + self.current.offset)
    }

    fn span_at(&mut self, instant: i64) -> Option<Span> {
        let before = self.known.range(..=instant).next_back();
        if let Some((_, span)) = before
            && instant < span.end
        {
            return Some(*span);
        }
        let span = self.explore(instant.div_euclid(MICROS_PER_SECOND))?;
        self.known.insert(span.start, span);
        Some(span)
    }

    /// Looks at midnights (UTC) to both sides, and for the second of a change within the day that has one. No zone
    /// changes and changes back within a day.
    fn explore(&self, second: i64) -> Option<Span> {
        let offset = self.offset(second)?;
        let midnight = second - second.rem_euclid(SECONDS_PER_DAY);
        let later = (1..=REACH_DAYS).map(|days| midnight + days * SECONDS_PER_DAY);
        let earlier = (0..REACH_DAYS).map(|days| midnight - days * SECONDS_PER_DAY);
        let (first, last) = (self.follow(second, offset, earlier), self.follow(second, offset, later));
        Some(Span {
            start: first * MICROS_PER_SECOND,
            end: (last + 1) * MICROS_PER_SECOND,
            offset: offset * MICROS_PER_SECOND,
        })
    }

    /// The farthest second in the direction of `probes` that still has the offset.
    fn follow(&self, from: i64, offset: i64, probes: impl Iterator<Item = i64>) -> i64 {
        let mut inside = from;
        for probe in probes {
            if self.offset(probe) == Some(offset) {
                inside = probe;
                continue;
            }
            let mut outside = probe;
            while (outside - inside).abs() > 1 {
                let middle = inside + (outside - inside) / 2;
                if self.offset(middle) == Some(offset) {
                    inside = middle;
                } else {
                    outside = middle;
                }
            }
            break;
        }
        inside
    }

    /// Seconds ahead of UTC at a second since 1970.
    fn offset(&self, second: i64) -> Option<i64> {
        let instant = DateTime::from_timestamp(second, 0)?;
        let offset = self.zone.offset_from_utc_datetime(&instant.naive_utc());
        Some(i64::from(offset.fix().local_minus_utc()))
    }
}
