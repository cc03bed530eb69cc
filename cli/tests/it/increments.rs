//! What is read of a source that changed, and what `check` and `plan` say of it.

use crate::jobs::{CHANGED, manifest, put, scene};

const MERGE: &str = "[sink.merge]\nkeys = [\"k\"]";

#[test]
fn what_is_not_proven_is_read_whole_and_said() {
    let sums = "select k, sum(v) as v from bronze.lines group by k";
    let ranks = "select k, row_number() over (order by v) as v from bronze.lines";
    let days = "select k, d, v from bronze.lines";
    let by_day = "[sink.overwrite_partitions]\nby = [\"d\"]";
    for (sink, read, query, says) in [
        (MERGE, CHANGED, sums, "`group by k` may need rows of bronze.lines that did not change"),
        (MERGE, "read = \"changed\"\nby = [\"k\"]", ranks, "`row_number` over a window without `partition by`"),
        (by_day, CHANGED, days, "`by = [\"d\"]` of bronze.lines would do"),
    ] {
        let scene = scene();
        scene.job("silver.t", &manifest(sink, read, ""), query);
        scene.pulse(&["check"]).ok().says(&["warning: silver.t: ", says]);
        put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,2.0"]);
        scene.run_all();
        put(&scene, "b", &["3,2024-01-01,0.5"]);
        scene.pulse(&["run", "bronze.lines"]).ok();
        let plan = scene.pulse(&["plan", "silver.t"]).ok().stdout;
        assert!(plan.contains("everything") && plan.contains(says), "{plan}");
        scene.run_all().says(&[says]);
        assert_eq!(scene.count("silver.t"), 3, "{query}");
    }
    let scene = scene();
    scene.job("silver.t", &manifest(MERGE, "read = \"changed\"\nby = [\"k\"]", ""), sums);
    let answer = scene.pulse(&["check"]).ok();
    assert!(!answer.stderr.contains("warning: silver.t"), "{}", answer.stderr);
}

#[test]
fn a_second_row_of_a_key_is_an_error_or_the_latest_stays() {
    let query = "select k, d, v from bronze.lines";
    let scene = scene();
    scene.job("silver.t", &manifest(MERGE, CHANGED, ""), query);
    put(&scene, "a", &["1,2024-01-05,1.0", "2,2024-01-01,2.0"]);
    scene.run_all();
    put(&scene, "b", &["1,2024-01-04,3.0"]);
    scene.pulse(&["run", "--all"]).fails(1, &["1 key is in a row", "k = 1", "`latest_by = [..]` in `[sink.merge]`"]);
    assert_eq!(scene.rows("silver.t"), ["1,2024-01-05,1.0", "2,2024-01-01,2.0"]);

    let latest = format!("{MERGE}\nlatest_by = [\"d\"]");
    scene.job("silver.t", &manifest(&latest, CHANGED, ""), query);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), ["1,2024-01-05,1.0", "2,2024-01-01,2.0"]);
    // An earlier row, a later one, and one that is there already.
    put(&scene, "c", &["1,2024-01-03,9.0", "2,2024-01-02,4.0", "1,2024-01-05,1.0"]);
    scene.run_all();
    assert_eq!(scene.history("silver.t")[0]["details"]["pulse.mode"], "incremental");
    assert_eq!(scene.rows("silver.t"), ["1,2024-01-05,1.0", "2,2024-01-02,4.0"]);
    put(&scene, "d", &["2,2024-01-02,5.0"]);
    scene.pulse(&["run", "--all"]).fails(1, &["`latest_by` (d)", "1 key has", "k = 2 (2 rows)"]);
    assert_eq!(scene.rows("silver.t"), ["1,2024-01-05,1.0", "2,2024-01-02,4.0"]);
    // The later row is corrected away, and the one before it is the latest again.
    put(&scene, "d", &[]);
    put(&scene, "c", &[]);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), ["1,2024-01-05,1.0", "2,2024-01-01,2.0"]);
    scene.job("silver.t", &manifest(&format!("{MERGE}\nlatest_by = [\"at\"]"), CHANGED, ""), query);
    scene.pulse(&["check"]).fails(2, &["`latest_by` names the column `at`, which the query does not yield"]);
}
