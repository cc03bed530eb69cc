//! Stamps that a clock shows twice, told apart by the order of a file's rows.
//!
//! Rows of a file that agree in all their texts are one series. Its stamps may ascend or descend. A direction is possible if every stamp
//! has a reading with which no stamp goes the other way. In an hour that occurs twice, ascending stamps step back by less than an
//! hour at most once; before the step is the first occurrence, behind it the second. Without the step, both readings
//! are possible, and nothing is decided. What is decided holds in every possible direction.

use std::collections::HashMap;

/// Series, and stamps that occur twice, of one file: at most 16 MiB and 96 MiB. Beyond that nothing is decided.
const MOST_SERIES: usize = 1 << 18;
const MOST_STAMPS: usize = 1 << 22;

/// Which time the clock showed a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occurrence {
    First,
    Second,
}

/// What the order of a file's rows says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Occurrences(Vec<(i64, usize, Occurrence)>);

impl Occurrences {
    /// `None` when it is not decided.
    pub(super) fn of(&self, line: i64, column: usize) -> Option<Occurrence> {
        let place = self.0.binary_search_by_key(&(line, column), |(line, column, _)| (*line, *column)).ok()?;
        self.0.get(place).map(|(.., occurrence)| *occurrence)
    }
}

/// The stamps of one file, in the order of its rows.
#[derive(Debug)]
pub(super) struct Survey {
    /// Whether two rows of a series with an equal stamp are its two occurrences.
    strict: bool,
    known: HashMap<(usize, u64), usize>,
    series: Vec<Series>,
    hours: Vec<Hour>,
    stamps: Vec<Stamp>,
}

#[derive(Debug, Default)]
struct Series {
    ascending: Direction,
    descending: Direction,
    /// The repeated hour that the last row lies in.
    hour: Option<usize>,
}

/// Readings of a series' stamps that come as early as they can.
#[derive(Debug)]
struct Direction {
    is_possible: bool,
    last: i64,
}

impl Default for Direction {
    fn default() -> Self {
        Self { is_possible: true, last: i64::MIN }
    }
}

/// Rows of one series in one repeated hour.
#[derive(Debug)]
struct Hour {
    series: usize,
    /// First occurrence of its first stamp.
    start: i64,
    /// Whether there is a step, by direction.
    ascending: bool,
    descending: bool,
}

/// A stamp that occurs twice, with the earliest reading by direction.
#[derive(Debug)]
struct Stamp {
    line: i64,
    column: usize,
    hour: usize,
    ascending: Occurrence,
    descending: Occurrence,
}

impl Survey {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, known: HashMap::new(), series: Vec::new(), hours: Vec::new(), stamps: Vec::new() }
    }

    /// Takes the stamp of the next row. `later_by` is how much later its second occurrence is.
    pub(super) fn add(&mut self, (line, column): (i64, usize), series: u64, first: i64, later_by: Option<i64>) {
        if self.is_too_large() {
            return;
        }
        let next = self.series.len();
        let place = *self.known.entry((column, series)).or_insert(next);
        if place == next {
            self.series.push(Series::default());
        }
        let Some(series) = self.series.get_mut(place) else { return };
        let second = first + later_by.unwrap_or_default();
        // Descending is ascending on a clock that runs backwards, which shows the second occurrence first.
        let is_strict = self.strict && later_by.is_some();
        let ascending = series.ascending.take(first, second, is_strict);
        let descending = series.descending.take(-second, -first, is_strict);
        let Some(later_by) = later_by else {
            series.hour = None;
            return;
        };
        let is_of = |hour: &usize| self.hours.get(*hour).is_some_and(|hour| (first - hour.start).abs() < later_by);
        let hour = series.hour.filter(is_of).unwrap_or_else(|| {
            self.hours.push(Hour { series: place, start: first, ascending: false, descending: false });
            self.hours.len() - 1
        });
        series.hour = Some(hour);
        if let Some(hour) = self.hours.get_mut(hour) {
            hour.ascending |= ascending == Occurrence::Second;
            hour.descending |= descending == Occurrence::Second;
        }
        let descending = match descending {
            Occurrence::First => Occurrence::Second,
            Occurrence::Second => Occurrence::First,
        };
        self.stamps.push(Stamp { line, column, hour, ascending, descending });
    }

    fn is_too_large(&self) -> bool {
        self.series.len() >= MOST_SERIES || self.stamps.len() >= MOST_STAMPS
    }

    pub(super) fn finish(self) -> Occurrences {
        if self.is_too_large() {
            return Occurrences::default();
        }
        let decided = |stamp: &Stamp| {
            let hour = self.hours.get(stamp.hour)?;
            let series = self.series.get(hour.series)?;
            let ascending = hour.ascending.then_some(stamp.ascending);
            let descending = hour.descending.then_some(stamp.descending);
            match (series.ascending.is_possible, series.descending.is_possible) {
                (true, false) => ascending,
                (false, true) => descending,
                (true, true) => ascending.filter(|_| ascending == descending),
                (false, false) => None,
            }
        };
        let stamps = self.stamps.iter();
        Occurrences(stamps.filter_map(|stamp| Some((stamp.line, stamp.column, decided(stamp)?))).collect())
    }
}

impl Direction {
    /// The earliest reading that does not go back.
    fn take(&mut self, first: i64, second: i64, is_strict: bool) -> Occurrence {
        let fits = |reading: i64| if is_strict { reading > self.last } else { reading >= self.last };
        let (reading, occurrence) = match (fits(first), fits(second)) {
            (true, _) => (first, Occurrence::First),
            (false, true) => (second, Occurrence::Second),
            (false, false) => {
                self.is_possible = false;
                (second, Occurrence::Second)
            }
        };
        self.last = reading;
        occurrence
    }
}

#[cfg(test)]
mod tests;
