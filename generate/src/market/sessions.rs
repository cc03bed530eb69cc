//! Sessions of the New York Stock Exchange by its rules since 2010.
//!
//! Source: nyse.com, "Holidays & Trading Hours", and rule 7.2 of the exchange. Kept apart from the project's own SQL so that one can check the
//! other. Days on which the exchange was closed for another reason, such as 2012-10-29, are listed.

use chrono::{Datelike as _, Days, NaiveDate, Weekday};

/// Minutes since midnight of a full close, 16:00, and of an early one, 13:00.
const CLOSE: i64 = 16 * 60;
const EARLY: i64 = 13 * 60;

/// Closed by proclamation: hurricane Sandy, and days of mourning for presidents.
const CLOSED: [(i32, u32, u32); 4] = [(2012, 10, 29), (2012, 10, 30), (2018, 12, 5), (2025, 1, 9)];

pub(super) fn is_session(day: NaiveDate) -> bool {
    !is_weekend(day) && !is_holiday(day) && !CLOSED.contains(&(day.year(), day.month(), day.day()))
}

/// Minutes since midnight in New York at which a session closes; none without a session.
pub(super) fn closing_minutes(day: NaiveDate) -> Option<i64> {
    if !is_session(day) {
        return None;
    }
    let year = day.year();
    let after_thanksgiving = nth(year, 11, Weekday::Thu, 4).and_then(|day| day.succ_opt());
    let is_eve = |month, date| (day.month(), day.day()) == (month, date);
    // The day before Independence Day, unless that is observed on it.
    let is_july = is_eve(7, 3);
    let is_early = Some(day) == after_thanksgiving || is_eve(12, 24) || is_july;
    Some(if is_early { EARLY } else { CLOSE })
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

fn is_holiday(day: NaiveDate) -> bool {
    let year = day.year();
    let good_friday = easter(year).and_then(|easter| easter.checked_sub_days(Days::new(2)));
    let mondays = [
        nth(year, 1, Weekday::Mon, 3),
        nth(year, 2, Weekday::Mon, 3),
        nth(year, 9, Weekday::Mon, 1),
        last_monday_of_may(year),
    ];
    let moved = [
        // A new year's day on a Saturday is not observed: the year ends on the Friday before.
        NaiveDate::from_ymd_opt(year, 1, 1).filter(|day| day.weekday() != Weekday::Sat).and_then(observed),
        NaiveDate::from_ymd_opt(year, 6, 19).filter(|_| year >= 2022).and_then(observed),
        NaiveDate::from_ymd_opt(year, 7, 4).and_then(observed),
        NaiveDate::from_ymd_opt(year, 12, 25).and_then(observed),
    ];
    let thanksgiving = nth(year, 11, Weekday::Thu, 4);
    [good_friday, thanksgiving].into_iter().chain(mondays).chain(moved).flatten().any(|holiday| holiday == day)
}

/// A holiday on a Saturday is observed on Friday, one on a Sunday on Monday.
fn observed(day: NaiveDate) -> Option<NaiveDate> {
    match day.weekday() {
        Weekday::Sat => day.pred_opt(),
        Weekday::Sun => day.succ_opt(),
        _ => Some(day),
    }
}

fn nth(year: i32, month: u32, weekday: Weekday, number: u8) -> Option<NaiveDate> {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, number)
}

fn last_monday_of_may(year: i32) -> Option<NaiveDate> {
    nth(year, 5, Weekday::Mon, 5).or_else(|| nth(year, 5, Weekday::Mon, 4))
}

/// Easter Sunday of the Gregorian calendar, by the algorithm of Meeus, Jones and Butcher.
fn easter(year: i32) -> Option<NaiveDate> {
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every day of 16 years against exchange_calendars.
    #[test]
    fn sessions_and_closes_are_those_of_exchange_calendars() {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
        let folder = std::env::var("PULSE_SHARED_DATA").unwrap_or_else(|_| default.to_owned());
        let path = format!("{folder}/calendar/xnys_sessions_1998_2026.csv");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}; set PULSE_SHARED_DATA"));
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name: &str| head.iter().position(|column| *column == name).unwrap();
        let (session, early) = (column("session"), column("early_close"));
        let known: std::collections::BTreeMap<NaiveDate, bool> = lines
            .map(|line| line.split(',').collect::<Vec<_>>())
            .map(|cells| (cells[session].parse().unwrap(), cells[early] == "1"))
            .collect();
        let end: NaiveDate = "2026-12-31".parse().unwrap();
        let start: NaiveDate = "2010-01-04".parse().unwrap();
        let wrong: Vec<_> = start
            .iter_days()
            .take_while(|day| *day <= end)
            .filter(|day| closing_minutes(*day).map(|minutes| minutes == EARLY) != known.get(day).copied())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
