//! One history: processes, a ledger, tables and a clock, in an order that its seed decides.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use object_store::memory::InMemory;
use pulse_core::run::TriggerId;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::actors::{drive, look_for_triggers, submit};
use super::happening::{Happening, happenings, sources};
use super::life::{Kind, Life};
use super::random::Random;
use super::tables::Tables;
use super::time::Time;
use super::{Bug, LEASE, Violation};

/// Faults end here, and everything is started again: what has not ended by then must end now.
const CALM: i64 = 12_000;
/// No history takes so long unless something never ends.
const LONGEST: i64 = 600_000;
pub(super) const PROCESSES: usize = 3;

#[derive(Debug)]
struct Process {
    /// Of its clock, in milliseconds.
    skew: i64,
    frozen_until: i64,
    /// Number of its life.
    number: u64,
    is_up: bool,
    tasks: Vec<AbortHandle>,
    driving: BTreeSet<TriggerId>,
}

/// How a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Fine,
    AnswerLost,
    /// It arrives after its sender was told that it did not.
    Delayed,
    Lost,
    DiesBefore,
    DiesAfter,
}

#[derive(Debug)]
struct State {
    random: Random,
    processes: Vec<Process>,
    tables: Tables,
    /// Trigger that each client was told, by key.
    told: Vec<(usize, TriggerId)>,
    /// Everything that was submitted.
    triggers: BTreeSet<TriggerId>,
    /// Requests that were given up, and clients without an answer.
    under_way: usize,
    names: u32,
    requests: usize,
    violation: Option<Violation>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) time: Time,
    pub(super) memory: Arc<InMemory>,
    pub(super) bug: Option<Bug>,
    handle: Handle,
    state: Mutex<State>,
}

impl World {
    /// Runs a history to its end; then one more trigger without any fault. Returns the number of requests.
    pub(super) fn run<C>(seed: u64, bug: Option<Bug>, check: C) -> Result<usize, Violation>
    where
        C: AsyncFnOnce(&Self) -> Result<(), Violation>,
    {
        let time = Time::default();
        time.clone().block_on(async move {
            let (world, happenings) = Self::new(seed, bug, time);
            (0..PROCESSES).for_each(|process| world.boot(process));
            for (at, happening) in happenings {
                world.time.until(at).await;
                world.happen(happening);
            }
            world.until_quiet().await?;
            world.submit(usize::MAX);
            world.until_quiet().await?;
            check(&world).await?;
            Ok(world.lock().requests)
        })
    }

