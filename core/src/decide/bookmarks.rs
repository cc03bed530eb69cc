//! The inputs recorded in a table's own log, as `txn` actions: an id and a number each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::DateTime;

use super::{FileChanges, Observed, RunPlan};
use crate::interval::Interval;
use crate::interval_set::IntervalSet;
use crate::meaning::Meaning;
use crate::name::TableName;

/// Prefix of all `txn` ids of pulse.
const OURS: &str = "pulse/";
pub(super) const FILE: &str = "pulse/file/";
const TABLE: &str = "pulse/table/";
const TABLE_ID: &str = "pulse/table-id/";
/// Followed by the start of an interval, in microseconds; the number is its end. An interval that ends where it starts
/// no longer exists: it was merged with an earlier one.
const INTERVAL: &str = "pulse/intervals/";
/// The end of the single interval that older builds stored.
const CONSUMED_UNTIL: &str = "pulse/interval";
/// When a table that remembers was last compared with its inputs, in microseconds; -1 if it no longer remembers.
const RECORDED: &str = "pulse/recorded";

/// See [`crate::meaning::Meaning`].
const FEED: &str = "pulse/feed/";
/// Stored instead of a fingerprint for a file whose rows were removed. Fingerprints are not negative.
pub(super) const GONE: i64 = -1;

/// One version of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMark {
    pub version: u64,
    /// Hash of the table's metadata id, which changes when the table is recreated. `None` if an older build did not
    /// store it.
    pub id: Option<i64>,
}

/// The inputs whose rows the table holds.
#[derive(Debug, Clone, Default)]
pub struct Bookmarks {
    pub intervals: IntervalSet,
    /// Row count of the table, if its log has it.
    pub rows: Option<u64>,
    pub(super) numbers: HashMap<String, i64>,
}

impl Bookmarks {
    /// From the newest `txn` actions of a log. `start` is that of the job's first interval, which older builds did not
    /// store.
    pub fn new(numbers: HashMap<String, i64>, start: Option<DateTime<chrono::Utc>>) -> Self {
        let stored: Vec<(i64, i64)> =
            numbers.iter().filter_map(|(id, end)| Some((id.strip_prefix(INTERVAL)?.parse().ok()?, *end))).collect();
        let time = DateTime::from_timestamp_micros;
        let interval = |start: i64, end: i64| Interval::new(time(start)?, time(end)?).ok();
        let intervals = match (stored.is_empty(), numbers.get(CONSUMED_UNTIL), start) {
            (true, Some(end), Some(start)) => interval(start.timestamp_micros(), *end).into(),
            _ => stored.into_iter().filter_map(|(start, end)| interval(start, end)).collect(),
        };
        Self { intervals, rows: None, numbers }
    }

    pub fn table(&self, name: &TableName) -> Option<TableMark> {
        let version = u64::try_from(*self.numbers.get(&format!("{TABLE}{name}"))?).ok()?;
        Some(TableMark { version, id: self.numbers.get(&format!("{TABLE_ID}{name}")).copied() })
    }

    /// Every table that was read, by name.
    pub fn tables(&self) -> BTreeMap<TableName, TableMark> {
        let names = self.numbers.keys().filter_map(|id| id.strip_prefix(TABLE)?.parse::<TableName>().ok());
        names.filter_map(|name| Some((name.clone(), self.table(&name)?))).collect()
    }

    /// Paths of every file whose rows the table holds, by source.
    pub fn files(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for id in self.numbers.iter().filter(|(_, known)| **known != GONE).map(|(id, _)| id) {
            if let Some((source, path)) = id.strip_prefix(FILE).and_then(|file| file.split_once('/')) {
                files.entry(source.to_owned()).or_default().insert(path.to_owned());
            }
        }
        files
    }

    /// When the table was last compared with its inputs, in microseconds, if it remembers their contents.
    pub(super) fn recorded(&self) -> Option<i64> {
        self.numbers.get(RECORDED).copied().filter(|time| *time >= 0)
    }

