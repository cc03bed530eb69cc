use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::groups::{GroupView, Market, Role, Shortage, grown, shrunk};
use super::spec::ClusterSpec;

/// As `infra/modules/cluster` writes it.
const SPEC: &str = include_str!("../../tests/specification.json");

fn group(id: &str, requested: usize, running: usize) -> GroupView {
    GroupView {
        id: id.to_owned(),
        name: id.to_owned(),
        role: Role::Task,
        market: Market::Spot,
        instance_type: "m5.xlarge".to_owned(),
        requested,
        running,
        state: "RUNNING".to_owned(),
    }
}

fn counts(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
    counts.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect()
}

#[test]
fn more_machines_go_where_the_fewest_are_on_their_way() {
    let groups = [group("a", 3, 3), group("b", 0, 0), group("c", 1, 1)];
    assert_eq!(grown(&groups, 3, &BTreeSet::new()), counts(&[("a", 4), ("b", 1), ("c", 2)]));
    // Nobody gets Spot of b's type: the next ones are of others.
    let stuck = [group("a", 3, 3), group("b", 2, 0), group("c", 1, 1)];
    assert_eq!(grown(&stuck, 2, &BTreeSet::new()), counts(&[("a", 4), ("c", 2)]));
    let closed = [
        GroupView { state: "SUSPENDED".into(), ..group("a", 0, 0) },
        GroupView { role: Role::Core, ..group("b", 1, 1) },
    ];
    assert_eq!(grown(&closed, 2, &BTreeSet::new()), counts(&[]));
    assert_eq!(grown(&groups, 0, &BTreeSet::new()), counts(&[]));
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + 60 * minutes, 0).unwrap()
}

/// Groups of EMR know no switch to on demand.
#[test]
fn what_spot_does_not_lend_is_asked_for_elsewhere() {
    let patience = TimeDelta::minutes(10);
    let mut shortage = Shortage::default();
    let spare = GroupView { market: Market::OnDemand, ..group("spare", 0, 0) };
    let groups = |a: (usize, usize), b: (usize, usize)| vec![group("a", a.0, a.1), group("b", b.0, b.1), spare.clone()];
    // While some type may be had, nothing is on demand.
    assert_eq!(grown(&groups((2, 0), (1, 1)), 3, &shortage.dry()), counts(&[("a", 3), ("b", 3)]));
    assert_eq!(shortage.given_up(&groups((2, 0), (1, 1)), at(0), patience), counts(&[]));
    assert_eq!(shortage.given_up(&groups((2, 0), (1, 1)), at(9), patience), counts(&[]));
    // One came: the other may.
    assert_eq!(shortage.given_up(&groups((2, 1), (1, 1)), at(10), patience), counts(&[]));
    assert_eq!(shortage.given_up(&groups((2, 1), (1, 1)), at(19), patience), counts(&[]));
    assert_eq!(shortage.given_up(&groups((2, 1), (1, 1)), at(20), patience), counts(&[("a", 1)]));
    assert_eq!(grown(&groups((1, 1), (1, 1)), 2, &shortage.dry()), counts(&[("b", 3)]));
    assert_eq!(shortage.given_up(&groups((1, 1), (3, 1)), at(21), patience), counts(&[]));
    assert_eq!(shortage.given_up(&groups((1, 1), (3, 1)), at(31), patience), counts(&[("b", 1)]));
    // No type on Spot: on demand.
    assert_eq!(grown(&groups((1, 1), (1, 1)), 2, &shortage.dry()), counts(&[("spare", 2)]));
    // After a while Spot is asked once more.
    assert_eq!(shortage.given_up(&groups((1, 1), (1, 1)), at(51), patience), counts(&[]));
    assert_eq!(grown(&groups((1, 1), (1, 1)), 1, &shortage.dry()), counts(&[("a", 2)]));
    assert_eq!(grown(&[group("a", 0, 0)], 1, &BTreeSet::from(["a".to_owned()])), counts(&[]));
}

#[test]
fn fewer_machines_are_first_those_that_have_not_come() {
    let groups = [group("a", 4, 4), group("b", 3, 1), group("c", 1, 1)];
    assert_eq!(shrunk(&groups, 2), counts(&[("b", 1)]));
    assert_eq!(shrunk(&groups, 4), counts(&[("a", 2), ("b", 1)]));
    assert_eq!(shrunk(&groups, 100), counts(&[("a", 0), ("b", 0), ("c", 0)]));
}

#[test]
fn a_specification_is_read_and_two_differ_by_their_digests() {
    let spec = ClusterSpec::parse(SPEC, "test").unwrap();
    assert_eq!((spec.name(), spec.core_units()), ("pulse-dev", 1));
    assert_eq!(spec.scaling.task_groups.len(), 4);
    assert_eq!(spec.run_job_flow.instances.instance_groups.len() + spec.add_instance_groups.instance_groups.len(), 6);
    let other = ClusterSpec::parse(&SPEC.replace("1800", "3600"), "test").unwrap();
    assert_ne!(spec.digest, other.digest);
    assert_eq!(spec.digest, ClusterSpec::parse(&SPEC.replace(": ", ":"), "test").unwrap().digest);
}

/// Ignoring an unknown field would start a different cluster.
#[test]
fn words_that_are_not_known_are_refused() {
    let unknown = SPEC.replace("\"LogUri\"", "\"KerberosAttributes\": {}, \"LogUri\"");
    let error = ClusterSpec::parse(&unknown, "ssm:/x").unwrap_err().to_string();
    assert!(error.contains("KerberosAttributes") && error.contains("ssm:/x"), "{error}");
    let error = ClusterSpec::parse(&SPEC.replace("\"version\": 1", "\"version\": 2"), "x").unwrap_err().to_string();
    assert!(error.contains("version 2, this pulse reads 1"), "{error}");
    assert!(ClusterSpec::parse("{", "x").is_err());
}
