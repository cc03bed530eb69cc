//! The shipped project over the shipped sample.

use serde_json::Value;

use crate::support::{Scene, text, workspace};

const TABLES: usize = 9;

fn expected() -> Value {
    let path = workspace().join("sample/defects.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What the generator says that a correct reader finds, summed over feeds.
fn sum(feeds: &[&str], key: &str) -> u64 {
    feeds.iter().map(|feed| expected()["feeds"][feed]["expected"][key].as_u64().unwrap()).sum()
}

#[test]
fn counts_are_those_that_the_generator_planted() {
    let scene = Scene::shipped();
    scene.run_all();
    for (bars, feeds) in [("bars_1m", ["intraday", "week"].as_slice()), ("bars_1d", &["daily"])] {
        assert_eq!(scene.count(&format!("bronze.{bars}")), sum(feeds, "bronze_kept"));
        assert_eq!(scene.count(&format!("bronze.{bars}__quarantine")), sum(feeds, "bronze_rejected"));
        assert_eq!(scene.count(&format!("silver.{bars}")), sum(feeds, "silver_kept"));
        assert_eq!(scene.count(&format!("silver.{bars}__quarantine")), sum(feeds, "silver_quarantined"));
        let counts = scene.history(&format!("silver.{bars}"))[0]["details"]["pulse.counts"].clone();
        assert_eq!(counts["rows_dropped"], sum(feeds, "silver_dropped"));
    }
    let regular = sum(&["intraday", "week"], "silver_regular");
    assert_eq!(scene.count("silver.bars_1m where session = 'regular'"), regular);
    assert_eq!(scene.count("gold.indicators_1m"), regular);
    assert_eq!(scene.count("gold.indicators_1d"), sum(&["daily"], "silver_regular"));
    // Bars add up to days: 3 feeds' symbols times sessions, each minute there or missing.
    assert_eq!(scene.value("select sum(bars) from gold.daily_summary"), regular.to_string());
    assert_eq!(scene.value("select sum(bars) from gold.bars_15m"), regular.to_string());
    assert_eq!(scene.count("gold.daily_summary"), 10 * 10 + 3 * 5);
}

#[test]
fn each_feed_keeps_its_own_rows() {
    let scene = Scene::shipped();
    scene.run_all();
    for (feed, folder) in [("intraday", "av_1min_2020q4"), ("week", "av_week_2019_02_11")] {
        let kept = sum(&[feed], "silver_kept");
        assert_eq!(scene.count(&format!("silver.bars_1m where feed = '{folder}'")), kept);
    }
    // A symbol with a dash is one symbol.
    assert!(scene.count("silver.bars_1m where symbol = 'DK-B'") > 0);
}

#[test]
fn a_second_run_commits_nothing_and_says_so() {
    let scene = Scene::shipped();
    scene.run_all();
    let versions = scene.versions();
    assert_eq!(versions.keys().filter(|name| !name.ends_with("__quarantine")).count(), TABLES + 1);
    assert!(versions.values().all(|version| version == "0"), "{versions:?}");
    let again = scene.run_all().says(&["nothing changed, nothing was committed", "0 rows written"]);
    assert_eq!(again.stderr.lines().filter(|line| line.starts_with("unchanged")).count(), TABLES + 1);
    assert_eq!(scene.versions(), versions);
}

#[test]
fn the_ledger_knows_every_run() {
    let scene = Scene::shipped();
    let answer = scene.pulse(&["--output", "json", "run", "--all"]).ok();
    let told = answer.json();
    let listed = scene.pulse(&["--output", "json", "runs", "list"]).ok().json();
    assert_eq!(listed.len(), TABLES + 1);
    let silver = |records: &[Value]| records.iter().find(|record| record["job"] == "silver.bars_1m").unwrap().clone();
    let record = silver(&listed);
    assert_eq!(record, silver(&told));
    assert_eq!(record["state"], "succeeded");
    assert_eq!(record["version"], 0);
    let bars = sum(&["intraday", "week"], "bronze_kept");
    assert_eq!(record["rows_in"], bars + scene.rows("silver.sessions").len() as u64);
    assert_eq!(record["rows_out"], sum(&["intraday", "week"], "silver_kept"));
    assert_eq!(record["rows_quarantined"], sum(&["intraday", "week"], "silver_quarantined"));
    assert_eq!(record["expectations"].as_array().unwrap().len(), 7);

    let trigger = text(&record["trigger"]);
    let shown = scene.pulse(&["runs", "show", &trigger]).ok().stdout;
    assert!(shown.contains("read bronze.bars_1m version 0: 1 files"), "{shown}");
    let one = scene.pulse(&["--output", "json", "runs", "show", &text(&record["run"])]).ok().json();
    assert_eq!(one, [record]);
    scene.pulse(&["runs", "show", "20200101T000000-00000000"]).fails(2, &["20200101T000000-00000000"]);
}

#[test]
fn one_job_runs_alone_once_its_sources_are_there() {
    let scene = Scene::shipped();
    scene.pulse(&["run", "gold.trends"]).fails(1, &["silver.bars_1d, which does not exist"]);
    assert!(scene.versions().is_empty());
    scene.pulse(&["run", "silver.sessions", "bronze.bars_1d", "silver.bars_1d", "gold.trends"]).ok();
    assert_eq!(scene.count("gold.trends"), sum(&["daily"], "silver_kept"));
    scene.pulse(&["run", "gold.trend"]).fails(2, &["gold.trend"]);
}
