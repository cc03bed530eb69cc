//! The lake as drivers see it: objects that can be made once, overwritten and read, and the logs of tables.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::commit::EntrySummary;
use pulse_core::commit::pair::Named;
use pulse_core::lease::Lease;
use pulse_core::run::RunState;
use pulse_core::trigger::RunOutcome;

use super::Violation;
use super::quarantine::{QuarantineCommit, QuarantineEntry, QuarantineState};

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
    /// None for somebody's commit that only rearranges rows.
    pub(super) trigger: Option<TriggerNo>,
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
    ReadTable(JobNo),
    PinSource(JobNo),
    /// The newest version, and the files of another.
    ReadQuarantine(JobNo, Option<u64>),
    WriteQuarantine(JobNo, u64, QuarantineCommit),
    ReadQuarantineEntry(JobNo, u64),
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
    Table(TableState),
    Source(Consumed),
    Quarantine(QuarantineState),
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
    /// Which of these files was corrected, one after the other.
    pub(super) corrected: Vec<u64>,
    pub(super) tables: Vec<Vec<Entry>>,
    pub(super) quarantines: Vec<Vec<QuarantineEntry>>,
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
        let jobs = sources.len();
        Self { tables: vec![Vec::new(); jobs], quarantines: vec![Vec::new(); jobs], sources, ..Self::default() }
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
            | Op::WriteQuarantine(..)
            | Op::WriteEntry(..) => true,
            Op::NewestLease(_)
            | Op::ReadLease(..)
            | Op::ListOpen
            | Op::ReadKey(_)
            | Op::ReadTrigger(_)
            | Op::ReadRecords(_)
            | Op::ReadCancel(_)
            | Op::ReadTable(_)
            | Op::ReadQuarantine(..)
            | Op::ReadQuarantineEntry(..)
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
            Op::ReadTable(job) => Answer::Table(self.table(job)),
            Op::PinSource(job) => Answer::Source(self.source(job)),
            Op::ReadQuarantine(job, named) => Answer::Quarantine(self.quarantine(job, named)),
            Op::WriteQuarantine(job, version, commit) => self.write_quarantine(job, version, commit)?,
            Op::ReadQuarantineEntry(job, version) => {
                let entry = usize::try_from(version).ok().and_then(|version| self.quarantines[job].get(version));
                Answer::Entry(entry.map(|entry| entry.summary.clone()))
            }
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

    fn table(&self, job: JobNo) -> TableState {
        let log = &self.tables[job];
        let newest = log.iter().rev().find(|entry| entry.trigger.is_some());
        TableState {
            next: log.len() as u64,
            consumed: self.consumed(job),
            sequence: i64::try_from(log.iter().filter(|entry| entry.trigger.is_some()).count()).unwrap(),
            named: newest.map_or(Named::Unknown, |entry| entry.named),
        }
    }

    pub(super) fn consumed(&self, job: JobNo) -> Consumed {
        self.tables[job].iter().rev().find(|entry| entry.trigger.is_some()).map_or(Consumed::default(), |e| e.consumed)
    }

    pub(super) fn source(&self, job: JobNo) -> Consumed {
        match self.sources[job] {
            Some(source) => Consumed { files: self.tables[source].len() as u64, corrections: 0 },
            None => Consumed { files: self.arrived, corrections: self.corrected.len() as u64 },
        }
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
        if let Some(trigger) = entry.trigger {
            self.check_consumed(job, &entry)?;
            self.check_named(job, &entry)?;
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
            let (read, consumed) = (Consumed::default(), Consumed::default());
            let (summary, named) = (EntrySummary::default(), Named::Unknown);
            self.tables[job].push(Entry { summary, read, consumed, trigger: None, named });
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
