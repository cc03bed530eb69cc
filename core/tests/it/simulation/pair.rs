//! The two commits of a run, and the look after the quarantine.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::ErrorKind;
use pulse_core::commit::pair::{Named, PairAction, PairEvent, PairOutcome, PairProtocol};
use pulse_core::commit::{
    CommitAction, CommitEvent, CommitIntent, CommitOutcome, CommitProtocol, EntrySummary, Removal,
};
use pulse_core::trigger::RunOutcome;

use super::drive::{Shared, Told};
use super::quarantine::{Files, QuarantineCommit, Row, is_rejected};
use super::store::{Answer, Consumed, Entry, Op, Store, TableState};
use super::task::{Fate, Pins, State, Task, Writing, end};
use super::{Bug, Pending, run_id};

/// Writes to the quarantine.
const TRIES: u32 = 16;

fn transactions() -> BTreeSet<String> {
    ["pulse/sequence".to_owned(), "pulse/table/source".to_owned()].into()
}

impl Task {
    /// The version that the files of the quarantine are taken from, beside the newest.
    pub(super) fn named(&self, table: &TableState, shared: &Shared) -> Option<u64> {
        match table.named {
            Named::Version(version) if !is_unnamed(shared) => Some(version),
            Named::Version(_) | Named::Nothing | Named::Unknown => None,
        }
    }

    fn attempt_name(&self) -> String {
        format!("{}.{}", self.name, self.attempt)
    }

    pub(super) fn computed(&mut self, pins: Pins, shared: &mut Shared, fate: Fate<'_>) -> Pending {
        shared.inbox.push_back(Told::Progressed(self.job));
        if !shared.holds(fate.now) {
            return self.failed(shared, ErrorKind::Unavailable);
        }
        let before = self.before(&pins, shared);
        self.stage(&pins, before, fate.store);
        let summary = EntrySummary {
            run: Some(run_id(shared.trigger, self.job)),
            attempt: Some(self.attempt_name()),
            redefines: pins.table.next == 0,
            transactions: transactions(),
            removes: BTreeSet::new(),
            adds_rows: true,
        };
        let (read, consumed) = (pins.table.consumed, pins.source);
        let entry = Entry { summary, read, consumed, trigger: Some(shared.trigger), named: Named::Unknown };
        self.entry = Some(entry);
        self.committing = true;
        let wanted = self.wanted.keys().cloned().collect();
        let (pair, action) = PairProtocol::commit(pins.table.sequence, &pins.quarantine.now(), wanted, TRIES);
        self.pins = Some(pins);
        self.pair = Some(pair);
        self.follow(action, shared, fate.now)
    }

    /// Files of the quarantine that the run goes out from.
    fn before(&self, pins: &Pins, shared: &Shared) -> Files {
        let newest = &pins.quarantine.newest;
        if is_unnamed(shared) {
            // The planted bug: of what the newest version holds, what has the number that the run will have is taken for that
            // of a run that died.
            let orphaned = newest.sequence > pins.table.sequence;
            let is_orphan = |file: &String| orphaned && newest.added.contains(file);
            return newest.files.clone().into_iter().filter(|(file, _)| !is_orphan(file)).collect();
        }
        match pins.table.named {
            Named::Version(_) => pins.quarantine.named.clone().unwrap_or_default(),
            Named::Nothing => Files::new(),
            // Nothing was committed yet: all of it goes.
            Named::Unknown => Files::new(),
        }
    }

    /// Rows of corrected files go, those of what was read come.
    fn stage(&mut self, pins: &Pins, before: Files, store: &Store) {
        let (Consumed { files: from, corrections: since }, now) = (pins.table.consumed, pins.source);
        let corrected = store.corrected_in(since, now.corrections);
        let dead: BTreeSet<u64> = corrected.into_iter().filter(|file| *file < from).collect();
        let name = self.attempt_name();
        let (mut wanted, mut moved) = (Files::new(), BTreeSet::new());
        for (file, rows) in before {
            if rows.iter().any(|(of, _)| dead.contains(of)) {
                moved.extend(rows.into_iter().filter(|(of, _)| !dead.contains(of)));
            } else {
                wanted.insert(file, rows);
            }
        }
        let read = (from..now.files).chain(dead).map(|file| (file, store.content(file, now.corrections)));
        let new: BTreeSet<Row> = read.filter(|row| is_rejected(*row)).collect();
        self.staged.clear();
        if !new.is_empty() {
            self.staged.insert(format!("{name}/new"));
            wanted.insert(format!("{name}/new"), new);
        }
        if !moved.is_empty() {
            wanted.insert(format!("{name}/moved"), moved);
        }
        self.wanted = wanted;
    }

