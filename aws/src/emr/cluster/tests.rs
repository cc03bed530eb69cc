use pulse_core::ErrorKind;
use serde_json::{Value, json};

use super::super::{StepRequest, Steps};
use super::*;
use crate::fake::{Fake, refusal};

fn spec() -> ClusterSpec {
    ClusterSpec::parse(include_str!("../../../tests/specification.json"), "test").unwrap()
}

fn cluster(state: &str, code: &str, message: &str) -> Value {
    json!({"Cluster": {"Id": "j-1", "Name": "pulse-dev", "LogUri": "s3://logs/emr/",
        "Status": {"State": state, "StateChangeReason": {"Code": code, "Message": message}}}})
}

/// A start as j-2, and the clusters that are live afterwards.
fn starts(live: &[Value]) -> Vec<(&'static str, u16, Value)> {
    vec![
        ("ListClusters", 200, json!({"Clusters": []})),
        ("RunJobFlow", 200, json!({"JobFlowId": "j-2"})),
        ("ListClusters", 200, json!({"Clusters": live})),
    ]
}

fn clusters(fake: &Fake) -> Clusters {
    Clusters { listed_within: Duration::ZERO, ..Clusters::new(&Clients::with(fake.config.clone())) }
}

/// A listed cluster with the specification's name; `created` in seconds since 1970.
fn listed(id: &str, created: i64) -> Value {
    json!({"Id": id, "Name": spec().name(), "Status": {"State": "STARTING", "Timeline": {"CreationDateTime": created}}})
}

async fn add(fake: &Fake) -> Error {
    let spec = spec();
    let request = StepRequest { name: "x".to_owned(), spec: &spec.step, arguments: Vec::new() };
    Steps::new(clusters(fake), "j-1".to_owned()).add(request).await.unwrap_err()
}

