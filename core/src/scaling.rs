//! Decides how many machines a cluster should have, from its waiting and running tasks.
//!
//! Machines are added at once and removed after a delay: waiting work costs more than a machine that idles for some
//! minutes.

use chrono::{DateTime, TimeDelta, Utc};

/// Limits and delays. All counts are of machines with executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingPolicy {
    pub least: usize,
    pub most: usize,
    /// How long tasks must wait for a slot before machines are added.
    pub out_after: TimeDelta,
    /// How long a machine must be idle before it may be removed.
    pub in_after: TimeDelta,
    /// Minimum time between two changes.
    pub cooldown: TimeDelta,
    /// A younger machine cannot be removed: EMR refuses for ten minutes.
    pub settling: TimeDelta,
}

/// The machine's id at its provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Its executor has not registered yet.
    Starting,
    /// Runs tasks, or holds shuffle data of running plans.
    Busy,
    Idle {
        since: DateTime<Utc>,
    },
    /// Gets no new tasks and is removed once it is idle.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub state: NodeState,
    /// When it became ready or was requested.
    pub since: DateTime<Utc>,
    /// Whether it can be removed at all; machines with the cluster's own services cannot.
    pub removable: bool,
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Runnable tasks without a slot.
    pub pending_tasks: usize,
    pub running_tasks: usize,
    /// Concurrent tasks per machine.
    pub slots_per_node: usize,
    /// Since when tasks have been pending without interruption.
    pub waiting_since: Option<DateTime<Utc>>,
    pub nodes: Vec<Node>,
    /// Requested machines that are not among the nodes yet.
    pub coming: usize,
    pub last_change: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Hold,
    /// Add this many machines.
    Grow(usize),
    /// Stop assigning tasks to these and remove them once they are idle.
    Drain(Vec<NodeId>),
}

/// Never requests fewer than `least` or more than `most` machines, and never removes a machine with work.
pub fn decide(policy: &ScalingPolicy, seen: &Observation, now: DateTime<Utc>) -> Decision {
    if seen.last_change.is_some_and(|last| now - last < policy.cooldown) {
        return Decision::Hold;
    }
    let existing = seen.nodes.len() + seen.coming;
    let leaving = seen.nodes.iter().filter(|node| node.state == NodeState::Draining).count();
    let staying = existing - leaving;
    let wanted = wanted(policy, seen);
    let waited = seen.waiting_since.is_some_and(|since| now - since >= policy.out_after);
    // A draining machine still counts against the limit: it costs until it is gone.
    let room = policy.most.saturating_sub(existing);
    let short = match seen.pending_tasks > 0 && waited {
        true => wanted.saturating_sub(staying),
        false => policy.least.saturating_sub(staying),
    };
    if short.min(room) > 0 {
        return Decision::Grow(short.min(room));
    }
    if seen.pending_tasks > 0 {
        return Decision::Hold;
    }
    let ready = seen.nodes.iter().filter(|node| matches!(node.state, NodeState::Busy | NodeState::Idle { .. })).count();
    match longest_idle(policy, seen, ready.saturating_sub(wanted), now) {
        nodes if nodes.is_empty() => Decision::Hold,
        nodes => Decision::Drain(nodes),
    }
}

/// Machines needed to run all tasks at once, within the limits.
fn wanted(policy: &ScalingPolicy, seen: &Observation) -> usize {
    let tasks = seen.pending_tasks.saturating_add(seen.running_tasks);
    tasks.div_ceil(seen.slots_per_node.max(1)).clamp(policy.least, policy.most.max(policy.least))
}

fn longest_idle(policy: &ScalingPolicy, seen: &Observation, count: usize, now: DateTime<Utc>) -> Vec<NodeId> {
    let mut idle: Vec<(DateTime<Utc>, &NodeId)> = seen
        .nodes
        .iter()
        .filter(|node| node.removable && now - node.since >= policy.settling)
        .filter_map(|node| match node.state {
            NodeState::Idle { since } if now - since >= policy.in_after => Some((since, &node.id)),
            NodeState::Starting | NodeState::Busy | NodeState::Idle { .. } | NodeState::Draining => None,
        })
        .collect();
    idle.sort();
    idle.into_iter().take(count).map(|(_, id)| id.clone()).collect()
}

#[cfg(test)]
mod tests;
