use serde_json::{Value, json};

use super::*;
use crate::fake::Fake;

fn groups() -> Value {
    let group = |id: &str, role: &str, count: usize| {
        json!({"Id": id, "Name": id, "InstanceGroupType": role, "Market": "SPOT", "InstanceType": "m5.xlarge",
            "RequestedInstanceCount": count, "RunningInstanceCount": count, "Status": {"State": "RUNNING"}})
    };
    let (primary, core) = (group("ig-p", "MASTER", 1), group("ig-c", "CORE", 1));
    json!({"InstanceGroups": [primary, core, group("ig-1", "TASK", 2), group("ig-2", "TASK", 1)]})
}

fn instances() -> Value {
    let instance = |id: &str, group: &str, address: &str| {
        json!({"Id": format!("ci-{id}"), "Ec2InstanceId": id, "InstanceGroupId": group, "PrivateIpAddress": address,
            "Status": {"State": "RUNNING", "Timeline": {"CreationDateTime": 1_700_000_000, "ReadyDateTime": 1_700_000_300}}})
    };
    json!({"Instances": [
        instance("i-p", "ig-p", "10.0.0.1"),
        instance("i-c", "ig-c", "10.0.0.2"),
        instance("i-a", "ig-1", "10.0.0.3"),
        instance("i-b", "ig-1", "10.0.0.4"),
        instance("i-d", "ig-2", "10.0.0.5"),
    ]})
}

fn pool(fake: &Fake) -> EmrPool {
    EmrPool::new(&Clients::with(fake.config.clone()), "j-1".to_owned())
}

#[tokio::test]
async fn machines_are_those_with_executors() {
    let fake = Fake::start([("ListInstanceGroups", 200, groups()), ("ListInstances", 200, instances())]).await;
    let (machines, coming) = pool(&fake).machines().await.unwrap();
    let seen: Vec<(&str, &str, bool)> =
        machines.iter().map(|machine| (machine.id.as_str(), machine.address.as_str(), machine.removable)).collect();
    let expected =
        [("i-c", "10.0.0.2", false), ("i-a", "10.0.0.3", true), ("i-b", "10.0.0.4", true), ("i-d", "10.0.0.5", true)];
    assert_eq!((seen.as_slice(), coming), (expected.as_slice(), 0));
    assert_eq!(machines[0].since.timestamp(), 1_700_000_300);
    fake.asked();
}

/// Given only a count, EMR chooses which machines to terminate.
#[tokio::test]
async fn the_machines_that_go_are_named() {
    let fake = Fake::start([
        ("ListInstanceGroups", 200, groups()),
        ("ListInstances", 200, instances()),
        ("ModifyInstanceGroups", 200, json!({})),
    ])
    .await;
    pool(&fake).remove(&["i-b".to_owned(), "i-d".to_owned(), "i-c".to_owned()]).await.unwrap();
    let (_, asked) = fake.asked().pop().unwrap();
    let expected = json!([
        {"InstanceGroupId": "ig-1", "InstanceCount": 1, "EC2InstanceIdsToTerminate": ["i-b"]},
        {"InstanceGroupId": "ig-2", "InstanceCount": 0, "EC2InstanceIdsToTerminate": ["i-d"]},
    ]);
    assert_eq!((&asked["ClusterId"], &asked["InstanceGroups"]), (&json!("j-1"), &expected));
}

/// What Spot never lends would count as machines that come, for ever.
#[tokio::test]
async fn what_does_not_come_is_no_longer_asked_for() {
    let group = |id: &str, market: &str, requested: usize, running: usize| {
        json!({"Id": id, "Name": id, "InstanceGroupType": "TASK", "Market": market, "InstanceType": "m6i.xlarge",
            "RequestedInstanceCount": requested, "RunningInstanceCount": running, "Status": {"State": "RESIZING"}})
    };
    let groups = json!({"InstanceGroups": [group("ig-1", "SPOT", 2, 0), group("ig-2", "ON_DEMAND", 0, 0)]});
    let fake = Fake::start([
        ("ListInstanceGroups", 200, groups.clone()),
        ("ListInstanceGroups", 200, groups.clone()),
        ("ModifyInstanceGroups", 200, json!({})),
        ("ListInstances", 200, json!({"Instances": []})),
        ("ListInstanceGroups", 200, groups),
        ("ModifyInstanceGroups", 200, json!({})),
    ])
    .await;
    let pool = pool(&fake);
    // It has waited for them since long ago.
    let long_ago = Utc::now() - TimeDelta::hours(1);
    let waiting = pool.clusters.groups("j-1").await.unwrap();
    assert!(pool.shortage().given_up(&waiting, long_ago, PATIENCE).is_empty());
    assert_eq!(pool.machines().await.unwrap(), (Vec::new(), 0));
    pool.grow(1).await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked[2].1["InstanceGroups"], json!([{"InstanceGroupId": "ig-1", "InstanceCount": 0}]));
    assert_eq!(asked[5].1["InstanceGroups"], json!([{"InstanceGroupId": "ig-2", "InstanceCount": 1}]));
}

#[tokio::test]
async fn more_machines_are_asked_of_task_groups() {
    let fake = Fake::start([("ListInstanceGroups", 200, groups()), ("ModifyInstanceGroups", 200, json!({}))]).await;
    pool(&fake).grow(2).await.unwrap();
    let (_, asked) = fake.asked().pop().unwrap();
    let expected =
        json!([{"InstanceGroupId": "ig-1", "InstanceCount": 3}, {"InstanceGroupId": "ig-2", "InstanceCount": 2}]);
    assert_eq!(asked["InstanceGroups"], expected);
}