    /// Ends so, after a look whether the quarantine is what the table names.
    pub(super) fn settle(
        &mut self,
        ended: (RunOutcome, Option<u64>),
        shared: &mut Shared,
        now: DateTime<Utc>,
    ) -> Pending {
        if is_unnamed(shared) || shared.bug == Some(Bug::QuarantineLeft) {
            return end(shared, self.job, ended.0, ended.1);
        }
        self.ended = Some(ended);
        let (pair, action) = PairProtocol::settle(TRIES);
        self.pair = Some(pair);
        self.follow(action, shared, now)
    }

    pub(super) fn answered(&mut self, answer: Answer, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let event = match answer {
            Answer::Table(table) => PairEvent::Table { sequence: table.sequence, named: table.named },
            Answer::Quarantine(quarantine) => {
                let named = quarantine.named.as_ref().map(|files| files.keys().cloned().collect());
                let event = PairEvent::Quarantine { now: quarantine.now(), named };
                if self.ended.is_some() {
                    self.wanted = quarantine.named.unwrap_or_default();
                }
                event
            }
            Answer::Entry(entry) => PairEvent::Behind(entry.is_some()),
            _ => return self.failed(shared, ErrorKind::Unavailable),
        };
        self.tell(event, shared, now)
    }

    fn tell(&mut self, event: PairEvent, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let ended = PairAction::Done(PairOutcome::Overtaken);
        let action = self.pair.as_mut().map_or(ended, |pair| pair.apply(event));
        self.follow(action, shared, now)
    }

    fn follow(&mut self, action: PairAction, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        self.state = State::Pair;
        match action {
            PairAction::ReadTable => Pending::Op(Op::ReadTable(self.job)),
            PairAction::ReadQuarantine { named } => Pending::Op(Op::ReadQuarantine(self.job, named)),
            PairAction::LookBehind { .. } if shared.bug == Some(Bug::QuarantineLeft) => {
                self.tell(PairEvent::Behind(false), shared, now)
            }
            PairAction::LookBehind { names } => {
                Pending::Op(Op::ReadQuarantineEntry(self.job, names.map_or(0, |version| version + 1)))
            }
            PairAction::CommitQuarantine { after, removes, adds } => {
                self.commit_quarantine(after, removes, &adds, shared, now)
            }
            PairAction::CommitTable { names } => {
                let (Some(mut entry), Some(pins)) = (self.entry.clone(), &self.pins) else {
                    return self.failed(shared, ErrorKind::Internal);
                };
                entry.named = match names {
                    _ if is_unnamed(shared) => Named::Unknown,
                    names => Named::at(names),
                };
                let removal = if self.job.is_multiple_of(2) { Removal::Independent } else { Removal::FromRows };
                let next = pins.table.next;
                self.write((next, entry.summary.clone(), removal), Writing::Table(entry), shared, now)
            }
            PairAction::Done(PairOutcome::Settled | PairOutcome::Unsettled) => match self.ended {
                Some((outcome, version)) => end(shared, self.job, outcome, version),
                None => self.failed(shared, ErrorKind::Internal),
            },
            PairAction::Done(PairOutcome::Overtaken) => self.overtaken(shared),
        }
    }

