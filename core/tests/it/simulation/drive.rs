//! A driver of one trigger: claims it, takes up what is there, carries out what the trigger decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::graph::Graph;
use pulse_core::lease::{Claim, Holding, Lease, LeaseOptions, claim};
use pulse_core::name::TableName;
use pulse_core::retry::RetryPolicy;
use pulse_core::run::RunState;
use pulse_core::trigger::{Resumed, RunOutcome, Trigger, TriggerAction, TriggerEvent, TriggerOptions};

use super::store::{Answer, JobNo, Op, Record, Sources, TriggerNo};
use super::{Bug, Pending};

pub(super) const LEASE: LeaseOptions =
    LeaseOptions { length: TimeDelta::milliseconds(1500), clock_margin: TimeDelta::milliseconds(500) };
const CANCEL_POLL: TimeDelta = TimeDelta::milliseconds(500);
/// Until a lease that ran out is looked at again.
const WAIT: TimeDelta = TimeDelta::milliseconds(20);

/// What a driver, the keeper of its lease and its tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) process: usize,
    pub(super) trigger: TriggerNo,
    pub(super) owner: String,
    pub(super) holding: Option<Holding>,
    pub(super) inbox: VecDeque<Told>,
    pub(super) stops: BTreeSet<JobNo>,
    /// Tasks to start.
    pub(super) starts: Vec<Start>,
    pub(super) alive: bool,
    pub(super) bug: Option<Bug>,
}

#[derive(Debug)]
pub(super) enum Told {
    Progressed(JobNo),
    /// `doubtful` when it failed and may have committed.
    Ended {
        job: JobNo,
        outcome: RunOutcome,
        version: Option<u64>,
        doubtful: bool,
    },
}

#[derive(Debug)]
pub(super) struct Start {
    pub(super) job: JobNo,
    pub(super) begun: bool,
}

impl Shared {
    pub(super) fn holds(&self, now: DateTime<Utc>) -> bool {
        let ignored = matches!(self.bug, Some(Bug::LeaseIgnored | Bug::LeaseIgnoredWithoutTxn));
        ignored || self.holding.as_ref().is_some_and(|holding| holding.holds(now))
    }

    fn is_lost(&self) -> bool {
        self.holding.as_ref().is_some_and(Holding::is_lost)
    }
}

pub(super) fn job_name(job: JobNo) -> TableName {
    TableName::new("t", &format!("j{job}")).unwrap()
}

fn job_no(name: &TableName) -> JobNo {
    name.table()[1..].parse().unwrap()
}

fn trigger_machine(sources: &Sources, known: &BTreeMap<TableName, Resumed>, trigger: TriggerNo) -> Trigger {
    let upstream =
        sources.iter().enumerate().map(|(job, source)| (job_name(job), source.iter().map(|s| job_name(*s)).collect()));
    let graph = Graph::from_upstream(upstream.collect()).unwrap();
    let options = TriggerOptions {
        concurrent_runs: NonZeroUsize::new(2).unwrap(),
        waits_for_admission: false,
        retry: RetryPolicy { attempts: 6, backoff: TimeDelta::milliseconds(200) },
        progress_timeout: TimeDelta::seconds(2),
        run_timeouts: (0..sources.len()).map(|job| (job_name(job), TimeDelta::seconds(120))).collect(),
        seed: trigger as u64,
    };
    Trigger::resume(graph, options, known)
}

#[derive(Debug)]
enum State {
    Claim,
    /// Open under its epoch before there is one, so that no earlier driver's end closes it.
    Mark(Lease),
    Make(Lease),
    Remake,
    Records,
    /// Jobs whose runs were begun, to be looked for in their tables.
    LookUp(VecDeque<JobNo>),
    /// Records to write under the own epoch before anything is done.
    TakeUp(VecDeque<JobNo>),
    Act,
    /// After the record of a started run.
    Put(Option<Start>),
    /// The lease ran out and may be renewed yet.
    PutLater(JobNo, Box<State>),
    /// Whether a run that is given up has committed after all.
    LastLook(JobNo),
    Finishing(u64),
    Finished,
    Waiting,
    Polling,
}

#[derive(Debug)]
pub(super) struct Drive {
    pub(super) shared: usize,
    state: State,
    sources: Sources,
    known: BTreeMap<TableName, Resumed>,
    records: Vec<Record>,
    trigger: Option<Trigger>,
    actions: VecDeque<TriggerAction>,
    cancelled: bool,
    is_resumed: bool,
    /// Runs of which an attempt failed while it committed.
    doubtful: BTreeSet<JobNo>,
}

impl Drive {
    pub(super) fn new(shared: usize, sources: Sources) -> Self {
        let queued = |job| Record { job, state: RunState::Queued, attempt: 0, outcome: None, version: None };
        Self {
            shared,
            state: State::Claim,
            records: (0..sources.len()).map(queued).collect(),
            sources,
            known: BTreeMap::new(),
            trigger: None,
            actions: VecDeque::new(),
            cancelled: false,
            is_resumed: false,
            doubtful: BTreeSet::new(),
        }
    }

