//! What becomes of a table's columns when its job, or a table that it reads, has other ones.

use crate::jobs::{manifest, put, scene};
use crate::support::Scene;

fn whole(scene: &Scene, query: &str) {
    scene.job("silver.t", &manifest("[sink.overwrite]", "read = \"all\"", ""), query);
}

fn columns(scene: &Scene, table: &str) -> Vec<String> {
    let answer = scene.pulse(&["--output", "csv", "table", "show", table]).ok();
    answer.stdout.lines().skip(1).map(str::to_owned).collect()
}

/// Layout is not meaning.
#[test]
fn a_comment_rebuilds_nothing() {
    let scene = scene();
    let text = manifest("[sink.merge]\nkeys = [\"k\"]", "read = \"changed\"\nby = [\"k\"]", "");
    scene.job("silver.t", &text, "select k, d, v from bronze.lines where v > 1");
    put(&scene, "a", &["1,2024-01-01,1.5"]);
    scene.run_all();
    let before = scene.versions();
    std::fs::remove_file(scene.raw.join("a.csv")).unwrap();
    scene.job(
        "silver.t",
        &format!("max_rejected = 0.5\n{text}"),
        "-- the same\nSELECT k, d,v\nFROM Bronze.Lines WHERE v > 1;",
    );
    scene.job(
        "bronze.lines",
        "description = \"lines\"\ngrain = [\"source_file\", \"line\"]\ntarget_file_mib = 64\n[sink.append]\n",
        "select k, d, v, source_file, line -- as they are\nfrom raw.lines",
    );
    assert!(scene.pulse(&["plan", "silver.t"]).ok().stdout.contains("nothing"));
    scene.pulse(&["run", "silver.t"]).ok().says(&["nothing was committed"]);
    assert_eq!(scene.versions()["silver.t"], before["silver.t"]);
    // Its rows of a file that is gone stay.
    scene.run_all();
    assert_eq!(scene.rows("silver.t"), ["1,2024-01-01,1.5"]);
    scene.job("silver.t", &text, "select k, d, v from bronze.lines where v > 2");
    scene.run_all().says(&["the job changed"]);
    assert_eq!(scene.rows("silver.t"), Vec::<String>::new());
}

#[test]
fn columns_that_go_are_reported_and_replaced_on_request() {
    for (query, lost, left, rows) in [
        ("select k, d from bronze.lines", "v double", vec!["k,bigint", "d,date"], vec!["1,2024-01-01"]),
        (
            "select k, d, v as w from bronze.lines",
            "v double",
            vec!["k,bigint", "d,date", "w,double"],
            vec!["1,2024-01-01,1.5"],
        ),
        (
            "select k, d, cast(v as bigint) as v from bronze.lines",
            "v double",
            vec!["k,bigint", "d,date", "v,bigint"],
            vec!["1,2024-01-01,1"],
        ),
        (
            "select cast(k as varchar) as k, d, v from bronze.lines",
            "k bigint",
            vec!["k,string", "d,date", "v,double"],
            vec!["1,2024-01-01,1.5"],
        ),
    ] {
        let scene = scene();
        whole(&scene, "select k, d, v from bronze.lines");
        scene.job("gold.other", "grain = [\"k\"]\n[sink.overwrite]\n", "select 1 as k");
        put(&scene, "a", &["1,2024-01-01,1.5"]);
        scene.run_all();
        whole(&scene, query);
        let texts =
            ["silver/t/query.sql: the query does not fit the table silver.t", lost, "pulse run silver.t --rebuild"];
        scene.pulse(&["check"]).fails(2, &texts);
        let plan = scene.pulse(&["plan", "--all"]).fails(2, &texts).stdout;
        assert!(plan.lines().any(|line| line.starts_with("gold.other") && line.contains("nothing")), "{plan}");
        assert!(plan.lines().any(|line| line.starts_with("silver.t") && line.contains("error")), "{plan}");
        scene.pulse(&["run", "--all"]).fails(1, &texts);
        assert_eq!(scene.versions()["silver.t"], "0");
        scene.pulse(&["run", "silver.t", "--rebuild"]).ok();
        assert_eq!(columns(&scene, "silver.t"), left);
        assert_eq!(scene.rows("silver.t"), rows);
        assert_eq!(scene.versions()["silver.t"], "1", "one commit");
        scene.pulse(&["check"]).ok();
        scene.run_all().says(&["nothing was committed"]);
    }
}

