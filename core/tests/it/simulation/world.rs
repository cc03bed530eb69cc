//! One history: processes, a store and a clock, in an order that its seed decides.

use chrono::{DateTime, TimeDelta, Utc};

use super::actors::{Client, Keeper, Poller};
use super::drive::{Drive, LEASE, Shared};
use super::happening::{Happening, happenings, sources};
use super::random::Random;
use super::store::{Answer, Op, Store, TriggerNo};
use super::task::{Fate, Task};
use super::{Bug, Pending, Violation};

/// Faults end here, and everything is started again: what has not ended by then must end now.
const CALM: i64 = 12_000;
/// No history takes so many steps unless something never ends.
const STEPS: usize = 40_000;
pub(super) const PROCESSES: usize = 3;

enum Actor {
    Drive(Box<Drive>),
    Keeper(Keeper),
    Task(Box<Task>),
    Poller(Poller),
    Client(Client),
}

struct Running {
    process: usize,
    actor: Actor,
    pending: Pending,
}

struct Process {
    /// Of its clock, in milliseconds.
    skew: i64,
    frozen_until: i64,
    /// Dead before.
    up_at: i64,
}

pub(super) struct World {
    pub(super) store: Store,
    random: Random,
    bug: Option<Bug>,
    /// Milliseconds.
    clock: i64,
    processes: Vec<Process>,
    running: Vec<Running>,
    shared: Vec<Shared>,
    happenings: Vec<(i64, Happening)>,
    in_flight: Vec<(i64, Op)>,
    next_trigger: TriggerNo,
    names: u64,
    /// Trigger that each client was told, by key.
    pub(super) told: Vec<(usize, TriggerNo)>,
    pub(super) steps: usize,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let sources = sources(&mut random);
        // In one history of eight the clocks are further apart than anybody allows for.
        let spread = if random.chance(125) { 4000 } else { LEASE.clock_margin.num_milliseconds() / 2 };
        let processes =
            (0..PROCESSES).map(|_| Process { skew: random.between(-spread, spread + 1), frozen_until: 0, up_at: 0 });
        let processes = processes.collect();
        let mut store = Store::new(sources);
        store.unfenced = bug == Some(Bug::RecordsUnfenced);
        let happenings = happenings(&mut random);
        let mut world = Self {
            store,
            random,
            bug,
            clock: 0,
            processes,
            running: Vec::new(),
            shared: Vec::new(),
            happenings,
            in_flight: Vec::new(),
            next_trigger: 0,
            names: 0,
            told: Vec::new(),
            steps: 0,
        };
        for process in 0..PROCESSES {
            world.boot(process);
        }
        world
    }

    /// Until nothing is left to do; then one more trigger without any fault.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        self.run_until_quiet()?;
        self.submit(usize::MAX);
        self.run_until_quiet()
    }

    fn run_until_quiet(&mut self) -> Result<(), Violation> {
        while !self.is_quiet() {
            self.steps += 1;
            if self.steps > STEPS {
                return Err(Violation(format!("open at the end: {:?}", self.store.open)));
            }
            self.step()?;
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let busy = |running: &Running| !matches!(running.actor, Actor::Poller(_));
        self.clock >= CALM
            && self.happenings.is_empty()
            && self.in_flight.is_empty()
            && self.store.open.is_empty()
            && !self.running.iter().any(busy)
    }

    fn is_faulty(&self) -> bool {
        self.clock < CALM
    }

    fn now(&self, process: usize) -> DateTime<Utc> {
        // Far from the epoch, so that no clock is before it.
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_000_000 + self.clock + self.processes[process].skew)
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.happen();
        self.land()?;
        self.bury();
        let ready: Vec<usize> = (0..self.running.len()).filter(|index| self.is_ready(*index)).collect();
        if ready.is_empty() {
            self.clock = self.next_moment();
            return Ok(());
        }
        let chosen = ready[self.random.below(ready.len())];
        self.clock += self.random.between(0, 12);
        self.advance(chosen)
    }

    fn happen(&mut self) {
        while let Some(index) = self.happenings.iter().position(|(at, _)| *at <= self.clock) {
            let (_, happening) = self.happenings.swap_remove(index);
            match happening {
                Happening::Arrive => self.store.arrived += 1,
                Happening::Withdraw => self.store.arrived = self.store.arrived.saturating_sub(1),
                Happening::Correct => {
                    if let Some(last) = self.store.arrived.checked_sub(1) {
                        let file = self.random.below(usize::try_from(last).unwrap() + 1) as u64;
                        self.store.corrected.push(file);
                    }
                }
                Happening::Submit { key } => self.submit(key),
                Happening::Cancel => {
                    let open = self.store.open_triggers();
                    if !open.is_empty() {
                        let chosen = open[self.random.below(open.len())];
                        self.store.cancels.insert(chosen);
                    }
                }
                Happening::Rearrange => {
                    let job = self.random.below(self.store.tables.len());
                    self.store.rearrange(job);
                }
                Happening::Crash { process } => self.crash(process),
                Happening::Freeze { process, millis } => self.processes[process].frozen_until = self.clock + millis,
            }
        }
        let back: Vec<usize> =
            (0..PROCESSES).filter(|p| self.processes[*p].up_at > 0 && self.processes[*p].up_at <= self.clock).collect();
        for process in back {
            self.processes[process].up_at = 0;
            self.boot(process);
        }
    }

    /// Writes whose sender has long given up on them.
    fn land(&mut self) -> Result<(), Violation> {
        while let Some(index) = self.in_flight.iter().position(|(at, _)| *at <= self.clock) {
            let (_, op) = self.in_flight.swap_remove(index);
            self.note_late(&op);
            self.store.apply(op)?;
        }
        Ok(())
    }

    /// Commits of a driver that does not wait for them any more, or that another has followed.
    fn note_late(&mut self, op: &Op) {
        if let Op::WriteEntry(_, _, entry) = op {
            self.store.late.extend(entry.summary.run.clone());
        }
    }

    /// Tasks and keepers of drives that ended.
    fn bury(&mut self) {
        let mut index = 0;
        while index < self.running.len() {
            let shared = match &self.running[index].actor {
                Actor::Task(task) => Some(task.shared),
                Actor::Keeper(keeper) => Some(keeper.shared),
                Actor::Drive(_) | Actor::Poller(_) | Actor::Client(_) => None,
            };
            if shared.is_some_and(|shared| !self.shared[shared].alive) {
                let gone = self.running.swap_remove(index);
                self.cut_off(gone.pending);
            } else {
                index += 1;
            }
        }
    }

    /// A request that was under way when its sender ended arrives, or does not, or later.
    fn cut_off(&mut self, pending: Pending) {
        if let Pending::Op(op) = pending
            && Store::is_write(&op)
            && self.random.chance(500)
        {
            self.in_flight.push((self.clock + self.random.between(0, 1500), op));
        }
    }

    fn is_ready(&self, index: usize) -> bool {
        let Running { process, actor, pending } = &self.running[index];
        if self.processes[*process].up_at > 0 || self.processes[*process].frozen_until > self.clock {
            return false;
        }
        let now = self.now(*process);
        match (pending, actor) {
            (Pending::Op(_), _) => true,
            (_, Actor::Task(task)) if self.shared[task.shared].stops.contains(&task.job) && !task.is_committing() => {
                true
            }
            (Pending::Sleep { until }, _) => *until <= now,
            (Pending::Inbox { until }, Actor::Drive(drive)) => {
                *until <= now || !self.shared[drive.shared].inbox.is_empty()
            }
            (Pending::Inbox { .. } | Pending::End, _) => true,
        }
    }

    fn next_moment(&self) -> i64 {
        let sleeps = self.running.iter().map(|running| match running.pending {
            Pending::Sleep { until } | Pending::Inbox { until } => {
                let wait = (until - self.now(running.process)).num_milliseconds() + 1;
                (self.clock + wait).max(self.processes[running.process].frozen_until)
            }
            Pending::Op(_) | Pending::End => self.processes[running.process].frozen_until,
        });
        let happenings = self.happenings.iter().map(|(at, _)| *at);
        let landings = self.in_flight.iter().map(|(at, _)| *at);
        let boots = self.processes.iter().map(|process| process.up_at).filter(|at| *at > 0);
        let next = sleeps.chain(happenings).chain(landings).chain(boots).filter(|at| *at > self.clock).min();
        next.unwrap_or(self.clock + 1)
    }

    fn advance(&mut self, index: usize) -> Result<(), Violation> {
        let process = self.running[index].process;
        // A process may die before or after anything that it does, and rather when it commits.
        let commits = matches!(&self.running[index].actor, Actor::Task(task) if task.is_committing());
        let risk = if commits { 6 } else { 2 };
        let (dies_before, dies_after) = match self.is_faulty() {
            true => (self.random.chance(risk), self.random.chance(risk)),
            false => (false, false),
        };
        if dies_before {
            self.crash(process);
            return Ok(());
        }
        let answer = match std::mem::replace(&mut self.running[index].pending, Pending::End) {
            Pending::Op(op) => {
                if self.is_superseded(index) {
                    self.note_late(&op);
                }
                self.ask(op)?
            }
            Pending::Sleep { .. } | Pending::Inbox { .. } | Pending::End => Answer::Done,
        };
        if dies_after {
            self.crash(process);
            return Ok(());
        }
        self.answer(index, answer);
        Ok(())
    }

    fn is_superseded(&self, index: usize) -> bool {
        let Actor::Task(task) = &self.running[index].actor else { return false };
        let shared = &self.shared[task.shared];
        let newest = self.store.newest_epoch(shared.trigger);
        shared.holding.as_ref().is_none_or(|holding| Some(holding.epoch()) < newest)
    }

    /// The store, as it is on a bad day.
    fn ask(&mut self, op: Op) -> Result<Answer, Violation> {
        if !self.is_faulty() || !self.random.chance(60) {
            return self.store.apply(op);
        }
        match self.random.below(3) {
            // Done, and the answer lost.
            0 => self.store.apply(op)?,
            1 if Store::is_write(&op) => {
                let at = self.clock + self.random.between(0, 1500);
                self.in_flight.push((at, op));
                Answer::Failed
            }
            _ => Answer::Failed,
        };
        Ok(Answer::Failed)
    }

    fn answer(&mut self, index: usize, answer: Answer) {
        let process = self.running[index].process;
        let now = self.now(process);
        let faulty = self.is_faulty();
        let mut take_up = None;
        let pending = match &mut self.running[index].actor {
            Actor::Drive(drive) => {
                let shared = &mut self.shared[drive.shared];
                let pending = drive.step(answer, shared, now);
                if matches!(pending, Pending::End) {
                    shared.alive = false;
                }
                pending
            }
            Actor::Keeper(keeper) => keeper.step(answer, &mut self.shared[keeper.shared], now),
            Actor::Task(task) => {
                let shared = &mut self.shared[task.shared];
                match shared.stops.contains(&task.job) && !task.is_committing() {
                    true => task.stop(shared),
                    false => {
                        let fate = Fate { random: &mut self.random, store: &self.store, faulty, now };
                        task.step(answer, shared, fate)
                    }
                }
            }
            Actor::Poller(poller) => {
                let shared = &self.shared;
                let driven = |trigger| shared.iter().any(|s| s.alive && s.process == process && s.trigger == trigger);
                let (pending, found) = poller.step(answer, driven, now);
                take_up = found;
                pending
            }
            Actor::Client(client) => {
                let (pending, found) = client.step(answer, self.next_trigger, now);
                self.next_trigger += 1;
                if let Some(trigger) = found {
                    self.told.push((client.key(), trigger));
                }
                take_up = found;
                pending
            }
        };
        self.running[index].pending = pending;
        if let Actor::Drive(drive) = &self.running[index].actor {
            self.start_tasks(drive.shared);
        }
        if matches!(self.running[index].pending, Pending::End) {
            self.running.swap_remove(index);
        }
        if let Some(trigger) = take_up {
            self.drive(process, trigger);
        }
    }

    fn start_tasks(&mut self, shared: usize) {
        let process = self.shared[shared].process;
        for start in std::mem::take(&mut self.shared[shared].starts) {
            self.names += 1;
            let task = Task::new(shared, start.job, start.begun, self.names);
            let pending = task.first();
            self.running.push(Running { process, actor: Actor::Task(Box::new(task)), pending });
        }
    }

    fn drive(&mut self, process: usize, trigger: TriggerNo) {
        if self.shared.iter().any(|shared| shared.alive && shared.process == process && shared.trigger == trigger) {
            return;
        }
        self.names += 1;
        let shared = Shared {
            process,
            trigger,
            owner: format!("{}", self.names),
            holding: None,
            inbox: std::collections::VecDeque::new(),
            stops: std::collections::BTreeSet::new(),
            starts: Vec::new(),
            alive: true,
            bug: self.bug,
        };
        let drive = Drive::new(self.shared.len(), self.store.sources.clone());
        let pending = drive.first(&shared);
        let keeper = Keeper::new(self.shared.len());
        self.shared.push(shared);
        self.running.push(Running { process, actor: Actor::Drive(Box::new(drive)), pending });
        let pending = Keeper::first(self.now(process));
        self.running.push(Running { process, actor: Actor::Keeper(keeper), pending });
    }

    fn submit(&mut self, key: usize) {
        let process = self.random.below(PROCESSES);
        let pending = Pending::Sleep { until: self.now(process) };
        self.running.push(Running { process, actor: Actor::Client(Client::new(key)), pending });
    }

    fn boot(&mut self, process: usize) {
        let pending = Pending::Sleep { until: self.now(process) };
        self.running.push(Running { process, actor: Actor::Poller(Poller::new()), pending });
    }

    /// Everything in the process ends; its clients ask another one.
    fn crash(&mut self, process: usize) {
        if self.processes[process].up_at > 0 {
            return;
        }
        self.processes[process].up_at = (self.clock + self.random.between(1, 3000)).min(CALM.max(self.clock + 1));
        self.processes[process].frozen_until = 0;
        for shared in self.shared.iter_mut().filter(|shared| shared.process == process) {
            shared.alive = false;
        }
        let (gone, rest) = std::mem::take(&mut self.running).into_iter().partition(|r: &Running| r.process == process);
        self.running = rest;
        let gone: Vec<Running> = gone;
        for Running { actor, pending, .. } in gone {
            self.cut_off(pending);
            if let Actor::Client(mut client) = actor {
                let process = (process + 1) % PROCESSES;
                let pending = client.again(self.now(process));
                self.running.push(Running { process, actor: Actor::Client(client), pending });
            }
        }
    }
}