    pub(super) fn first(&self, shared: &Shared) -> Pending {
        Pending::Op(Op::NewestLease(shared.trigger))
    }

    pub(super) fn step(&mut self, answer: Answer, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let no = shared.trigger;
        match (std::mem::replace(&mut self.state, State::Act), answer) {
            (State::Claim, Answer::Lease(newest)) => self.claim(newest, shared, now),
            (State::Mark(lease), Answer::Done) => self.then(State::Make(lease.clone()), Op::MakeLease(no, lease)),
            (State::Make(lease), Answer::Done) => self.claimed(lease, shared),
            // Made by another, or by us without an answer.
            (State::Make(_), Answer::Exists | Answer::Failed) => self.then(State::Remake, Op::NewestLease(no)),
            (State::Remake, Answer::Lease(Some(lease))) if lease.owner == shared.owner => self.claimed(lease, shared),
            (State::Records, Answer::Records(records)) => self.read(&records, shared, now),
            (State::LookUp(jobs), Answer::Version(version)) => self.looked_up(jobs, version, shared, now),
            (State::TakeUp(mut jobs), Answer::Done) => {
                jobs.pop_front();
                self.take_up(jobs, shared, now)
            }
            (State::PutLater(job, state), _) => self.put(job, *state, shared, now),
            (State::Put(start), Answer::Done) => {
                shared.starts.extend(start);
                self.act(shared, now)
            }
            (State::LastLook(job), Answer::Version(version)) => {
                self.records[job].version = version;
                self.put(job, State::Put(None), shared, now)
            }
            (State::Finishing(epoch), Answer::Done | Answer::Exists) => {
                self.then(State::Finished, Op::DeleteOpen(no, epoch))
            }
            (State::Polling, answer) => {
                if matches!(answer, Answer::Flag(true)) {
                    self.cancelled = true;
                    self.feed(TriggerEvent::CancelRequested, now);
                }
                self.act(shared, now)
            }
            (State::Waiting, _) => self.wake(shared, now),
            // A ledger that does not answer: the lease runs out, and the trigger is taken up again.
            _ => Pending::End,
        }
    }

    fn then(&mut self, state: State, op: Op) -> Pending {
        self.state = state;
        Pending::Op(op)
    }

    fn claim(&mut self, newest: Option<Lease>, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let newest = match shared.bug {
            // Whoever comes takes it.
            Some(Bug::LeaseIgnored | Bug::LeaseIgnoredWithoutTxn) => {
                newest.map(|lease| Lease { expires: i64::MIN / 2, ..lease })
            }
            _ => newest,
        };
        match claim(newest.as_ref(), &shared.owner, now, LEASE) {
            Claim::Held => Pending::End,
            Claim::Ours(lease) => self.claimed(lease, shared),
            Claim::Make(lease) => {
                let op = Op::PutOpen(shared.trigger, lease.epoch);
                self.then(State::Mark(lease), op)
            }
        }
    }

    fn claimed(&mut self, lease: Lease, shared: &mut Shared) -> Pending {
        self.is_resumed = lease.epoch > 1;
        shared.holding = Some(Holding::new(lease, LEASE));
        self.then(State::Records, Op::ReadRecords(shared.trigger))
    }

    fn read(&mut self, records: &[Record], shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        let mut begun = VecDeque::new();
        for record in records {
            self.records[record.job] = *record;
            match record.outcome {
                Some(outcome) => {
                    self.known.insert(job_name(record.job), Resumed::Ended(outcome));
                }
                None if record.attempt > 0 => begun.push_back(record.job),
                None => {}
            }
        }
        self.look_up(begun, shared, now)
    }

    fn look_up(&mut self, jobs: VecDeque<JobNo>, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        match jobs.front() {
            Some(job) if shared.bug != Some(Bug::NoLookUp) => {
                let run = super::run_id(shared.trigger, *job);
                let op = Op::FindRun(*job, run);
                self.then(State::LookUp(jobs), op)
            }
            _ => {
                for job in jobs {
                    self.known.insert(job_name(job), Resumed::Attempted(self.records[job].attempt));
                }
                let open =
                    self.records.iter().filter(|r| r.outcome.is_none() || self.is_found(r)).map(|r| r.job).collect();
                self.take_up(open, shared, now)
            }
        }
    }

    /// Whether its end is news to the ledger.
    fn is_found(&self, record: &Record) -> bool {
        record.state == RunState::Committing
    }

    fn looked_up(
        &mut self,
        mut jobs: VecDeque<JobNo>,
        version: Option<u64>,
        shared: &mut Shared,
        now: DateTime<Utc>,
    ) -> Pending {
        if let Some(job) = jobs.pop_front() {
            let record = &mut self.records[job];
            let known = match version {
                Some(_) => {
                    // Marks it as found until it is written.
                    record.state = RunState::Committing;
                    (record.version, record.outcome) = (version, Some(RunOutcome::Succeeded));
                    Resumed::Ended(RunOutcome::Succeeded)
                }
                None => Resumed::Attempted(record.attempt),
            };
            self.known.insert(job_name(job), known);
        }
        self.look_up(jobs, shared, now)
    }

