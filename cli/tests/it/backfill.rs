//! `pulse backfill`: which runs it makes, what they compute, and how it goes on after it was killed. The model adds up the values of
//! the files itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Scene, text};

/// Values of the days of January 2024.
const VALUES: [(u8, i64); 6] = [(1, 1), (2, 2), (3, 4), (5, 8), (7, 16), (9, 32)];

const SUMS: &str = "select cast(at as date) as d, sum(v) as v from bronze.e \
                    where at >= $interval_start and at < $interval_end group by 1";

fn put(scene: &Scene, name: &str, values: &[(u8, i64)]) {
    let lines = values.iter().map(|(day, value)| format!("2024-01-{day:02} 10:00:00,{value}\n"));
    scene.put(name, format!("at,v\n{}", lines.collect::<String>()));
}

fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(
        "[files.e]\nroot = \"$raw\"\ncolumns = [{ name = \"at\", type = \"timestamp\" }, { name = \"v\", type = \"bigint\" }]\n\
         [files.e.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n",
    );
    let landed = "select at, v, source_file, line from raw.e";
    scene.job("bronze.e", "grain = [\"source_file\", \"line\"]\n[sink.append]\n", landed);
    let by_day = "grain = [\"d\"]\ninterval = \"day\"\nstart = \"2024-01-01\"\n[sink.merge]\nkeys = [\"d\"]\n";
    scene.job("silver.days", by_day, SUMS);
    let by_month = "grain = [\"m\"]\ninterval = \"month\"\nstart = \"2024-01-01\"\n[sink.merge]\nkeys = [\"m\"]\n";
    let months = "select cast($interval_start as date) as m, sum(v) as v from silver.days \
                  where d >= cast($interval_start as date) and d < cast($interval_end as date)";
    scene.job("gold.months", by_month, months);
    let total = "select 1 as k, sum(v) as v from silver.days";
    scene.job("gold.total", "grain = [\"k\"]\n[sink.overwrite]\n", total);
    put(&scene, "a.csv", &VALUES);
    scene.pulse(&["run", "bronze.e"]).ok();
    scene
}

fn sums(values: &[(u8, i64)], days: impl IntoIterator<Item = u8>) -> Vec<String> {
    let days: BTreeSet<u8> = days.into_iter().collect();
    let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
    for (day, value) in values.iter().filter(|(day, _)| days.contains(day)) {
        *sums.entry(*day).or_default() += value;
    }
    sums.into_iter().map(|(day, sum)| format!("2024-01-{day:02},{sum}")).collect()
}

fn commits(scene: &Scene, table: &str) -> usize {
    scene.history(table).len()
}

fn backfill<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["backfill", "silver.days", "--from", "2024-01-01", "--to", "2024-01-09", "--chunk", "2d"], more].concat()
}

#[test]
fn it_shows_asks_and_computes_what_is_missing() {
    let scene = scene();
    scene.pulse(&["run", "silver.days", "--from", "2024-01-03", "--to", "2024-01-05"]).ok();
    let answer = scene.pulse(&backfill(&[])).fails(2, &["nobody can be asked here: say --yes"]);
    assert!(answer.stdout.contains("[2024-01-01, 2024-01-03), [2024-01-05, 2024-01-09)"), "{}", answer.stdout);
    assert_eq!(commits(&scene, "silver.days"), 1, "nothing was written");
    scene.pulse(&["table", "show", "silver.days"]).ok().says(&[
        "intervals computed: [2024-01-03, 2024-01-05)\n",
        "intervals missing: [2024-01-01, 2024-01-03), [2024-01-05, ",
    ]);
    // One of the four chunks has nothing to do.
    let says =
        ["silver.days [2024-01-01, 2024-01-03): run 1 of 3", "[2024-01-07, 2024-01-09): run 3 of 3", "3 runs in"];
    scene.pulse(&backfill(&["--yes"])).ok().says(&says);
    assert_eq!(scene.rows("silver.days"), sums(&VALUES, 1..9));
    assert_eq!(commits(&scene, "silver.days"), 4);
    scene.pulse(&["table", "show", "silver.days"]).ok().says(&["intervals computed: [2024-01-01, 2024-01-09)\n"]);
    scene.pulse(&backfill(&["--yes"])).ok().says(&["every interval of [2024-01-01, 2024-01-09) was computed"]);
    assert_eq!(commits(&scene, "silver.days"), 4);
}

