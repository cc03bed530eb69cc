//! Instance groups of a cluster, and how a number of machines is distributed over them.

use std::collections::BTreeMap;

use aws_sdk_emr::types::{InstanceGroup, InstanceGroupType, MarketType};
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

/// New counts of task groups for `count` more machines. Each goes to the group with the fewest machines pending, then
/// to the smallest, so that an instance type without Spot capacity does not block the others.
pub(super) fn grown(groups: &[GroupView], count: usize) -> Vec<(String, usize)> {
    let mut spread: BTreeMap<usize, usize> = BTreeMap::new();
    for _ in 0..count {
        let added = |place: &usize| spread.get(place).copied().unwrap_or_default();
        let candidates = groups.iter().enumerate().filter(|(_, group)| group.can_change());
        let next = candidates.min_by_key(|(place, group)| {
            (group.coming() + added(place), group.requested + added(place), group.name.as_str())
        });
        if let Some((place, _)) = next {
            *spread.entry(place).or_default() += 1;
        }
    }
    spread.into_iter().map(|(place, added)| (groups[place].id.clone(), groups[place].requested + added)).collect()
}

/// New counts of task groups for `count` fewer machines: pending ones are removed first, then machines of the largest
/// group.
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