    fn take_up(&mut self, jobs: VecDeque<JobNo>, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        match jobs.front().copied() {
            Some(job) => {
                let record = &mut self.records[job];
                record.state = if record.outcome.is_some() { RunState::Succeeded } else { RunState::Queued };
                self.put(job, State::TakeUp(jobs), shared, now)
            }
            None => {
                self.trigger = Some(trigger_machine(&self.sources, &self.known, shared.trigger));
                self.feed(TriggerEvent::Started, now);
                self.act(shared, now)
            }
        }
    }

    fn feed(&mut self, event: TriggerEvent, now: DateTime<Utc>) {
        if let Some(trigger) = &mut self.trigger {
            self.actions.extend(trigger.apply(event, now));
        }
    }

    /// Writes a record, or waits until that is allowed; `state` comes after.
    fn put(&mut self, job: JobNo, state: State, shared: &Shared, now: DateTime<Utc>) -> Pending {
        if shared.is_lost() {
            return Pending::End;
        }
        let epoch = shared.holding.as_ref().map_or(0, Holding::epoch);
        if shared.holds(now) {
            return self.then(state, Op::PutRecord(shared.trigger, epoch, self.records[job]));
        }
        self.state = State::PutLater(job, Box::new(state));
        Pending::Sleep { until: now + WAIT }
    }

    fn act(&mut self, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        while let Some(action) = self.actions.pop_front() {
            match action {
                TriggerAction::StartRun { job, attempt } => {
                    let job = job_no(&job);
                    shared.stops.remove(&job);
                    self.records[job] = Record { state: RunState::Running, attempt, ..self.records[job] };
                    // A driver that is not quite gone may begin a run that nobody has recorded yet.
                    let begun = attempt > 1 || self.is_resumed;
                    return self.put(job, State::Put(Some(Start { job, begun })), shared, now);
                }
                TriggerAction::StopRun { job, .. } => {
                    shared.stops.insert(job_no(&job));
                }
                TriggerAction::Postpone { job, .. } => {
                    let job = job_no(&job);
                    self.records[job].state = RunState::Queued;
                    return self.put(job, State::Put(None), shared, now);
                }
                TriggerAction::Record { job, state, .. } => {
                    let job = job_no(&job);
                    let outcome = self.records[job].outcome.filter(|_| state.is_success());
                    let outcome = match state {
                        RunState::Cancelled => Some(RunOutcome::Cancelled),
                        RunState::Failed => Some(RunOutcome::ExpectationFailed),
                        _ => outcome,
                    };
                    self.records[job] = Record { state, outcome, ..self.records[job] };
                    if !state.is_success() && (self.is_resumed || self.doubtful.contains(&job)) {
                        return self.then(State::LastLook(job), Op::FindRun(job, super::run_id(shared.trigger, job)));
                    }
                    return self.put(job, State::Put(None), shared, now);
                }
                TriggerAction::Finish { exit } => {
                    if !shared.holds(now) {
                        self.actions.push_front(TriggerAction::Finish { exit });
                        return self.sleep(now + WAIT, shared);
                    }
                    let epoch = shared.holding.as_ref().map_or(0, Holding::epoch);
                    return self.then(State::Finishing(epoch), Op::MakeEnded(shared.trigger, epoch, exit.code()));
                }
            }
        }
        let wake = self.trigger.as_ref().and_then(Trigger::wake_at).unwrap_or(now + CANCEL_POLL);
        self.sleep(wake.min(now + CANCEL_POLL), shared)
    }

    fn sleep(&mut self, until: DateTime<Utc>, shared: &Shared) -> Pending {
        if shared.is_lost() {
            return Pending::End;
        }
        self.state = State::Waiting;
        Pending::Inbox { until }
    }

    fn wake(&mut self, shared: &mut Shared, now: DateTime<Utc>) -> Pending {
        if shared.is_lost() {
            return Pending::End;
        }
        if !self.actions.is_empty() {
            return self.act(shared, now);
        }
        match shared.inbox.pop_front() {
            Some(Told::Progressed(job)) => self.feed(TriggerEvent::Progressed { job: job_name(job) }, now),
            Some(Told::Ended { job, outcome, version, doubtful }) => {
                if doubtful {
                    self.doubtful.insert(job);
                }
                if matches!(outcome, RunOutcome::Succeeded | RunOutcome::Unchanged) {
                    (self.records[job].outcome, self.records[job].version) = (Some(outcome), version);
                }
                self.feed(TriggerEvent::RunFinished { job: job_name(job), outcome }, now);
            }
            None => {
                self.feed(TriggerEvent::Tick, now);
                if self.actions.is_empty() && !self.cancelled {
                    return self.then(State::Polling, Op::ReadCancel(shared.trigger));
                }
            }
        }
        self.act(shared, now)
    }
}