#[test]
fn it_goes_on_where_it_was_killed() {
    for (step, done) in [("staged:2", 1), ("table_committed:2", 2), ("planned:3", 2)] {
        let scene = scene();
        let mut command = scene.command(&backfill(&["--yes"]));
        command.env("PULSE_KILL_AT", step);
        assert_eq!(scene.start(command).wait().status.code(), None, "{step}");
        assert_eq!(commits(&scene, "silver.days"), done, "{step}");
        assert_eq!(scene.rows("silver.days"), sums(&VALUES, 1..1 + 2 * u8::try_from(done).unwrap()), "{step}");
        let left = format!("run 1 of {}", 4 - done);
        scene.pulse(&backfill(&["--yes"])).ok().says(&[&left]);
        assert_eq!(scene.rows("silver.days"), sums(&VALUES, 1..9), "{step}");
        assert_eq!(commits(&scene, "silver.days"), 4, "no chunk twice");
    }
}

#[test]
fn restating_computes_again_and_says_how_to_go_on() {
    let scene = scene();
    scene.pulse(&backfill(&["--yes"])).ok();
    let before = commits(&scene, "silver.days");
    let answer = scene.pulse(&backfill(&["--restate", "--yes"])).ok().says(&["run 4 of 4"]);
    assert!(answer.stdout.contains("[2024-01-01, 2024-01-09)"), "{}", answer.stdout);
    assert_eq!(commits(&scene, "silver.days"), before + 4);
    assert_eq!(scene.rows("silver.days"), sums(&VALUES, 1..9));
    // The second chunk fails: a day that is no day any more.
    let guard = "[[expect]]\nname = \"small\"\ncheck = \"v < 4\"\non_fail = \"fail\"\n";
    let by_day = "grain = [\"d\"]\ninterval = \"day\"\nstart = \"2024-01-01\"\n[sink.merge]\nkeys = [\"d\"]\n";
    scene.job("silver.days", &format!("{by_day}{guard}"), SUMS);
    scene
        .pulse(&backfill(&["--restate", "--yes"]))
        .fails(3, &["to continue: pulse backfill silver.days --restate --from 2024-01-03T00:00:00Z --to 2024-01-09"]);
    assert_eq!(commits(&scene, "silver.days"), before + 5);
}

/// A mistake in a job that is not concerned stops nothing; one that is stops all before anything is written.
#[test]
fn a_mistake_elsewhere_stops_no_backfill() {
    let scene = scene();
    scene.job("gold.other", "grain = [\"a\"]\n[sink.overwrite]\n", "selec 1 as a");
    scene.pulse(&backfill(&["--yes"])).ok();
    assert_eq!(scene.rows("silver.days"), sums(&VALUES, 1..9));
    std::fs::remove_file(scene.path("raw").join("a.csv")).unwrap();
    scene.pulse(&["table", "forget", "bronze.e", "a.csv", "--yes"]).ok();
    scene.job("gold.total", "grain = [\"k\"]\n[sink.overwrite]\n", "select 1 as k, sum(w) as v from silver.days");
    let before = commits(&scene, "silver.days");
    scene.pulse(&backfill(&["--restate", "--downstream", "--yes"])).fails(2, &["gold/total/query.sql", "`w`"]);
    assert_eq!(commits(&scene, "silver.days"), before);
    scene.pulse(&["backfill", "silver.dais", "--from", "2024-01-01", "--to", "2024-01-02"]).fails(2, &["did you mean"]);
}

/// The days are read again although no source has changed; where statistics show that a file has none of them, it is not.
#[test]
fn what_is_read_is_told_in_bytes() {
    let scene = scene();
    let files = || -> BTreeMap<PathBuf, u64> {
        let entries = std::fs::read_dir(scene.path("lake").join("bronze/e")).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "parquet"));
        files.map(|file| (file.path(), file.metadata().unwrap().len())).collect()
    };
    let of_january: u64 = files().values().sum();
    scene.put("b.csv", "at,v\n2024-03-01 10:00:00,1\n");
    scene.pulse(&["run", "bronze.e"]).ok();
    assert!(files().len() > 1);
    scene.pulse(&backfill(&["--yes"])).ok();
    let answer = scene.pulse(&backfill(&["--restate", "--yes", "--output", "json"])).ok();
    let lines: Vec<Value> = answer.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, runs) = lines.split_first().unwrap();
    assert_eq!(first["bytes"], of_january, "{}", answer.stdout);
    assert_eq!(runs.len(), 4);
    for run in runs {
        assert_eq!(run["inputs"][0]["bytes"], of_january, "{run}");
        assert_eq!(run["inputs"][0]["files"], 1, "{run}");
    }
}

