//! `defects.json`: what was planted, and what correct readers must find.

use std::collections::BTreeMap;

use serde::Serialize;

use super::calendar::Session;
use super::defect::{Fate, Planted};
use super::{Feed, Hours, Plan, PlannedFile};

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    pub feed: Feed,
    /// Below the output's root.
    pub path: String,
    /// Lines after the header.
    pub rows: u64,
    pub bytes: u64,
    /// Bars of regular sessions that reach silver.
    pub regular: u64,
    pub planted: Planted,
}

impl FileRecord {
    pub(super) fn new(file: &PlannedFile) -> Self {
        Self { feed: file.feed, path: file.path(), rows: 0, bytes: 0, regular: 0, planted: Planted::new() }
    }
}

/// All of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    pub planted: Planted,
}

/// The document `defects.json`.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    options: Options,
    /// Of the intraday feed, both included.
    first_session: String,
    last_session: String,
    feeds: BTreeMap<Feed, FeedEntry>,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Debug, Serialize)]
struct Options {
    symbols: u32,
    sessions: u32,
    seed: u64,
    defects: f64,
    hours: Hours,
}

#[derive(Debug, Default, Serialize)]
struct FeedEntry {
    files: u64,
    bytes: u64,
    rows: u64,
    planted: Planted,
    expected: Expected,
}

/// Counts of rows in the tables of a correct project.
#[derive(Debug, Default, Serialize)]
struct Expected {
    /// Rows that the reader quarantines.
    bronze_rejected: u64,
    bronze_kept: u64,
    /// Rows of bronze that are quarantined on the way to silver.
    silver_quarantined: u64,
    /// Rows of bronze whose bar is in silver already.
    silver_dropped: u64,
    silver_kept: u64,
    /// Those of `silver_kept` that are inside the session; all of the daily feed.
    silver_regular: u64,
}

#[derive(Debug, Serialize)]
struct FileEntry {
    rows: u64,
    #[serde(skip_serializing_if = "Planted::is_empty")]
    planted: Planted,
}

impl Record {
    pub(super) fn new(plan: &Plan) -> Self {
        let date = |session: Option<&Session>| session.map(|session| session.date.to_string()).unwrap_or_default();
        let options = &plan.options;
        Self {
            options: Options {
                symbols: options.symbols,
                sessions: options.sessions,
                seed: options.seed,
                defects: options.defects,
                hours: options.hours,
            },
            first_session: date(plan.intraday.first()),
            last_session: date(plan.intraday.last()),
            feeds: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, file: FileRecord) {
        let feed = self.feeds.entry(file.feed).or_default();
        feed.files += 1;
        feed.bytes += file.bytes;
        feed.rows += file.rows;
        add(&mut feed.planted, &file.planted);
        feed.expected.add(&file);
        self.files.insert(file.path, FileEntry { rows: file.rows, planted: file.planted });
    }

    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary { files: 0, rows: 0, bytes: 0, planted: Planted::new() };
        for feed in self.feeds.values() {
            summary.files += feed.files;
            summary.rows += feed.rows;
            summary.bytes += feed.bytes;
            add(&mut summary.planted, &feed.planted);
        }
        summary
    }
}

impl Expected {
    fn add(&mut self, file: &FileRecord) {
        let rows_of = |fate: Fate| -> u64 {
            file.planted.iter().filter(|(defect, _)| defect.fate() == fate).map(|(_, count)| count).sum()
        };
        let (rejected, quarantined) = (rows_of(Fate::Rejected), rows_of(Fate::Quarantined));
        let dropped = rows_of(Fate::Dropped);
        self.bronze_rejected += rejected;
        self.bronze_kept += file.rows - rejected;
        self.silver_quarantined += quarantined;
        self.silver_dropped += dropped;
        self.silver_kept += file.rows - rejected - quarantined - dropped;
        self.silver_regular += file.regular;
    }
}

fn add(total: &mut Planted, more: &Planted) {
    for (defect, count) in more {
        *total.entry(*defect).or_default() += count;
    }
}
