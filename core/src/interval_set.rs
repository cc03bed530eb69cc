//! Sets of intervals: those that an interval job has computed, and those it still has to compute.

use std::fmt;

use crate::interval::Interval;

/// Sorted intervals that neither overlap nor touch: adjacent ones are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntervalSet(Vec<Interval>);

impl IntervalSet {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Interval> + '_ {
        self.0.iter().copied()
    }

    pub fn insert(&mut self, interval: Interval) {
        let Interval { mut start, mut end } = interval;
        self.0.retain(|known| {
            let apart = known.end < start || end < known.start;
            if !apart {
                start = start.min(known.start);
                end = end.max(known.end);
            }
            apart
        });
        let at = self.0.partition_point(|known| known.start < start);
        self.0.insert(at, Interval { start, end });
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// The intersection.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = |a: Interval, b: Interval| Interval::new(a.start.max(b.start), a.end.min(b.end)).ok();
        self.iter().flat_map(|a| other.iter().filter_map(move |b| both(a, b))).collect()
    }

    /// The difference: this set without the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        for interval in self.iter() {
            let mut start = interval.start;
            for gone in other.iter().filter(|gone| gone.start < interval.end && interval.start < gone.end) {
                rest.extend(Interval::new(start, gone.start.min(interval.end)).ok());
                start = start.max(gone.end);
            }
            rest.extend(Interval::new(start, interval.end).ok());
        }
        rest.into_iter().collect()
    }

    /// From the first start to the last end.
    pub fn hull(&self) -> Option<Interval> {
        Some(Interval { start: self.0.first()?.start, end: self.0.last()?.end })
    }
}

impl FromIterator<Interval> for IntervalSet {
    fn from_iter<T: IntoIterator<Item = Interval>>(intervals: T) -> Self {
        let mut set = Self::default();
        intervals.into_iter().for_each(|interval| set.insert(interval));
        set
    }
}

impl From<Option<Interval>> for IntervalSet {
    fn from(interval: Option<Interval>) -> Self {
        interval.into_iter().collect()
    }
}

impl fmt::Display for IntervalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.iter().map(|interval| interval.to_string()).collect();
        f.write_str(&texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;

    fn day(n: u8) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::from(n) * 86_400, 0).unwrap()
    }

    fn set(days: &BTreeSet<u8>) -> IntervalSet {
        days.iter().map(|n| Interval::new(day(*n), day(n + 1)).unwrap()).collect()
    }

    fn days(set: &IntervalSet) -> BTreeSet<u8> {
        (0..40).filter(|n| set.iter().any(|interval| interval.contains(day(*n)))).collect()
    }

    fn some_days() -> impl Strategy<Value = BTreeSet<u8>> {
        prop::collection::btree_set(0_u8..30, 0..20)
    }

    proptest! {
        /// The model is a set of days.
        #[test]
        fn operations_are_those_of_sets_of_days(a in some_days(), b in some_days()) {
            let (left, right) = (set(&a), set(&b));
            prop_assert_eq!(days(&left), a.clone());
            prop_assert_eq!(left.union(&right), set(&(&a | &b)));
            prop_assert_eq!(left.intersection(&right), set(&(&a & &b)));
            prop_assert_eq!(left.without(&right), set(&(&a - &b)));
            let apart = left.iter().zip(left.iter().skip(1)).all(|(one, next)| one.end < next.start);
            prop_assert!(apart, "neighbours are one interval: {}", left);
        }
    }
}
