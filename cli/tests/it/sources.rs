//! Intervals, lookback, the other formats of files, and the ways to look at a table.

use std::process::{Command, Stdio};

use crate::support::{Scene, text};

const EVENTS: &str = "[files.events]\nroot = \"$raw\"\n\
    columns = [{ name = \"at\", type = \"timestamp\" }, { name = \"v\", type = \"bigint\" }]\n";

fn events(feed: &str) -> Scene {
    let mut scene = Scene::empty();
    scene.sources(&format!("{EVENTS}[files.events.feed.all]\n{feed}\n"));
    let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.events", manifest, "select at, v, source_file, line from raw.events");
    scene
}

const CSV: &str = "path = \"*.csv\"\nformat = { csv = {} }";

/// Sets the modification time, as `cp --preserve`, `rsync --times` and `tar` do.
fn stamp(scene: &Scene, path: &str) {
    let file = std::fs::File::options().write(true).open(scene.raw.join(path)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
}

#[test]
fn a_file_that_is_corrected_in_place_is_read_again_whatever_its_time() {
    let scene = events(CSV);
    let put = |path: &str, v: u8| {
        scene.put(path, format!("at,v\n2024-01-01 10:00:00,{v}\n"));
        stamp(&scene, path);
    };
    put("a.csv", 1);
    put("b.csv", 2);
    scene.run_all();
    put("a.csv", 3);
    let plan = scene.pulse(&["plan", "--all"]).ok().stdout;
    assert!(plan.contains("raw.events: 0 of 2 files are new, 1 changed"), "{plan}");
    scene.run_all();
    assert_eq!(scene.rows("(select v, source_file from bronze.events)"), ["2,b.csv", "3,a.csv"]);
    scene.run_all().says(&["nothing was committed"]);
}

/// `chmod`, a backup by hard links and a copy of the whole tree leave the content alone.
#[test]
fn a_file_that_is_only_touched_is_not_read_again() {
    let mut scene = events(CSV);
    let manifest = "grain = [\"v\"]\n[sink.append]\n";
    scene.job("bronze.events", manifest, "select at, v, source_file from raw.events");
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n");
    scene.run_all();
    std::thread::sleep(std::time::Duration::from_millis(30));
    std::fs::hard_link(scene.raw.join("a.csv"), scene.path("backup.csv")).unwrap();
    scene.run_all().says(&["nothing was committed"]);
    stamp(&scene, "a.csv");
    scene.run_all().says(&["nothing was committed"]);
    let copy = scene.path("copy");
    crate::support::copy_folder(&scene.raw, &copy);
    scene.raw_at(copy);
    scene.run_all().says(&["nothing was committed"]);
    // A commit renews the bookmark of the file that was touched, and the next correction is found by it.
    scene.put("b.csv", "at,v\n2024-01-01 10:00:00,2\n");
    scene.run_all();
    assert_eq!(scene.count("bronze.events"), 2);
    scene.run_all().says(&["nothing was committed"]);
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,3\n");
    scene.run_all();
    assert_eq!(scene.rows("(select v from bronze.events)"), ["2", "3"]);
}

#[test]
fn files_that_are_gone_are_mentioned_until_their_rows_are() {
    let scene = events(CSV);
    for name in ["a", "b"] {
        scene.put(&format!("{name}.csv"), "at,v\n2024-01-01 10:00:00,1\n");
    }
    scene.run_all();
    std::fs::remove_file(scene.raw.join("a.csv")).unwrap();
    let stays = "warning: bronze.events: raw.events: 1 file that was read is gone; its only row stays: `a.csv`";
    scene.pulse(&["plan", "--all"]).ok().says(&[stays]);
    scene.run_all().says(&[stays, "nothing was committed"]);
    assert_eq!(scene.count("bronze.events"), 2);
    let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.events", manifest, "select at, v + 1 as v, source_file, line from raw.events");
    scene.pulse(&["run", "--all", "--allow-loss"]).ok().says(&["1 file that was read is gone; its only row goes too"]);
    assert_eq!(scene.rows("(select v, source_file from bronze.events)"), ["2,b.csv"]);
    let silent = scene.run_all();
    assert!(!silent.stderr.contains("gone"), "{}", silent.stderr);
    // It comes back: its rows went, so that it is new.
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n");
    scene.run_all();
    assert_eq!(scene.rows("(select v, source_file from bronze.events)"), ["2,a.csv", "2,b.csv"]);
}

#[test]
fn an_interval_job_computes_the_days_asked_for() {
    let scene = events(CSV);
    let manifest = "interval = \"day\"\nstart = \"2024-01-01\"\ngrain = [\"d\"]\n\
                    [source.\"bronze.events\"]\nread = \"all\"\n[sink.overwrite_partitions]\nby = [\"d\"]\n";
    let query = "select date_trunc('day', at) as t, cast(at as date) as d, sum(v) as v from bronze.events \
                 where at >= $interval_start and at < $interval_end group by 1, 2";
    scene.job("gold.daily", manifest, query);
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n2024-01-02 10:00:00,2\n2024-01-03 00:00:00,4\n");
    scene.pulse(&["run", "bronze.events"]).ok();
    scene.pulse(&["run", "gold.daily", "--from", "2024-01-01", "--to", "2024-01-03"]).ok();
    let sums = "(select d, v from gold.daily)";
    assert_eq!(scene.rows(sums), ["2024-01-01,1", "2024-01-02,2"]);
    scene.put("b.csv", "at,v\n2024-01-01 11:00:00,100\n2024-01-02 11:00:00,100\n");
    scene.pulse(&["run", "bronze.events"]).ok();
    // The day asked for is computed again, and so is the other one whose rows changed; the third is not due by this.
    scene.pulse(&["run", "gold.daily", "--from", "2024-01-02", "--to", "2024-01-03"]).ok();
    assert_eq!(scene.rows(sums), ["2024-01-01,101", "2024-01-02,102"]);
    // Whatever is left up to today.
    scene.run_all();
    assert!(scene.rows(sums).contains(&"2024-01-03,4".to_owned()), "{:?}", scene.rows(sums));
    scene.pulse(&["run", "gold.daily", "--from", "2024-01-02"]).fails(2, &["--to"]);
    // Of a job without an interval nothing can be asked for; of all jobs those that have one answer.
    let bounds = ["--from", "2024-01-02", "--to", "2024-01-03"];
    for command in ["run", "plan"] {
        scene.pulse(&[&[command, "bronze.events"], &bounds[..]].concat()).fails(2, &["job bronze.events has none"]);
    }
    scene.pulse(&[&["run", "--all"], &bounds[..]].concat()).ok().says(&["gold.daily", "bronze.events"]);
    scene.pulse(&["run", "gold.daily", "--from", "2024-01-02T05:00:00Z", "--to", "2024-01-03"]).fails(1, &["day"]);
}

#[test]
fn rows_of_files_are_appended_with_their_file() {
    let scene = events(CSV);
    let manifest = "grain = [\"line\"]\n[sink.append]\n";
    for query in ["select at, line from raw.events", "select line, lower(source_file) as source_file from raw.events"] {
        scene.job("bronze.events", manifest, query);
        scene.pulse(&["check"]).fails(2, &["bronze/events/query.sql", "select `source_file`"]);
    }
    scene.job(
        "bronze.events",
        manifest,
        "select line, source_file from (select v, line, source_file from raw.events where v > 1)",
    );
    scene.pulse(&["check"]).ok();
}

#[test]
fn a_lookback_leaves_no_row_without_those_before_it() {
    let scene = events(CSV);
    let manifest = "grain = [\"at\"]\n[source.\"bronze.events\"]\nread = \"changed\"\n\
                    lookback = { column = \"at\", days = 2 }\n[sink.merge]\nkeys = [\"at\"]\n";
    let query = "select at, sum(v) over (order by at range between interval '2 days' preceding and current row) as v \
                 from bronze.events";
    scene.job("gold.rolling", manifest, query);
    scene.put(
        "a.csv",
        "at,v\n2024-01-01,1\n2024-01-02,2\n2024-01-03,4\n2024-01-04,8\n".replace(",", " 00:00:00,").replacen(
            "at 00:00:00",
            "at",
            1,
        ),
    );
    scene.run_all();
    scene.put("b.csv", "at,v\n2024-01-05 00:00:00,16\n");
    scene.run_all();
    // 5 January sees 3 and 4 January, which did not change. 3 January still sees the two days before it.
    assert_eq!(scene.value("select v from gold.rolling where at = timestamp '2024-01-05T00:00:00Z'"), "28");
    assert_eq!(scene.value("select v from gold.rolling where at = timestamp '2024-01-03T00:00:00Z'"), "7");
    assert_eq!(scene.value("select v from gold.rolling where at = timestamp '2024-01-01T00:00:00Z'"), "1");
    assert_eq!(scene.count("gold.rolling"), 5);
}

const ROWS: [&str; 2] = ["2024-01-01T10:00:00Z,1", "2024-01-02T10:00:00Z,2"];

fn assert_read(scene: &Scene) {
    scene.run_all();
    assert_eq!(scene.rows("(select at, v from bronze.events)"), ROWS);
}

#[test]
fn lines_of_json_are_rows() {
    let scene = events("path = \"*.jsonl\"\nformat = { json_lines = {} }");
    scene.put(
        "a.jsonl",
        "{\"at\":\"2024-01-01T10:00:00Z\",\"v\":1}\n{\"v\":2,\"at\":\"2024-01-02T10:00:00Z\"}\n{broken\n",
    );
    assert_read(&scene);
    assert_eq!(scene.count("bronze.events__quarantine where line = 3 and _raw = '{broken'"), 1);
}

#[test]
fn a_document_of_json_holds_rows() {
    let scene = events("path = \"*.json\"\nformat = { json = { records = \"/data\" } }");
    scene.put(
        "a.json",
        "{\"data\":[{\"at\":\"2024-01-01T10:00:00Z\",\"v\":1},{\"at\":\"2024-01-02T10:00:00Z\",\"v\":2}]}",
    );
    assert_read(&scene);
}

#[test]
fn a_lakes_own_file_is_a_source() {
    let maker = events(CSV);
    maker.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n2024-01-02 10:00:00,2\n");
    maker.run_all();
    let file = std::fs::read_dir(maker.lake.join("bronze/events"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .unwrap();
    let scene = events("path = \"*.parquet\"\nformat = { parquet = {} }");
    scene.put("a.parquet", std::fs::read(&file).unwrap());
    scene.put("b.parquet", "this is no parquet file");
    assert_read(&scene);
    assert_eq!(scene.count("bronze.events__quarantine where source_file = 'b.parquet'"), 1);
}

fn gzip(content: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn compressed_files_are_read_and_broken_ones_rejected() {
    let scene = events("path = \"*.csv.gz\"\nformat = { csv = {} }");
    let whole = gzip("at,v\n2024-01-01 10:00:00,1\n2024-01-02 10:00:00,2\n");
    scene.put("a.csv.gz", &whole);
    scene.put("b.csv.gz", &whole[..whole.len() - 12]);
    scene.put("c.csv.gz", "this is not compressed");
    scene.run_all();
    assert_eq!(scene.rows("(select at, v from bronze.events where source_file = 'a.csv.gz')"), ROWS);
    for broken in ["b", "c"] {
        assert_eq!(
            scene.count(&format!("bronze.events__quarantine where source_file = '{broken}.csv.gz'")),
            1,
            "{broken}"
        );
    }
}

#[test]
fn a_table_is_shown_in_every_form() {
    let scene = events(CSV);
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n2024-01-02 10:00:00,\n");
    scene.run_all();
    let sql = "select v, at from bronze.events order by at";
    let table = scene.pulse(&["query", sql]).ok().stdout;
    assert!(table.contains("|    v | at ") && table.contains("| NULL | 2024-01-02T10:00:00Z |"), "{table}");
    let csv = scene.pulse(&["--output", "csv", "query", sql]).ok().stdout;
    assert_eq!(csv, "v,at\n1,2024-01-01T10:00:00Z\n,2024-01-02T10:00:00Z\n");
    let json = scene.pulse(&["--output", "json", "query", sql]).ok().json();
    assert_eq!(json[0], serde_json::json!({"v": 1, "at": "2024-01-01T10:00:00Z"}));
    assert_eq!(json[1]["at"], "2024-01-02T10:00:00Z");
    let empty = scene.pulse(&["--output", "csv", "query", "select v from bronze.events where v = 7"]).ok().stdout;
    assert_eq!(empty.trim_end(), "v");

    let shown = scene.pulse(&["--output", "json", "table", "show", "bronze.events"]).ok();
    let columns = shown.json()[0]["columns"].as_array().unwrap().clone();
    let columns: Vec<String> = columns.iter().map(|column| crate::support::text(&column["name"])).collect();
    assert_eq!(columns, ["at", "v", "source_file", "line"]);
    shown.says(&["bronze.events version 0: 2 rows in 1 file"]);
    let history = scene.history("bronze.events");
    assert_eq!(history.len(), 1);
    assert_eq!((&history[0]["files_added"], &history[0]["files_removed"]), (&1.into(), &0.into()));
    assert!(
        scene.pulse(&["table", "history", "bronze.events"]).ok().stdout.contains("full: the table does not exist yet")
    );
}

/// Stamps have microseconds: those of nanoseconds end in 2262.
#[test]
fn stamps_of_every_year_can_be_asked_for() {
    let scene = events(CSV);
    scene.put("a.csv", "at,v\n1677-01-01 00:00:00,1\n2024-01-02 10:00:00,2\n9999-12-31 23:59:59.999999,3\n");
    scene.run_all();
    let count = |condition: &str| scene.count(&format!("bronze.events where {condition}"));
    assert_eq!(count("at < '9999-12-31'"), 2);
    assert_eq!(count("'9999-12-31' <= at"), 1);
    assert_eq!(count("at >= timestamp '9999-12-31 00:00:00'"), 1);
    assert_eq!(count("at between '1600-01-01' and '2300-01-01'"), 2);
    assert_eq!(count("at = cast('9999-12-31T23:59:59.999999Z' as timestamp with time zone)"), 1);
    assert_eq!(count("exists (select 1 from bronze.events e where e.at > '9000-01-01' and e.v > 2)"), 3);
    assert_eq!(scene.value("select max(at) from bronze.events where at > '1000-01-01'"), "9999-12-31T23:59:59.999999Z");
    scene
        .pulse(&["query", "select * from bronze.events where at < 'tomorrow'"])
        .fails(2, &["'tomorrow' is no timestamp", "^"]);
}

#[test]
fn rows_and_rejects_of_a_source_are_shown_before_a_job_reads_it() {
    let scene = events(CSV);
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n2024-01-01 10:00:00,x\n2024-01-01 10:00:00,y\n");
    scene.put("b.csv", "at,v\nnever,2\n2024-01-02 10:00:00,3\n");
    let shown = scene.pulse(&["source", "preview", "events"]).ok();
    assert!(shown.stdout.contains("2024-01-02") && !shown.stdout.contains("_reason"), "{}", shown.stdout);
    shown.says(&[
        "2 of 2 files read, 2 rows kept, 3 rejected",
        "2 rejected: `v` is not a number: `x`",
        "1 rejected: `at`",
    ]);
    let rejects = scene.pulse(&["source", "preview", "raw.events", "--rejects", "--files", "1"]).ok();
    let lines: Vec<&str> = rejects.stdout.lines().collect();
    assert!(lines.iter().any(|line| line.contains("a.csv") && line.contains("2024-01-01 10:00:00,y")), "{lines:?}");
    rejects.says(&["1 of 2 files read, 1 row kept, 2 rejected"]);
    scene.pulse(&["source", "preview", "trades"]).fails(2, &["no source of files `trades`; it has events"]);
}

#[test]
fn a_run_counts_quarantined_rows_by_reason() {
    let scene = events(CSV);
    scene.put("a.csv", "at,v\n2024-01-01 10:00:00,1\n2024-01-01 10:00:00,x\n2024-01-01 10:00:00,y\nnever,2\n");
    scene
        .run_all()
        .says(&["quarantined: 2 rows: `v` is not a number: `x`", "quarantined: 1 row: `at` is not a timestamp"]);
}

#[test]
fn a_run_names_fields_that_do_not_meet() {
    let scene = events("path = \"*.jsonl\"\nformat = { json_lines = {} }\nrename = { v = \"value\" }");
    scene.put("a.jsonl", "{\"at\":\"2024-01-01T10:00:00Z\",\"v\":1}\n");
    let ignored = "note: feed `all`: the field `v` of `a.jsonl` is ignored, because no column is read from there";
    let absent =
        "note: feed `all`: no record of `a.jsonl` has the field `value` of the column `v`, which is null there";
    scene.pulse(&["source", "preview", "events"]).ok().says(&[ignored, absent, "1 row kept, 0 rejected"]);
    scene.run_all().says(&[ignored, absent]);
    let runs = scene.pulse(&["--output", "json", "runs", "list"]).ok().json();
    let run = text(&runs[0]["run"]);
    let shown = scene.pulse(&["runs", "show", &run]).ok().stdout;
    assert!(shown.contains(ignored) && shown.contains(absent), "{shown}");
    let record = scene.pulse(&["--output", "json", "runs", "show", &run]).ok().json().remove(0);
    assert_eq!(record["notes"].as_array().map(Vec::len), Some(2), "{record}");
    assert_eq!((&record["rows_in"], &record["rows_out"]), (&1.into(), &1.into()));
    scene
        .pulse(&["query", "select 1 where 1 is distinct from 2 and 3 = 4"])
        .fails(2, &["`is distinct from` would take all that follows for its right side", "(a is distinct from b) and"]);
}

#[test]
fn a_proposed_contract_reads_its_file() {
    let mut scene = Scene::empty();
    scene.put("umsatz.csv", "Auszug\n\nTag;Betrag;Text\n31.01.2024;1.234,56;a\n01.02.2024;-0,10;\"b;c\"\n");
    let file = scene.raw.join("umsatz.csv");
    let proposal = scene.pulse(&["source", "infer", file.to_str().unwrap()]).ok();
    proposal.says(&["1 of 1 file read, 2 rows kept, 0 rejected"]);
    let proposal = scene.pulse(&["source", "infer", file.to_str().unwrap(), "--name", "umsatz"]).ok().stdout;
    scene.sources(&proposal.replace(scene.raw.to_str().unwrap(), "$raw"));
    let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.umsatz", manifest, "select tag, betrag, text, source_file, line from raw.umsatz");
    scene.run_all();
    let rows = scene.rows("(select tag, betrag, text from bronze.umsatz)");
    assert_eq!(rows, ["2024-01-31,1234.56,a", "2024-02-01,-0.1,b;c"]);
    scene.pulse(&["source", "infer", "nowhere.csv"]).fails(2, &["nowhere.csv cannot be read: name one file"]);
}

#[test]
fn folders_of_hives_layout_are_proposed_read_and_queried() {
    let mut scene = Scene::empty();
    scene.put("t/day=2024-01-31/venue=X%2FY/a.csv", "px\n1.5\nx\n");
    scene.put("t/day=2024-02-01/venue=__HIVE_DEFAULT_PARTITION__/b.csv", "px\n2.5\n");
    scene.put("t/day=2024-02-01/venue=Z/_SUCCESS", "");
    let raw = format!("raw={}", scene.raw.display());
    let proposal = scene.pulse(&["--var", &raw, "source", "infer", scene.raw.join("t").to_str().unwrap()]).ok();
    let proposal = proposal.says(&["1 of 2 files read"]);
    let proposal = proposal.stdout.replace("name = \"px\", type = \"string\"", "name = \"px\", type = \"double\"");
    assert!(proposal.contains("root = \"$raw/t\""), "{proposal}");
    scene.sources(&proposal);
    let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
    scene.job("bronze.t", manifest, "select px, day, venue, source_file, line from raw.t");
    scene.pulse(&["check"]).ok();
    scene.run_all();
    assert_eq!(scene.rows("(select px, day, venue from bronze.t)"), ["1.5,2024-01-31,X/Y", "2.5,2024-02-01,"]);
    let asked = scene.pulse(&["--output", "csv", "query", "select count(*) from raw.t where day > '2024-01-31'"]).ok();
    assert!(asked.stdout.ends_with("\n1\n"), "{}", asked.stdout);
    asked.says(&["raw.t has a row for each rejected record, too: add `_reason is null`"]);
    scene.pulse(&["query", "select 1 from raw.u"]).fails(2, &["no source of files `u`; it has t"]);
    scene
        .pulse(&["query", "select 1 from bronze.u"])
        .fails(2, &["table bronze.u does not exist", "did you mean `bronze.t`?"]);
    std::fs::remove_dir_all(scene.raw.join("t")).unwrap();
    std::fs::create_dir(scene.raw.join("t")).unwrap();
    scene.pulse(&["check"]).ok().says(&["warning: raw.t: feed `t` has no files: nothing below"]);
}
