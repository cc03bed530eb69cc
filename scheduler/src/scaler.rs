//! Adds machines while tasks wait and removes idle ones; carries out the decisions of `pulse_core::scaling`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use pulse_core::Result;
use pulse_core::scaling::{Decision, Node, NodeId, NodeState, Observation, ScalingPolicy, decide};

/// Maximum polling interval. EMR limits calls, and machines take minutes.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOK_LEAST: Duration = Duration::from_secs(1);

/// A machine of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub id: NodeId,
    /// The address with which its executors register.
    pub address: String,
    /// When it became ready or was requested.
    pub since: DateTime<Utc>,
    pub removable: bool,
}

/// Provider of machines.
#[async_trait]
pub trait NodePool: Send + Sync {
    /// Machines that run or boot, and the number of further requested ones.
    ///
    /// # Errors
    /// By kind, when the provider does not answer.
    async fn machines(&self) -> Result<(Vec<Machine>, usize)>;

    /// # Errors
    /// As [`Self::machines`].
    async fn grow(&self, count: usize) -> Result<()>;

    /// Terminates exactly these, which are drained.
    ///
    /// # Errors
    /// As [`Self::machines`].
    async fn remove(&self, ids: &[NodeId]) -> Result<()>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Runnable tasks without a slot.
    pub pending_tasks: usize,
    pub running_tasks: usize,
    pub executors: Vec<ExecutorLoad>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorLoad {
    pub id: String,
    pub host: String,
    /// Concurrent tasks.
    pub slots: usize,
    /// Whether it runs a task or has shuffle files of a running plan.
    pub is_needed: bool,
}

/// The cluster with the work.
#[async_trait]
pub trait Workload: Send + Sync {
    async fn load(&self) -> Load;

    /// Assigns no further tasks to this executor.
    fn drain(&self, executor: &str);
}

/// State between polls. A restarted scaler only takes a little longer to decide.
pub struct Scaler {
    policy: ScalingPolicy,
    pool: Arc<dyn NodePool>,
    work: Arc<dyn Workload>,
    waiting_since: Option<DateTime<Utc>>,
    idle_since: BTreeMap<NodeId, DateTime<Utc>>,
    draining: BTreeSet<NodeId>,
    /// Machines that were drained and released.
    removed: BTreeSet<NodeId>,
    last_change: Option<DateTime<Utc>>,
}

impl Scaler {
    pub fn new(policy: ScalingPolicy, pool: Arc<dyn NodePool>, work: Arc<dyn Workload>) -> Self {
        Self {
            policy,
            pool,
            work,
            waiting_since: None,
            idle_since: BTreeMap::new(),
            draining: BTreeSet::new(),
            removed: BTreeSet::new(),
            last_change: None,
        }
    }

    /// Observes, decides and acts in a loop.
    pub async fn run(mut self) {
        let every = look_every(&self.policy);
        loop {
            match self.step(Utc::now()).await {
                Ok(Decision::Hold) => {}
                Ok(Decision::Grow(count)) => log::info!("scaler: {count} more machines were asked for"),
                Ok(Decision::Drain(ids)) => log::info!("scaler: {} machines get no new tasks", ids.len()),
                // The next poll retries.
                Err(error) => log::error!("scaler_failed: {error}"),
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One iteration: observe, decide, act.
    ///
    /// # Errors
    /// Those of the pool.
    pub async fn step(&mut self, now: DateTime<Utc>) -> Result<Decision> {
        let load = self.work.load().await;
        let (machines, coming) = self.pool.machines().await?;
        self.forget(&machines);
        self.give_back(&machines, &load).await?;
        let seen = self.observe(&machines, coming, &load, now);
        let decision = decide(&self.policy, &seen, now);
        match &decision {
            Decision::Hold => {}
            Decision::Grow(count) => {
                self.pool.grow(*count).await?;
                self.last_change = Some(now);
            }
            Decision::Drain(ids) => {
                for machine in machines.iter().filter(|machine| ids.contains(&machine.id)) {
                    executors_on(machine, &load).for_each(|executor| self.work.drain(&executor.id));
                    self.draining.insert(machine.id.clone());
                }
                self.last_change = Some(now);
            }
        }
        Ok(decision)
    }

    /// Forgets machines that no longer exist.
    fn forget(&mut self, machines: &[Machine]) {
        let there: BTreeSet<&NodeId> = machines.iter().map(|machine| &machine.id).collect();
        self.idle_since.retain(|id, _| there.contains(id));
        self.draining.retain(|id| there.contains(id));
        self.removed.retain(|id| there.contains(id));
    }

    /// Releases machines one poll after they began to drain, so that tasks assigned at that moment are seen.
    async fn give_back(&mut self, machines: &[Machine], load: &Load) -> Result<()> {
        let empty: Vec<NodeId> = machines
            .iter()
            .filter(|machine| self.draining.contains(&machine.id) && !self.removed.contains(&machine.id))
            .filter(|machine| executors_on(machine, load).all(|executor| !executor.is_needed))
            .map(|machine| machine.id.clone())
            .collect();
        if empty.is_empty() {
            return Ok(());
        }
        self.pool.remove(&empty).await?;
        log::info!("scaler: {} drained machines were given back", empty.len());
        self.removed.extend(empty);
        Ok(())
    }

    fn observe(&mut self, machines: &[Machine], coming: usize, load: &Load, now: DateTime<Utc>) -> Observation {
        self.waiting_since = match load.pending_tasks {
            0 => None,
            _ => self.waiting_since.or(Some(now)),
        };
        let nodes = machines.iter().map(|machine| Node {
            id: machine.id.clone(),
            state: self.state(machine, load, now),
            since: machine.since,
            removable: machine.removable,
        });
        let nodes = nodes.collect();
        Observation {
            pending_tasks: load.pending_tasks,
            running_tasks: load.running_tasks,
            slots_per_node: load.executors.iter().map(|executor| executor.slots).max().unwrap_or(1),
            waiting_since: self.waiting_since,
            nodes,
            coming,
            last_change: self.last_change,
        }
    }

    fn state(&mut self, machine: &Machine, load: &Load, now: DateTime<Utc>) -> NodeState {
        if self.draining.contains(&machine.id) {
            return NodeState::Draining;
        }
        let mut executors = executors_on(machine, load).peekable();
        if executors.peek().is_none() {
            self.idle_since.remove(&machine.id);
            return NodeState::Starting;
        }
        if executors.any(|executor| executor.is_needed) {
            self.idle_since.remove(&machine.id);
            return NodeState::Busy;
        }
        NodeState::Idle { since: *self.idle_since.entry(machine.id.clone()).or_insert(now) }
    }
}

/// The polling interval must be short enough to observe the policy's delays.
fn look_every(policy: &ScalingPolicy) -> Duration {
    let shortest = policy.out_after.min(policy.in_after).min(policy.cooldown);
    shortest.to_std().unwrap_or_default().clamp(LOOK_LEAST, LOOK_EVERY)
}

fn executors_on<'a>(machine: &Machine, load: &'a Load) -> impl Iterator<Item = &'a ExecutorLoad> {
    let address = machine.address.clone();
    load.executors.iter().filter(move |executor| executor.host == address)
}

#[cfg(test)]
mod tests;
