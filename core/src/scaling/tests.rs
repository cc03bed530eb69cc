use proptest::prelude::*;

use super::*;

const POLICY: ScalingPolicy = ScalingPolicy {
    least: 2,
    most: 10,
    out_after: TimeDelta::seconds(60),
    in_after: TimeDelta::seconds(300),
    cooldown: TimeDelta::seconds(120),
    settling: TimeDelta::seconds(600),
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// A node with this age in seconds.
fn node(id: &str, state: NodeState, age: i64) -> Node {
    Node { id: NodeId(id.to_owned()), state, since: at(-age), removable: true }
}

fn idle(id: &str, seconds: i64) -> Node {
    node(id, NodeState::Idle { since: at(-seconds) }, 3600)
}

fn busy(count: usize) -> Vec<Node> {
    (0..count).map(|place| node(&format!("busy-{place}"), NodeState::Busy, 3600)).collect()
}

fn seen(pending_tasks: usize, running_tasks: usize, nodes: Vec<Node>) -> Observation {
    let waiting_since = (pending_tasks > 0).then(|| at(-90));
    Observation { pending_tasks, running_tasks, slots_per_node: 4, waiting_since, nodes, ..Observation::default() }
}

fn drained(decision: Decision) -> Vec<String> {
    match decision {
        Decision::Drain(ids) => ids.into_iter().map(|NodeId(id)| id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_waits_brings_as_many_machines_as_it_needs() {
    // 8 running and 9 waiting tasks need five machines of four slots.
    assert_eq!(decide(&POLICY, &seen(9, 8, busy(2)), at(0)), Decision::Grow(3));
    assert_eq!(decide(&POLICY, &seen(1, 8, busy(2)), at(0)), Decision::Grow(1));
    // Not beyond `most`.
    assert_eq!(decide(&POLICY, &seen(1000, 8, busy(2)), at(0)), Decision::Grow(8));
    assert_eq!(decide(&POLICY, &seen(1000, 40, busy(10)), at(0)), Decision::Hold);
    // Requested machines are counted.
    assert_eq!(decide(&POLICY, &Observation { coming: 3, ..seen(9, 8, busy(2)) }, at(0)), Decision::Hold);
    let starting = [busy(2), vec![node("new", NodeState::Starting, 30)]].concat();
    assert_eq!(decide(&POLICY, &seen(9, 8, starting), at(0)), Decision::Grow(2));
}

#[test]
fn a_short_wait_and_a_recent_change_bring_nothing() {
    let moment = Observation { waiting_since: Some(at(-59)), ..seen(9, 8, busy(2)) };
    assert_eq!(decide(&POLICY, &moment, at(0)), Decision::Hold);
    let changed = Observation { last_change: Some(at(-119)), ..seen(9, 8, busy(2)) };
    assert_eq!(decide(&POLICY, &changed, at(0)), Decision::Hold);
    let changed = Observation { last_change: Some(at(-120)), ..seen(9, 8, busy(2)) };
    assert_eq!(decide(&POLICY, &changed, at(0)), Decision::Grow(3));
}

#[test]
fn fewer_than_the_least_are_filled_up_without_any_work() {
    assert_eq!(decide(&POLICY, &seen(0, 0, Vec::new()), at(0)), Decision::Grow(2));
    assert_eq!(decide(&POLICY, &seen(0, 0, vec![idle("a", 10)]), at(0)), Decision::Grow(1));
    // A draining machine no longer counts.
    let leaving = vec![idle("a", 10), node("b", NodeState::Draining, 3600)];
    assert_eq!(decide(&POLICY, &seen(0, 0, leaving), at(0)), Decision::Grow(1));
}

#[test]
fn a_machine_that_drains_takes_room_and_brings_no_slots() {
    let full: Vec<Node> = [busy(9), vec![node("x", NodeState::Draining, 3600)]].concat();
    assert_eq!(decide(&POLICY, &seen(100, 36, full), at(0)), Decision::Hold);
    let nearly: Vec<Node> = [busy(8), vec![node("x", NodeState::Draining, 3600)]].concat();
    assert_eq!(decide(&POLICY, &seen(100, 32, nearly), at(0)), Decision::Grow(1));
}

#[test]
fn the_longest_idle_go_first_and_the_least_stay() {
    let nodes = vec![idle("a", 400), idle("b", 900), idle("c", 301), idle("d", 500)];
    assert_eq!(drained(decide(&POLICY, &seen(0, 0, nodes.clone()), at(0))), ["b", "d"]);
    // Nine running tasks need three machines.
    let with_work = [nodes, busy(2)].concat();
    assert_eq!(drained(decide(&POLICY, &seen(0, 9, with_work), at(0))), ["b", "d", "a"]);
}

#[test]
fn what_is_busy_new_fixed_or_briefly_idle_stays() {
    let keep = [
        busy(3),
        vec![
            idle("brief", 299),
            node("new", NodeState::Idle { since: at(-400) }, 599),
            Node { removable: false, ..idle("core", 3000) },
            node("starting", NodeState::Starting, 3600),
        ],
    ]
    .concat();
    assert_eq!(decide(&POLICY, &seen(0, 1, keep.clone()), at(0)), Decision::Hold);
    let with_one = [keep, vec![idle("old", 300)]].concat();
    assert_eq!(drained(decide(&POLICY, &seen(0, 1, with_one), at(0))), ["old"]);
}

#[test]
fn while_tasks_wait_nothing_goes() {
    let nodes = vec![idle("a", 900), idle("b", 900), idle("c", 900)];
    let just_came = Observation { waiting_since: Some(at(0)), ..seen(1, 0, nodes) };
    assert_eq!(decide(&POLICY, &just_came, at(0)), Decision::Hold);
}

fn any_state() -> impl Strategy<Value = NodeState> {
    prop_oneof![
        Just(NodeState::Starting),
        Just(NodeState::Busy),
        (0..2000i64).prop_map(|seconds| NodeState::Idle { since: at(-seconds) }),
        Just(NodeState::Draining),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let nodes = proptest::collection::vec((any_state(), 0..4000i64, any::<bool>()), 0..14);
    (0..200usize, 0..60usize, 0..9usize, nodes, 0..5usize, 0..300i64, proptest::option::of(0..400i64)).prop_map(
        |(pending, running, slots, nodes, coming, waited, changed)| Observation {
            pending_tasks: pending,
            running_tasks: running,
            slots_per_node: slots,
            waiting_since: (pending > 0).then(|| at(-waited)),
            nodes: nodes
                .into_iter()
                .enumerate()
                .map(|(place, (state, age, removable))| Node { removable, ..node(&place.to_string(), state, age) })
                .collect(),
            coming,
            last_change: changed.map(|seconds| at(-seconds)),
        },
    )
}

proptest! {
    #[test]
    fn limits_hold_and_work_is_never_taken_away(seen in any_observation()) {
        let existing = seen.nodes.len() + seen.coming;
        match decide(&POLICY, &seen, at(0)) {
            Decision::Hold => {}
            Decision::Grow(count) => {
                prop_assert!(count > 0);
                prop_assert!(existing + count <= POLICY.most);
            }
            Decision::Drain(ids) => {
                prop_assert!(!ids.is_empty());
                prop_assert_eq!(seen.pending_tasks, 0);
                let ready = |node: &&Node| matches!(node.state, NodeState::Busy | NodeState::Idle { .. });
                let left = seen.nodes.iter().filter(ready).filter(|node| !ids.contains(&node.id)).count();
                prop_assert!(left >= POLICY.least);
                let slots = seen.slots_per_node.max(1);
                prop_assert!(left * slots >= seen.running_tasks.min(POLICY.most * slots));
                for id in &ids {
                    let node = seen.nodes.iter().find(|node| node.id == *id).unwrap();
                    prop_assert!(node.removable);
                    let is_idle = matches!(node.state, NodeState::Idle { .. });
                    prop_assert!(is_idle);
                }
            }
        }
    }

    /// Once applied, a decision is not reverted while the work stays the same.
    #[test]
    fn nothing_flaps(seen in any_observation()) {
        // Tasks that start to wait too long later are a new reason.
        prop_assume!(seen.waiting_since.is_none_or(|since| at(0) - since >= POLICY.out_after));
        let first = decide(&POLICY, &seen, at(0));
        let after = match &first {
            Decision::Hold => return Ok(()),
            Decision::Grow(count) => Observation { coming: seen.coming + count, ..seen.clone() },
            Decision::Drain(ids) => {
                let nodes = seen.nodes.iter().filter(|node| !ids.contains(&node.id)).cloned().collect();
                Observation { nodes, ..seen.clone() }
            }
        };
        let after = Observation { last_change: Some(at(0)), ..after };
        for seconds in [1, 119, 120, 600, 7200] {
            match (&first, decide(&POLICY, &after, at(seconds))) {
                (Decision::Grow(_), Decision::Grow(_)) => prop_assert!(false, "grew twice for the same work"),
                (Decision::Drain(_), Decision::Grow(_)) => prop_assert!(false, "grew right after it had shrunk"),
                _ => {}
            }
        }
    }

    /// Machines that were just added are not removed while their work remains.
    #[test]
    fn what_came_for_work_stays_for_it(running in 0..60usize, slots in 1..9usize, extra in 0..6usize) {
        let wanted = running.div_ceil(slots).clamp(POLICY.least, POLICY.most);
        let nodes: Vec<Node> = (0..wanted + extra).map(|place| idle(&place.to_string(), 4000)).collect();
        let seen = Observation { slots_per_node: slots, ..seen(0, running, nodes) };
        let kept = match decide(&POLICY, &seen, at(0)) {
            Decision::Drain(ids) => wanted + extra - ids.len(),
            Decision::Hold => wanted + extra,
            Decision::Grow(_) => return Err(TestCaseError::fail("nothing waits")),
        };
        prop_assert_eq!(kept, wanted);
    }
}
