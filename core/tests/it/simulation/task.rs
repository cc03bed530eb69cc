//! One attempt of a run: pins, looks for an earlier commit, computes, commits.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::ErrorKind;
use pulse_core::commit::{
    CommitAction, CommitEvent, CommitIntent, CommitOutcome, CommitProtocol, EntrySummary, Removal,
};
use pulse_core::trigger::RunOutcome;

use super::drive::{Shared, Told};
use super::random::Random;
use super::store::{Answer, Entry, JobNo, Op};
use super::{Bug, Pending, run_id};

/// Of a run that others overtake.
const ATTEMPTS: u32 = 3;

#[derive(Debug)]
enum State {
    PinTable,
    PinSource { next: u64, from: u64 },
    Look { next: u64, from: u64, to: u64 },
    Compute { next: u64, from: u64, to: u64 },
    Write,
    Read,
    Backoff(Op),
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) shared: usize,
    pub(super) job: JobNo,
    /// Another attempt may have committed.
    begun: bool,
    state: State,
    attempt: u32,
    protocol: Option<CommitProtocol>,
    entry: Option<Entry>,
    version: u64,
    /// It has begun to commit, once at least.
    committing: bool,
    /// Told by the world, so that attempts differ.
    name: u64,
}

/// How one attempt is to go.
pub(super) struct Fate<'a> {
    pub(super) random: &'a mut Random,
    pub(super) faulty: bool,
    pub(super) now: DateTime<Utc>,
}

impl Task {
    pub(super) fn new(shared: usize, job: JobNo, begun: bool, name: u64) -> Self {
        let state = State::PinTable;
        Self { shared, job, begun, state, attempt: 1, protocol: None, entry: None, version: 0, committing: false, name }
    }

    pub(super) fn first(&self) -> Pending {
        Pending::Op(Op::PinTable(self.job))
    }

    /// What is committed is told as such; anything else may be cut off.
    pub(super) fn is_committing(&self) -> bool {
        self.protocol.is_some()
    }

    pub(super) fn stop(&self, shared: &mut Shared) -> Pending {
        end(shared, self.job, RunOutcome::Cancelled, None)
    }

    pub(super) fn step(&mut self, answer: Answer, shared: &mut Shared, fate: Fate<'_>) -> Pending {
        match (std::mem::replace(&mut self.state, State::PinTable), answer) {
            (State::PinTable, Answer::Pinned { next, bookmark }) => {
                self.state = State::PinSource { next, from: bookmark };
                Pending::Op(Op::PinSource(self.job))
            }
            (State::PinSource { next, from }, Answer::Version(Some(to))) => {
                if (self.begun || self.attempt > 1) && shared.bug != Some(Bug::NoLookUp) {
                    self.state = State::Look { next, from, to };
                    return Pending::Op(Op::FindRun(self.job, run_id(shared.trigger, self.job)));
                }
                self.compute((next, from, to), shared, fate)
            }
            (State::Look { .. }, Answer::Version(Some(version))) => {
                end(shared, self.job, RunOutcome::Succeeded, Some(version))
            }
            (State::Look { next, from, to }, Answer::Version(None)) => self.compute((next, from, to), shared, fate),
            (State::Compute { next, from, to }, _) => self.computed((next, from, to), shared, fate),
            (State::Backoff(op), _) => {
                self.state = State::Write;
                Pending::Op(op)
            }
            (State::Write, answer) => {
                let event = match answer {
                    Answer::Done => CommitEvent::Written,
                    Answer::Exists => CommitEvent::AlreadyExists,
                    _ => CommitEvent::Doubtful,
                };
                self.commit(event, shared, fate.now)
            }
            (State::Read, Answer::Entry(entry)) => {
                // The planted bug: whoever came first is not looked at, be it another run or this one.
                let blind = matches!(shared.bug, Some(Bug::NoTxn | Bug::LeaseIgnoredWithoutTxn));
                let event = match entry {
                    Some(_) if blind => CommitEvent::Entry(EntrySummary::default()),
                    Some(entry) => CommitEvent::Entry(entry),
                    None => CommitEvent::NothingThere,
                };
                self.commit(event, shared, fate.now)
            }
            _ => self.failed(shared, ErrorKind::Unavailable),
        }
    }