    fn commit_quarantine(
        &mut self,
        after: Option<u64>,
        removes: BTreeSet<String>,
        adds: &BTreeSet<String>,
        shared: &mut Shared,
        now: DateTime<Utc>,
    ) -> Pending {
        let summary = EntrySummary {
            run: Some(run_id(shared.trigger, self.job)),
            attempt: Some(format!("{}/{}", self.attempt_name(), after.map_or(0, |version| version + 1))),
            redefines: after.is_none(),
            transactions: transactions(),
            removes: removes.clone(),
            adds_rows: !adds.is_empty(),
        };
        let sequence = self.pins.as_ref().map_or(0, |pins| pins.table.sequence) + 1;
        let adds: Files = self.wanted.clone().into_iter().filter(|(file, _)| adds.contains(file)).collect();
        let commit = QuarantineCommit { summary, sequence, removes, adds, added: self.staged.clone() };
        let next = after.map_or(0, |version| version + 1);
        self.write((next, commit.summary.clone(), Removal::FromRows), Writing::Quarantine(commit), shared, now)
    }

    fn write(
        &mut self,
        (next, summary, removal): (u64, EntrySummary, Removal),
        writing: Writing,
        shared: &mut Shared,
        now: DateTime<Utc>,
    ) -> Pending {
        let intent = CommitIntent {
            run: summary.run.unwrap_or_default(),
            attempt: summary.attempt.unwrap_or_default(),
            transactions: summary.transactions,
            removes: summary.removes,
            removal,
        };
        let protocol = CommitProtocol::new(intent, next, 5);
        let action = protocol.start();
        self.protocol = Some(protocol);
        self.writing = Some(writing);
        self.carry_out(action, shared, now)
    }

    pub(super) fn commit(&mut self, event: CommitEvent, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let action = self.protocol.as_mut().map_or(CommitAction::GiveUp, |protocol| protocol.apply(event));
        self.carry_out(action, shared, now)
    }

    fn carry_out(&mut self, action: CommitAction, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        match action {
            CommitAction::Write { version, retry } => {
                let op = match self.writing.clone() {
                    Some(Writing::Table(entry)) => Op::WriteEntry(self.job, version, entry),
                    Some(Writing::Quarantine(commit)) => Op::WriteQuarantine(self.job, version, commit),
                    None => return self.failed(shared, ErrorKind::Internal),
                };
                if retry == 0 {
                    self.state = State::Write;
                    return Pending::Op(op);
                }
                self.state = State::Backoff(op);
                Pending::Sleep { until: now + TimeDelta::milliseconds(20) }
            }
            CommitAction::Read { version } => {
                self.state = State::Read;
                Pending::Op(match self.writing {
                    Some(Writing::Quarantine(_)) => Op::ReadQuarantineEntry(self.job, version),
                    Some(Writing::Table(_)) | None => Op::ReadEntry(self.job, version),
                })
            }
            CommitAction::Done(outcome) => self.committed(outcome, shared, now),
            CommitAction::GiveUp => self.failed(shared, ErrorKind::Unavailable),
            CommitAction::Overtaken => self.failed(shared, ErrorKind::Conflict),
        }
    }

    fn committed(&mut self, outcome: CommitOutcome, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let version = match outcome {
            CommitOutcome::Committed { version } | CommitOutcome::AlreadyCommitted { version } => Some(version),
            CommitOutcome::CommittedByAnother { .. } | CommitOutcome::Conflict { .. } => None,
        };
        let event = match (&self.writing, version) {
            (Some(Writing::Quarantine(_)), Some(version)) => PairEvent::QuarantineCommitted { version },
            // The planted bug: the run plans again.
            (Some(Writing::Quarantine(_)), None) if is_unnamed(shared) => return self.overtaken(shared),
            (Some(Writing::Quarantine(_)), None) => PairEvent::QuarantineOvertaken,
            (_, Some(version)) => {
                self.ended = Some((RunOutcome::Succeeded, Some(version)));
                if is_unnamed(shared) {
                    return end(shared, self.job, RunOutcome::Succeeded, Some(version));
                }
                PairEvent::TableCommitted
            }
            (_, None) => PairEvent::TableOvertaken,
        };
        self.tell(event, shared, now)
    }
}

fn is_unnamed(shared: &Shared) -> bool {
    shared.bug == Some(Bug::QuarantineUnnamed)
}
