//! One attempt of a run: pins, looks for an earlier commit, computes, commits.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::ErrorKind;
use pulse_core::commit::pair::PairProtocol;
use pulse_core::commit::{CommitEvent, CommitProtocol, EntrySummary};
use pulse_core::trigger::RunOutcome;

use super::drive::{Shared, Told};
use super::quarantine::{Files, QuarantineCommit, QuarantineState};
use super::random::Random;
use super::store::{Answer, Consumed, Entry, JobNo, Op, Store, TableState};
use super::{Bug, Pending, run_id};

/// Of a run that others overtake.
const ATTEMPTS: u32 = 3;

/// What a run read before it computed.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    pub(super) table: TableState,
    pub(super) quarantine: QuarantineState,
    pub(super) source: Consumed,
}

#[derive(Debug)]
pub(super) enum State {
    Table,
    Quarantine(TableState),
    Source(TableState, QuarantineState),
    Look(Pins),
    Compute(Pins),
    /// An answer for the protocol of both commits.
    Pair,
    /// One for that of one of them.
    Write,
    Read,
    Backoff(Op),
}

/// Which log is written to.
#[derive(Debug, Clone)]
pub(super) enum Writing {
    Table(Entry),
    Quarantine(QuarantineCommit),
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) shared: usize,
    pub(super) job: JobNo,
    /// Another attempt may have committed.
    begun: bool,
    pub(super) state: State,
    pub(super) attempt: u32,
    pub(super) pair: Option<PairProtocol>,
    pub(super) protocol: Option<CommitProtocol>,
    pub(super) writing: Option<Writing>,
    /// Of the attempt: what it read, its entry of the table's log, the files that the quarantine holds with it, and those among
    /// them with new rows.
    pub(super) pins: Option<Pins>,
    pub(super) entry: Option<Entry>,
    pub(super) wanted: Files,
    pub(super) staged: BTreeSet<String>,
    /// What is known of the end already; the quarantine is looked after yet.
    pub(super) ended: Option<(RunOutcome, Option<u64>)>,
    /// It has begun to commit, once at least.
    pub(super) committing: bool,
    /// Told by the world, so that attempts differ.
    pub(super) name: u64,
}

/// How one attempt is to go.
pub(super) struct Fate<'a> {
    pub(super) random: &'a mut Random,
    pub(super) store: &'a Store,
    pub(super) faulty: bool,
    pub(super) now: DateTime<Utc>,
}

impl Task {
    pub(super) fn new(shared: usize, job: JobNo, begun: bool, name: u64) -> Self {
        Self {
            shared,
            job,
            begun,
            state: State::Table,
            attempt: 1,
            pair: None,
            protocol: None,
            writing: None,
            pins: None,
            entry: None,
            wanted: Files::new(),
            staged: BTreeSet::new(),
            ended: None,
            committing: false,
            name,
        }
    }

    pub(super) fn first(&self) -> Pending {
        Pending::Op(Op::ReadTable(self.job))
    }

    /// What is committed is told as such; anything else may be cut off.
    pub(super) fn is_committing(&self) -> bool {
        self.pair.is_some()
    }

    pub(super) fn stop(&self, shared: &mut Shared) -> Pending {
        end(shared, self.job, RunOutcome::Cancelled, None)
    }

    pub(super) fn step(&mut self, answer: Answer, shared: &mut Shared, fate: Fate<'_>) -> Pending {
        match (std::mem::replace(&mut self.state, State::Table), answer) {
            (State::Table, Answer::Table(table)) => {
                let named = self.named(&table, shared);
                self.state = State::Quarantine(table);
                Pending::Op(Op::ReadQuarantine(self.job, named))
            }
            (State::Quarantine(table), Answer::Quarantine(quarantine)) => {
                self.state = State::Source(table, quarantine);
                Pending::Op(Op::PinSource(self.job))
            }
            (State::Source(table, quarantine), Answer::Source(source)) => {
                // What was read and went away stays read.
                let source = Consumed { files: source.files.max(table.consumed.files), ..source };
                let pins = Pins { table, quarantine, source };
                if (self.begun || self.attempt > 1) && shared.bug != Some(Bug::NoLookUp) {
                    self.state = State::Look(pins);
                    return Pending::Op(Op::FindRun(self.job, run_id(shared.trigger, self.job)));
                }
                self.compute(pins, shared, fate)
            }
            (State::Look(_), Answer::Version(Some(version))) => {
                self.settle((RunOutcome::Succeeded, Some(version)), shared, fate.now)
            }
            (State::Look(pins), Answer::Version(None)) => self.compute(pins, shared, fate),
            (State::Compute(pins), _) => self.computed(pins, shared, fate),
            (State::Pair, answer) => self.answered(answer, shared, fate.now),
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
                let blind = blind && matches!(self.writing, Some(Writing::Table(_)));
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

    pub(super) fn failed(&self, shared: &mut Shared, kind: ErrorKind) -> Pending {
        // What is committed is told as such, whatever becomes of the quarantine.
        if let (Some((RunOutcome::Succeeded, version)), Some(_)) = (self.ended, &self.entry) {
            return end(shared, self.job, RunOutcome::Succeeded, version);
        }
        let outcome = RunOutcome::Failed { kind };
        told(shared, Told::Ended { job: self.job, outcome, version: None, doubtful: self.committing })
    }

    fn compute(&mut self, pins: Pins, shared: &mut Shared, fate: Fate<'_>) -> Pending {
        if pins.source == pins.table.consumed {
            return self.settle((RunOutcome::Unchanged, None), shared, fate.now);
        }
        if fate.faulty && fate.random.chance(60) {
            return self.failed(shared, ErrorKind::Unavailable);
        }
        self.state = State::Compute(pins);
        let hangs = fate.faulty && fate.random.chance(30);
        let millis = if hangs { 1_000_000 } else { fate.random.between(0, 900) };
        Pending::Sleep { until: fate.now + TimeDelta::milliseconds(millis) }
    }

    /// Plans again after another run's commit.
    pub(super) fn overtaken(&mut self, shared: &mut Shared) -> Pending {
        (self.pair, self.protocol, self.entry) = (None, None, None);
        if self.attempt == ATTEMPTS {
            return self.failed(shared, ErrorKind::Conflict);
        }
        self.attempt += 1;
        // Entering it again, a run that was asked to stop does.
        if shared.stops.contains(&self.job) {
            return self.stop(shared);
        }
        self.state = State::Table;
        Pending::Op(Op::ReadTable(self.job))
    }
}

pub(super) fn end(shared: &mut Shared, job: JobNo, outcome: RunOutcome, version: Option<u64>) -> Pending {
    told(shared, Told::Ended { job, outcome, version, doubtful: false })
}

fn told(shared: &mut Shared, told: Told) -> Pending {
    shared.inbox.push_back(told);
    Pending::End
}
