//! What becomes of a table when its job, the contract of its files or several of its sources change, and what of it is unique.

use crate::jobs::{CHANGED, expect, manifest, put, scene};
use crate::support::{Scene, assert_same_tables};

fn unique(name: &str, columns: &str, on_fail: &str) -> String {
    expect(name, &format!("unique = {{ columns = {columns} }}"), on_fail)
}

/// Nobody could tell the lake from one that was built of today's files at once.
fn assert_like_built_anew(mut scene: Scene) {
    let grown = scene.tables();
    let scene = scene.with_fresh_lake();
    scene.run_all();
    assert_same_tables(&grown, &scene.tables());
}

#[test]
fn every_unique_expectation_is_counted_by_itself() {
    let scene = scene();
    let rest =
        [unique("k once", "[\"k\"]", "fail"), unique("v once", "[\"v\"]", "fail"), unique("d once", "[\"d\"]", "warn")]
            .concat();
    scene.job("silver.t", &manifest("[sink.overwrite]", "read = \"all\"", &rest), "select k, d, v from bronze.lines");
    // The equal values do not lie side by side in the order of k.
    put(&scene, "a", &["1,2024-01-01,1.5", "2,2024-01-02,2.5", "3,2024-01-01,1.5", "4,2024-01-01,"]);
    let answer = scene.pulse(&["run", "--all"]).fails(3, &["expectation \"v once\" failed 1 of 4; the table stays"]);
    assert!(!answer.stderr.contains("\"k once\""), "{}", answer.stderr);
    answer.says(&["warn: \"d once\" 2 of 4"]);
    put(&scene, "a", &["1,2024-01-01,1.5", "1,2024-01-02,2.5"]);
    scene.pulse(&["run", "--all"]).fails(3, &["expectation \"k once\" failed 1 of 2; the table stays"]);
    assert!(!scene.versions().contains_key("silver.t"));
    // A second null repeats the first.
    put(&scene, "a", &["1,2024-01-01,", "2,2024-01-02,"]);
    scene.pulse(&["run", "--all"]).fails(3, &["expectation \"v once\" failed 1 of 2; the table stays"]);
    put(&scene, "a", &["1,2024-01-01,1.5", "2,2024-01-02,2.5"]);
    scene.run_all();
    assert_eq!(scene.count("silver.t"), 2);
}

/// Between k and v lies d: rows that agree in k and v are neighbours only as long as d follows from them.
#[test]
fn repeated_rows_that_are_no_neighbours_are_found_or_refused() {
    let apart = ["1,2024-01-01,1.0", "1,2024-01-02,2.0", "1,2024-01-03,1.0"];
    let job = |expectation: String| {
        let scene = scene();
        let head = manifest("[sink.overwrite]", "read = \"all\"", &expectation);
        let head = head.replacen("grain = [\"k\"]", "grain = [\"k\", \"d\"]", 1);
        let text = format!("order = [\"k\", \"d\", \"v\"]\n{head}");
        scene.job("silver.t", &text, "select k, d, v from bronze.lines");
        scene
    };
    let found = job(unique("once", "[\"k\", \"v\"]", "fail"));
    put(&found, "a", &apart);
    found.pulse(&["run", "--all"]).fails(3, &["\"once\" failed 1 of 3"]);
    let first = "unique = { columns = [\"v\", \"k\"], keep_first_by = [\"d\"] }";
    let refused = job(expect("once", first, "drop"));
    put(&refused, "a", &apart);
    refused.pulse(&["run", "--all"]).fails(1, &["\"once\"", "need not lie side by side", "order"]);
    assert!(!refused.versions().contains_key("silver.t"));
    put(&refused, "a", &["1,2024-01-01,1.0", "1,2024-01-02,1.0", "1,2024-01-03,2.0"]);
    refused.run_all();
    assert_eq!(refused.rows("silver.t"), ["1,2024-01-01,1.0", "1,2024-01-03,2.0"]);
}

