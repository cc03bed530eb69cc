//! Decides once what a run reads and which rows it replaces, from the observed sources, the table's bookmarks and the
//! request. Planning, running and showing a plan all follow the resulting [`RunPlan`].
//!
//! Invariant: after the run, the table depends only on its inputs. Replacing everything implies reading everything: a
//! [`RunPlan::Rebuild`] holds [`AllInputs`], which only this module creates, from all observed inputs.

mod bookmarks;
mod file_marks;
mod gone;
mod loss;
mod sinks;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::interval_set::IntervalSet;
use crate::manifest::{IntervalUnit, Read, Sink};
use crate::meaning::Meaning;
use crate::name::TableName;
use crate::sources::OnMissing;
use crate::{Error, Result};

pub use bookmarks::{Bookmarks, TableMark};
pub use file_marks::{Fold, Marks, Segment, Stored, meant, named_segment, segments};
pub use gone::forget;

use gone::Gone;
use loss::{observe, rebuild};
use sinks::{Reads, reads};

/// The request for a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Compute these units of an interval job, even if they were computed before.
    pub interval: Option<Interval>,
    /// Only the units of `interval` that were not computed before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub missing_only: bool,
    /// Compute all rows and replace the whole table.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rebuild: bool,
    /// Rebuild even if rows of deleted files are lost.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_loss: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The properties of a job that the decision needs.
#[derive(Debug, Clone, Copy)]
pub struct JobRules<'a> {
    pub sink: &'a Sink,
    /// Set for a query that uses `$interval_start` and `$interval_end`.
    pub interval: Option<IntervalRules>,
    pub meaning: &'a Meaning,
}

#[derive(Debug, Clone, Copy)]
pub struct IntervalRules {
    pub unit: IntervalUnit,
    /// Start of the first interval.
    pub start: DateTime<Utc>,
    /// Whether the query proves that all rows of one partition of the sink belong to one interval.
    pub partitions_within: bool,
    /// Whether the table has quarantined rows. They cannot be assigned to an interval.
    pub has_quarantine: bool,
}

/// The inputs as observed by the run.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// By source: path and fingerprint of every file.
    pub files: BTreeMap<String, BTreeMap<String, i64>>,
    /// By source: what to do with rows of deleted files; by default they stay.
    pub on_missing: BTreeMap<String, OnMissing>,
    pub tables: BTreeMap<TableName, ObservedTable>,
    /// Why the query over the changed groups may differ from the changes of the full result; `None` if they are proven
    /// equal.
    pub unproven: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ObservedTable {
    pub mark: TableMark,
    pub read: Read,
    /// Columns that define the groups to read.
    pub by: Vec<String>,
    pub since: Since,
}

/// What happened to a source table since its bookmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// There is no bookmark, or the bookmarked version can no longer be compared.
    Unknown,
    Nothing,
    /// Rows were added or removed.
    Changed(Reach),
}

/// Which intervals of the query the changed rows belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Only rows within these times.
    Within(IntervalSet),
    Anything,
}

/// What changed in one source of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// New paths, and those of `replaced`.
    pub read: Vec<String>,
    /// Paths that were read before with different content.
    pub replaced: Vec<String>,
    /// Deleted paths whose rows are removed, too.
    pub removed: Vec<String>,
}

/// Every file of every source, and the pinned versions of all tables in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllInputs {
    files: BTreeMap<String, Vec<String>>,
}

impl AllInputs {
    fn of(observed: &Observed) -> Self {
        let paths = |files: &BTreeMap<String, i64>| files.keys().cloned().collect();
        Self { files: observed.files.iter().map(|(name, files)| (name.clone(), paths(files))).collect() }
    }

    fn read_whole(self) -> BTreeMap<String, FileChanges> {
        let whole = |(name, read)| (name, FileChanges { read, ..FileChanges::default() });
        self.files.into_iter().map(whole).collect()
    }