    fn failed(&self, shared: &mut Shared, kind: ErrorKind) -> Pending {
        let outcome = RunOutcome::Failed { kind };
        told(shared, Told::Ended { job: self.job, outcome, version: None, doubtful: self.committing })
    }

    fn compute(&mut self, (next, from, to): (u64, u64, u64), shared: &mut Shared, fate: Fate<'_>) -> Pending {
        if to == from {
            return end(shared, self.job, RunOutcome::Unchanged, None);
        }
        if fate.faulty && fate.random.chance(60) {
            return self.failed(shared, ErrorKind::Unavailable);
        }
        self.state = State::Compute { next, from, to };
        let hangs = fate.faulty && fate.random.chance(30);
        let millis = if hangs { 1_000_000 } else { fate.random.between(0, 900) };
        Pending::Sleep { until: fate.now + TimeDelta::milliseconds(millis) }
    }

    fn computed(&mut self, (next, from, to): (u64, u64, u64), shared: &mut Shared, fate: Fate<'_>) -> Pending {
        shared.inbox.push_back(Told::Progressed(self.job));
        if !shared.holds(fate.now) {
            return self.failed(shared, ErrorKind::Unavailable);
        }
        let attempt = format!("{}.{}", self.name, self.attempt);
        let run = run_id(shared.trigger, self.job);
        let transactions: BTreeSet<String> = ["pulse/sequence".to_owned(), "pulse/table/source".to_owned()].into();
        let summary = EntrySummary {
            run: Some(run.clone()),
            attempt: Some(attempt.clone()),
            redefines: next == 0,
            transactions: transactions.clone(),
            removes: BTreeSet::new(),
            adds_rows: true,
        };
        self.entry = Some(Entry { summary, range: Some((from, to)), trigger: Some(shared.trigger) });
        let removal = if self.job.is_multiple_of(2) { Removal::Independent } else { Removal::FromRows };
        let intent = CommitIntent { run, attempt, transactions, removes: BTreeSet::new(), removal };
        let protocol = CommitProtocol::new(intent, next, 5);
        let action = protocol.start();
        self.committing = true;
        self.protocol = Some(protocol);
        self.carry_out(action, shared, fate.now)
    }

    fn commit(&mut self, event: CommitEvent, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let action = self.protocol.as_mut().map_or(CommitAction::GiveUp, |protocol| protocol.apply(event));
        self.carry_out(action, shared, now)
    }

    fn carry_out(&mut self, action: CommitAction, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        match action {
            CommitAction::Write { version, retry } => {
                self.version = version;
                let op = Op::WriteEntry(self.job, version, self.entry.clone().unwrap());
                if retry == 0 {
                    self.state = State::Write;
                    return Pending::Op(op);
                }
                self.state = State::Backoff(op);
                Pending::Sleep { until: now + TimeDelta::milliseconds(20) }
            }
            CommitAction::Read { version } => {
                self.state = State::Read;
                Pending::Op(Op::ReadEntry(self.job, version))
            }
            CommitAction::Done(CommitOutcome::Committed { version } | CommitOutcome::AlreadyCommitted { version }) => {
                end(shared, self.job, RunOutcome::Succeeded, Some(version))
            }
            CommitAction::Done(CommitOutcome::CommittedByAnother { .. } | CommitOutcome::Conflict { .. }) => {
                self.protocol = None;
                if self.attempt == ATTEMPTS {
                    return self.failed(shared, ErrorKind::Conflict);
                }
                self.attempt += 1;
                // Entering it again, a run that was asked to stop does.
                if shared.stops.contains(&self.job) {
                    return self.stop(shared);
                }
                self.state = State::PinTable;
                Pending::Op(Op::PinTable(self.job))
            }
            CommitAction::GiveUp => self.failed(shared, ErrorKind::Unavailable),
            CommitAction::Overtaken => self.failed(shared, ErrorKind::Conflict),
        }
    }
}

fn end(shared: &mut Shared, job: JobNo, outcome: RunOutcome, version: Option<u64>) -> Pending {
    told(shared, Told::Ended { job, outcome, version, doubtful: false })
}

fn told(shared: &mut Shared, told: Told) -> Pending {
    shared.inbox.push_back(told);
    Pending::End
}