#[test]
fn rows_that_stay_in_the_table_count_for_uniqueness() {
    let appended = scene();
    let rest = unique("k once", "[\"k\"]", "fail");
    appended.job("silver.t", &manifest("[sink.append]", CHANGED, &rest), "select k, v from bronze.lines");
    put(&appended, "a", &["1,2024-01-01,1.0", "2,2024-01-01,2.0"]);
    appended.run_all();
    put(&appended, "b", &["2,2024-01-01,3.0", "3,2024-01-01,4.0"]);
    appended.pulse(&["run", "--all"]).fails(3, &["\"k once\" failed 1 of 2"]);
    assert_eq!(appended.versions()["silver.t"], "0");
    assert_eq!(appended.rows("silver.t"), ["1,1.0", "2,2.0"]);

    // The key is k; v of another key may not come again.
    let merged = scene();
    let rest = unique("v once", "[\"v\"]", "fail");
    let sink = "[sink.merge]\nkeys = [\"k\"]";
    let read = "read = \"changed\"\nby = [\"k\"]";
    merged.job("silver.t", &manifest(sink, read, &rest), "select k, v from bronze.lines");
    put(&merged, "a", &["1,2024-01-01,1.0", "2,2024-01-01,2.0"]);
    merged.run_all();
    put(&merged, "b", &["3,2024-01-01,2.0"]);
    merged.pulse(&["run", "--all"]).fails(3, &["\"v once\" failed 1 of 1"]);
    assert_eq!(merged.rows("silver.t"), ["1,1.0", "2,2.0"]);
    // It moves from one key to another, which is no repetition.
    put(&merged, "a", &["1,2024-01-01,1.0", "2,2024-01-01,7.0"]);
    merged.run_all();
    assert_eq!(merged.rows("silver.t"), ["1,1.0", "2,7.0", "3,2.0"]);
}

#[test]
fn a_unique_that_cannot_be_enforced_has_a_caret() {
    let first = "unique = { columns = [\"k\"], keep_first_by = [\"v\"] }";
    let refused = |rest: String, texts: &[&str]| {
        let scene = scene();
        let text = manifest("[sink.overwrite]", "read = \"all\"", &rest);
        scene.job("silver.t", &text, "select k, v, d as _d from bronze.lines");
        scene.pulse(&["run", "--all"]).fails(2, texts).says(&["silver/t/job.toml", "^"]);
    };
    refused(expect("one", first, "drop") + &expect("two", first, "quarantine"), &["a second `unique`"]);
    let other = "unique = { columns = [\"v\"], keep_first_by = [\"k\"] }";
    refused(expect("one", other, "drop"), &["would not lie side by side"]);
    refused(unique("one", "[\"k\"]", "fail") + &unique("two", "[\"_d\"]", "fail"), &["`_d` is not written"]);
}

const TWO: &str = "[files.lines]\nroot = \"$raw/left\"\ncolumns = [{ name = \"k\", type = \"bigint\" }, \
                   { name = \"v\", type = \"double\" }]\n[files.lines.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n\
                   [files.others]\nroot = \"$raw/right\"\ncolumns = [{ name = \"k\", type = \"bigint\" }, \
                   { name = \"w\", type = \"double\" }]\n[files.others.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";

/// `silver.both` joins what two sources say of a key; by which columns the second is read is up to the test.
fn two_sources(by: &str, join: &str) -> Scene {
    let mut scene = Scene::empty();
    scene.sources(TWO);
    let append = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.lines", append, "select k, v, source_file, line from raw.lines");
    scene.job("bronze.others", append, "select k, w, source_file, line from raw.others");
    let text = format!(
        "grain = [\"k\"]\n[source.\"bronze.lines\"]\nread = \"changed\"\nby = [\"k\"]\n[source.\"bronze.others\"]\n\
         read = \"changed\"\nby = {by}\n[sink.merge]\nkeys = [\"k\"]\n{}",
        expect("the sum is small", "check = \"coalesce(v, 0) + coalesce(w, 0) < 100\"", "quarantine")
    );
    let query = format!("select l.k, l.v, o.w from bronze.lines l {join} join bronze.others o on o.k = l.k");
    scene.job("silver.both", &text, &query);
    for (side, name) in [("left", "v"), ("right", "w")] {
        for k in 1..=4 {
            let value = if k == 4 { 90 } else { k };
            scene.put(&format!("{side}/{k}.csv"), format!("k,{name}\n{k},{value}\n"));
        }
    }
    scene
}

/// A change of the left side at one key and of the right side at another, in one run.
fn change_both(scene: &Scene) {
    scene.put("left/1.csv", "k,v\n1,10\n");
    scene.put("right/2.csv", "k,w\n2,200\n");
    scene.put("right/4.csv", "k,w\n4,4\n");
    scene.put("left/5.csv", "k,v\n5,5\n");
}

#[test]
fn sources_that_change_at_once_are_read_by_the_same_groups() {
    for join in ["inner", "left"] {
        let scene = two_sources("[\"k\"]", join);
        scene.run_all();
        assert_eq!(scene.rows("silver.both"), ["1,1.0,1.0", "2,2.0,2.0", "3,3.0,3.0"]);
        assert_eq!(scene.count("silver.both__quarantine"), 1);
        change_both(&scene);
        scene.run_all();
        assert_eq!(scene.history("silver.both")[0]["details"]["pulse.mode"], "incremental");
        let added = if join == "left" { ["5,5.0,"].as_slice() } else { &[] };
        assert_eq!(scene.rows("silver.both"), [&["1,10.0,1.0", "3,3.0,3.0", "4,90.0,4.0"], added].concat());
        let reasons = scene.rows("(select k, w, _reason from silver.both__quarantine)");
        assert_eq!(reasons, ["2,200.0,the sum is small"], "{join}: what was healed left, what went wrong came");
        assert_like_built_anew(scene);
    }
}