#[test]
fn what_follows_is_computed_after_it() {
    let scene = scene();
    let to = ["backfill", "silver.days", "--from", "2024-01-02", "--to", "2024-02-01", "--downstream", "--yes"];
    let answer = scene.pulse(&to).ok();
    let place = |text: &str| answer.stderr.find(text).unwrap_or_else(|| panic!("{text} is not in:\n{}", answer.stderr));
    assert!(
        place("silver.days [2024-01-30, 2024-02-01): run 5 of 5")
            < place("gold.months [2024-01-01, 2024-02-01): run 1 of 1")
    );
    assert!(place("silver.days [2024-01-30, 2024-02-01): run 5 of 5") < place("gold.total: run 1 of 1"));
    let total: i64 = VALUES.iter().filter(|(day, _)| *day > 1).map(|(_, value)| value).sum();
    assert_eq!(scene.rows("gold.months"), [format!("2024-01-01,{total}")]);
    assert_eq!(scene.rows("gold.total"), [format!("1,{total}")]);
    // The last month has not ended.
    let today = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let first = chrono::Utc::now().format("%Y-%m-01").to_string();
    if first != today {
        let to = ["backfill", "silver.days", "--from", &first, "--to", &today, "--downstream", "--yes"];
        let answer = scene.pulse(&to).ok();
        assert!(
            answer.stdout.contains("it computes a month at a time, and none in this range has ended"),
            "{}",
            answer.stdout
        );
    }
    // A late row reaches the month although the month was computed.
    put(&scene, "b.csv", &[(1, 64), (20, 128)]);
    scene.pulse(&["run", "bronze.e"]).ok();
    scene
        .pulse(&["backfill", "silver.days", "--from", "2024-01-01", "--to", "2024-02-01", "--downstream", "--yes"])
        .ok();
    let all: Vec<(u8, i64)> = [&VALUES[..], &[(1, 64), (20, 128)]].concat();
    assert_eq!(scene.rows("silver.days"), sums(&all, 1..32));
    let total: i64 = all.iter().map(|(_, value)| value).sum();
    assert_eq!(scene.rows("gold.months"), [format!("2024-01-01,{total}")]);
    assert_eq!(scene.rows("gold.total"), [format!("1,{total}")]);
}

/// The files hold rows of intervals that were not computed when they were read.
#[test]
fn a_job_over_files_reads_them_for_each_interval() {
    let scene = scene();
    for (name, sink) in
        [("silver.appended", "[sink.append]"), ("silver.merged", "[sink.merge]\nkeys = [\"source_file\", \"line\"]")]
    {
        let head = "grain = [\"source_file\", \"line\"]\ninterval = \"day\"\nstart = \"2024-01-01\"\n";
        let query = "select cast(at as date) as d, v, source_file, line from raw.e \
                     where at >= $interval_start and at < $interval_end";
        scene.job(name, &format!("{head}{sink}\n"), query);
        let days = |days: &[u8]| -> Vec<String> {
            let mut rows: Vec<String> = VALUES
                .iter()
                .filter(|(day, _)| days.contains(day))
                .map(|(day, v)| format!("2024-01-{day:02},{v}"))
                .collect();
            rows.sort();
            rows
        };
        let rows = || scene.rows(&format!("(select d, v from {name})"));
        scene.pulse(&["run", name, "--from", "2024-01-05", "--to", "2024-01-06"]).ok();
        assert_eq!(rows(), days(&[5]), "{name}");
        scene.pulse(&["backfill", name, "--from", "2024-01-01", "--to", "2024-01-06", "--chunk", "1d", "--yes"]).ok();
        assert_eq!(rows(), days(&[1, 2, 3, 5]), "{name}");
        scene.pulse(&["run", name]).ok();
        assert_eq!(rows(), days(&[1, 2, 3, 5, 7, 9]), "{name}");
        scene.pulse(&["run", name, "--from", "2024-01-02", "--to", "2024-01-04"]).ok();
        assert_eq!(rows(), days(&[1, 2, 3, 5, 7, 9]), "{name}");
        scene.pulse(&["run", name]).ok().says(&["nothing was committed"]);
    }
    // A line that cannot be read is rejected once, however often its file is read.
    put(&scene, "c.csv", &[(4, 64)]);
    scene.put("d.csv", "at,v\n2024-01-05 12:00:00,x\n");
    let name = "silver.merged";
    scene.pulse(&["run", name]).ok();
    assert_eq!(scene.count("silver.merged__quarantine"), 1);
    scene.pulse(&["run", name, "--from", "2024-01-02", "--to", "2024-01-04"]).ok();
    assert_eq!(scene.count("silver.merged__quarantine"), 1);
    assert_eq!(scene.count(name), 7);
}

