//! An independent reader of generated files: it knows the feeds' contracts and the calendar, not the generator.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use crate::{Defect, Planted};

/// What is in files.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) planted: Planted,
    pub(super) rows: u64,
    pub(super) rejected: u64,
    pub(super) quarantined: u64,
    pub(super) repeated: u64,
    /// Bars inside their session, each once.
    pub(super) regular: u64,
}

impl Found {
    pub(super) fn add(&mut self, other: Self) {
        for (defect, count) in other.planted {
            *self.planted.entry(defect).or_default() += count;
        }
        self.rows += other.rows;
        self.rejected += other.rejected;
        self.quarantined += other.quarantined;
        self.repeated += other.repeated;
        self.regular += other.regular;
    }

    fn count(&mut self, defect: Defect) {
        *self.planted.entry(defect).or_default() += 1;
    }
}

pub(super) fn recount(path: &str, text: &str) -> Found {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let mut reader = Reader { path, names, found: Found::default(), seen: BTreeSet::new(), bars: BTreeMap::new() };
    if reader.names[0] == "{" {
        reader.found.count(Defect::BrokenHeader);
    }
    for row in text.lines().skip(1) {
        reader.found.rows += 1;
        if let Some(bar) = reader.bronze(row) {
            reader.silver(bar);
        }
    }
    count_missing(path, &reader.seen, &mut reader.found);
    reader.found
}

struct Reader<'a> {
    path: &'a str,
    names: Vec<&'a str>,
    found: Found,
    /// Stamps that rows tell of, good or not.
    seen: BTreeSet<NaiveDateTime>,
    bars: BTreeMap<NaiveDateTime, Bar<'a>>,
}

#[derive(Debug, Clone)]
struct Bar<'a> {
    row: &'a str,
    stamp: NaiveDateTime,
    /// Open, high, low, close.
    prices: [Option<f64>; 4],
    high_text: String,
    volume: f64,
}

impl<'a> Reader<'a> {
    fn is_daily(&self) -> bool {
        self.path.starts_with("daily/")
    }

    /// The row, unless it must be rejected.
    fn bronze(&mut self, row: &'a str) -> Option<Bar<'a>> {
        let cells = cells(row);
        if cells.iter().any(|cell| cell.contains("Error Message")) {
            assert_eq!(cells.len(), self.names.len(), "{row}");
            return self.reject(Defect::ErrorRow);
        }
        // Stamps of short and long rows can still be read, as everything before the volume is in its place.
        let place = |name: &str| self.names.iter().position(|other| *other == name);
        let stamp = stamp(&cells[["timestamp", "datetime", "date"].into_iter().find_map(place).unwrap()]);
        let cell = |name: &str| cells.get(place(name).unwrap()).cloned().unwrap_or_default();
        let [open, high, low, close, volume] = ["open", "high", "low", "close", "volume"].map(cell);
        if self.is_daily() && cells.len() == self.names.len() {
            assert_eq!(self.path, format!("daily/sp500_5yr/{}_data.csv", cell("Name")));
        }
        self.seen.insert(stamp);
        match cells.len().cmp(&self.names.len()) {
            Ordering::Less => return self.reject(Defect::MissingField),
            Ordering::Greater => return self.reject(Defect::ExtraField),
            Ordering::Equal => {}
        }
        match (number(&open), number(&high), number(&low), number(&close), number(&volume)) {
            (Ok(open), Ok(top), Ok(low), Ok(close), Ok(Some(volume))) => {
                Some(Bar { row, stamp, prices: [open, top, low, close], high_text: high, volume })
            }
            _ => self.reject(Defect::TextInNumber),
        }
    }

    fn silver(&mut self, bar: Bar<'a>) {
        let [Some(open), Some(high), Some(low), Some(close)] = bar.prices else {
            return self.quarantine(Defect::NullCell);
        };
        assert!(low > 0.0 && bar.volume >= 0.0 && bar.volume.fract() == 0.0, "{}", bar.row);
        if high < open.max(close).max(low) - 1e-9 || low > open.min(close).min(high) + 1e-9 {
            return self.quarantine(Defect::OhlcViolation);
        }
        let Some(close_minute) = close_minute(bar.stamp.date()) else {
            return self.quarantine(Defect::ClosedDayBar);
        };
        if let Some(first) = self.bars.insert(bar.stamp, bar.clone()) {
            self.found.repeated += 1;
            if first.row == bar.row {
                return self.found.count(Defect::Duplicate);
            }
            for (later, earlier) in bar.prices.iter().flatten().zip(first.prices.iter().flatten()) {
                assert!((later - earlier - 4e-5).abs() < 1e-9, "{} {}", first.row, bar.row);
            }
            return self.found.count(Defect::NearDuplicate);
        }
        if bar.high_text.len() > 14 {
            assert!((high - open.max(close)).abs() < 1e-9, "{}", bar.row);
            self.found.count(Defect::BinaryNoise);
        }
        let minute = bar.stamp.hour() * 60 + bar.stamp.minute();
        if bar.volume == 0.0 {
            assert_eq!((open, low, close), (high, high, high), "{}", bar.row);
            let is_phantom = close_minute == 13 * 60 && [13 * 60 + 11, 15 * 60 + 31].contains(&minute);
            self.found.count(if is_phantom { Defect::PhantomBar } else { Defect::ZeroVolume });
        }
        let first_minute = 9 * 60 + 31;
        self.found.regular += u64::from(self.is_daily() || (first_minute..=close_minute).contains(&minute));
    }

    fn reject(&mut self, defect: Defect) -> Option<Bar<'a>> {
        self.found.rejected += 1;
        self.found.count(defect);
        None
    }