#[test]
fn only_one_of_two_sources_changes_and_the_other_shows_the_same_groups() {
    let scene = two_sources("[\"k\"]", "left");
    scene.run_all();
    scene.put("right/2.csv", "k,w\n2,7\n");
    scene.run_all();
    assert_eq!(scene.rows("silver.both"), ["1,1.0,1.0", "2,2.0,7.0", "3,3.0,3.0"]);
    assert_eq!(scene.history("silver.both")[0]["details"]["pulse.counts"]["rows_out"], 1);
    assert_like_built_anew(scene);
}

#[test]
fn sources_that_are_read_by_different_columns_are_read_whole_when_both_change() {
    let scene = two_sources("[\"w\"]", "inner");
    scene.run_all();
    change_both(&scene);
    scene.run_all().says(&["bronze.lines and bronze.others changed, which are read by different columns"]);
    assert_like_built_anew(scene);
}

/// Rows that come can also take a key out of a query's answer.
#[test]
fn keys_that_new_rows_rule_out_are_deleted() {
    let read = "read = \"changed\"\nby = [\"k\"]";
    for query in [
        "select k, count(*) as v from bronze.lines group by k having count(*) < 2",
        "select k, v from (select k, v, count(*) over (partition by k) as n from bronze.lines) where n < 2",
        "select k, min(v) as v from bronze.lines l group by k except select k, 1.0 from bronze.lines where v > 5",
    ] {
        let scene = scene();
        scene.job("silver.t", &manifest("[sink.merge]\nkeys = [\"k\"]", read, ""), query);
        put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-01,1.0"]);
        scene.run_all();
        assert_eq!(scene.rows("silver.t").len(), 2, "{query}");
        put(&scene, "b", &["2,2024-01-01,9.0"]);
        scene.run_all();
        assert_eq!(scene.rows("silver.t").len(), 1, "{query}");
        assert_like_built_anew(scene);
    }
}

#[test]
fn a_null_is_a_value_of_a_key() {
    let scene = scene();
    let read = "read = \"changed\"\nby = [\"k\"]";
    let query = "select k, sum(v) as v from bronze.lines group by k";
    scene.job("silver.t", &manifest("[sink.merge]\nkeys = [\"k\"]", read, ""), query);
    put(&scene, "a", &["1,2024-01-01,1.0", ",2024-01-01,2.0"]);
    scene.run_all();
    put(&scene, "b", &[",2024-01-01,3.0"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), [",5.0", "1,1.0"]);
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), [",3.0", "1,1.0"]);
    assert_like_built_anew(scene);
}

const EVENTS: &str = "[files.events]\nroot = \"$raw\"\n\
    columns = [{ name = \"at\", type = \"timestamp\" }, { name = \"v\", type = \"string\" }]\n";

fn feed(name: &str, folder: &str, rest: &str) -> String {
    format!("[files.events.feed.{name}]\npath = \"{folder}/*.csv\"\nformat = {{ csv = {{}} }}\n{rest}\n")
}

#[test]
fn a_feed_whose_contract_changed_is_read_again() {
    let mut scene = Scene::empty();
    scene.sources(&format!("{EVENTS}{}", feed("first", "a", "")));
    let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.events", manifest, "select at, v, source_file, line from raw.events");
    scene.put("a/1.csv", "at,v\n2024-07-01 12:00:00,7\n");
    scene.run_all();
    let stamps = "(select at from bronze.events)";
    assert_eq!(scene.rows(stamps), ["2024-07-01T12:00:00Z"]);

    // New York is four hours behind UTC in July.
    let zone = "time_zone = \"America/New_York\"";
    scene.sources(&format!("{EVENTS}{}", feed("first", "a", zone)));
    let plan = scene.pulse(&["plan", "--all"]).ok().stdout;
    assert!(plan.contains("sources.toml changed"), "{plan}");
    scene.run_all().says(&["sources.toml changed"]);
    assert_eq!(scene.rows(stamps), ["2024-07-01T16:00:00Z"]);
    let bar = format!("{zone}\nbar = {{ column = \"at\", label = \"end\", seconds = 60 }}");
    scene.sources(&format!("{EVENTS}{}", feed("first", "a", &bar)));
    scene.run_all();
    assert_eq!(scene.rows(stamps), ["2024-07-01T15:59:00Z"]);
    scene.run_all().says(&["nothing was committed"]);

    // A feed that is new brings its files and nothing else.
    scene.sources(&format!("{EVENTS}{}{}", feed("first", "a", &bar), feed("second", "b", "")));
    scene.put("b/1.csv", "at,v\n2024-07-02 12:00:00,8\n");
    scene.run_all();
    assert_eq!(scene.rows(stamps), ["2024-07-01T15:59:00Z", "2024-07-02T12:00:00Z"]);
    assert_eq!(scene.history("bronze.events")[0]["files_removed"], 0);

    // A column that is no text after all.
    scene.put("b/2.csv", "at,v\n2024-07-03 12:00:00,many\n");
    scene.run_all();
    assert_eq!(scene.count("bronze.events"), 3);
    let strict =
        EVENTS.replace("{ name = \"v\", type = \"string\" }", "{ name = \"v\", type = \"string\", required = true }");
    scene.sources(&format!("{strict}{}{}", feed("first", "a", &bar), feed("second", "b", "")));
    scene.run_all().says(&["sources.toml changed"]);
}

