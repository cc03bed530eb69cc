//! The lake as drivers see it: objects that can be made once, overwritten and read, and the logs of tables.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::commit::EntrySummary;
use pulse_core::lease::Lease;
use pulse_core::run::RunState;
use pulse_core::trigger::RunOutcome;

use super::Violation;

/// Index of a trigger; its id.
pub(super) type TriggerNo = usize;
/// Index of a job and of its table.
pub(super) type JobNo = usize;

/// A run's record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Record {
    pub(super) job: JobNo,
    pub(super) state: RunState,
    pub(super) attempt: u32,
    pub(super) outcome: Option<RunOutcome>,
    pub(super) version: Option<u64>,
}

/// An entry of a table's log. A commit of a job holds the entries `from..to` of its source.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) summary: EntrySummary,
    /// None for somebody's commit that only rearranges rows.
    pub(super) range: Option<(u64, u64)>,
    pub(super) trigger: Option<TriggerNo>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    NewestLease(TriggerNo),
    ReadLease(TriggerNo, u64),
    MakeLease(TriggerNo, Lease),
    PutLease(TriggerNo, Lease),
    MakeEnded(TriggerNo, u64, u8),
    PutOpen(TriggerNo, u64),
    /// The marks of this epoch and those before.
    DeleteOpen(TriggerNo, u64),
    ListOpen,
    MakeKey(usize, TriggerNo),
    ReadKey(usize),
    MakeTrigger(TriggerNo),
    ReadTrigger(TriggerNo),
    ReadRecords(TriggerNo),
    PutRecord(TriggerNo, u64, Record),
    ReadCancel(TriggerNo),
    /// The version after a table's newest, and its bookmark.
    PinTable(JobNo),
    PinSource(JobNo),
    FindRun(JobNo, String),
    WriteEntry(JobNo, u64, Entry),
    ReadEntry(JobNo, u64),
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    Done,
    Exists,
    Failed,
    Lease(Option<Lease>),
    Flag(bool),
    Open(Vec<TriggerNo>),
    Key(Option<TriggerNo>),
    Records(Vec<Record>),
    Pinned { next: u64, bookmark: u64 },
    Version(Option<u64>),
    Entry(Option<EntrySummary>),
}

/// Which table each job reads; none reads what comes from outside.
pub(super) type Sources = Vec<Option<JobNo>>;

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) sources: Sources,
    /// What came from outside so far.
    pub(super) arrived: u64,
    pub(super) tables: Vec<Vec<Entry>>,
    pub(super) leases: BTreeMap<(TriggerNo, u64), Lease>,
    pub(super) records: BTreeMap<(TriggerNo, JobNo, u64), Record>,
    pub(super) open: BTreeSet<(TriggerNo, u64)>,
    pub(super) ended: BTreeMap<(TriggerNo, u64), u8>,
    pub(super) keys: BTreeMap<usize, TriggerNo>,
    pub(super) triggers: BTreeSet<TriggerNo>,
    pub(super) cancels: BTreeSet<TriggerNo>,
    /// Runs whose commit may have come unnoticed: after their end was recorded, or from a driver that was given up.
    pub(super) late: BTreeSet<String>,
    /// All records under one epoch: a planted bug.
    pub(super) unfenced: bool,
}

impl Store {
    pub(super) fn new(sources: Sources) -> Self {
        Self { tables: vec![Vec::new(); sources.len()], sources, ..Self::default() }
    }

    pub(super) fn is_write(op: &Op) -> bool {
        match op {
            Op::MakeLease(..)
            | Op::PutLease(..)
            | Op::MakeEnded(..)
            | Op::PutOpen(..)
            | Op::DeleteOpen(..)
            | Op::MakeKey(..)
            | Op::MakeTrigger(_)
            | Op::PutRecord(..)
            | Op::WriteEntry(..) => true,
            Op::NewestLease(_)
            | Op::ReadLease(..)
            | Op::ListOpen
            | Op::ReadKey(_)
            | Op::ReadTrigger(_)
            | Op::ReadRecords(_)
            | Op::ReadCancel(_)
            | Op::PinTable(_)
            | Op::PinSource(_)
            | Op::FindRun(..)
            | Op::ReadEntry(..) => false,
        }
    }

