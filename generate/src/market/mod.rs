//! One made-up market that every provider serves: the bars of a symbol and session depend on the seed and on their names alone, so that any of
//! them can be asked for at any time, in any order.

mod sessions;

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::America::New_York;
use chrono_tz::Tz;

use crate::random::{Purpose, RandomStream};
use sessions::{closing_minutes, is_session};

/// Minutes from midnight to the open: 09:30.
const OPEN: i64 = 9 * 60 + 30;
/// First day of the market.
const FIRST: (i32, u32, u32) = (2010, 1, 4);
/// Cents of the cheapest and the dearest symbol, before splits.
const CHEAPEST: f64 = 1_000.0;
const DEAREST: f64 = 40_000.0;

/// A market with a seed.
#[derive(Debug, Clone, Copy)]
pub struct Market {
    seed: u64,
}

/// The trades of one minute or one session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Start of the minute; of a session, its open.
    pub start: DateTime<Utc>,
    /// In dollars, to the cent.
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    /// In shares.
    pub volume: u64,
}

impl Bar {
    /// In New York, where providers name sessions and stamps.
    pub fn wall_clock(&self) -> DateTime<Tz> {
        self.start.with_timezone(&New_York)
    }
}

/// How the price of a symbol moves.
struct Character {
    /// Cents, around which the price moves.
    base: f64,
    /// Where its waves are at the first day.
    phases: [f64; 3],
    /// Shares of a session.
    volume: f64,
    /// The day of a split, and the number of shares that one becomes.
    split: Option<(NaiveDate, f64)>,
    /// Dollars of each dividend; none where it pays none.
    dividend: Option<f64>,
}

/// Sessions of each wave of a price, and its height as a share of the price.
const WAVES: [(f64, f64); 3] = [(620.0, 0.3), (131.0, 0.12), (17.0, 0.03)];

impl Market {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Bars of the minutes of a session, the oldest first; none without a session.
    pub fn minutes(&self, symbol: &str, day: NaiveDate) -> Vec<Bar> {
        let (Some(minutes), Some(midnight)) = (closing_minutes(day), midnight(day)) else { return Vec::new() };
        if day < first() {
            return Vec::new();
        }
        let count = minutes - OPEN;
        let character = self.character(symbol);
        let (from, to) =
            (self.level(&character, symbol, day.pred_opt().unwrap_or(day)), self.level(&character, symbol, day));
        let shares = character.shares(day);
        let mut random = RandomStream::new(self.seed, &format!("{symbol} {day}"), Purpose::Prices);
        let steps: Vec<f64> = (0..count).map(|_| random.bell()).collect();
        let end: f64 = steps.iter().sum();
        let mut walked = 0.0;
        let mut last = from;
        let mut bars = Vec::new();
        for (minute, step) in (0..).zip(&steps) {
            walked += step;
            let done = (minute + 1) as f64 / count as f64;
            // A walk that ends at the close, whatever its steps add up to.
            let close = from + (to - from) * done + (walked - end * done) * from * 0.0004;
            let open = last;
            last = close;
            let spread = from * 0.0003 * random.uniform();
            let volume = character.volume / count as f64 * (0.2 + 1.6 * random.uniform());
            let cents = |price: f64| (price / shares).round().max(1.0) / 100.0;
            bars.push(Bar {
                start: midnight + TimeDelta::minutes(OPEN + minute),
                open: cents(open),
                high: cents(open.max(close) + spread),
                low: cents(open.min(close) - spread),
                close: cents(close),
                volume: (volume * shares) as u64,
            });
        }
        bars
    }

    /// The bar of a session, made of its minutes.
    pub fn session(&self, symbol: &str, day: NaiveDate) -> Option<Bar> {
        let minutes = self.minutes(symbol, day);
        let (first, last) = (minutes.first()?, minutes.last()?);
        Some(Bar {
            high: minutes.iter().map(|bar| bar.high).fold(f64::MIN, f64::max),
            low: minutes.iter().map(|bar| bar.low).fold(f64::MAX, f64::min),
            close: last.close,
            volume: minutes.iter().map(|bar| bar.volume).sum(),
            ..*first
        })
    }

    /// Sessions from `start` to `end`, both included, that are over by `now`.
    pub fn days(&self, start: NaiveDate, end: NaiveDate, now: DateTime<Utc>) -> Vec<NaiveDate> {
        let is_over = |day: NaiveDate| {
            let close =
                midnight(day).zip(closing_minutes(day)).map(|(midnight, close)| midnight + TimeDelta::minutes(close));
            close.is_some_and(|close| close <= now)
        };
        let from = start.max(first());
        from.iter_days().take_while(|day| *day <= end).filter(|day| is_over(*day)).collect()
    }

    /// Days of splits, with the number of shares that one becomes, the oldest first.
    pub fn splits(&self, symbol: &str) -> Vec<(NaiveDate, f64)> {
        self.character(symbol).split.into_iter().collect()
    }

    /// Ex-dates of dividends up to a day, with dollars for each share of that day.
    pub fn dividends(&self, symbol: &str, until: NaiveDate) -> BTreeMap<NaiveDate, f64> {
        let character = self.character(symbol);
        let Some(dollars) = character.dividend else { return BTreeMap::new() };
        let mut dividends = BTreeMap::new();
        for year in first().year()..=until.year() {
            for month in [2, 5, 8, 11] {
                let day = NaiveDate::from_ymd_opt(year, month, 10)
                    .and_then(|tenth| tenth.iter_days().find(|day| is_session(*day)));
                if let Some(day) = day.filter(|day| *day <= until) {
                    dividends.insert(day, (dollars / character.shares(day) * 10_000.0).round() / 10_000.0);
                }
            }
        }
        dividends
    }