#[test]
fn columns_come_and_are_widened_and_renamed() {
    let scene = scene();
    whole(&scene, "select cast(k as int) as k, cast(v as real) as px from bronze.lines");
    put(&scene, "a", &["1,2024-01-01,1.5"]);
    scene.run_all();
    assert_eq!(columns(&scene, "silver.t"), ["k,int", "px,float"]);
    whole(&scene, "select k, v as px, d from bronze.lines");
    scene.pulse(&["check"]).ok();
    scene.run_all().says(&["the job changed"]);
    assert_eq!(columns(&scene, "silver.t"), ["k,bigint", "px,double", "d,date"]);
    let text = manifest("[sink.overwrite]", "read = \"all\"", "");
    let renamed = "select k, v as price, d from bronze.lines";
    scene.job("silver.t", &text, renamed);
    scene.pulse(&["check"]).fails(2, &["the table has px double"]);
    scene.job("silver.t", &format!("renamed = {{ price = \"px\" }}\n{text}"), renamed);
    scene.pulse(&["check"]).ok();
    scene.run_all().says(&["the job changed"]);
    assert_eq!(columns(&scene, "silver.t"), ["k,bigint", "price,double", "d,date"]);
    assert_eq!(scene.rows("silver.t"), ["1,1.5,2024-01-01"]);
    // What the declaration says has happened: it asks for nothing more.
    scene.job("silver.t", &text, renamed);
    scene.run_all().says(&["nothing was committed"]);
}

/// A query that selects whatever its source has gains the columns that its source gains.
#[test]
fn a_column_from_above_comes_without_an_edit() {
    let scene = scene();
    let query = |columns: &str| format!("select {columns} from bronze.lines");
    let above = manifest("[sink.merge]\nkeys = [\"k\"]", "read = \"changed\"\nby = [\"k\"]", "");
    scene.job("silver.t", &above, &query("k, v"));
    let next =
        "grain = [\"k\"]\n[source.\"silver.t\"]\nread = \"changed\"\nby = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n";
    scene.job("gold.next", next, "select * from silver.t");
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-02,2.0"]);
    scene.run_all();
    scene.job("silver.t", &above, &query("k, v, d"));
    scene.run_all();
    assert_eq!(scene.rows("gold.next"), ["1,1.0,2024-01-01", "2,2.0,2024-01-02"]);
    put(&scene, "b", &["3,2024-01-03,3.0"]);
    scene.run_all();
    assert_eq!(scene.rows("gold.next"), ["1,1.0,2024-01-01", "2,2.0,2024-01-02", "3,3.0,2024-01-03"]);
    // A type that is another one is not.
    scene.job("silver.t", &above, &query("k, cast(v as bigint) as v, d"));
    scene.pulse(&["run", "silver.t", "--rebuild"]).ok();
    scene.pulse(&["run", "gold.next"]).fails(1, &["gold/next/query.sql", "v bigint", "pulse run gold.next --rebuild"]);
    scene.pulse(&["run", "gold.next", "--rebuild"]).ok();
    assert_eq!(scene.rows("gold.next"), ["1,1,2024-01-01", "2,2,2024-01-02", "3,3,2024-01-03"]);
}

/// All files of the source are other ones, and no row differs in what the query uses.
#[test]
fn a_column_that_is_not_used_asks_for_nothing() {
    let scene = scene();
    let query = |columns: &str| format!("select {columns} from bronze.lines");
    let above = manifest("[sink.merge]\nkeys = [\"k\"]", "read = \"changed\"\nby = [\"k\"]", "");
    scene.job("silver.t", &above, &query("k, v"));
    let next =
        "grain = [\"k\"]\n[source.\"silver.t\"]\nread = \"changed\"\nby = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n";
    scene.job("gold.next", next, "select k, v * 2 as v from silver.t where v > 0");
    put(&scene, "a", &["1,2024-01-01,1.0", "2,2024-01-02,2.0"]);
    scene.run_all();
    scene.job("silver.t", &above, &query("k, v, d"));
    put(&scene, "b", &["3,2024-01-03,3.0"]);
    scene.run_all().says(&["the job changed"]);
    let newest = &scene.history("gold.next")[0];
    assert_eq!(newest["details"]["pulse.mode"], "incremental");
    assert_eq!(newest["details"]["pulse.counts"]["rows_out"], 1, "the row that is new");
    assert_eq!(scene.rows("gold.next"), ["1,2.0", "2,4.0", "3,6.0"]);
}

