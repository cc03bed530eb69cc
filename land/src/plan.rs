//! Which requests are missing, from what is wanted and what was answered.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::sources::ProviderRequest;

use crate::object::{Answered, Outcome, is_of, symbol_folder};
use crate::period::Period;

/// Answers without data after which a request is not sent again for [`ABSENT`].
const ABSENCES: usize = 2;
const ABSENT: TimeDelta = TimeDelta::days(30);

/// One request of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub symbol: Option<String>,
    pub period: Period,
}

/// What was answered to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its answer holds data and does not change any more.
    Final,
    /// Its answer holds data, which may change; it is asked for again later.
    Open,
    /// Its answer holds data and is old enough to be asked for again.
    Due,
    /// Nothing was answered, or not often enough to know that there are no data.
    Missing,
    /// The provider has no data, as far as its answers say.
    Absent,
}

impl Standing {
    /// Whether the request is to be sent.
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::Missing | Self::Due)
    }

    pub fn has_data(self) -> bool {
        matches!(self, Self::Final | Self::Open | Self::Due)
    }
}

/// When an answer is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) final_after: TimeDelta,
    pub(crate) refresh_after: TimeDelta,
}

impl Rules {
    pub(crate) fn of(request: &ProviderRequest) -> Self {
        Self {
            final_after: TimeDelta::hours(i64::from(request.final_hours)),
            refresh_after: TimeDelta::hours(i64::from(request.refresh_hours)),
        }
    }
}

/// Where a request stands, by its answers in any order.
pub(crate) fn standing(period: Period, answers: &[Answered], rules: Rules, now: DateTime<Utc>) -> Standing {
    let data = answers.iter().filter(|one| one.outcome == Outcome::Data).map(|one| one.at).max();
    let last = answers.iter().map(|one| one.at).max();
    let (Some(data), Some(last)) = (data, last) else {
        let Some(last) = last else { return Standing::Missing };
        return match answers.len() >= ABSENCES && now - last < ABSENT {
            true => Standing::Absent,
            false => Standing::Missing,
        };
    };
    let is_final = period.end().is_some_and(|end| data >= end + rules.final_after);
    match () {
        () if is_final => Standing::Final,
        () if now - last < rules.refresh_after => Standing::Open,
        () => Standing::Due,
    }
}

/// What was answered to the requests of one kind.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    by_folder: HashMap<String, Vec<(String, Answered)>>,
}

impl Answers {
    pub(crate) fn new(parsed: impl IntoIterator<Item = (String, String, Answered)>) -> Self {
        let mut answers = Self::default();
        for (symbol, period, answered) in parsed {
            answers.by_folder.entry(symbol).or_default().push((period, answered));
        }
        answers
    }

    pub(crate) fn of(&self, wanted: &Wanted) -> Vec<Answered> {
        let folder = self.by_folder.get(&symbol_folder(wanted.symbol.as_deref()));
        let of_period = folder.into_iter().flatten().filter(|(period, _)| is_of(wanted.period, period));
        of_period.map(|(_, answered)| *answered).collect()
    }
}

/// Requests of one landing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub symbols: Vec<Option<String>>,
    pub periods: Vec<Period>,
}

impl Order {
    /// The newest period first, and symbols in their order.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let mut periods = self.periods.clone();
        periods.sort_unstable_by(|a, b| b.cmp(a));
        periods
            .into_iter()
            .flat_map(|period| self.symbols.iter().map(move |symbol| Wanted { symbol: symbol.clone(), period }))
    }
}

/// All requests of an order, each with its standing, in the order in which they are sent.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub requests: Vec<(Wanted, Standing)>,
}

impl Plan {
    pub(crate) fn new(order: &Order, answers: &Answers, rules: Rules, now: DateTime<Utc>) -> Self {
        let with_standing = |wanted: Wanted| {
            let standing = standing(wanted.period, &answers.of(&wanted), rules, now);
            (wanted, standing)
        };
        Self { requests: order.wanted().map(with_standing).collect() }
    }

    /// Those to be sent.
    pub fn missing(&self) -> impl Iterator<Item = &Wanted> {
        self.requests.iter().filter(|(_, standing)| standing.is_wanted()).map(|(wanted, _)| wanted)
    }

    pub fn count(&self, of: impl Fn(Standing) -> bool) -> usize {
        self.requests.iter().filter(|(_, standing)| of(*standing)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { final_after: TimeDelta::hours(24), refresh_after: TimeDelta::hours(12) };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn day(text: &str) -> Period {
        Period::Day(text.parse().unwrap())
    }

    fn said(answers: &[(&str, Outcome)], now: &str) -> Standing {
        let answers: Vec<_> =
            answers.iter().map(|(time, outcome)| Answered { at: at(time), outcome: *outcome }).collect();
        standing(day("2024-03-01"), &answers, RULES, at(now))
    }

    #[test]
    fn an_answer_is_final_once_its_period_was_over_for_long_enough() {
        use Outcome::Data;
        assert_eq!(said(&[], "2024-03-01T12:00:00Z"), Standing::Missing);
        let early = ("2024-03-01T12:00:00Z", Data);
        assert_eq!(said(&[early], "2024-03-01T23:59:59Z"), Standing::Open);
        assert_eq!(said(&[early], "2024-03-02T00:00:00Z"), Standing::Due);
        // 24 hours after the day's end in UTC.
        let late = ("2024-03-03T00:00:00Z", Data);
        assert_eq!(said(&[("2024-03-02T23:59:59Z", Data)], "2024-04-01T00:00:00Z"), Standing::Due);
        assert_eq!(said(&[early, late], "2034-01-01T00:00:00Z"), Standing::Final);
        assert_eq!(said(&[late, early], "2034-01-01T00:00:00Z"), Standing::Final);
    }

    #[test]
    fn two_answers_without_data_are_believed_for_a_month() {
        use Outcome::{Bad, Data, NoData};
        let first = ("2024-03-10T00:00:00Z", NoData);
        let second = ("2024-03-11T00:00:00Z", Bad);
        assert_eq!(said(&[first], "2024-03-10T00:00:01Z"), Standing::Missing);
        assert_eq!(said(&[first, second], "2024-03-11T00:00:01Z"), Standing::Absent);
        assert_eq!(said(&[first, second], "2024-04-10T00:00:00Z"), Standing::Missing);
        // Data stay data; the question when to ask again goes by the last answer.
        let data = ("2024-03-01T00:00:00Z", Data);
        assert_eq!(said(&[data, first, second], "2024-03-11T11:59:59Z"), Standing::Open);
        assert_eq!(said(&[data, first, second], "2024-03-11T12:00:00Z"), Standing::Due);
    }

    #[test]
    fn what_has_no_period_is_never_final() {
        let answers = [Answered { at: at("2024-03-01T00:00:00Z"), outcome: Outcome::Data }];
        assert_eq!(standing(Period::All, &answers, RULES, at("2024-03-01T11:00:00Z")), Standing::Open);
        assert_eq!(standing(Period::All, &answers, RULES, at("2034-03-01T00:00:00Z")), Standing::Due);
    }

    #[test]
    fn the_newest_period_is_asked_for_first() {
        let order = Order {
            symbols: vec![Some("B".to_owned()), Some("A".to_owned())],
            periods: vec![day("2024-03-01"), day("2024-03-04")],
        };
        let names: Vec<_> =
            order.wanted().map(|one| format!("{} {}", one.symbol.unwrap_or_default(), one.period)).collect();
        assert_eq!(names, ["B 2024-03-04", "A 2024-03-04", "B 2024-03-01", "A 2024-03-01"]);
    }
}