#[test]
fn what_cannot_be_filled_is_refused_before_anything_is_written() {
    let scene = scene();
    let of = |job: &'static str, more: &[&'static str]| [&["backfill", job, "--yes"], more].concat();
    let days = ["--from", "2024-01-01", "--to", "2024-01-03"];
    scene.pulse(&of("bronze.e", &days)).fails(2, &["job bronze.e has none"]);
    scene.pulse(&of("silver.nothing", &days)).fails(2, &["no job writes `silver.nothing`"]);
    scene
        .pulse(&of("silver.days", &[&days[..], &["--chunk", "12h"]].concat()))
        .fails(2, &["chunks of 12h do not hold whole"]);
    scene.pulse(&of("silver.days", &[&days[..], &["--chunk", "7w"]].concat())).fails(2, &["`7w` is no length"]);
    scene.pulse(&of("silver.days", &["--from", "2024-01-01", "--to", "9999-01-01"])).fails(2, &["has not ended"]);
    scene
        .pulse(&of("silver.days", &["--from", "2024-01-01T05:00:00Z", "--to", "2024-01-03"]))
        .fails(2, &["start of a day"]);
    let tables: Vec<String> = scene.versions().into_keys().collect();
    assert_eq!(tables, [text(&"bronze.e".into())]);
}

#[test]
fn computed_days_whose_rows_changed_are_computed_again() {
    let scene = scene();
    scene.pulse(&backfill(&["--yes"])).ok();
    let late = [&VALUES[..], &[(2, 1000)]].concat();
    put(&scene, "b.csv", &[(2, 1000)]);
    scene.pulse(&["run", "bronze.e"]).ok();
    scene.pulse(&backfill(&["--yes"])).ok();
    assert_eq!(scene.rows("(select d, v from silver.days)"), sums(&late, 1..9));
    scene.pulse(&backfill(&["--yes"])).ok().says(&["every interval of [2024-01-01, 2024-01-09) was computed"]);
}

#[test]
fn given_again_it_does_nothing_whatever_the_query_selects() {
    let scene = scene();
    let by_month = "grain = [\"m\"]\ninterval = \"month\"\nstart = \"2024-01-01\"\n[sink.merge]\nkeys = [\"m\"]\n";
    let months = "select $interval_start as m, sum(v) as v from silver.days \
                  where d >= cast($interval_start as date) and d < cast($interval_end as date)";
    scene.job("gold.months", by_month, months);
    for _ in 0..2 {
        scene.pulse(&backfill(&["--downstream", "--yes"])).ok();
    }
    assert_eq!(commits(&scene, "gold.months"), 1);
}

/// Units that were computed as parts of a longer unit are computed with it, and a unit that has not ended waits.
#[test]
fn a_job_whose_unit_is_edited_has_no_parts_of_units() {
    let scene = scene();
    let job = |unit: &str, start: &str| {
        let manifest =
            format!("grain = [\"d\"]\ninterval = \"{unit}\"\nstart = \"{start}\"\n[sink.merge]\nkeys = [\"d\"]\n");
        let query = "select cast($interval_start as date) as d, sum(v) as v from bronze.e \
                     where at >= $interval_start and at < $interval_end";
        scene.job("silver.days", &manifest, query);
    };
    job("day", "2024-02-01");
    scene.pulse(&["run", "silver.days", "--from", "2024-01-03", "--to", "2024-01-06"]).ok();
    job("month", "2024-02-01");
    scene.pulse(&["run", "silver.days"]).ok();
    let january: i64 = VALUES.iter().map(|(_, value)| value).sum();
    assert!(scene.rows("silver.days").contains(&format!("2024-01-01,{january}")), "{:?}", scene.rows("silver.days"));
    // No year has ended since the first day of this one.
    job("year", &chrono::Utc::now().format("%Y-01-01").to_string());
    scene.pulse(&["run", "silver.days", "--rebuild"]).ok();
    let rows = scene.rows("silver.days");
    assert!(rows.contains(&format!("2024-01-01,{january}")), "{rows:?}");
    assert!(rows.iter().all(|row| row.get(4..11) == Some("-01-01,")), "whole years: {rows:?}");
    let new = self::scene();
    new.job(
        "silver.days",
        &format!(
            "grain = [\"d\"]\ninterval = \"year\"\nstart = \"{}\"\n[sink.merge]\nkeys = [\"d\"]\n",
            chrono::Utc::now().format("%Y-01-01")
        ),
        SUMS,
    );
    new.pulse(&["run", "silver.days"]).ok();
    assert_eq!(new.rows("silver.days"), Vec::<String>::new());
    new.pulse(&["run", "silver.days"]).ok().says(&["nothing was committed"]);
}
