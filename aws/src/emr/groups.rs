//! Instance groups of a cluster, and how a number of machines is distributed over them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_emr::types::{InstanceGroup, InstanceGroupType, MarketType};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Primary,
    Core,
    Task,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    OnDemand,
    Spot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupView {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub market: Market,
    pub instance_type: String,
    pub requested: usize,
    pub running: usize,
    pub state: String,
}

impl GroupView {
    pub(super) fn of(group: &InstanceGroup) -> Self {
        let count = |count: Option<i32>| usize::try_from(count.unwrap_or_default()).unwrap_or_default();
        let state = group.status().and_then(|status| status.state());
        Self {
            id: group.id().unwrap_or_default().to_owned(),
            name: group.name().unwrap_or_default().to_owned(),
            role: match group.instance_group_type() {
                Some(InstanceGroupType::Master) => Role::Primary,
                Some(InstanceGroupType::Core) => Role::Core,
                Some(InstanceGroupType::Task) => Role::Task,
                _ => Role::Other,
            },
            market: if group.market() == Some(&MarketType::Spot) { Market::Spot } else { Market::OnDemand },
            instance_type: group.instance_type().unwrap_or_default().to_owned(),
            requested: count(group.requested_instance_count()),
            running: count(group.running_instance_count()),
            state: state.map_or("", |state| state.as_str()).to_owned(),
        }
    }

    /// Requested machines that do not run yet.
    pub fn coming(&self) -> usize {
        self.requested.saturating_sub(self.running)
    }

    /// EMR refuses to resize a group that is suspended or terminating.
    fn can_change(&self) -> bool {
        self.role == Role::Task
            && matches!(self.state.as_str(), "RUNNING" | "RESIZING" | "PROVISIONING" | "BOOTSTRAPPING" | "")
    }
}

/// New counts of task groups after `count` more machines: on Spot, one by one where the least are on their way, then where the
/// fewest are, so that a type which is not to be had holds up no others. Groups that are `dry` are left out; on demand, which costs
/// two to three times as much, only when all on Spot are.
pub(super) fn grown(groups: &[GroupView], count: usize, dry: &BTreeSet<String>) -> Vec<(String, usize)> {
    let open = |market: Market| {
        let candidates = groups.iter().enumerate();
        let open =
            candidates.filter(|(_, group)| group.can_change() && group.market == market && !dry.contains(&group.id));
        open.collect::<Vec<_>>()
    };
    let (spot, on_demand) = (open(Market::Spot), open(Market::OnDemand));
    let open = if spot.is_empty() { on_demand } else { spot };
    let mut spread: BTreeMap<usize, usize> = BTreeMap::new();
    for _ in 0..count {
        let added = |place: &usize| spread.get(place).copied().unwrap_or_default();
        let candidates = open.iter().copied();
        let next = candidates.min_by_key(|(place, group)| {
            (group.coming() + added(place), group.requested + added(place), group.name.as_str())
        });
        if let Some((place, _)) = next {
            *spread.entry(place).or_default() += 1;
        }
    }
    spread.into_iter().map(|(place, added)| (groups[place].id.clone(), groups[place].requested + added)).collect()
}

/// What EC2 owes to task groups, and since when. EMR's groups wait for Spot for ever, and what they wait for counts as machines
/// that come, so that nothing else would be asked for.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    /// Of each group that waits: how many it has, and since when no more.
    waits: BTreeMap<String, (usize, DateTime<Utc>)>,
    /// Groups that were given up, until when.
    dry: BTreeMap<String, DateTime<Utc>>,
}

impl Shortage {
    /// Of what was asked for on Spot and has not come for `patience`, nothing is waited for any longer: new counts of these groups,
    /// to which no machines are added before `patience` has passed three times.
    pub(super) fn given_up(
        &mut self,
        groups: &[GroupView],
        now: DateTime<Utc>,
        patience: TimeDelta,
    ) -> Vec<(String, usize)> {
        self.dry.retain(|_, until| now < *until);
        let waiting = |group: &&GroupView| group.can_change() && group.market == Market::Spot && group.coming() > 0;
        let waiting: Vec<&GroupView> = groups.iter().filter(waiting).collect();
        self.waits.retain(|id, _| waiting.iter().any(|group| group.id == *id));
        let mut lowered = Vec::new();
        for group in waiting {
            let wait = self.waits.entry(group.id.clone()).or_insert((group.running, now));
            if wait.0 != group.running {
                *wait = (group.running, now);
            }
            if now - wait.1 >= patience {
                self.waits.remove(&group.id);
                self.dry.insert(group.id.clone(), now + patience * 3);
                lowered.push((group.id.clone(), group.running));
            }
        }
        lowered
    }

    /// Groups to which no machines are to be added.
    pub(super) fn dry(&self) -> BTreeSet<String> {
        self.dry.keys().cloned().collect()
    }
}

/// New counts of task groups after `count` fewer machines: first what is on its way, then from the largest.
pub(super) fn shrunk(groups: &[GroupView], count: usize) -> Vec<(String, usize)> {
    let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
    for _ in 0..count {
        let left = |place: usize, group: &GroupView| group.requested - taken.get(&place).copied().unwrap_or_default();
        let candidates =
            groups.iter().enumerate().filter(|(place, group)| group.can_change() && left(*place, group) > 0);
        let next = candidates.max_by_key(|(place, group)| {
            let taken = taken.get(place).copied().unwrap_or_default();
            (group.coming().saturating_sub(taken), left(*place, group), std::cmp::Reverse(group.name.as_str()))
        });
        if let Some((place, _)) = next {
            *taken.entry(place).or_default() += 1;
        }
    }
    taken.into_iter().map(|(place, taken)| (groups[place].id.clone(), groups[place].requested - taken)).collect()
}