/// If a checksum differs or a node cannot reach S3, the bootstrap action fails and EMR terminates the cluster.
#[tokio::test]
async fn a_bootstrap_that_fails_tells_where_its_log_is() {
    let fake = Fake::start([
        ("DescribeCluster", 200, cluster("STARTING", "", "")),
        (
            "DescribeCluster",
            200,
            cluster(
                "TERMINATING",
                "BOOTSTRAP_FAILURE",
                "On the master instance (i-1), bootstrap action 1 returned a non-zero return code",
            ),
        ),
    ])
    .await;
    let told = std::sync::Mutex::new(Vec::new());
    let error =
        clusters(&fake).wait("j-1", &spec(), |state| told.lock().unwrap().push(state.to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for text in [
        "cluster j-1 is terminating",
        "bootstrap action 1 returned",
        "s3://logs/emr/j-1/",
        "node/*/bootstrap-actions",
        "checksum",
    ] {
        assert!(error.message().contains(text), "{text}: {error}");
    }
    assert_eq!(*told.lock().unwrap(), ["STARTING", "TERMINATING"]);
}

/// Another zone is tried only if machines are lacking.
#[tokio::test]
async fn a_zone_without_machines_is_told_from_other_failures() {
    let ended = |code, message| cluster("TERMINATED_WITH_ERRORS", code, message);
    let capacity = "EC2 has insufficient capacity for m5.xlarge in us-east-1a";
    for (code, message, expected) in [
        ("VALIDATION_ERROR", capacity, true),
        ("INSTANCE_FAILURE", capacity, true),
        ("VALIDATION_ERROR", "The given SSH key name was invalid", false),
        ("BOOTSTRAP_FAILURE", capacity, false),
        ("USER_REQUEST", "User request", false),
    ] {
        let fake = Fake::start([("DescribeCluster", 200, ended(code, message))]).await;
        let waited = clusters(&fake).wait("j-1", &spec(), |_| ()).await;
        assert_eq!(matches!(waited, Ok(Waited::NoMachines(_))), expected, "{code} {message}");
        assert_eq!(waited.is_err(), !expected, "{code} {message}");
    }
}

fn groups(core: usize) -> Value {
    let group = |role: &str, running: usize| {
        json!({"Id": role, "Name": role, "InstanceGroupType": role, "Market": "ON_DEMAND", "InstanceType": "m6i.xlarge",
            "RequestedInstanceCount": 1, "RunningInstanceCount": running, "Status": {"State": "PROVISIONING"}})
    };
    json!({"InstanceGroups": [group("MASTER", 1), group("CORE", core)]})
}

/// EMR keeps a cluster of groups STARTING for as long as EC2 has no machines, and says so in an event only.
#[tokio::test]
async fn a_zone_that_lends_nothing_is_left_and_nothing_stays_behind() {
    let fake = Fake::start([
        ("DescribeCluster", 200, cluster("STARTING", "", "")),
        ("ListInstanceGroups", 200, groups(0)),
        ("TerminateJobFlows", 200, json!({})),
    ])
    .await;
    let clusters = Clusters { zone_limit: Duration::ZERO, ..clusters(&fake) };
    let waited = clusters.wait("j-1", &spec(), |_| ()).await.unwrap();
    let Waited::NoMachines(error) = waited else { panic!("{waited:?}") };
    assert!(error.message().contains("cluster j-1 got no machines in its zone"), "{error}");
    let (_, asked) = fake.asked().pop().unwrap();
    assert_eq!(asked["JobFlowIds"], json!(["j-1"]));
}

/// Machines are there, and EMR is slow.
#[tokio::test]
async fn a_zone_with_machines_is_waited_for() {
    let fake = Fake::start([
        ("DescribeCluster", 200, cluster("STARTING", "", "")),
        ("ListInstanceGroups", 200, groups(1)),
        ("DescribeCluster", 200, cluster("TERMINATED", "USER_REQUEST", "User request")),
    ])
    .await;
    let clusters = Clusters { zone_limit: Duration::ZERO, ..clusters(&fake) };
    let error = clusters.wait("j-1", &spec(), |_| ()).await.unwrap_err();
    assert!(error.message().contains("User request"), "{error}");
    fake.asked();
}

#[tokio::test]
async fn what_never_comes_up_is_ended() {
    let fake = Fake::start([
        ("DescribeCluster", 200, cluster("BOOTSTRAPPING", "", "")),
        ("TerminateJobFlows", 200, json!({})),
    ])
    .await;
    let clusters = Clusters { start_limit: Duration::ZERO, ..clusters(&fake) };
    let error = clusters.wait("j-1", &spec(), |_| ()).await.unwrap_err();
    for text in ["still BOOTSTRAPPING", "is ended", "s3://logs/emr/j-1/"] {
        assert!(error.message().contains(text), "{text}: {error}");
    }
    fake.asked();
}

#[tokio::test]
async fn a_subnet_takes_the_place_of_the_specification_s() {
    let fake = Fake::start(starts(&[listed("j-2", 1)])).await;
    let spec = spec();
    assert_eq!(spec.zones(), [Some("subnet-1"), Some("subnet-2")]);
    clusters(&fake).up(&spec, Some("subnet-2")).await.unwrap();
    let (_, asked) = fake.asked().swap_remove(1);
    assert_eq!(asked["Instances"]["Ec2SubnetId"], json!("subnet-2"));
}

#[tokio::test]
async fn a_cluster_that_ends_takes_no_step() {
    let ending = || cluster("TERMINATING", "USER_REQUEST", "User request");
    let fake = Fake::start([("DescribeCluster", 200, ending())]).await;
    let error = add(&fake).await;
    assert!(error.message().contains("cluster j-1 is terminating: User request (USER_REQUEST)"), "{error}");
    // Also if it begins to terminate just then.
    let refused = refusal(
        "ValidationException",
        "A job flow that is shutting down, terminated, or finished may not be modified.",
    );
    let fake = Fake::start([
        ("DescribeCluster", 200, cluster("WAITING", "", "")),
        ("AddJobFlowSteps", 400, refused),
        ("DescribeCluster", 200, ending()),
    ])
    .await;
    let error = add(&fake).await;
    assert!(error.message().contains("pulse cluster up"), "{error}");
    fake.asked();
}

#[tokio::test]
async fn a_cluster_is_started_as_the_specification_says() {
    let fake = Fake::start(starts(&[listed("j-2", 1)])).await;
    let spec = spec();
    assert_eq!(clusters(&fake).up(&spec, None).await.unwrap(), Started::New { id: "j-2".to_owned() });
    let (_, asked) = fake.asked().swap_remove(1);
    let text: Value = serde_json::from_str(include_str!("../../../tests/specification.json")).unwrap();
    let mut expected = text["run_job_flow"].clone();
    let tag = json!({"Key": "pulse-spec", "Value": spec.digest});
    expected["Tags"].as_array_mut().unwrap().push(tag);
    assert_eq!(asked, expected);
}

/// Neither process saw the other's cluster before it started one.
#[tokio::test]
async fn of_two_that_were_started_at_once_the_older_one_stays() {
    let spec = spec();
    let fake = Fake::start(starts(&[listed("j-3", 8), listed("j-2", 7)])).await;
    assert_eq!(clusters(&fake).up(&spec, None).await.unwrap(), Started::New { id: "j-2".to_owned() });
    fake.asked();

    // Equally old: both choose the same one.
    for (other, created) in [("j-3", 6), ("j-1", 7)] {
        let mut answers = starts(&[listed("j-2", 7), listed(other, created)]);
        let tagged = json!({"Cluster": {"Id": other, "Tags": [{"Key": SPEC_TAG, "Value": spec.digest}]}});
        answers.extend([
            ("TerminateJobFlows", 200, json!({})),
            ("ListClusters", 200, json!({"Clusters": [listed(other, created)]})),
            ("DescribeCluster", 200, tagged),
        ]);
        let fake = Fake::start(answers).await;
        let up = clusters(&fake).up(&spec, None).await.unwrap();
        assert_eq!(up, Started::Reused { id: other.to_owned(), state: "STARTING".to_owned() });
        let (_, ended) = fake.asked().swap_remove(3);
        assert_eq!(ended, json!({"JobFlowIds": ["j-2"]}));
    }
}