#[test]
fn words_to_people_change_no_table() {
    let mut scene = scene();
    let text = manifest("[sink.append]", CHANGED, "");
    scene.job("silver.t", &text, "select k, v from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.0"]);
    scene.run_all();
    scene.job("silver.t", &format!("owner = \"other\"\ndescription = \"d\"\n{text}"), "select k, v from bronze.lines");
    scene.run_all().says(&["nothing was committed"]);
    // Where the files lie is not what they hold. `cp -p` keeps the times, by which local files are known.
    let moved = scene.path("moved");
    let copied = std::process::Command::new("cp").arg("-rp").args([&scene.raw, &moved]).status().unwrap();
    assert!(copied.success());
    scene.raw_at(moved);
    scene.run_all().says(&["nothing was committed"]);
}

#[test]
fn a_column_that_is_added_comes_with_the_rebuild() {
    let keyed = "read = \"changed\"\nby = [\"k\"]";
    let sinks = [
        ("[sink.append]", CHANGED),
        ("[sink.overwrite]", "read = \"all\""),
        ("[sink.overwrite_partitions]\nby = [\"d\"]", "read = \"changed\"\nby = [\"d\"]"),
        ("[sink.merge]\nkeys = [\"k\"]", keyed),
    ];
    for (sink, read) in sinks {
        let scene = scene();
        let rest = expect("v is small", "check = \"v < 100\"", "quarantine");
        let text = manifest(sink, read, &rest);
        scene.job("silver.t", &text, "select k, d, v from bronze.lines");
        let next =
            "grain = [\"k\"]\n[source.\"silver.t\"]\nread = \"changed\"\nby = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n";
        scene.job("gold.next", next, "select k, v from silver.t");
        put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-02,200.0"]);
        scene.run_all();
        scene.job("silver.t", &text, "select k, v * 2 as doubled, d, v from bronze.lines");
        let answer = scene.run_all();
        answer.says(&["silver.t", "the job changed"]);
        assert_eq!(scene.rows("silver.t"), ["1,2.0,2024-01-01,1.0"], "{sink}");
        assert_eq!(scene.rows("silver.t__quarantine"), ["2,400.0,2024-01-02,200.0,v is small,"], "{sink}");
        // Incremental runs go on from there.
        put(&scene, "b", &["3,2024-01-03,3.0", "4,2024-01-03,400.0"]);
        scene.run_all();
        assert_eq!(scene.rows("silver.t"), ["1,2.0,2024-01-01,1.0", "3,6.0,2024-01-03,3.0"], "{sink}");
        assert_eq!(scene.rows("gold.next"), ["1,1.0", "3,3.0"], "{sink}");
        scene.run_all().says(&["nothing was committed"]);
        assert_like_built_anew(scene);
    }
}

#[test]
fn a_table_can_be_partitioned_later_and_keeps_its_order_of_columns() {
    let scene = scene();
    let read = "read = \"changed\"\nby = [\"d\"]";
    let query = "select k, d, v from bronze.lines";
    scene.job("silver.t", &manifest("[sink.merge]\nkeys = [\"k\", \"d\"]", read, ""), query);
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-02,2.0"]);
    scene.run_all();
    let rows = ["1,2024-01-01,1.0", "2,2024-01-02,2.0"];
    assert_eq!(scene.rows("silver.t"), rows);
    scene.job("silver.t", &manifest("[sink.overwrite_partitions]\nby = [\"d\"]", read, ""), query);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), rows, "partition columns do not move to the end");
    assert!(scene.lake.join("silver/t/d=2024-01-02").is_dir());
    assert_eq!(scene.value("select count(*) from silver.t where d = date '2024-01-02'"), "1");
    let head = scene.pulse(&["--output", "csv", "query", "select * from silver.t"]).ok().stdout;
    assert!(head.starts_with("k,d,v\n"), "{head}");
    scene.job("silver.t", &manifest("[sink.overwrite]", "read = \"all\"", ""), query);
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), rows);
}
