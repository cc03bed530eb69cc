//! How the log of a table holds the bookmarks of files: not as one `txn` action each, which a log never forgets, but in
//! segments. A segment is an object beside the log with the marks of many files. Only its number is a `txn` action.
//!
//! Segments have levels. A commit adds its marks to the segment of level 0; a segment that outgrows its level goes into
//! the next one. So a log of `n` files has at most `log n` live segments, and a mark is written again `log n` times.
//!
//! Logs of earlier builds hold the marks themselves. The first commit of marks turns them into a segment, and makes the
//! job's number one that earlier builds take for a changed job: they rebuild the table instead of reading files twice.

use std::collections::{BTreeMap, HashMap};

use super::bookmarks::{FILE, GONE};

/// Followed by a level; the number is that of the level's segment, or [`EMPTY`].
const SEGMENT: &str = "pulse/files/";
const EMPTY: i64 = -1;
/// The hash of the job, which earlier builds compare.
const JOB: &str = "pulse/job";
/// Stored as [`JOB`] where marks are in segments. A hash is not negative.
const IN_SEGMENTS: i64 = -2;
/// The hash of the job where marks are in segments.
const JOB_BESIDE_SEGMENTS: &str = "pulse/job/2";

/// Marks in a segment of level 0. Each further level holds eight times as many, two to the power of [`GROWTH_BITS`].
const CAPACITY: usize = 1024;
const GROWTH_BITS: usize = 3;

/// Marks of files, by `source/path`.
pub type Marks = BTreeMap<String, i64>;

/// A segment that a log names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub level: usize,
    pub number: i64,
}

/// The segment that a `txn` action of an entry names.
pub fn named_segment(id: &str, number: i64) -> Option<Segment> {
    let level = id.strip_prefix(SEGMENT)?.parse().ok()?;
    (number != EMPTY).then_some(Segment { level, number })
}

/// The segments that count for a log with these `txn` actions, from the newest marks to the oldest.
pub fn segments(stored: &HashMap<String, i64>) -> Vec<Segment> {
    let mut segments = match is_in_segments(stored) {
        true => named(stored).collect(),
        false => Vec::new(),
    };
    segments.sort_unstable();
    segments
}

/// A build that knows no segments has rebuilt the table if the job's number is its own.
fn is_in_segments(stored: &HashMap<String, i64>) -> bool {
    stored.get(JOB) == Some(&IN_SEGMENTS)
}

fn named(stored: &HashMap<String, i64>) -> impl Iterator<Item = Segment> {
    stored.iter().filter_map(|(id, number)| named_segment(id, *number))
}

/// What a log with these `txn` actions says, as if each mark were one of them. `newest_first` are its [`segments`].
pub fn meant(stored: HashMap<String, i64>, newest_first: Vec<Marks>) -> HashMap<String, i64> {
    let in_segments = is_in_segments(&stored);
    let job = stored.get(JOB_BESIDE_SEGMENTS).copied();
    let of_storage = |id: &str| id == JOB_BESIDE_SEGMENTS || id.starts_with(SEGMENT);
    let superseded = |id: &str| in_segments && (id == JOB || id.starts_with(FILE));
    let mut meant = stored;
    meant.retain(|id, _| !of_storage(id) && !superseded(id));
    if in_segments {
        meant.extend(job.map(|job| (JOB.to_owned(), job)));
    }
    let oldest_first = newest_first.into_iter().rev().flatten();
    meant.extend(oldest_first.map(|(file, mark)| (format!("{FILE}{file}"), mark)));
    meant
}

/// The storage of a commit's numbers: a loop that reads the segments that it [`wants`](Self::wants).
#[derive(Debug)]
pub struct Fold {
    capacity: usize,
    numbers: Vec<(String, i64)>,
    marks: Marks,
    /// Live segments, from the newest marks to the oldest.
    live: Vec<Segment>,
    level: usize,
}