    /// The value that a run at `now` stores for a table whose sink `remembers` or not; `None` if it does not change.
    pub fn recorded_after(&self, remembers: bool, now: DateTime<chrono::Utc>) -> Option<(String, i64)> {
        let number = match (remembers, self.recorded()) {
            (true, _) => now.timestamp_micros(),
            (false, Some(_)) => -1,
            (false, None) => return None,
        };
        Some((RECORDED.to_owned(), number))
    }

    /// The bookmark of a file whose rows the table holds.
    pub fn file(&self, source: &str, path: &str) -> Option<i64> {
        self.numbers.get(&Self::file_id(source, path)).copied().filter(|known| *known != GONE)
    }

    /// Feeds of a source by which the table has read files.
    pub fn feeds(&self, source: &str) -> BTreeSet<&str> {
        let prefix = format!("{FEED}{source}/");
        // A number that a restored version did not have is negative.
        let known = self.numbers.iter().filter(|(_, exact)| **exact >= 0);
        known.filter_map(|(id, _)| id.strip_prefix(prefix.as_str())).collect()
    }

    /// Whether the log has this number at this id.
    pub fn has(&self, id: &str, number: i64) -> bool {
        self.numbers.get(id) == Some(&number)
    }

    /// The id of a file's bookmark.
    pub fn file_id(source: &str, path: &str) -> String {
        format!("{FILE}{source}/{path}")
    }

    /// Whether the bookmark belongs to a former table of that name.
    pub fn is_another(&self, name: &TableName, now: &TableMark) -> bool {
        self.table(name).is_some_and(|known| match (known.id, now.id) {
            (Some(known), Some(now)) => known != now,
            // If the version is newer than the table's, it belongs to a former table with a longer log.
            (None, _) | (_, None) => known.version > now.version,
        })
    }

    pub(super) fn file_changes(&self, source: &str, files: &BTreeMap<String, i64>) -> FileChanges {
        let known = |path: &String| self.file(source, path);
        let read: Vec<String> =
            files.iter().filter(|(path, now)| known(path) != Some(**now)).map(|(path, _)| path.clone()).collect();
        let replaced = read.iter().filter(|path| known(path).is_some()).cloned().collect();
        FileChanges { read, replaced, removed: Vec::new() }
    }

    /// Files of the observed sources that were read and no longer exist, as `source/path`.
    pub fn gone(&self, observed: &Observed) -> Vec<String> {
        let there = |file: &str| {
            let Some((source, path)) = file.split_once('/') else { return true };
            observed.files.get(source).is_none_or(|files| files.contains_key(path))
        };
        let read = self.numbers.iter().filter(|(_, fingerprint)| **fingerprint != GONE);
        let mut gone: Vec<String> =
            read.filter_map(|(id, _)| id.strip_prefix(FILE)).filter(|file| !there(file)).map(str::to_owned).collect();
        gone.sort_unstable();
        gone
    }

    /// The numbers that the commit of a [`super::forget`] plan stores.
    pub fn after_forgetting(plan: &RunPlan) -> Vec<(String, i64)> {
        plan.without_rows().map(|file| (format!("{FILE}{file}"), GONE)).collect()
    }

    /// The numbers that a restoring commit stores: those that differ between `then` and `now`. A log forgets no id, so
    /// ids that did not exist `then` get the number that means nothing.
    pub fn restored(now: &HashMap<String, i64>, then: &HashMap<String, i64>) -> Vec<(String, i64)> {
        let nothing = |id: &str| match (id.strip_prefix(INTERVAL).and_then(|start| start.parse().ok()), id) {
            (Some(start), _) => start,
            // No timestamp has this value.
            (None, CONSUMED_UNTIL) => i64::MIN,
            (None, _) => GONE,
        };
        let ids = now.keys().chain(then.keys()).filter(|id| id.starts_with(OURS));
        let wanted: BTreeMap<String, i64> =
            ids.map(|id| (id.clone(), then.get(id).copied().unwrap_or_else(|| nothing(id)))).collect();
        wanted.into_iter().filter(|(id, number)| now.get(id) != Some(number)).collect()
    }

