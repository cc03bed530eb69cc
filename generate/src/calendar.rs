//! Sessions of the New York Stock Exchange in the spans that are generated.
//!
//! Source: the exchange's list of holidays and early closings (nyse.com, "Holidays & Trading Hours"), compared with the
//! calendar XNYS of exchange_calendars. Kept apart from the project's own SQL so that one can check the other.

use chrono::{Datelike, NaiveDate, Weekday};

/// Minutes since midnight in New York of a stamp that names the bar's end.
pub(super) type Minute = u32;

/// Stamp of the first bar of a session: 09:31.
pub(super) const FIRST: Minute = 9 * 60 + 31;
/// Stamp of the last bar of a full session: 16:00.
pub(super) const LAST: Minute = 16 * 60;
/// Stamp of the last bar before an early close: 13:00.
pub(super) const EARLY_LAST: Minute = 13 * 60;

const DAILY_SESSIONS: usize = 300;

/// One trading day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) date: NaiveDate,
    /// Stamp of the last regular bar.
    pub(super) last: Minute,
}

impl Session {
    pub(super) fn closes_early(&self) -> bool {
        self.last == EARLY_LAST
    }

    pub(super) fn is_regular(&self, minute: Minute) -> bool {
        (FIRST..=self.last).contains(&minute)
    }
}

/// 2020-01-02 to 2021-01-08.
pub(super) fn intraday() -> Vec<Session> {
    sessions((2020, 1, 1), (2021, 1, 8))
}

/// 2019-02-11 to 2019-02-15.
pub(super) fn week() -> Vec<Session> {
    sessions((2019, 2, 11), (2019, 2, 15))
}

/// The last sessions up to 2018-02-07.
pub(super) fn daily() -> Vec<Session> {
    let mut all = sessions((2013, 2, 8), (2018, 2, 7));
    all.drain(..all.len().saturating_sub(DAILY_SESSIONS));
    all
}

/// A day without a session between two sessions, rather a holiday than a Saturday.
pub(super) fn closed_day_between(older: NaiveDate, newer: NaiveDate) -> Option<NaiveDate> {
    let closed = || older.iter_days().skip(1).take_while(|day| *day < newer);
    closed().find(|day| !is_weekend(*day)).or_else(|| closed().next())
}

type Day = (i32, u32, u32);

fn sessions(first: Day, last: Day) -> Vec<Session> {
    let Some(start) = NaiveDate::from_ymd_opt(first.0, first.1, first.2) else { return Vec::new() };
    let days = start.iter_days().take_while(|day| key(*day) <= last);
    let open = days.filter(|day| !is_weekend(*day) && !CLOSED.contains(&key(*day)));
    open.map(|date| Session { date, last: if EARLY.contains(&key(date)) { EARLY_LAST } else { LAST } }).collect()
}

fn key(day: NaiveDate) -> Day {
    (day.year(), day.month(), day.day())
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

/// Early closings of the spans with 1-minute bars; a daily bar does not show them.
const EARLY: [Day; 2] = [(2020, 11, 27), (2020, 12, 24)];

/// Weekdays without a session, 2013-02-08 to 2018-02-07 and 2020-01-01 to 2021-01-08. The week of 2019 has none.
#[rustfmt::skip]
const CLOSED: [Day; 55] = [
    (2013, 2, 18), (2013, 3, 29), (2013, 5, 27), (2013, 7, 4), (2013, 9, 2), (2013, 11, 28), (2013, 12, 25),
    (2014, 1, 1), (2014, 1, 20), (2014, 2, 17), (2014, 4, 18), (2014, 5, 26), (2014, 7, 4), (2014, 9, 1), (2014, 11, 27), (2014, 12, 25),
    (2015, 1, 1), (2015, 1, 19), (2015, 2, 16), (2015, 4, 3), (2015, 5, 25), (2015, 7, 3), (2015, 9, 7), (2015, 11, 26), (2015, 12, 25),
    (2016, 1, 1), (2016, 1, 18), (2016, 2, 15), (2016, 3, 25), (2016, 5, 30), (2016, 7, 4), (2016, 9, 5), (2016, 11, 24), (2016, 12, 26),
    (2017, 1, 2), (2017, 1, 16), (2017, 2, 20), (2017, 4, 14), (2017, 5, 29), (2017, 7, 4), (2017, 9, 4), (2017, 11, 23), (2017, 12, 25),
    (2018, 1, 1), (2018, 1, 15),
    (2020, 1, 1), (2020, 1, 20), (2020, 2, 17), (2020, 4, 10), (2020, 5, 25), (2020, 7, 3), (2020, 9, 7), (2020, 11, 26), (2020, 12, 25),
    (2021, 1, 1),
];