    /// Carries an operation out, whole and at once.
    pub(super) fn apply(&mut self, op: Op) -> Result<Answer, Violation> {
        Ok(match op {
            Op::NewestLease(trigger) => {
                Answer::Lease(self.leases.range((trigger, 0)..=(trigger, u64::MAX)).next_back().map(|(_, l)| l.clone()))
            }
            Op::ReadLease(trigger, epoch) => Answer::Lease(self.leases.get(&(trigger, epoch)).cloned()),
            Op::MakeLease(trigger, lease) => made(self.leases.entry((trigger, lease.epoch)), lease),
            Op::PutLease(trigger, lease) => {
                self.leases.insert((trigger, lease.epoch), lease);
                Answer::Done
            }
            Op::MakeEnded(trigger, epoch, exit) => made(self.ended.entry((trigger, epoch)), exit),
            Op::PutOpen(trigger, epoch) => {
                self.open.insert((trigger, epoch));
                Answer::Done
            }
            Op::DeleteOpen(trigger, epoch) => {
                self.open.retain(|(other, of)| *other != trigger || *of > epoch);
                Answer::Done
            }
            Op::ListOpen => Answer::Open(self.open_triggers()),
            Op::MakeKey(key, trigger) => made(self.keys.entry(key), trigger),
            Op::ReadKey(key) => Answer::Key(self.keys.get(&key).copied()),
            Op::MakeTrigger(trigger) => match self.triggers.insert(trigger) {
                true => Answer::Done,
                false => Answer::Exists,
            },
            Op::ReadTrigger(trigger) => Answer::Flag(self.triggers.contains(&trigger)),
            Op::ReadRecords(trigger) => Answer::Records(self.newest_records(trigger)),
            Op::PutRecord(trigger, epoch, record) => {
                let epoch = if self.unfenced { 0 } else { epoch };
                self.records.insert((trigger, record.job, epoch), record);
                Answer::Done
            }
            Op::ReadCancel(trigger) => Answer::Flag(self.cancels.contains(&trigger)),
            Op::PinTable(job) => Answer::Pinned { next: self.tables[job].len() as u64, bookmark: self.bookmark(job) },
            Op::PinSource(job) => Answer::Version(Some(self.source(job))),
            Op::FindRun(job, run) => {
                let found = self.tables[job].iter().position(|entry| entry.summary.run.as_ref() == Some(&run));
                Answer::Version(found.map(|version| version as u64))
            }
            Op::WriteEntry(job, version, entry) => self.write(job, version, entry)?,
            Op::ReadEntry(job, version) => {
                let entry = usize::try_from(version).ok().and_then(|version| self.tables[job].get(version));
                Answer::Entry(entry.map(|entry| entry.summary.clone()))
            }
        })
    }

    pub(super) fn open_triggers(&self) -> Vec<TriggerNo> {
        let mut open: Vec<TriggerNo> = self.open.iter().map(|(trigger, _)| *trigger).collect();
        open.dedup();
        open
    }

    /// The end that holds is that of the newest epoch.
    pub(super) fn exit(&self, trigger: TriggerNo) -> Option<u8> {
        self.ended.get(&(trigger, self.newest_epoch(trigger)?)).copied()
    }

    pub(super) fn newest_epoch(&self, trigger: TriggerNo) -> Option<u64> {
        self.leases.range((trigger, 0)..=(trigger, u64::MAX)).next_back().map(|((_, epoch), _)| *epoch)
    }

    pub(super) fn newest_records(&self, trigger: TriggerNo) -> Vec<Record> {
        let mut newest = BTreeMap::new();
        for ((_, job, _), record) in self.records.range((trigger, 0, 0)..=(trigger, usize::MAX, u64::MAX)) {
            newest.insert(*job, *record);
        }
        newest.into_values().collect()
    }

    /// Entries of the source that the table holds.
    pub(super) fn bookmark(&self, job: JobNo) -> u64 {
        self.tables[job].iter().rev().find_map(|entry| entry.range).map_or(0, |(_, to)| to)
    }

    pub(super) fn source(&self, job: JobNo) -> u64 {
        self.sources[job].map_or(self.arrived, |source| self.tables[source].len() as u64)
    }

    /// What must hold at every commit is looked at here, where no reader can have seen the entry yet.
    fn write(&mut self, job: JobNo, version: u64, entry: Entry) -> Result<Answer, Violation> {
        let next = self.tables[job].len() as u64;
        if version < next {
            return Ok(Answer::Exists);
        }
        if version > next {
            return Err(Violation(format!("job {job}: version {version} was written before {next}")));
        }
        if let (Some((from, to)), Some(trigger)) = (entry.range, entry.trigger) {
            let bookmark = self.bookmark(job);
            if from < bookmark {
                return Err(Violation(format!("job {job}: {from}..{to} is doubled, {bookmark} were there")));
            }
            if from > bookmark {
                return Err(Violation(format!("job {job}: {bookmark}..{from} is lost")));
            }
            if to <= bookmark {
                return Err(Violation(format!("job {job}: the bookmark goes from {bookmark} to {to}")));
            }
            let run = &entry.summary.run;
            if let Some(before) = self.tables[job].iter().position(|other| other.summary.run == *run) {
                return Err(Violation(format!("run {run:?} commits version {version} after {before}")));
            }
            self.check_upstream(trigger, job)?;
            let told = self.newest_records(trigger).into_iter().find(|record| record.job == job);
            if told.is_some_and(|record| record.state.is_final()) {
                self.late.extend(run.clone());
            }
        }
        self.tables[job].push(entry);
        Ok(Answer::Done)
    }

    /// A run starts when its upstream has succeeded, and that is told; by whichever driver started it.
    fn check_upstream(&self, trigger: TriggerNo, job: JobNo) -> Result<(), Violation> {
        let Some(upstream) = self.sources[job] else { return Ok(()) };
        let mut told = self.records.range((trigger, upstream, 0)..=(trigger, upstream, u64::MAX));
        match told.any(|(_, record)| record.state.is_success()) {
            true => Ok(()),
            false => Err(Violation(format!("trigger {trigger}: job {job} commits before its upstream"))),
        }
    }

    /// Somebody's optimize: a commit that no run must mind.
    pub(super) fn rearrange(&mut self, job: JobNo) {
        if !self.tables[job].is_empty() {
            self.tables[job].push(Entry { summary: EntrySummary::default(), range: None, trigger: None });
        }
    }
}

fn made<K: Ord, V>(place: std::collections::btree_map::Entry<'_, K, V>, value: V) -> Answer {
    match place {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(value);
            Answer::Done
        }
        std::collections::btree_map::Entry::Occupied(_) => Answer::Exists,
    }
}
