//! Dates and timestamps: text to days and to microseconds since 1970 in UTC.

mod reader;

use chrono::{MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use pulse_core::sources::Ambiguous;
use pulse_core::{Error, Result};

pub(super) use reader::{StampReader, date_pattern, read_date};

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
const DAY_MICROS: i64 = DAY_SECONDS * MICROS;
/// Days whose offset is remembered: more than a year of daily stamps, 8 KiB.
const REMEMBERED_DAYS: usize = 512;
/// 0001-01-01 and 10000-01-01 as days since 1970: beyond them other readers of the table give up.
const FIRST_DAY: i64 = -719_162;
const END_DAY: i64 = 2_932_897;

/// Why a text is not a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StampError {
    /// Not of a form that is read.
    Malformed,
    /// The clock skipped over it.
    Gap,
    /// The clock showed it twice, and such stamps are not wanted.
    Repeated,
    /// Before year 1 or after year 9999, in UTC.
    OutOfRange,
    /// Finer than a microsecond.
    Inexact,
}

/// Reads wall-clock stamps of one zone.
#[derive(Debug, Clone)]
pub(super) struct Stamps {
    zone: Tz,
    ambiguous: Ambiguous,
    /// Whether a text may say its offset.
    takes_offset: bool,
    /// Whether what is finer than a microsecond is rounded.
    rounds: bool,
    /// Microseconds from the first to the second occurrence of the stamp that was read last, where order has to say which it is. Its
    /// first one was returned.
    repeat: Option<i64>,
    /// The last date's text and what it means: rows of one day usually follow one another.
    last_date: [u8; 10],
    last_day: Day,
    days: Vec<Day>,
}

/// What is known of one calendar day of the zone.
#[derive(Debug, Clone, Copy)]
struct Day {
    /// Days since 1970; `i64::MIN` for none.
    number: i64,
    /// UTC instant of its midnight in microseconds, when the zone's offset is the same all day.
    start: Option<i64>,
}

const NO_DAY: Day = Day { number: i64::MIN, start: None };

impl Stamps {
    pub(super) fn new(zone: Tz, ambiguous: Ambiguous) -> Self {
        let days = vec![NO_DAY; REMEMBERED_DAYS];
        Self {
            zone,
            ambiguous,
            takes_offset: true,
            rounds: false,
            repeat: None,
            last_date: [0; 10],
            last_day: NO_DAY,
            days,
        }
    }

    /// Stamps that are wall clock of no zone: microseconds since 1970-01-01 00:00 of that clock.
    pub(super) fn of_no_zone() -> Self {
        Self { takes_offset: false, ..Self::new(Tz::UTC, Ambiguous::Reject) }
    }

    pub(super) fn rounded(mut self) -> Self {
        self.rounds = true;
        self
    }

    /// Microseconds, with `nanos` below one microsecond.
    ///
    /// # Errors
    /// `Inexact` when these are not zero and must not be rounded.
    fn micros(&self, micros: i64, nanos: u32) -> Result<i64, StampError> {
        match nanos {
            0 => Ok(micros),
            _ if self.rounds => Ok(micros.saturating_add(i64::from(nanos >= 500))),
            _ => Err(StampError::Inexact),
        }
    }

    /// Whether the order of rows may have to say what a stamp means.
    pub(super) fn go_by_order(&self) -> bool {
        self.zone != Tz::UTC && matches!(self.ambiguous, Ambiguous::ByOrder | Ambiguous::ByStrictOrder)
    }

    /// Microseconds from the first to the second occurrence, when the last stamp occurs twice and only its first was returned.
    #[inline]
    pub(super) fn take_repeat(&mut self) -> Option<i64> {
        self.repeat.take()
    }

    /// # Errors
    /// `Invalid` when there is no such zone.
    pub(super) fn zone(name: &str) -> Result<Tz> {
        name.parse().map_err(|_| {
            Error::invalid(format!("`{name}` is not a time zone: write an IANA name such as `America/New_York`"))
        })
    }

    /// Reads `YYYY-MM-DD HH:MM[:SS[.fraction]]`, with `T` for the space, and with `Z` or an offset behind it.
    #[inline]
    pub(super) fn parse(&mut self, text: &[u8]) -> Result<i64, StampError> {
        match text.first_chunk::<19>() {
            Some(head) if text.len() == 19 => match self.parse_plain(head) {
                Err(StampError::Malformed) => self.parse_any(text),
                parsed => parsed,
            },
            _ => self.parse_any(text),
        }
    }

