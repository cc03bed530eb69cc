//! What jobs can do that the shipped project does not use: projects written here, over tables made here.

use crate::support::Scene;

const LINES: &str = "[files.lines]\nroot = \"$raw\"\ncolumns = [{ name = \"k\", type = \"bigint\" }, \
                     { name = \"d\", type = \"date\" }, { name = \"v\", type = \"double\" }]\n\
                     [files.lines.feed.all]\npath = \"{part}.csv\"\nformat = { csv = {} }\n";

/// `bronze.lines` over CSV files of `k,d,v`, and whatever the test adds.
pub(crate) fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(LINES);
    let query = "select k, d, v, source_file, line from raw.lines";
    scene.job("bronze.lines", "grain = [\"source_file\", \"line\"]\n[sink.append]\n", query);
    scene
}

pub(crate) fn put(scene: &Scene, part: &str, rows: &[&str]) {
    scene.put(&format!("{part}.csv"), format!("k,d,v\n{}\n", rows.join("\n")));
}

pub(crate) fn manifest(sink: &str, read: &str, rest: &str) -> String {
    format!("grain = [\"k\"]\n[source.\"bronze.lines\"]\n{read}\n{sink}\n{rest}")
}

pub(crate) const CHANGED: &str = "read = \"changed\"";

#[test]
fn what_a_merge_reads_again_is_read() {
    let scene = scene();
    let read = "read = \"changed\"\nby = [\"k\"]";
    scene.job("silver.t", &manifest("[sink.merge]\nkeys = [\"k\"]", read, ""), "select k, v from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    put(&scene, "b", &["2,2024-01-01,2.0"]);
    scene.run_all();
    put(&scene, "a", &["1,2024-01-01,9.0"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), ["1,9.0", "2,2.0"]);
    let details = &scene.history("silver.t")[0]["details"];
    let of_sources: u64 =
        details["pulse.inputs"].as_array().unwrap().iter().map(|input| input["bytes"].as_u64().unwrap()).sum();
    let log = std::fs::read_to_string(scene.lake.join("silver/t/_delta_log/00000000000000000001.json")).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let removed = actions.filter_map(|action| action["remove"]["path"].as_str().map(str::to_owned));
    let rewritten: u64 =
        removed.map(|path| std::fs::metadata(scene.lake.join("silver/t").join(path)).unwrap().len()).sum();
    assert_eq!(details["pulse.mode"], "incremental");
    assert!(of_sources > 0 && rewritten > 0);
    assert_eq!(details["pulse.counts"]["bytes_read"], of_sources + rewritten);
}

#[test]
fn append_reads_only_the_rows_that_were_added() {
    let scene = scene();
    scene.job("silver.log", &manifest("[sink.append]", CHANGED, ""), "select k, v from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,2.0"]);
    scene.run_all();
    put(&scene, "b", &["3,2024-01-02,3.0"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.log"), ["1,1.0", "2,2.0", "3,3.0"]);
    let newest = &scene.history("silver.log")[0]["details"]["pulse.counts"];
    assert_eq!(newest["rows_in"], 1);
    assert_eq!(newest["files_removed"], 0);
    // Rows that were taken back cannot be unappended: the table is computed again, and says so.
    put(&scene, "a", &["1,2024-01-01,9.0"]);
    scene.run_all().says(&["bronze.lines changed and is read whole"]);
    assert_eq!(scene.rows("silver.log"), ["1,9.0", "3,3.0"]);
}

#[test]
fn overwrite_holds_exactly_the_rows_of_the_query() {
    let scene = scene();
    let query = "select d as k, sum(v) as v from bronze.lines group by d";
    scene.job("silver.sums", &manifest("[sink.overwrite]", "read = \"all\"", ""), query);
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-02,2.0"]);
    scene.run_all();
    put(&scene, "a", &["1,2024-01-01,5.0"]);
    put(&scene, "b", &["1,2024-01-01,1.5"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.sums"), ["2024-01-01,6.5"]);
}

/// `-0.0` equals `0.0` in queries, and is the same key in every sink.
#[test]
fn both_zeros_are_one_key() {
    let sinks = [
        "grain = [\"f\"]\n[sink.overwrite]\n",
        "grain = [\"f\"]\n[sink.merge]\nkeys = [\"f\"]\n",
        "grain = [\"f\", \"valid_from\"]\n[sink.scd2]\nkeys = [\"f\"]\neffective = \"d\"\n",
        "grain = [\"f\"]\n[source.\"bronze.z\"]\nread = \"changed\"\n[sink.append]\n",
    ];
    for (sink, data_type) in sinks.iter().flat_map(|sink| [(sink, "double"), (sink, "float")]) {
        let mut scene = Scene::empty();
        scene.sources(&format!(
            "[files.z]\nroot = \"$raw\"\ncolumns = [{{ name = \"f\", type = \"{data_type}\" }}, \
             {{ name = \"d\", type = \"date\" }}, {{ name = \"v\", type = \"bigint\" }}]\n\
             [files.z.feed.all]\npath = \"*.csv\"\nformat = {{ csv = {{}} }}\n"
        ));
        let landed = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
        scene.job("bronze.z", landed, "select f, d, v, source_file, line from raw.z");
        scene.job("silver.z", sink, "select f, d, v from bronze.z");
        scene.put("a.csv", "f,d,v\n-0.0,2024-01-01,1\n1.5,2024-01-01,1\n");
        scene.run_all().ok();
        let zero = "(select count(*) as n, min(cast(f as string)) as f from silver.z where f = 0)";
        assert_eq!(scene.rows(zero), ["1,0.0"], "{sink}");
        scene.put("b.csv", "f,d,v\n0.0,2024-01-01,2\n");
        scene.pulse(&["run", "--all"]).fails(1, &["0.0"]);
        assert_eq!(scene.rows(zero), ["1,0.0"], "{sink}");
    }
}

/// 255 bytes are the longest name of a folder; a space takes three of them.
#[test]
fn a_partition_value_that_no_folder_can_be_named_after_is_refused() {
    for (letters, spaces, fits) in [(253, 0, true), (250, 1, true), (254, 0, false), (251, 1, false)] {
        let scene = Scene::empty();
        let query = format!("select repeat('x', {letters}) || repeat(' ', {spaces}) as d, 1 as v");
        scene.job("gold.t", "partition_by = [\"d\"]\ngrain = [\"d\"]\n[sink.overwrite]\n", &query);
        match fits {
            true => drop(scene.pulse(&["run", "--all"]).ok()),
            false => drop(
                scene.pulse(&["run", "--all"]).fails(1, &["makes a folder name of 256 bytes, and 255 are possible"]),
            ),
        }
    }
}

#[test]
fn overwrite_partitions_replaces_only_the_days_that_changed() {
    let scene = scene();
    let sink = "[sink.overwrite_partitions]\nby = [\"d\"]";
    let read = "read = \"changed\"\nby = [\"d\"]";
    scene.job("silver.days", &manifest(sink, read, ""), "select k, d, v from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-02,2.0", "3,2024-01-03,3.0"]);
    scene.run_all();
    let folder = |day: &str| {
        let entries = std::fs::read_dir(scene.lake.join(format!("silver/days/d={day}"))).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!(["2024-01-01", "2024-01-02", "2024-01-03"].map(|day| folder(day).len()), [1, 1, 1]);
    let untouched = folder("2024-01-01");
    put(&scene, "b", &["4,2024-01-02,4.0"]);
    scene.run_all();
    assert_eq!(
        scene.rows("(select k, d, v from silver.days)"),
        ["1,2024-01-01,1.0", "2,2024-01-02,2.0", "3,2024-01-03,3.0", "4,2024-01-02,4.0"]
    );
    let newest = &scene.history("silver.days")[0];
    assert_eq!((&newest["files_added"], &newest["files_removed"]), (&1.into(), &1.into()));
    assert_eq!(folder("2024-01-01"), untouched);
}

#[test]
fn merge_updates_inserts_and_deletes_by_key() {
    let scene = scene();
    let read = "read = \"changed\"\nby = [\"k\"]";
    let query = "select k, max(v) as v from bronze.lines group by k";
    scene.job("silver.best", &manifest("[sink.merge]\nkeys = [\"k\"]", read, ""), query);
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,2.0", "3,2024-01-01,3.0"]);
    put(&scene, "b", &["1,2024-01-01,7.0"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.best"), ["1,7.0", "2,2.0", "3,3.0"]);
    put(&scene, "a", &["1,2024-01-01,1.0", "3,2024-01-01,30.0", "4,2024-01-01,4.0"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.best"), ["1,7.0", "3,30.0", "4,4.0"]);
    put(&scene, "a", &["4,2024-01-01,4.0"]);
    put(&scene, "b", &[]);
    scene.run_all();
    assert_eq!(scene.rows("silver.best"), ["4,4.0"]);
}

pub(crate) fn expect(name: &str, what: &str, on_fail: &str) -> String {
    format!("[[expect]]\nname = \"{name}\"\n{what}\non_fail = \"{on_fail}\"\n")
}

#[test]
fn a_failed_expectation_leaves_the_table_as_it_was() {
    let scene = scene();
    let rest = expect("v is small", "check = \"v < 100\"", "fail");
    scene.job("silver.small", &manifest("[sink.append]", CHANGED, &rest), "select k, v from bronze.lines");
    scene.job("gold.next", "grain = [\"k\"]\n[sink.overwrite]\n", "select k from silver.small");
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    scene.run_all();
    put(&scene, "b", &["2,2024-01-01,2.0", "3,2024-01-01,300.0"]);
    let answer =
        scene.pulse(&["run", "--all"]).fails(3, &["\"v is small\" failed 1 of 2", "the table stays as it was"]);
    assert!(answer.stderr.contains("skipped    gold.next"), "{}", answer.stderr);
    // Two lines came into bronze; nothing of the refused rows counts as written.
    let last = answer.stderr.lines().find(|line| line.contains(" runs in ")).unwrap();
    assert!(last.ends_with("2 rows written, 0 quarantined, 0 dropped"), "{last}");
    assert_eq!(scene.rows("silver.small"), ["1,1.0"]);
    assert_eq!(scene.versions()["silver.small"], "0");
    // The file is put right, and the rows of both files are there.
    put(&scene, "b", &["2,2024-01-01,2.0"]);
    let manifest = manifest("[sink.append]", "read = \"all\"", &rest);
    scene.job("silver.small", &manifest, "select k, v from bronze.lines");
    scene.run_all();
    assert_eq!(scene.rows("silver.small"), ["1,1.0", "2,2.0"]);
}

#[test]
fn rows_are_warned_of_dropped_and_quarantined() {
    let scene = scene();
    let rest = [
        expect("k is odd", "check = \"k % 2 = 1\"", "warn"),
        expect("v is known", "check = \"v is not null\"", "drop"),
        expect("v is small", "check = \"v < 100\"", "quarantine"),
        expect("once", "unique = { columns = [\"k\"], keep_first_by = [\"v desc\"] }", "quarantine"),
    ]
    .concat();
    scene.job("silver.judged", &manifest("[sink.overwrite]", "read = \"all\"", &rest), "select k, v from bronze.lines");
    put(
        &scene,
        "a",
        &["1,2024-01-01,1.0", "1,2024-01-01,3.0", "2,2024-01-01,", "4,2024-01-01,5.0", "5,2024-01-01,500.0"],
    );
    let answer = scene.run_all();
    assert_eq!(scene.rows("silver.judged"), ["1,3.0", "4,5.0"]);
    // A null is not below a hundred either, and quarantine is the stricter end.
    let quarantined = scene.rows("silver.judged__quarantine");
    assert_eq!(quarantined, ["1,1.0,once,", "2,,v is small,", "5,500.0,v is small,"]);
    answer.says(&["warn: \"k is odd\" 2 of 5", "quarantined: \"v is small\" 2 of 5", "quarantined: \"once\" 1 of 3"]);
    let counts = &scene.history("silver.judged")[0]["details"]["pulse.counts"];
    assert_eq!((&counts["rows_in"], &counts["rows_out"]), (&5.into(), &2.into()));
    assert_eq!((&counts["rows_quarantined"], &counts["rows_dropped"]), (&3.into(), &0.into()));
}

#[test]
fn a_run_all_of_whose_rows_were_rejected_fails_unless_it_may() {
    let scene = scene();
    let rest =
        [expect("v is small", "check = \"v < 100\"", "quarantine"), expect("v is known", "check = \"v > 0\"", "drop")]
            .concat();
    let read = "read = \"changed\"\nby = [\"k\"]";
    let text = manifest("[sink.merge]\nkeys = [\"k\"]", read, &rest);
    scene.job("silver.t", &text, "select k, v from bronze.lines");
    scene.job("gold.next", "grain = [\"k\"]\n[sink.overwrite]\n", "select k from silver.t");
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    scene.run_all();
    put(&scene, "b", &["x,2024-01-01,1.0", "y,2024-01-01,2.0"]);
    let texts = [
        "bronze/lines/job.toml: all 2 rows",
        "2 such as \"`k` is not a number: `x`\"",
        "`max_rejected = 1.0`",
        "skipped    silver.t",
    ];
    scene.pulse(&["run", "--all"]).fails(1, &texts);
    assert_eq!(scene.versions()["bronze.lines"], "0");
    assert!(!scene.versions().contains_key("bronze.lines__quarantine"));
    // A good row beside them, and they are set apart.
    put(&scene, "c", &["2,2024-01-01,200.0", "3,2024-01-01,-1.0"]);
    let texts =
        ["silver/t/job.toml: all 2 rows", "1 such as \"v is known\", 1 such as \"v is small\"", "skipped    gold.next"];
    scene.pulse(&["run", "--all"]).fails(1, &texts);
    assert_eq!((scene.count("bronze.lines"), scene.count("bronze.lines__quarantine")), (3, 2));
    assert_eq!(scene.versions()["silver.t"], "0");
    scene.job("silver.t", &format!("max_rejected = 0.6\n{text}"), "select k, v from bronze.lines");
    scene.pulse(&["run", "--all"]).fails(1, &["2 of 2 rows", "`max_rejected`, which is 0.6"]);
    // A limit is none of what makes the rows: the table is not computed again.
    scene.job("silver.t", &format!("max_rejected = 1.0\n{text}"), "select k, v from bronze.lines");
    let answer = scene.run_all();
    assert!(!answer.stderr.contains("the job changed"), "{}", answer.stderr);
    assert_eq!(scene.rows("silver.t"), ["1,1.0"]);
    assert_eq!(scene.rows("silver.t__quarantine"), ["2,200.0,v is small,"]);
}

#[test]
fn checks_of_the_table_forbid_the_commit() {
    let cases = [
        ("rows = { at_least = 3 }", "\"it\" failed"),
        ("rows = { at_most = 1 }", "\"it\" failed"),
        ("fresh = { column = \"d\", hours = 24 }", "\"it\" failed"),
        ("refers = { column = \"k\", to = \"silver.known.id\" }", "\"it\" failed 1 of 2"),
        ("unique = { columns = [\"d\"] }", "\"it\" failed 1 of 2"),
    ];
    for (what, says) in cases {
        let scene = scene();
        scene.job("silver.known", "grain = [\"id\"]\n[sink.overwrite]\n", "select 1 as id");
        let rest = expect("it", what, "fail");
        scene.job("silver.t", &manifest("[sink.overwrite]", "read = \"all\"", &rest), "select k, d from bronze.lines");
        put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,1.0"]);
        scene.pulse(&["run", "--all"]).fails(3, &[says]);
        assert!(!scene.versions().contains_key("silver.t"), "{what}");
    }
    let scene = scene();
    scene.job("silver.known", "grain = [\"id\"]\n[sink.overwrite]\n", "select 1 as id union all select 2");
    let rest = [
        expect("rows", "rows = { at_least = 2, at_most = 2 }", "fail"),
        expect("fresh", "fresh = { column = \"d\", hours = 24 }", "fail"),
        expect("refers", "refers = { column = \"k\", to = \"silver.known.id\" }", "fail"),
    ]
    .concat();
    scene.job("silver.t", &manifest("[sink.overwrite]", "read = \"all\"", &rest), "select k, d from bronze.lines");
    // A day ahead of every clock.
    put(&scene, "a", &["1,9999-01-01,1.0", "2,2024-01-01,1.0"]);
    scene.run_all();
    assert_eq!(scene.count("silver.t"), 2);
}

#[test]
fn rows_are_counted_in_the_table_and_not_in_the_run() {
    let scene = scene();
    let rows = expect("it", "rows = { at_least = 2, at_most = 3 }", "fail");
    scene.job("silver.t", &manifest("[sink.append]", CHANGED, &rows), "select k, d from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,1.0"]);
    scene.run_all();
    // One row of a run, and the third of the table.
    put(&scene, "b", &["3,2024-01-02,1.0"]);
    scene.run_all();
    put(&scene, "c", &["4,2024-01-02,1.0"]);
    scene.pulse(&["run", "--all"]).fails(3, &["\"it\" failed", "4 rows; 2 to 3 are allowed"]);
    assert_eq!(scene.count("silver.t"), 3);
}

#[test]
fn instants_between_two_microseconds_are_not_cut_off() {
    let scene = scene();
    let query = |micros: &str| {
        format!(
            "select k, {micros}to_timestamp(concat('2024-01-01T00:00:00.12345670', cast(k as varchar)))) as z from bronze.lines"
        )
    };
    let text = manifest("[sink.overwrite]", "read = \"all\"", "");
    scene.job("silver.t", &text, &query("("));
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,1.0"]);
    scene.pulse(&["run", "--all"]).fails(1, &["is between two microseconds", "date_trunc('microsecond', ..)"]);
    assert!(!scene.versions().contains_key("silver.t"));
    scene.job("silver.t", &text, &query("date_trunc('microsecond', "));
    scene.run_all();
    assert_eq!(scene.rows("(select distinct z from silver.t)").len(), 1);
}

#[test]
fn rows_that_stay_refer_to_something_too() {
    let scene = scene();
    scene.job("silver.known", "grain = [\"id\"]\n[sink.overwrite]\n", "select 1 as id union all select 2");
    let refers = expect("it", "refers = { column = \"k\", to = \"silver.known.id\" }", "fail");
    scene.job("silver.t", &manifest("[sink.append]", CHANGED, &refers), "select k, d from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,1.0"]);
    scene.run_all();
    scene.job("silver.known", "grain = [\"id\"]\n[sink.overwrite]\n", "select 1 as id");
    put(&scene, "b", &["1,2024-01-02,1.0"]);
    scene.pulse(&["run", "--all"]).fails(3, &["\"it\" failed 1 of 3"]);
    assert_eq!(scene.count("silver.t"), 2);
}

#[test]
fn what_would_give_other_rows_is_refused() {
    let scene = scene();
    let removes = expect("it", "refers = { column = \"k\", to = \"bronze.lines.k\" }", "quarantine");
    scene.job("silver.t", &manifest("[sink.overwrite]", "read = \"all\"", &removes), "select k, d from bronze.lines");
    scene.pulse(&["check"]).fails(2, &["`it` has no rows to remove", "filtered by the query"]);
    std::fs::remove_dir_all(scene.project.join("silver")).unwrap();
    scene.job("silver.known", "grain = [\"k\"]\n[sink.overwrite]\n", "select distinct k from bronze.lines");
    let by_file = "grain = [\"source_file\", \"line\"]\n";
    for (sink, condition, says) in [
        ("append", "v >= (select max(v) from raw.lines)", Some("a subquery reads files")),
        ("append", "exists (select 1 from raw.lines o where o.k > 5)", Some("a subquery reads files")),
        ("append", "k not in (select k from silver.known)", Some("not exists")),
        ("overwrite", "not (k in (select k from silver.known))", Some("not exists")),
        ("overwrite", "v >= (select max(v) from raw.lines)", None),
        ("append", "k in (select k from silver.known)", None),
    ] {
        let query = format!("select k, v, source_file, line from raw.lines where {condition}");
        scene.job("gold.t", &format!("{by_file}[sink.{sink}]\n"), &query);
        let answer = scene.pulse(&["check"]);
        match says {
            Some(says) => drop(answer.fails(2, &["gold/t/query.sql", says])),
            None => drop(answer.ok()),
        }
    }
}

#[test]
fn groups_of_columns_that_a_source_lacks_are_refused() {
    let scene = scene();
    let by = "read = \"changed\"\nby = [\"nope\"]";
    scene.job("silver.t", &manifest("[sink.merge]\nkeys = [\"k\"]", by, ""), "select k, d from bronze.lines");
    scene.pulse(&["check"]).fails(2, &["silver/t/job.toml: bronze.lines has no column `nope`", "k, d, v"]);
}

#[test]
fn a_line_that_cannot_be_read_closes_no_key() {
    let scene = scene();
    let seen = "grain = [\"k\", \"valid_from\"]\n[sink.scd2]\nkeys = [\"k\"]\neffective = \"observed\"\n";
    scene.job("silver.t", seen, "select k, v from raw.lines");
    put(&scene, "a", &["1,2024-01-01,10", "2,2024-01-01,20"]);
    scene.run_all();
    put(&scene, "a", &["1,2024-01-01,10", "2,2024-01-01,2O"]);
    scene.pulse(&["run", "silver.t"]).fails(1, &["1 of the lines", "max_rejected"]);
    let holds = "(select k, v from silver.t where is_current)";
    assert_eq!(scene.rows(holds), ["1,10.0", "2,20.0"]);
    scene.job("silver.t", &format!("max_rejected = 0.5\n{seen}"), "select k, v from raw.lines");
    scene.pulse(&["run", "silver.t"]).ok();
    assert_eq!(scene.rows(holds), ["1,10.0"]);
}

#[test]
fn a_job_that_changed_is_computed_again() {
    let scene = scene();
    let text = manifest("[sink.append]", CHANGED, "");
    scene.job("silver.log", &text, "select k, v from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    scene.run_all();
    put(&scene, "b", &["2,2024-01-01,2.0"]);
    scene.run_all();
    scene.job("silver.log", &text, "select k, v * 10 as v from bronze.lines");
    let plan = scene.pulse(&["plan", "--all"]).ok().stdout;
    assert!(plan.lines().any(|line| line.starts_with("silver.log") && line.contains("the job changed")), "{plan}");
    scene.run_all().says(&["silver.log", "the job changed"]);
    assert_eq!(scene.rows("silver.log"), ["1,10.0", "2,20.0"]);
}

#[test]
fn a_plan_tells_what_a_run_then_does() {
    let scene = scene();
    scene.job("silver.log", &manifest("[sink.append]", CHANGED, ""), "select k, v from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    let does = || -> Vec<(String, String)> {
        let lines = scene.pulse(&["--output", "json", "plan", "--all"]).ok().json();
        let text = |value: &serde_json::Value| crate::support::text(value);
        lines.iter().map(|line| (text(&line["job"]), text(&line["does"]))).collect()
    };
    let pairs = |a: &str, b: &str| {
        [("bronze.lines", a), ("silver.log", b)].map(|(job, does)| (job.to_owned(), does.to_owned()))
    };
    assert_eq!(does(), pairs("everything", "everything"));
    assert!(scene.versions().is_empty(), "a plan touches nothing");
    scene.run_all();
    assert_eq!(does(), pairs("nothing", "nothing"));
    put(&scene, "b", &["2,2024-01-01,2.0"]);
    assert_eq!(does(), pairs("changes", "changes"));
    let plan = scene.pulse(&["plan", "--all"]).ok().stdout;
    assert!(plan.contains("1 of 2 files are new, 0 changed"), "{plan}");
    assert_eq!(scene.versions()["bronze.lines"], "0");
}

#[test]
fn a_failed_expectation_shows_values_and_limits() {
    let query = "select cast(column1 as bigint) as n, cast(column2 as bigint) as g, cast(column3 as timestamp with time zone) as ts \
                 from (values (1, 7, '2024-01-01T00:00:00Z'), (2, 7, '2024-01-02T00:00:00Z'), (30, 8, '2024-01-02T06:00:00Z'))";
    let with = |expect: &str, on_fail: &str| {
        let scene = Scene::empty();
        let expect = format!("[[expect]]\nname = \"e\"\n{expect}\non_fail = \"{on_fail}\"\n");
        scene.job("silver.a", &format!("grain = [\"n\"]\n[sink.overwrite]\n{expect}"), query);
        scene
    };
    for (expect, evidence) in [
        ("check = \"n < 3\"", "n = 30"),
        ("unique = { columns = [\"g\"] }", "g = 7 (2 rows)"),
        ("fresh = { column = \"ts\", hours = 24 }", "the newest `ts` is 2024-01-02T06:00:00Z"),
        ("rows = { at_least = 5 }", "3 rows; at least 5 are allowed"),
    ] {
        with(expect, "fail").pulse(&["run", "--all"]).fails(3, &["\"e\" failed 1 of", evidence]);
        with(expect, "warn").pulse(&["run", "--all"]).ok().says(&["warn: \"e\" 1 of", evidence]);
    }
}