/// What a commit stores.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its `txn` actions.
    pub numbers: Vec<(String, i64)>,
    /// Marks of the segment that the numbers name, if it has one.
    pub segment: Option<Marks>,
}

impl Fold {
    /// `stored` are the `txn` actions of the log; `numbers` are those to commit, marks of files among them.
    pub fn new(stored: &HashMap<String, i64>, numbers: Vec<(String, i64)>) -> Self {
        Self::with_capacity(stored, numbers, CAPACITY)
    }

    fn with_capacity(stored: &HashMap<String, i64>, numbers: Vec<(String, i64)>, capacity: usize) -> Self {
        let (of_files, numbers): (Vec<_>, Vec<_>) = numbers.into_iter().partition(|(id, _)| id.starts_with(FILE));
        let marks = of_files.into_iter().map(|(id, mark)| (id[FILE.len()..].to_owned(), mark)).collect();
        let mut fold = Self { capacity, numbers, marks, live: segments(stored), level: 0 };
        match is_in_segments(stored) {
            true => fold.rename_job(),
            false if !fold.marks.is_empty() => fold.migrate(stored),
            false => {}
        }
        fold
    }

    fn rename_job(&mut self) {
        self.numbers.iter_mut().filter(|(id, _)| id == JOB).for_each(|(id, _)| JOB_BESIDE_SEGMENTS.clone_into(id));
    }

    /// Takes in the marks of a log of an earlier build.
    fn migrate(&mut self, stored: &HashMap<String, i64>) {
        self.rename_job();
        let has_job = self.numbers.iter().any(|(id, _)| id == JOB_BESIDE_SEGMENTS);
        // A log that names no job, as after a restore, has none in segments either.
        let job = stored.get(JOB).copied().unwrap_or(EMPTY);
        if !has_job {
            self.numbers.push((JOB_BESIDE_SEGMENTS.to_owned(), job));
        }
        self.numbers.push((JOB.to_owned(), IN_SEGMENTS));
        // Those of a time before an earlier build wrote the log.
        self.numbers.extend(named(stored).map(|segment| (format!("{SEGMENT}{}", segment.level), EMPTY)));
        for (id, mark) in stored {
            if let Some(file) = id.strip_prefix(FILE) {
                self.marks.entry(file.to_owned()).or_insert(*mark);
            }
        }
    }

    /// The next segment to read, whose marks go into the new one.
    pub fn wants(&mut self) -> Option<Segment> {
        if self.marks.is_empty() {
            return None;
        }
        while self.live.first().is_none_or(|segment| segment.level > self.level) {
            if self.fits() {
                return None;
            }
            self.level += 1;
        }
        self.live.first().copied()
    }

    fn fits(&self) -> bool {
        let bits = u32::try_from(GROWTH_BITS * self.level).unwrap_or(u32::MAX);
        self.marks.len() <= self.capacity.checked_shl(bits).unwrap_or(usize::MAX)
    }

    /// Takes in the marks of the segment that was wanted.
    pub fn take(&mut self, older: Marks) {
        if self.live.is_empty() {
            return;
        }
        let segment = self.live.remove(0);
        self.numbers.push((format!("{SEGMENT}{}", segment.level), EMPTY));
        for (file, mark) in older {
            self.marks.entry(file).or_insert(mark);
        }
    }

    /// `number` names the new segment, if there is one.
    pub fn end(mut self, number: i64) -> Stored {
        if self.marks.is_empty() {
            return Stored { numbers: self.numbers, segment: None };
        }
        // No older mark remains that they would hide.
        if self.live.is_empty() {
            self.marks.retain(|_, mark| *mark != GONE);
        }
        let id = format!("{SEGMENT}{}", self.level);
        self.numbers.retain(|(known, _)| *known != id);
        self.numbers.push((id, number));
        Stored { numbers: self.numbers, segment: Some(self.marks) }
    }
}

#[cfg(test)]
mod tests;