    /// `YYYY-MM-DD HH:MM:SS`, the form of nearly every row.
    #[inline]
    pub(super) fn parse_plain(&mut self, text: &[u8; 19]) -> Result<i64, StampError> {
        let [y0, y1, y2, y3, s0, m0, m1, s1, d0, d1, gap, h0, h1, c0, n0, n1, c1, e0, e1] = *text;
        let time = clock(two(h0, h1), two(n0, n1), two(e0, e1)).ok_or(StampError::Malformed)?;
        if c0 != b':' || c1 != b':' || (gap != b' ' && gap != b'T') {
            return Err(StampError::Malformed);
        }
        let date = [y0, y1, y2, y3, s0, m0, m1, s1, d0, d1];
        if date != self.last_date {
            self.last_day = self.day(parse_date(&date).ok_or(StampError::Malformed)?);
            self.last_date = date;
        }
        self.instant(self.last_day, time * MICROS)
    }

    /// UTC instant of a wall clock, in microseconds since 1970-01-01 00:00 of that clock.
    pub(super) fn at_wall_clock(&mut self, micros: i64) -> Result<i64, StampError> {
        let number = micros.div_euclid(DAY_MICROS);
        if !(FIRST_DAY..END_DAY).contains(&number) {
            return Err(StampError::OutOfRange);
        }
        let day = self.day(number);
        self.instant(day, micros.rem_euclid(DAY_MICROS))
    }

    /// `micros` moved back by `seconds`, if it stays within the years that tables can hold.
    #[inline]
    pub(super) fn shifted(micros: i64, seconds: u32) -> Result<i64, StampError> {
        let moved = micros.saturating_sub(i64::from(seconds) * MICROS);
        if (FIRST_DAY * DAY_MICROS..END_DAY * DAY_MICROS).contains(&moved) {
            Ok(moved)
        } else {
            Err(StampError::OutOfRange)
        }
    }

    pub(super) fn zone_name(&self) -> &'static str {
        self.zone.name()
    }

    /// What the zone's clock shows at an instant, for a person's eyes.
    pub(super) fn wall_clock(&self, micros: i64) -> String {
        let instant = chrono::DateTime::from_timestamp_micros(micros);
        instant.map(|at| at.with_timezone(&self.zone).format("%F %T%.f").to_string()).unwrap_or_default()
    }

    #[inline]
    fn instant(&mut self, day: Day, time_micros: i64) -> Result<i64, StampError> {
        match day.start {
            Some(start) => Ok(start + time_micros),
            None => self.instant_on_changing_day(day.number, time_micros),
        }
    }

    #[cold]
    fn instant_on_changing_day(&mut self, day: i64, time_micros: i64) -> Result<i64, StampError> {
        let wall = day * DAY_SECONDS + time_micros / MICROS;
        let offset = match self.offset(wall) {
            MappedLocalTime::Single(offset) => offset,
            MappedLocalTime::Ambiguous(one, other) => match self.ambiguous {
                Ambiguous::Earlier => one.max(other),
                Ambiguous::Later => one.min(other),
                Ambiguous::Reject => return Err(StampError::Repeated),
                Ambiguous::ByOrder | Ambiguous::ByStrictOrder => {
                    self.repeat = Some((one - other).abs() * MICROS);
                    one.max(other)
                }
            },
            MappedLocalTime::None => return Err(StampError::Gap),
        };
        Ok((wall - offset) * MICROS + time_micros % MICROS)
    }

    fn day(&mut self, number: i64) -> Day {
        let slot = number.rem_euclid(REMEMBERED_DAYS as i64) as usize;
        if let Some(known) = self.days.get(slot).filter(|known| known.number == number) {
            return *known;
        }
        let day = Day { number, start: self.start_of(number) };
        if let Some(known) = self.days.get_mut(slot) {
            *known = day;
        }
        day
    }

    /// A zone never changes its clock twice within six hours, so five looks see every change.
    fn start_of(&self, day: i64) -> Option<i64> {
        let midnight = day * DAY_SECONDS;
        let offset = self.offset(midnight).single()?;
        let constant = [6, 12, 18, 24].iter().all(|hour| self.offset(midnight + hour * 3600).single() == Some(offset));
        constant.then_some((midnight - offset) * MICROS)
    }

    /// Seconds east of Greenwich at a wall clock given in seconds since 1970 of that clock.
    fn offset(&self, wall: i64) -> MappedLocalTime<i64> {
        match wall_clock(wall) {
            Some(wall) => {
                self.zone.offset_from_local_datetime(&wall).map(|offset| i64::from(offset.fix().local_minus_utc()))
            }
            None => MappedLocalTime::None,
        }
    }

    #[cold]
    fn parse_any(&mut self, text: &[u8]) -> Result<i64, StampError> {
        let (date, rest) = text.split_first_chunk::<10>().ok_or(StampError::Malformed)?;
        let day = parse_date(date).ok_or(StampError::Malformed)?;
        let rest = match rest {
            [b' ' | b'T', rest @ ..] => rest,
            _ => return Err(StampError::Malformed),
        };
        let (time, nanos, rest) = parse_time(rest).ok_or(StampError::Malformed)?;
        let wall = self.micros(day * DAY_MICROS + time, nanos)?;
        match rest {
            [] => self.at_wall_clock(wall),
            _ if !self.takes_offset => Err(StampError::Malformed),
            offset => {
                let offset = parse_offset(offset).ok_or(StampError::Malformed)?;
                Ok(wall - offset * MICROS)
            }
        }
    }
}