    /// Paths to read of one source.
    pub fn files(&self, source: &str) -> &[String] {
        self.files.get(source).map_or(&[], Vec::as_slice)
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunPlan {
    Nothing,
    /// Computes and replaces only the rows that the changes affect.
    Changes {
        files: BTreeMap<String, FileChanges>,
        intervals: IntervalSet,
        /// The part of `intervals` for which the table has rows, which are removed.
        again: IntervalSet,
    },
    /// Computes all rows and compares them with the table's. Differences are added or closed; no known row is removed.
    Observe {
        inputs: AllInputs,
        /// Deleted files that were read before, as `source/path`: their rows are closed.
        lost: Vec<String>,
    },
    /// Computes all rows and replaces the whole table.
    Rebuild {
        reason: String,
        inputs: AllInputs,
        intervals: IntervalSet,
        /// Deleted files that were read before, as `source/path`: their rows cannot be read again.
        lost: Vec<String>,
    },
}

impl RunPlan {
    /// Deleted files that have no rows in the table after the run, as `source/path`.
    fn without_rows(&self) -> impl Iterator<Item = String> {
        let files: Vec<String> = match self {
            Self::Nothing => Vec::new(),
            Self::Changes { files, .. } => {
                let of = |(source, changes): (&String, &FileChanges)| -> Vec<String> {
                    changes.removed.iter().map(|path| format!("{source}/{path}")).collect()
                };
                files.iter().flat_map(of).collect()
            }
            Self::Rebuild { lost, .. } | Self::Observe { lost, .. } => lost.clone(),
        };
        files.into_iter()
    }

    /// Intervals that the run computes; empty for a job without.
    pub fn intervals(&self) -> IntervalSet {
        match self {
            Self::Nothing | Self::Observe { .. } => IntervalSet::default(),
            Self::Changes { intervals, .. } | Self::Rebuild { intervals, .. } => intervals.clone(),
        }
    }
}

/// Decides from observations alone; `known` is `None` for a table that does not exist.
///
/// # Errors
/// `Invalid` when the requested interval does not fit the job.
pub fn decide(
    job: JobRules<'_>,
    known: Option<&Bookmarks>,
    observed: &Observed,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<RunPlan> {
    let none = Bookmarks::default();
    let gone = known.map(|known| Gone::new(known, observed)).unwrap_or_default();
    let work = Work::new(job, known.unwrap_or(&none), asked, now)?;
    let inputs = AllInputs::of(observed);
    let Some(known) = known else {
        let reason = "the table does not exist yet".to_owned();
        return Ok(RunPlan::Rebuild { reason, inputs, intervals: work.first(), lost: Vec::new() });
    };
    let rebuild = |reason: String| rebuild(reason, inputs.clone(), work.all(), &gone, known, asked);
    if asked.rebuild {
        return rebuild("--rebuild".to_owned());
    }
    // To a sink that remembers, a recreated source table is just another observed content.
    let other_table = || if job.sink.remembers() { None } else { other_table(known, observed) };
    if let Some(reason) = job.meaning.change(&known.numbers).map(str::to_owned).or_else(other_table) {
        return rebuild(reason);
    }
    gone.refuse_failing()?;
    let of = |(name, files): (&String, &BTreeMap<String, i64>)| {
        let removed = gone.removed_of(name);
        (name.clone(), FileChanges { removed, ..known.file_changes(name, files) })
    };
    let files: BTreeMap<String, FileChanges> = observed.files.iter().map(of).collect();
    let changed_files =
        files.iter().find_map(|(name, changes)| match (changes.read.as_slice(), changes.removed.as_slice()) {
            ([], []) => None,
            ([], [_, ..]) => Some(format!("files of raw.{name} are gone")),
            ([_, ..], _) => Some(format!("files of raw.{name} changed")),
        });
    let plan = match job.interval {
        Some(rules) => work.changes(job.sink, rules, changed_files.as_deref(), observed),
        None => whole(job.sink, changed_files.as_deref(), observed),
    };
    match plan {
        Step::Nothing => Ok(RunPlan::Nothing),
        // Files that were read before may hold rows of intervals that were not computed then.
        Step::Changes { intervals, again } if job.interval.is_some() => {
            Ok(RunPlan::Changes { files: inputs.read_whole(), intervals, again })
        }
        Step::Changes { intervals, again } => Ok(RunPlan::Changes { files, intervals, again }),
        Step::Observe => observe(inputs, &gone, known, asked, now),
        Step::Rebuild(reason) => rebuild(reason),
    }
}

enum Step {
    Nothing,
    Changes { intervals: IntervalSet, again: IntervalSet },
    Observe,
    Rebuild(String),
}

fn other_table(known: &Bookmarks, observed: &Observed) -> Option<String> {
    let replaced = |(name, table): &(&TableName, &ObservedTable)| known.is_another(name, &table.mark);
    let (name, _) = observed.tables.iter().find(replaced)?;
    Some(format!("{name} was removed and made again"))
}

/// A job without intervals.
fn whole(sink: &Sink, changed_files: Option<&str>, observed: &Observed) -> Step {
    let mut changed = changed_files.is_some();
    let reads = reads(sink);
    if reads == Reads::Comparison {
        let changed = changed || observed.tables.values().any(|table| table.since != Since::Nothing);
        return if changed { Step::Observe } else { Step::Nothing };
    }
    for (name, table) in &observed.tables {
        match (table.read, &table.since) {
            (_, Since::Nothing) => {}
            (Read::All, _) => return Step::Rebuild(format!("{name} changed and is read whole")),
            (Read::Changed, Since::Unknown) => return Step::Rebuild(not_comparable(name)),
            (Read::Changed, Since::Changed(_)) => changed = true,
        }
    }
    if let Some(reason) = apart(observed).or_else(|| observed.unproven.clone().filter(|_| changed)) {
        return Step::Rebuild(reason);
    }
    match (changed, changed_files, reads) {
        (false, ..) => Step::Nothing,
        (true, _, Reads::Everything) => Step::Rebuild("the sink overwrites".to_owned()),
        // Rows of other files may belong to the same keys or partitions.
        (true, Some(what), Reads::Groups) => Step::Rebuild(format!("{what}, and the sink replaces rows of all files")),
        (true, ..) => Step::Changes { intervals: IntervalSet::default(), again: IntervalSet::default() },
    }
}

fn not_comparable(name: &TableName) -> String {
    format!("{name} was not read before, or what was read is gone or of other types")
}

/// Why two sources that both changed cannot be read by their changes: their groups are unrelated.
fn apart(observed: &Observed) -> Option<String> {
    let in_groups = |table: &ObservedTable| table.read == Read::Changed && !table.by.is_empty();
    let mut changed = observed.tables.iter().filter(|(_, table)| in_groups(table) && table.since != Since::Nothing);
    let (first, one) = changed.next()?;
    let same =
        |other: &ObservedTable| other.by.len() == one.by.len() && other.by.iter().all(|column| one.by.contains(column));
    let (second, _) = changed.find(|(_, other)| !same(other))?;
    Some(format!("{first} and {second} changed, which are read by different columns"))
}

/// Intervals of one job: ended, computed and requested ones.
struct Work<'a> {
    known: &'a Bookmarks,
    unit: Option<IntervalUnit>,
    /// End of the last unit that has ended.
    until: DateTime<Utc>,
    due: IntervalSet,
    asked: IntervalSet,
    missing_only: bool,
}

impl<'a> Work<'a> {
    fn new(job: JobRules<'_>, known: &'a Bookmarks, asked: &Asked, now: DateTime<Utc>) -> Result<Self> {
        let Some(rules) = job.interval else {
            let none = IntervalSet::default();
            return Ok(Self { known, unit: None, until: now, due: none.clone(), asked: none, missing_only: false });
        };
        let until = rules.unit.floor(now);
        if let Some(interval) = asked.interval {
            interval.check_aligned(rules.unit)?;
            if interval.end > until {
                return Err(Error::invalid(format!(
                    "{interval} has not ended: choose an end that is not after {}",
                    until.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                )));
            }
        }
        let due = Interval::new(rules.unit.floor(rules.start), until).ok();
        let missing_only = asked.missing_only;
        Ok(Self { known, unit: Some(rules.unit), until, due: due.into(), asked: asked.interval.into(), missing_only })
    }

    /// For a new table: the requested intervals, else all due ones. Later runs fill the rest.
    fn first(&self) -> IntervalSet {
        if self.asked.is_empty() { self.due.clone() } else { self.asked.clone() }
    }

    /// For a rebuild: keeps all intervals that the table had, as whole units. A former unit of the job may have been shorter, so that
    /// the table had parts of units: they are computed as a whole, or left to a later run if they have not ended.
    fn all(&self) -> IntervalSet {
        let ended = |unit: &Interval| unit.end <= self.until;
        let parts = self.units(&self.known.intervals).without(&self.whole_units());
        let parts: IntervalSet = self.split(&parts).filter(ended).collect();
        self.due.union(&self.asked).union(&self.whole_units()).union(&parts)
    }

    /// Computes missing or requested intervals, and those whose source rows changed.
    fn changes(&self, sink: &Sink, rules: IntervalRules, changed_files: Option<&str>, observed: &Observed) -> Step {
        let covered = &self.known.intervals;
        if *covered != self.whole_units() {
            return Step::Rebuild(format!("the table has parts of {}", rules.unit));
        }
        let stale = match self.stale(changed_files, observed) {
            Ok(stale) => stale.intersection(covered),
            Err(reason) => return Step::Rebuild(reason),
        };
        let missing = match (self.asked.is_empty(), self.missing_only) {
            (true, _) => self.due.without(covered),
            (false, true) => self.asked.without(covered),
            (false, false) => self.asked.clone(),
        };
        let again = stale.union(&missing.intersection(covered));
        let work = missing.union(&stale);
        match (work.is_empty(), sink) {
            (true, _) => Step::Nothing,
            (false, Sink::Overwrite {}) => Step::Rebuild("the sink overwrites".to_owned()),
            (false, Sink::Append {}) if !again.is_empty() => {
                Step::Rebuild(format!("{again} is computed again, and an appending sink cannot find its rows"))
            }
            (false, Sink::OverwritePartitions { .. }) if !rules.partitions_within && !covered.is_empty() => {
                Step::Rebuild("a partition may hold rows of several intervals".to_owned())
            }
            (false, _) if !observed.files.is_empty() && work.iter().count() > 1 => {
                Step::Rebuild(format!("{work} are computed, and a query over files is evaluated for one span of time"))
            }
            (false, _) if rules.has_quarantine && !again.is_empty() => {
                Step::Rebuild(format!("{again} is computed again, and its rows in the quarantine cannot be found"))
            }
            // Every run reads all files, and would reject the same lines again.
            (false, _) if rules.has_quarantine && !observed.files.is_empty() => {
                Step::Rebuild("all files are read, and their rows in the quarantine cannot be told apart".to_owned())
            }
            (false, _) => Step::Changes { intervals: work, again },
        }
    }

    /// Units whose source rows changed, or why these are unknown.
    fn stale(&self, changed_files: Option<&str>, observed: &Observed) -> std::result::Result<IntervalSet, String> {
        if self.known.intervals.is_empty() {
            return Ok(IntervalSet::default());
        }
        if let Some(what) = changed_files {
            return Err(format!("{what}, and any interval may hold their rows"));
        }
        let mut stale = IntervalSet::default();
        for (name, table) in &observed.tables {
            match &table.since {
                Since::Nothing => {}
                Since::Unknown => return Err(not_comparable(name)),
                Since::Changed(Reach::Anything) => {
                    return Err(format!("{name} changed, and the query does not filter it by its interval alone"));
                }
                Since::Changed(Reach::Within(times)) => stale = stale.union(&self.units(times)),
            }
        }
        Ok(stale)
    }

    /// The intervals that the table has, without parts of units.
    fn whole_units(&self) -> IntervalSet {
        let Some(unit) = self.unit else { return self.known.intervals.clone() };
        let whole = |time: Interval| {
            let first = unit.floor(time.start);
            let start = if first == time.start { first } else { unit.next(time.start) };
            Interval::new(start, unit.floor(time.end)).ok()
        };
        self.known.intervals.iter().filter_map(whole).collect()
    }

    /// The units of these times.
    fn split<'s>(&self, times: &'s IntervalSet) -> impl Iterator<Item = Interval> + use<'s> {
        let unit = self.unit;
        times.iter().flat_map(move |time| unit.into_iter().flat_map(move |unit| time.split(unit)))
    }

    /// Whole units that overlap these times.
    fn units(&self, times: &IntervalSet) -> IntervalSet {
        let Some(unit) = self.unit else { return IntervalSet::default() };
        let whole = |time: Interval| {
            let last = unit.floor(time.end);
            let end = if last == time.end { last } else { unit.next(time.end) };
            Interval { start: unit.floor(time.start), end }
        };
        times.iter().map(whole).collect()
    }
}

#[cfg(test)]
mod tests;
