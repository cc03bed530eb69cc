//! Tables as logs of commits: each holds so much of its source. What must hold at every commit is checked here, where no
//! reader can have seen it yet.

use std::collections::BTreeSet;

use pulse_core::commit::EntrySummary;
use pulse_core::commit::pair::Named;
use pulse_core::name::TableName;

use super::Violation;
use super::quarantine::QuarantineEntry;

/// Index of a job and of its table.
pub(super) type JobNo = usize;

/// Which table each job reads; none reads what comes from outside.
pub(super) type Sources = Vec<Option<JobNo>>;

pub(super) fn job_name(job: JobNo) -> TableName {
    TableName::new("t", &format!("j{job}")).unwrap()
}

pub(super) fn job_no(name: &TableName) -> JobNo {
    name.table()[1..].parse().unwrap()
}

/// How much of its source a table holds: so many files, and so many corrections of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Consumed {
    pub(super) files: u64,
    pub(super) corrections: u64,
}

/// An entry of a table's log. A commit of a job holds what its source had more at `consumed` than at `read`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) summary: EntrySummary,
    pub(super) read: Consumed,
    pub(super) consumed: Consumed,
    /// Somebody's commit that only rearranges rows is no run's.
    pub(super) is_of_run: bool,
    pub(super) named: Named,
}

/// What a table's log says.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableState {
    /// The version after the newest.
    pub(super) next: u64,
    pub(super) consumed: Consumed,
    /// Number of commits of runs.
    pub(super) sequence: i64,
    pub(super) named: Named,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) sources: Sources,
    /// What came from outside so far.
    pub(super) arrived: u64,
    /// Which of these files was corrected, one after the other.
    pub(super) corrected: Vec<u64>,
    pub(super) tables: Vec<Vec<Entry>>,
    pub(super) quarantines: Vec<Vec<QuarantineEntry>>,
    /// Runs whose commit may have come unnoticed: after their end was recorded, or from a driver that was given up.
    pub(super) late: BTreeSet<String>,
}

/// Whether a version was written, or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Now,
    Before,
}

impl Tables {
    pub(super) fn new(sources: Sources) -> Self {
        let jobs = sources.len();
        Self { tables: vec![Vec::new(); jobs], quarantines: vec![Vec::new(); jobs], sources, ..Self::default() }
    }

    pub(super) fn table(&self, job: JobNo) -> TableState {
        let log = &self.tables[job];
        let newest = log.iter().rev().find(|entry| entry.is_of_run);
        TableState {
            next: log.len() as u64,
            consumed: self.consumed(job),
            sequence: i64::try_from(log.iter().filter(|entry| entry.is_of_run).count()).unwrap(),
            named: newest.map_or(Named::Unknown, |entry| entry.named),
        }
    }

    pub(super) fn consumed(&self, job: JobNo) -> Consumed {
        self.tables[job].iter().rev().find(|entry| entry.is_of_run).map_or(Consumed::default(), |e| e.consumed)
    }

    pub(super) fn source(&self, job: JobNo) -> Consumed {
        match self.sources[job] {
            Some(source) => Consumed { files: self.tables[source].len() as u64, corrections: 0 },
            None => Consumed { files: self.arrived, corrections: self.corrected.len() as u64 },
        }
    }

    /// The version that a run committed.
    pub(super) fn committed(&self, job: JobNo, run: &str) -> Option<u64> {
        let is_of = |entry: &Entry| entry.summary.run.as_deref() == Some(run);
        self.tables[job].iter().position(is_of).map(|version| version as u64)
    }

    pub(super) fn entry(&self, job: JobNo, version: u64) -> Option<EntrySummary> {
        let version = usize::try_from(version).unwrap();
        self.tables[job].get(version).map(|entry| entry.summary.clone())
    }

    pub(super) fn quarantine_entry(&self, job: JobNo, version: u64) -> Option<EntrySummary> {
        let version = usize::try_from(version).unwrap();
        self.quarantines[job].get(version).map(|entry| entry.summary.clone())
    }

    pub(super) fn write(&mut self, job: JobNo, version: u64, entry: Entry) -> Result<Written, Violation> {
        let next = self.tables[job].len() as u64;
        if version < next {
            return Ok(Written::Before);
        }
        if version > next {
            return Err(Violation(format!("job {job}: version {version} was written before {next}")));
        }
        self.check_consumed(job, &entry)?;
        self.check_named(job, &entry)?;
        let run = entry.summary.run.clone().unwrap_or_default();
        if let Some(before) = self.committed(job, &run) {
            return Err(Violation(format!("run {run} commits version {version} after {before}")));
        }
        self.tables[job].push(entry);
        Ok(Written::Now)
    }

    fn check_consumed(&self, job: JobNo, entry: &Entry) -> Result<(), Violation> {
        let (before, Entry { read, consumed, .. }) = (self.consumed(job), entry);
        if *read != before {
            let what = if read.files < before.files { "doubled" } else { "lost" };
            return Err(Violation(format!("job {job}: {read:?} to {consumed:?} is {what}, {before:?} was there")));
        }
        if consumed.files < before.files || consumed.corrections < before.corrections || *consumed == before {
            return Err(Violation(format!("job {job}: the bookmark goes from {before:?} to {consumed:?}")));
        }
        Ok(())
    }

    /// Somebody's optimize: a commit that no run must mind.
    pub(super) fn rearrange(&mut self, job: JobNo) {
        if !self.tables[job].is_empty() {
            let (read, consumed) = (Consumed::default(), Consumed::default());
            let (summary, named) = (EntrySummary::default(), Named::Unknown);
            self.tables[job].push(Entry { summary, read, consumed, is_of_run: false, named });
        }
    }

    /// After everything has ended, nothing is left to read, and nothing that no table names is in quarantine.
    pub(super) fn check_end(&self) -> Result<(), Violation> {
        for job in 0..self.tables.len() {
            let (consumed, source) = (self.consumed(job), self.source(job));
            if consumed.files < source.files || consumed.corrections != source.corrections {
                return Err(Violation(format!("job {job} has read {consumed:?} of {source:?} in the end")));
            }
            self.check_quarantine(job)?;
        }
        Ok(())
    }
}