fn wall_clock(seconds: i64) -> Option<NaiveDateTime> {
    chrono::DateTime::from_timestamp(seconds, 0).map(|instant| instant.naive_utc())
}

/// Days since 1970 of `YYYY-MM-DD`, years 1 to 9999.
pub(super) fn parse_date(text: &[u8; 10]) -> Option<i64> {
    let [y0, y1, y2, y3, s0, m0, m1, s1, d0, d1] = *text;
    if s0 != b'-' || s1 != b'-' {
        return None;
    }
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    let date = NaiveDate::from_ymd_opt(year as i32, two(m0, m1)? as u32, two(d0, d1)? as u32)?;
    (year >= 1).then(|| i64::from(date.to_epoch_days()))
}

/// Microseconds since midnight of `HH:MM[:SS[.fraction]]`, nanoseconds beyond them, and the text behind it.
fn parse_time(text: &[u8]) -> Option<(i64, u32, &[u8])> {
    let ([h0, h1, b':', n0, n1], mut rest) = text.split_first_chunk::<5>()? else {
        return None;
    };
    let mut second = 0;
    let (mut micros, mut nanos) = (0, 0);
    if let [b':', e0, e1, after @ ..] = rest {
        second = two(*e0, *e1)?;
        rest = after;
        if let [b'.', digits @ ..] = rest {
            (micros, nanos, rest) = parse_fraction(digits)?;
        }
    }
    let time = clock(two(*h0, *h1), two(*n0, *n1), Some(second))?;
    Some((time * MICROS + micros, nanos, rest))
}

/// Microseconds and nanoseconds of up to nine digits.
fn parse_fraction(text: &[u8]) -> Option<(i64, u32, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (digits, rest) = text.split_at_checked(length)?;
    let nanos = (0..9).fold(0, |sum, at| sum * 10 + digits.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    Some((i64::from(nanos / 1000), nanos % 1000, rest))
}

/// Seconds east of Greenwich of `Z`, `+HH`, `+HHMM` or `+HH:MM`, after at most one space.
fn parse_offset(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, hours, minutes) = match *text {
        [b'Z'] => return Some(0),
        [sign, h0, h1] => (sign, two(h0, h1)?, 0),
        [sign, h0, h1, n0, n1] | [sign, h0, h1, b':', n0, n1] => (sign, two(h0, h1)?, two(n0, n1)?),
        _ => return None,
    };
    if hours > 18 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

#[inline]
fn clock(hour: Option<i64>, minute: Option<i64>, second: Option<i64>) -> Option<i64> {
    match (hour?, minute?, second?) {
        (hour @ 0..=23, minute @ 0..=59, second @ 0..=59) => Some(hour * 3600 + minute * 60 + second),
        _ => None,
    }
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(i64::from(tens) * 10 + i64::from(ones))
}

#[cfg(test)]
mod tests;