    fn character(&self, symbol: &str) -> Character {
        let mut random = RandomStream::new(self.seed, symbol, Purpose::Symbol);
        let base = CHEAPEST + (DEAREST - CHEAPEST) * random.uniform() * random.uniform();
        let phases = [random.uniform(), random.uniform(), random.uniform()];
        let volume = 400_000.0 + 9_000_000.0 * random.uniform() * random.uniform();
        let split_day = NaiveDate::from_ymd_opt(2019 + random.below(5) as i32, 1 + random.below(12), 12);
        let split_day = split_day.and_then(|day| day.iter_days().find(|day| is_session(*day)));
        let ratio = [2.0, 3.0, 4.0, 10.0].get(random.below(4) as usize).copied().unwrap_or(2.0);
        let split = split_day.filter(|_| random.chance(0.4)).map(|day| (day, ratio));
        let dividend = random.chance(0.6).then(|| (base * (0.003 + 0.006 * random.uniform())).round() / 100.0);
        Character { base, phases, volume, split, dividend }
    }

    /// Cents at the end of a day, in shares of the first day. Nothing happens on days without a session.
    fn level(&self, character: &Character, symbol: &str, day: NaiveDate) -> f64 {
        let day = (0..30)
            .filter_map(|back| day.checked_sub_days(chrono::Days::new(back)))
            .find(|day| is_session(*day))
            .unwrap_or(day);
        let age = (day - first()).num_days() as f64 * (252.0 / 365.25);
        let waves = WAVES.iter().zip(character.phases);
        let moved: f64 = waves.map(|((length, height), phase)| height * triangle(age / length + phase)).sum();
        let noise = RandomStream::new(self.seed, &format!("{symbol} {day} level"), Purpose::Prices).bell() * 0.006;
        character.base * (1.0 + moved + noise)
    }
}

impl Character {
    /// Shares of a day that one share of the first day has become.
    fn shares(&self, day: NaiveDate) -> f64 {
        self.split.filter(|(split, _)| *split <= day).map_or(1.0, |(_, ratio)| ratio)
    }
}

/// A wave between -1 and 1 of length 1, without functions whose last bit differs between platforms.
fn triangle(at: f64) -> f64 {
    let part = at - at.floor();
    1.0 - 4.0 * (part - 0.5).abs()
}

fn first() -> NaiveDate {
    let (year, month, day) = FIRST;
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}

/// Midnight in New York; its clock is never changed then.
fn midnight(day: NaiveDate) -> Option<DateTime<Utc>> {
    New_York.from_local_datetime(&day.and_time(NaiveTime::MIN)).single().map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn bars_are_equal_however_often_they_are_asked_for() {
        let market = Market::new(7);
        assert_eq!(market.minutes("IBM", day("2024-03-01")), market.minutes("IBM", day("2024-03-01")));
        assert_ne!(market.minutes("IBM", day("2024-03-01")), Market::new(8).minutes("IBM", day("2024-03-01")));
        assert_ne!(market.minutes("IBM", day("2024-03-01")), market.minutes("MSFT", day("2024-03-01")));
    }

    #[test]
    fn a_session_has_its_minutes_in_order() {
        let market = Market::new(7);
        for (date, count, open) in [
            ("2024-03-01", 390, "2024-03-01T14:30:00Z"),
            ("2024-07-03", 210, "2024-07-03T13:30:00Z"),
            ("2024-07-04", 0, ""),
            ("2009-12-31", 0, ""),
        ] {
            let bars = market.minutes("BRK.B", day(date));
            assert_eq!(bars.len(), count, "{date}");
            let Some(first) = bars.first() else { continue };
            assert_eq!(first.start, open.parse::<DateTime<Utc>>().unwrap());
            assert!(bars.windows(2).all(|pair| pair[1].start - pair[0].start == TimeDelta::minutes(1)));
            for bar in &bars {
                assert!(
                    bar.low > 0.0 && bar.low <= bar.open.min(bar.close) && bar.high >= bar.open.max(bar.close),
                    "{bar:?}"
                );
            }
            let session = market.session("BRK.B", day(date)).unwrap();
            assert_eq!((session.open, session.close), (first.open, bars.last().unwrap().close));
        }
    }

    #[test]
    fn a_split_divides_the_price_and_the_dividend() {
        let market = Market::new(7);
        let symbols = (0..200).map(|number| format!("S{number}"));
        let split = symbols.filter(|symbol| {
            !market.splits(symbol).is_empty() && !market.dividends(symbol, day("2024-12-31")).is_empty()
        });
        let symbol = split.into_iter().next().unwrap();
        let (date, ratio) = market.splits(&symbol)[0];
        let before = market.days(
            date - chrono::Days::new(8),
            date - chrono::Days::new(1),
            "2026-01-01T00:00:00Z".parse().unwrap(),
        );
        let (before, after) =
            (market.session(&symbol, *before.last().unwrap()).unwrap(), market.session(&symbol, date).unwrap());
        let fall = before.close / after.open;
        assert!((fall / ratio - 1.0).abs() < 0.02, "{fall} {ratio}");
        let dividends = market.dividends(&symbol, day("2024-12-31"));
        let (early, late) = (dividends.iter().next().unwrap().1, dividends.iter().next_back().unwrap().1);
        assert!((early / late / ratio - 1.0).abs() < 0.02, "{early} {late}");
    }

    #[test]
    fn a_session_is_served_once_it_is_over() {
        let market = Market::new(7);
        let days = |now: &str| market.days(day("2024-02-29"), day("2024-03-04"), now.parse().unwrap()).len();
        assert_eq!(days("2024-03-04T20:59:59Z"), 2);
        assert_eq!(days("2024-03-04T21:00:00Z"), 3);
    }
}