    fn quarantine(&mut self, defect: Defect) {
        self.found.quarantined += 1;
        self.found.count(defect);
    }
}

/// Minutes of sessions (in the daily feed sessions) that no row tells of.
fn count_missing(path: &str, seen: &BTreeSet<NaiveDateTime>, found: &mut Found) {
    let span = |first: (i32, u32, u32), last: (i32, u32, u32)| {
        let day = |(year, month, day)| NaiveDate::from_ymd_opt(year, month, day).unwrap();
        let last = day(last);
        day(first).iter_days().take_while(move |day| *day <= last).filter(|day| close_minute(*day).is_some())
    };
    let missing: u64 = if path.starts_with("daily/") {
        let days = span((2016, 11, 29), (2018, 2, 7));
        days.filter(|day| !seen.contains(&day.and_hms_opt(0, 0, 0).unwrap())).count() as u64
    } else {
        let days: Vec<NaiveDate> = match path.contains("2019") {
            true => span((2019, 2, 11), (2019, 2, 15)).collect(),
            false => {
                let first = seen.iter().map(NaiveDateTime::date).find(|day| close_minute(*day).is_some()).unwrap();
                span((first.year(), first.month(), first.day()), (2021, 1, 8)).collect()
            }
        };
        let stamps = days.into_iter().flat_map(|day| {
            (571..=close_minute(day).unwrap()).map(move |minute| day.and_hms_opt(minute / 60, minute % 60, 0).unwrap())
        });
        stamps.filter(|stamp| !seen.contains(stamp)).count() as u64
    };
    if missing > 0 {
        found.planted.insert(Defect::MissingBar, missing);
    }
}

/// Cells of a row; a quoted cell keeps its quotes.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in row.chars() {
        quoted ^= character == '"';
        match cells.last_mut() {
            Some(cell) if quoted || character != ',' => cell.push(character),
            _ => cells.push(String::new()),
        }
    }
    cells
}

fn number(text: &str) -> Result<Option<f64>, std::num::ParseFloatError> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn stamp(text: &str) -> NaiveDateTime {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_hms_opt(0, 0, 0).unwrap());
    date.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")).unwrap()
}

/// When the session of a day ends, if it has one. Holidays are those between 2016-11-29 and 2018-02-07 and those
/// between 2020-10-01 and 2021-01-08.
fn close_minute(day: NaiveDate) -> Option<u32> {
    let holidays = "2016-12-26 2017-01-02 2017-01-16 2017-02-20 2017-04-14 2017-05-29 2017-07-04 2017-09-04 2017-11-23 \
                    2017-12-25 2018-01-01 2018-01-15 2020-11-26 2020-12-25 2021-01-01";
    let text = day.to_string();
    if day.weekday().num_days_from_monday() >= 5 || holidays.contains(&text) {
        return None;
    }
    Some(if text == "2020-11-27" || text == "2020-12-24" { 13 * 60 } else { 16 * 60 })
}