#[test]
fn every_job_has_its_line_in_a_plan() {
    let scene = scene();
    put(&scene, "a", &["1,2024-01-01,1.5"]);
    let job = |name: &str, query: &str| scene.job(name, "grain = [\"k\"]\n[sink.overwrite]\n", query);
    job("silver.good", "select k, v from bronze.lines");
    job("silver.wrong", "select k, nobody from bronze.lines");
    job("silver.worse", "select k, nothing from bronze.lines");
    job("gold.after", "select k from silver.wrong");
    job("gold.last", "select k from gold.after");
    job("gold.good", "select k, v from silver.good");
    let texts = ["silver/wrong/query.sql:1:11", "nobody", "silver/worse/query.sql:1:11", "nothing"];
    let answer = scene.pulse(&["--output", "json", "plan", "--all"]).fails(2, &texts);
    let does: Vec<String> = answer
        .json()
        .iter()
        .map(|line| format!("{} {}", line["job"].as_str().unwrap(), line["does"].as_str().unwrap()))
        .collect();
    let mut sorted = does.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "bronze.lines everything",
            "gold.after blocked",
            "gold.good everything",
            "gold.last blocked",
            "silver.good everything",
            "silver.worse error",
            "silver.wrong error",
        ]
    );
    scene.pulse(&["check"]).fails(2, &texts).says(&["not checked: gold.after reads silver.wrong"]);
    // The others can run.
    scene.pulse(&["run", "gold.good", "silver.good", "bronze.lines"]).ok();
}

/// What is read whole and will have changed is computed whole.
#[test]
fn a_plan_knows_what_follows_from_a_dimension() {
    let mut scene = scene();
    scene.sources(
        "[files.lines]\nroot = \"$raw\"\ncolumns = [{ name = \"k\", type = \"bigint\" }, { name = \"d\", type = \"date\" }, \
         { name = \"v\", type = \"double\" }]\n[files.lines.feed.all]\npath = \"{part}.csv\"\nformat = { csv = {} }\n\
         [files.names]\nroot = \"$raw\"\ncolumns = [{ name = \"k\", type = \"bigint\" }, { name = \"name\", type = \"string\" }]\n\
         [files.names.feed.all]\npath = \"names/*.csv\"\nformat = { csv = {} }\n",
    );
    scene.job("silver.names", "grain = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n", "select k, name from raw.names");
    scene.job(
        "gold.named",
        "grain = [\"k\"]\n[source.\"bronze.lines\"]\nread = \"changed\"\nby = [\"k\"]\n[sink.merge]\nkeys = [\"k\"]\n",
        "select l.k, l.v, n.name from bronze.lines l join silver.names n on n.k = l.k",
    );
    put(&scene, "a", &["1,2024-01-01,1.5"]);
    scene.put("names/a.csv", "k,name\n1,one\n2,two\n");
    scene.run_all();
    let line = |job: &str| {
        let lines = scene.pulse(&["--output", "json", "plan", "--all"]).ok().json();
        let line = lines.into_iter().find(|line| line["job"] == job).unwrap();
        (line["does"].as_str().unwrap().to_owned(), line["why"].as_str().unwrap().to_owned())
    };
    assert_eq!(line("gold.named").0, "nothing");
    put(&scene, "b", &["2,2024-01-01,2.5"]);
    assert_eq!(line("gold.named"), ("changes".to_owned(), "after bronze.lines, what it will have changed".to_owned()));
    scene.put("names/a.csv", "k,name\n1,eins\n2,zwei\n");
    assert_eq!(line("gold.named"), ("everything".to_owned(), "after silver.names, which it reads whole".to_owned()));
    scene.run_all().says(&["silver.names changed and is read whole"]);
    assert_eq!(scene.rows("gold.named"), ["1,1.5,eins", "2,2.5,zwei"]);
}