    fn new(seed: u64, bug: Option<Bug>, time: Time) -> (Arc<Self>, Vec<(i64, Happening)>) {
        let mut random = Random::new(seed);
        let sources = sources(&mut random);
        // In one history of eight the clocks are further apart than anybody allows for.
        let spread = if random.chance(125) { 4000 } else { LEASE.clock_margin.num_milliseconds() / 2 };
        let process = |skew| Process {
            skew,
            frozen_until: 0,
            number: 0,
            is_up: false,
            tasks: Vec::new(),
            driving: BTreeSet::new(),
        };
        let processes = (0..PROCESSES).map(|_| process(random.between(-spread, spread + 1))).collect();
        let mut happenings = happenings(&mut random);
        happenings.sort_by_key(|(at, _)| *at);
        let state = State {
            random,
            processes,
            tables: Tables::new(sources),
            told: Vec::new(),
            triggers: BTreeSet::new(),
            under_way: 0,
            names: 0,
            requests: 0,
            violation: None,
        };
        let (memory, handle) = (Arc::new(InMemory::new()), Handle::current());
        (Arc::new(Self { time, memory, bug, handle, state: Mutex::new(state) }), happenings)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn until_quiet(&self) -> Result<(), Violation> {
        let last = self.time.now() + LONGEST;
        while !self.is_quiet() {
            self.time.sleep(50).await;
            if let Some(violation) = self.lock().violation.take() {
                return Err(violation);
            }
            if self.time.now() > last {
                return Err(Violation(self.what_is_open()));
            }
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let state = self.lock();
        let open = super::ledger::marks(&self.memory);
        let drives = state.processes.iter().any(|process| !process.driving.is_empty());
        !self.is_faulty() && state.under_way == 0 && open.is_empty() && !drives
    }

    fn what_is_open(&self) -> String {
        let state = self.lock();
        let driving: Vec<_> = state.processes.iter().map(|process| &process.driving).collect();
        let marks = super::ledger::marks(&self.memory);
        format!("open at the end: {marks:?}, driven {driving:?}, {} requests under way", state.under_way)
    }

    fn is_faulty(&self) -> bool {
        self.time.now() < CALM
    }

    fn happen(self: &Arc<Self>, happening: Happening) {
        match happening {
            Happening::Submit { key } => self.submit(key),
            Happening::Crash { process } => self.crash(process),
            Happening::Freeze { process, millis } => {
                self.lock().processes[process].frozen_until = self.time.now() + millis;
            }
            Happening::Cancel => self.cancel(),
            Happening::Arrive => self.tables(|tables, _| tables.arrived += 1),
            Happening::Withdraw => self.tables(|tables, _| tables.arrived = tables.arrived.saturating_sub(1)),
            Happening::Correct => self.tables(|tables, random| {
                if tables.arrived > 0 {
                    tables.corrected.push(random.below(usize::try_from(tables.arrived).unwrap()) as u64);
                }
            }),
            Happening::Rearrange => self.tables(|tables, random| {
                let job = random.below(tables.tables.len());
                tables.rearrange(job);
            }),
        }
    }

    /// Somebody asks to stop one of the triggers.
    fn cancel(&self) {
        let mut state = self.lock();
        let triggers: Vec<TriggerId> = state.triggers.iter().cloned().collect();
        if !triggers.is_empty() {
            let chosen = &triggers[state.random.below(triggers.len())];
            super::ledger::cancel(&self.memory, chosen);
        }
    }

    fn submit(self: &Arc<Self>, key: usize) {
        self.lock().under_way += 1;
        let process = self.random(|random| random.below(PROCESSES));
        let world = Arc::clone(self);
        self.handle.spawn(async move {
            let trigger = submit(&world, key, process).await;
            let mut state = world.lock();
            state.told.push((key, trigger.clone()));
            state.triggers.insert(trigger);
            state.under_way -= 1;
        });
    }

    /// A number that was given to nobody else.
    pub(super) fn name(&self) -> u32 {
        let mut state = self.lock();
        state.names += 1;
        state.names
    }

    /// A trigger that nobody has.
    pub(super) fn fresh(&self, life: &Life) -> TriggerId {
        use pulse_scheduler::clock::Clock as _;
        TriggerId::new(life.now(), self.name())
    }

    pub(super) fn drive(self: &Arc<Self>, process: usize, trigger: &TriggerId) {
        let Some(life) = self.life(process) else { return };
        if !self.lock().processes[process].driving.insert(trigger.clone()) {
            return;
        }
        let (world, trigger) = (Arc::clone(self), trigger.clone());
        self.spawn(process, async move {
            drive(&life, &trigger).await;
            world.lock().processes[process].driving.remove(&trigger);
        });
    }

    pub(super) fn is_driven_by(&self, process: usize, trigger: &TriggerId) -> bool {
        self.lock().processes[process].driving.contains(trigger)
    }

    /// A handle of the process as it is now; `None` while it is down.
    pub(super) fn life(self: &Arc<Self>, process: usize) -> Option<Life> {
        self.number_of(process).map(|number| Life::new(Arc::clone(self), process, number))
    }

    pub(super) fn number_of(&self, process: usize) -> Option<u64> {
        let state = self.lock();
        let process = &state.processes[process];
        process.is_up.then_some(process.number)
    }

    fn boot(self: &Arc<Self>, process: usize) {
        self.lock().processes[process].is_up = true;
        if let Some(life) = self.life(process) {
            self.spawn(process, async move { look_for_triggers(&life).await });
        }
    }

    fn spawn(&self, process: usize, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.handle.spawn(task).abort_handle();
        self.lock().processes[process].tasks.push(task);
    }

    /// Everything in the process ends; its clients ask another one.
    pub(super) fn crash(self: &Arc<Self>, process: usize) {
        let (now, mut state) = (self.time.now(), self.lock());
        let up_at = (now + state.random.between(1, 3000)).min(CALM.max(now + 1));
        let crashed = &mut state.processes[process];
        if !crashed.is_up {
            return;
        }
        (crashed.is_up, crashed.frozen_until) = (false, 0);
        crashed.number += 1;
        crashed.driving.clear();
        std::mem::take(&mut crashed.tasks).iter().for_each(AbortHandle::abort);
        drop(state);
        let world = Arc::clone(self);
        self.handle.spawn(async move {
            world.time.until(up_at).await;
            world.boot(process);
        });
    }

    pub(super) fn skew(&self, process: usize) -> i64 {
        self.lock().processes[process].skew
    }

    pub(super) fn frozen_until(&self, process: usize) -> i64 {
        self.lock().processes[process].frozen_until
    }

    pub(super) fn random<T>(&self, choose: impl FnOnce(&mut Random) -> T) -> T {
        choose(&mut self.lock().random)
    }

    /// Reads or changes the tables.
    pub(super) fn tables<T>(&self, change: impl FnOnce(&mut Tables, &mut Random) -> T) -> T {
        let State { tables, random, .. } = &mut *self.lock();
        change(tables, random)
    }

    /// Reports what must not be, which ends the history.
    pub(super) fn violated(&self, violation: Violation) {
        self.lock().violation.get_or_insert(violation);
    }

    /// Trouble of a run: it fails, or hangs.
    pub(super) fn trouble(&self, per_mille: u64) -> bool {
        self.is_faulty() && self.random(|random| random.chance(per_mille))
    }

    /// A process may die before or after anything that it does, and rather when it commits.
    pub(super) fn fate(&self, kind: Kind) -> Fate {
        let faulty = self.is_faulty();
        let mut state = self.lock();
        state.requests += 1;
        if !faulty {
            return Fate::Fine;
        }
        let risk = if kind == Kind::Commit { 6 } else { 2 };
        if state.random.chance(risk) {
            return Fate::DiesBefore;
        }
        if state.random.chance(risk) {
            return Fate::DiesAfter;
        }
        if !state.random.chance(60) {
            return Fate::Fine;
        }
        match state.random.below(3) {
            0 => Fate::AnswerLost,
            1 if kind != Kind::Read => Fate::Delayed,
            _ => Fate::Lost,
        }
    }

    /// Carries out a request that its sender has given up.
    pub(super) fn later(self: &Arc<Self>, delay: i64, request: Box<dyn FnOnce() + Send>) {
        self.lock().under_way += 1;
        let world = Arc::clone(self);
        self.handle.spawn(async move {
            world.time.sleep(delay).await;
            request();
            world.lock().under_way -= 1;
        });
    }

    pub(super) fn told(&self) -> Vec<(usize, TriggerId)> {
        self.lock().told.clone()
    }
}
