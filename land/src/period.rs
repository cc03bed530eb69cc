//! The time that a request covers.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, Utc};
use pulse_core::sources::{Placeholder, RequestPeriod};

/// One day, one month, or everything that the provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    All,
    Day(NaiveDate),
    /// By its first day.
    Month(NaiveDate),
}

impl Period {
    /// First and last day; `None` for [`Period::All`].
    pub fn days(self) -> Option<(NaiveDate, NaiveDate)> {
        match self {
            Self::All => None,
            Self::Day(day) => Some((day, day)),
            Self::Month(first) => {
                let next = first.checked_add_months(Months::new(1))?;
                Some((first, next.pred_opt()?))
            }
        }
    }

    /// End of its last day in UTC.
    pub fn end(self) -> Option<DateTime<Utc>> {
        let (_, last) = self.days()?;
        Some(midnight(last.checked_add_days(Days::new(1))?))
    }

    /// Folder of answers that were received at `at`: the period, or the day of the answer.
    pub fn folder(self, at: DateTime<Utc>) -> String {
        match self {
            Self::All => at.date_naive().to_string(),
            Self::Day(day) => day.to_string(),
            Self::Month(first) => first.format("%Y-%m").to_string(),
        }
    }

    /// What stands for a placeholder of a path; nothing for one that is not of a period.
    pub fn value(self, placeholder: Placeholder) -> String {
        let Some((first, last)) = self.days() else { return String::new() };
        let next = last.checked_add_days(Days::new(1)).unwrap_or(last);
        match placeholder {
            Placeholder::Symbol | Placeholder::Key => String::new(),
            Placeholder::Date | Placeholder::From => first.to_string(),
            Placeholder::Month => first.format("%Y-%m").to_string(),
            Placeholder::Year => first.format("%Y").to_string(),
            Placeholder::MonthNumber => first.format("%m").to_string(),
            Placeholder::To => last.to_string(),
            Placeholder::FromEpoch => midnight(first).timestamp().to_string(),
            Placeholder::ToEpoch => midnight(next).timestamp().to_string(),
            Placeholder::FromCompact => first.format("%Y%m%d").to_string(),
            Placeholder::ToCompact => last.format("%Y%m%d").to_string(),
        }
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Day(day) => write!(f, "{day}"),
            Self::Month(first) => write!(f, "{}", first.format("%Y-%m")),
        }
    }
}

/// Periods with a day of `is_open` from `start` to `end`, both included, the oldest first.
pub fn periods(
    kind: RequestPeriod,
    (start, end): (NaiveDate, NaiveDate),
    is_open: &dyn Fn(NaiveDate) -> bool,
) -> Vec<Period> {
    if kind == RequestPeriod::All {
        return vec![Period::All];
    }
    let days = start.iter_days().take_while(|day| *day <= end).filter(|day| is_open(*day));
    let mut periods: Vec<Period> = days
        .filter_map(|day| match kind {
            RequestPeriod::All => None,
            RequestPeriod::Day => Some(Period::Day(day)),
            RequestPeriod::Month => day.with_day(1).map(Period::Month),
        })
        .collect();
    periods.dedup();
    periods
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn names(kind: RequestPeriod, start: &str, end: &str) -> Vec<String> {
        let is_open = |day: NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        periods(kind, (day(start), day(end)), &is_open).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_ends_are_included_and_closed_days_are_not() {
        assert_eq!(names(RequestPeriod::Day, "2024-02-29", "2024-03-04"), ["2024-02-29", "2024-03-01", "2024-03-04"]);
        assert_eq!(names(RequestPeriod::Month, "2023-12-31", "2024-02-01"), ["2024-01", "2024-02"]);
        assert_eq!(names(RequestPeriod::All, "2024-01-01", "2024-01-02"), ["all"]);
        assert!(names(RequestPeriod::Day, "2024-01-02", "2024-01-01").is_empty());
    }

    #[test]
    fn a_period_says_its_days_in_the_words_of_providers() {
        let month = Period::Month(day("2024-02-01"));
        let value = |placeholder| month.value(placeholder);
        assert_eq!([value(Placeholder::From), value(Placeholder::To)], ["2024-02-01", "2024-02-29"]);
        assert_eq!([value(Placeholder::FromEpoch), value(Placeholder::ToEpoch)], ["1706745600", "1709251200"]);
        assert_eq!([value(Placeholder::Year), value(Placeholder::MonthNumber)], ["2024", "02"]);
        assert_eq!(value(Placeholder::ToCompact), "20240229");
        assert_eq!(month.end().unwrap().to_rfc3339(), "2024-03-01T00:00:00+00:00");
        assert_eq!(Period::Day(day("2024-02-29")).value(Placeholder::Date), "2024-02-29");
    }
}
