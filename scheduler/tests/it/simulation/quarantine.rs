//! Rejected rows: files of the quarantine's versions, and what they should hold.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::commit::EntrySummary;
use pulse_core::commit::pair::{Named, QuarantineFiles};

use super::Violation;
use super::tables::{Consumed, Entry, JobNo, Tables, Written};

/// A rejected row: of which file of the source, and of which of its contents.
pub(super) type Row = (u64, u64);
/// Rows of each file, by name.
pub(super) type Files = BTreeMap<String, BTreeSet<Row>>;

/// A version of a quarantine, whole.
#[derive(Debug, Clone, Default)]
pub(super) struct QuarantineEntry {
    pub(super) summary: EntrySummary,
    pub(super) sequence: i64,
    pub(super) files: Files,
    /// Files with rows that were not there before.
    pub(super) added: BTreeSet<String>,
}

/// A commit to a quarantine.
#[derive(Debug, Clone)]
pub(super) struct QuarantineCommit {
    pub(super) summary: EntrySummary,
    pub(super) sequence: i64,
    pub(super) removes: BTreeSet<String>,
    pub(super) adds: Files,
    pub(super) added: BTreeSet<String>,
}

/// What a reader of a quarantine finds.
#[derive(Debug, Clone)]
pub(super) struct QuarantineState {
    pub(super) version: Option<u64>,
    pub(super) newest: QuarantineEntry,
    /// Of the version asked for.
    pub(super) named: Option<Files>,
}

impl QuarantineState {
    pub(super) fn now(&self) -> QuarantineFiles {
        QuarantineFiles { version: self.version, files: self.newest.files.keys().cloned().collect() }
    }
}

/// Whether a file of this content has a row that is rejected.
pub(super) fn is_rejected((file, content): Row) -> bool {
    !(file + content).is_multiple_of(3)
}

impl Tables {
    pub(super) fn quarantine(&self, job: JobNo, named: Option<u64>) -> QuarantineState {
        let log = &self.quarantines[job];
        let of = |version: u64| log.get(usize::try_from(version).unwrap()).map(|entry| entry.files.clone());
        QuarantineState {
            version: (log.len() as u64).checked_sub(1),
            newest: log.last().cloned().unwrap_or_default(),
            named: named.and_then(of),
        }
    }

    /// Content of a source's file after so many corrections: 0 as it came, else one more than the newest of its own.
    pub(super) fn content(&self, file: u64, corrections: u64) -> u64 {
        let newest = self.corrected.iter().take(usize::try_from(corrections).unwrap()).rposition(|of| *of == file);
        newest.map_or(0, |at| at as u64 + 1)
    }

    /// Files that the corrections between two numbers of them concern.
    pub(super) fn corrected_in(&self, from: u64, to: u64) -> BTreeSet<u64> {
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        self.corrected[from..to].iter().copied().collect()
    }

    pub(super) fn write_quarantine(
        &mut self,
        job: JobNo,
        version: u64,
        commit: QuarantineCommit,
    ) -> Result<Written, Violation> {
        let log = &mut self.quarantines[job];
        let next = log.len() as u64;
        if version != next {
            return match version < next {
                true => Ok(Written::Before),
                false => Err(Violation(format!("quarantine {job}: version {version} was written before {next}"))),
            };
        }
        let mut files = log.last().map(|entry| entry.files.clone()).unwrap_or_default();
        let QuarantineCommit { summary, sequence, removes, adds, added } = commit;
        for file in &removes {
            if files.remove(file).is_none() {
                return Err(Violation(format!(
                    "quarantine {job}: version {version} removes {file}, which is not there"
                )));
            }
        }
        for (file, rows) in adds {
            if files.insert(file.clone(), rows).is_some() {
                return Err(Violation(format!("quarantine {job}: version {version} adds {file}, which is there")));
            }
        }
        log.push(QuarantineEntry { summary, sequence, files, added });
        Ok(Written::Now)
    }

    /// Rejected rows of all that was consumed.
    fn expected(&self, consumed: Consumed) -> Vec<Row> {
        let rows = (0..consumed.files).map(|file| (file, self.content(file, consumed.corrections)));
        rows.filter(|row| is_rejected(*row)).collect()
    }

    /// What an entry names is what belongs to it, whatever the quarantine's newest version is.
    pub(super) fn check_named(&self, job: JobNo, entry: &Entry) -> Result<(), Violation> {
        let version = match entry.named {
            Named::Unknown => return Ok(()),
            Named::Nothing => None,
            Named::Version(version) => Some(version),
        };
        let files = version.and_then(|version| self.quarantine(job, Some(version)).named).unwrap_or_default();
        self.check_rows(job, &files, entry.consumed).map_err(|Violation(what)| Violation(format!("as named: {what}")))
    }

    /// The newest version holds exactly the rejected rows of the files that the table's log says are consumed, each once.
    pub(super) fn check_quarantine(&self, job: JobNo) -> Result<(), Violation> {
        self.check_rows(job, &self.quarantine(job, None).newest.files, self.consumed(job))
    }

    fn check_rows(&self, job: JobNo, files: &Files, consumed: Consumed) -> Result<(), Violation> {
        let mut found: Vec<Row> = files.values().flatten().copied().collect();
        found.sort_unstable();
        let expected = self.expected(consumed);
        match found == expected {
            true => Ok(()),
            false => Err(Violation(format!("quarantine {job} holds {found:?} instead of {expected:?}"))),
        }
    }
}