    /// The numbers that the commit of a run stores: only changed ones.
    pub fn after(&self, plan: &RunPlan, meaning: &Meaning, observed: &Observed) -> Vec<(String, i64)> {
        let mut numbers: BTreeMap<String, i64> = meaning.numbers().collect();
        for (name, table) in &observed.tables {
            numbers.insert(format!("{TABLE}{name}"), i64::try_from(table.mark.version).unwrap_or(i64::MAX));
            numbers.extend(table.mark.id.map(|id| (format!("{TABLE_ID}{name}"), id)));
        }
        for (source, files) in &observed.files {
            numbers.extend(files.iter().map(|(path, fingerprint)| (Self::file_id(source, path), *fingerprint)));
        }
        numbers.extend(plan.without_rows().map(|file| (format!("{FILE}{file}"), GONE)));
        let covered = match plan {
            RunPlan::Nothing | RunPlan::Observe { .. } => self.intervals.clone(),
            RunPlan::Changes { intervals, .. } => self.intervals.union(intervals),
            RunPlan::Rebuild { intervals, .. } => intervals.clone(),
        };
        let id = |start: i64| format!("{INTERVAL}{start}");
        let stored = self.numbers.keys().filter_map(|id| id.strip_prefix(INTERVAL)?.parse().ok());
        numbers.extend(stored.map(|start: i64| (id(start), start)));
        let ends = covered.iter().map(|interval| (interval.start.timestamp_micros(), interval.end.timestamp_micros()));
        numbers.extend(ends.map(|(start, end)| (id(start), end)));
        numbers.into_iter().filter(|(id, number)| self.numbers.get(id) != Some(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[(&str, i64)]) -> HashMap<String, i64> {
        numbers.iter().map(|(id, number)| ((*id).to_owned(), *number)).collect()
    }

    #[test]
    fn what_was_not_known_then_means_nothing_again() {
        let then = numbers(&[
            ("pulse/file/x/a", 1),
            ("pulse/file/x/gone", 4),
            ("pulse/table/s.t", 3),
            ("pulse/intervals/0", 60),
        ]);
        let now = numbers(&[
            ("pulse/file/x/a", 2),
            ("pulse/file/x/b", 7),
            ("pulse/file/x/gone", GONE),
            ("pulse/table/s.t", 5),
            ("pulse/table/s.u", 1),
            ("pulse/table-id/s.u", 9),
            ("pulse/intervals/0", 120),
            ("pulse/intervals/240", 300),
            ("pulse/interval", 60),
            ("pulse/recorded", 100),
            ("spark-stream", 8),
        ]);
        let stored = Bookmarks::restored(&now, &then);
        assert!(stored.iter().all(|(id, _)| id != "spark-stream"), "{stored:?}");
        let mut after = now.clone();
        after.extend(stored);
        let (restored, wanted) = (Bookmarks::new(after.clone(), None), Bookmarks::new(then.clone(), None));
        assert_eq!(restored.intervals, wanted.intervals);
        assert_eq!(
            (restored.file("x", "a"), restored.file("x", "b"), restored.file("x", "gone")),
            (Some(1), None, Some(4))
        );
        assert_eq!(restored.table(&"s.t".parse().unwrap()), wanted.table(&"s.t".parse().unwrap()));
        assert_eq!(restored.table(&"s.u".parse().unwrap()), None);
        assert_eq!(restored.recorded(), None);
        assert_eq!(restored.tables().into_keys().map(|name| name.to_string()).collect::<Vec<_>>(), ["s.t"]);
        assert_eq!(restored.files()["x"].iter().collect::<Vec<_>>(), ["a", "gone"]);
        let start = DateTime::from_timestamp(-1_000_000_000, 0);
        let without = |mut numbers: HashMap<String, i64>| {
            numbers.retain(|id, _| !id.starts_with(INTERVAL));
            Bookmarks::new(numbers, start).intervals
        };
        assert!(without(after.clone()).is_empty() && !without(now).is_empty());
        assert!(Bookmarks::restored(&after, &then).is_empty());
    }
}
