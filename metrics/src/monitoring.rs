//! The files of `monitoring/` ask only for metrics that exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::described::Kind;
use crate::families::FAMILIES;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring").join(name)).unwrap()
}

/// Names of series that a text mentions.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pulse_") || word.starts_with("process_")).collect()
}

fn known() -> BTreeSet<String> {
    let ends = |kind| match kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].as_slice(),
        Kind::Counter | Kind::Gauge => &[""],
    };
    let series = FAMILIES.iter().flat_map(|family| ends(family.kind).iter().map(|end| format!("{}{end}", family.name)));
    series.collect()
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    let targets = panels.into_iter().filter_map(|panel| panel.get("targets")?.as_array().cloned()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rules_and_dashboard_use_metrics_of_the_reference() {
    let known = known();
    let mut texts = queries();
    assert!(texts.len() > 20 && texts.iter().all(|query| !names(query).is_empty()), "{texts:?}");
    texts.extend([file("rules.yml"), file("rules_test.yml")]);
    for text in &texts {
        let unknown: Vec<&str> = names(text).into_iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {text}");
    }
}

#[test]
fn the_dashboard_shows_every_family_but_those_that_only_name_things() {
    let text = queries().join("\n");
    let shown = names(&text);
    let hidden: Vec<&str> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !shown.iter().any(|shown| shown.starts_with(name)))
        .collect();
    let rest =
        ["pulse_triggers_waiting_limit", "pulse_executor_slots", "pulse_executor_tasks_running", "pulse_build_info"];
    assert_eq!(hidden, [rest.as_slice(), &["process_threads", "process_start_time_seconds"]].concat());
}

/// promtool runs the cases where it is installed (`scripts/monitoring check`).
#[test]
fn every_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let (rules, cases) = (file("rules.yml"), file("rules_test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 7, "{alerts:?}");
    for alert in alerts {
        let looks: Vec<&str> =
            cases.split("- eval_time:").filter(|look| look.contains(&format!("alertname: {alert}\n"))).collect();
        let (fires, quiet): (Vec<&str>, Vec<&str>) = looks.into_iter().partition(|look| look.contains("exp_alerts"));
        assert!(!fires.is_empty() && !quiet.is_empty(), "{alert}");
    }
}
