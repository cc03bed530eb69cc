use super::*;

const SOURCES: &str = r#"
[files.bars]
root = "$raw/intraday"
columns = [
    { name = "symbol", type = "string", required = true },
    { name = "ts", type = "timestamp" },
    { name = "close", type = "double" },
]

[files.bars.feed.week]
path = "week/{ticker}_1min.csv"
format = { csv = {} }
rename = { ts = "date" }
time_zone = "America/New_York"
bar = { column = "ts", label = "end", seconds = 60 }
"#;

const BRONZE: &str = r#"
grain = ["symbol", "ts"]

[source."raw.bars"]
read = "changed"

[sink.append]

[[expect]]
name = "close is positive"
check = "close > 0"
on_fail = "quarantine"
"#;

const SILVER: &str = r#"
owner = "me"
grain = ["symbol", "ts"]
interval = "day"
start = "2024-01-01"
target_file_mib = 64

[sink.merge]
keys = ["symbol", "ts"]

[[expect]]
name = "the bar is known"
refers = { column = "symbol", to = "bronze.bars.symbol" }
on_fail = "warn"
"#;

const SILVER_SQL: &str =
    "select symbol, ts, close\nfrom bronze.bars\nwhere ts >= $interval_start and ts < $interval_end\n";

const FIXTURE: &str = r#"
description = "one bar"
interval_start = "2024-01-01"
interval_end = "2024-01-02"

[[given."bronze.bars"]]
symbol = "A"
ts = 2024-01-01T10:00:00Z
close = 1.5

[[expect]]
symbol = "A"
"#;

fn files() -> ProjectFiles {
    [
        ("project.toml", "name = \"market\"\n[defaults]\nowner = \"desk\"\ntarget_file_mib = 32\n"),
        ("sources.toml", SOURCES),
        ("README.md", "not a job"),
        ("bronze/bars/job.toml", BRONZE),
        ("bronze/bars/query.sql", "select symbol, ts, close from raw.bars"),
        ("silver/bars/job.toml", SILVER),
        ("silver/bars/query.sql", SILVER_SQL),
        ("silver/bars/tests/one.toml", FIXTURE),
        ("silver/bars/notes/any.sql", "not a query"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into()
}

/// The project with one text of one file replaced, and what is then wrong with it.
fn wrong(path: &str, from: &str, to: &str) -> String {
    let mut files = files();
    let text = files.get_mut(path).unwrap();
    assert!(text.contains(from), "{path} has no {from}");
    *text = text.replacen(from, to, 1);
    Project::parse(&files).map(|_| "nothing").map_err(|error| error.render()).unwrap_err()
}

/// The line and column of each mistake, and its words.
fn short(path: &str, from: &str, to: &str) -> String {
    let mut files = files();
    let text = files.get_mut(path).unwrap();
    assert!(text.contains(from), "{path} has no {from}");
    *text = text.replacen(from, to, 1);
    Project::parse(&files).map(|_| "nothing").unwrap_err().to_string()
}

#[test]
fn a_project_is_its_files() {
    let project = Project::parse(&files()).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(project.settings.name, "market");
    let names: Vec<String> = project.jobs.keys().map(TableName::to_string).collect();
    assert_eq!(names, ["bronze.bars", "silver.bars"]);
    let bronze = &project.jobs[&"bronze.bars".parse().unwrap()];
    assert_eq!((bronze.manifest.owner.as_str(), bronze.manifest.target_file_mib), ("desk", 32));
    let silver = &project.jobs[&"silver.bars".parse().unwrap()];
    assert_eq!((silver.manifest.owner.as_str(), silver.manifest.target_file_mib), ("me", 64));
    assert_eq!(silver.path, "silver/bars");
    let fixture = &silver.tests[0];
    assert_eq!((fixture.name.as_str(), fixture.path.as_str()), ("one", "silver/bars/tests/one.toml"));
    assert_eq!(fixture.given["bronze.bars"][0]["close"], toml::Value::Float(1.5));
    assert_eq!(fixture.interval().unwrap().unwrap().to_string(), "[2024-01-01, 2024-01-02)");
    assert_eq!((fixture.expect.len(), &fixture.quarantine), (1, &None));
}

#[test]
fn mistakes_of_all_files_are_reported_together() {
    let mut files = files();
    files.insert("project.toml".into(), "nmae = \"market\"\n".into());
    files.insert("silver/bars/query.sql".into(), "select * from bronze.bar\nwhere ts < $interval_end".into());
    files.insert("gold/x/query.sql".into(), "select 1".into());
    files.insert("gold/y/job.toml".into(), "grain = 3".into());
    files.insert("raw/z/job.toml".into(), BRONZE.into());
    insta::assert_snapshot!(Project::parse(&files).unwrap_err().render(), @r#"
    error: unknown key `nmae`, expected one of `name`, `description`, `defaults`, `lake`, `variables`, `expect_group`, `schedule`, `alert`, `settings`
     --> project.toml:1:1
      |
    1 | nmae = "market"
      | ^^^^
      |
      = help: did you mean `name`?

    error: `raw` is the layer of sources of files: move the job to another layer
    --> raw/z

    error: the file is missing
    --> raw/z/query.sql
     = help: a job's folder holds it; write one `select` statement that yields the table's rows

    error: the file is missing
    --> gold/x/job.toml
     = help: a job's folder holds it; write `owner`, `grain` and a `[sink.*]`

    error: the file is missing
    --> gold/y/query.sql
     = help: a job's folder holds it; write one `select` statement that yields the table's rows

    error: missing key `sink`
     --> gold/y/job.toml:1:1
      |
    1 | grain = 3
      | ^

    error: invalid type: integer `3`, expected an array
     --> gold/y/job.toml:1:9
      |
    1 | grain = 3
      |         ^

    error: the query does not read `bronze.bars`
     --> silver/bars/tests/one.toml:6:9
      |
    6 | [[given."bronze.bars"]]
      |         ^^^^^^^^^^^^^
      |
      = help: did you mean `bronze.bar`?

    error: no job writes `bronze.bar`
     --> silver/bars/query.sql:1:15
      |
    1 | select * from bronze.bar
      |               ^^^^^^^^^^
      |
      = help: did you mean `bronze.bars`?
    "#);
}

#[test]
fn tables_that_nobody_writes_are_named() {
    insta::assert_snapshot!(wrong("bronze/bars/query.sql", "raw.bars", "raw.bers"), @r#"
    error: query.sql does not read `raw.bars`
     --> bronze/bars/job.toml:4:9
      |
    4 | [source."raw.bars"]
      |         ^^^^^^^^^^
      |
      = help: remove it or use it; did you mean `raw.bers`?

    error: sources.toml has no `raw.bers`
     --> bronze/bars/query.sql:1:31
      |
    1 | select symbol, ts, close from raw.bers
      |                               ^^^^^^^^
      |
      = help: did you mean `raw.bars`?
    "#);
    insta::assert_snapshot!(wrong("silver/bars/job.toml", "bronze.bars.symbol", "gold.symbols.symbol"), @r#"
    error: no job writes `gold.symbols`
      --> silver/bars/job.toml:13:36
       |
    13 | refers = { column = "symbol", to = "gold.symbols.symbol" }
       |                                    ^^^^^^^^^^^^^^^^^^^^^
       |
       = help: there is `bronze.bars`, `silver.bars`
    "#);
    insta::assert_snapshot!(
        short("silver/bars/job.toml", "bronze.bars.symbol", "symbols"),
        @"silver/bars/job.toml:13:36: `symbols` is not a column: write `<layer>.<table>.<column>`"
    );
}

#[test]
fn the_head_of_a_manifest_is_checked() {
    let job = "silver/bars/job.toml";
    insta::assert_snapshot!(wrong(job, "grain = [\"symbol\", \"ts\"]", "grain = []"), @r"
    error: `grain` is empty
     --> silver/bars/job.toml:3:9
      |
    3 | grain = []
      |         ^^
      |
      = help: name the columns that identify one row
    ");
    insta::assert_snapshot!(
        short(job, "grain = [\"symbol\", \"ts\"]", "grain = [\"ts\", \"ts\"]"),
        @"silver/bars/job.toml:3:16: the column `ts` is here twice (remove one of them)"
    );
    insta::assert_snapshot!(
        short(job, "owner = \"me\"", "owner = \" \""),
        @r#"silver/bars/job.toml:2:9: the table has no owner (write `owner = ".."` here, or in `[defaults]` of project.toml)"#
    );
    insta::assert_snapshot!(
        short(job, "target_file_mib = 64", "max_rejected = 5.0"),
        @"silver/bars/job.toml:6:16: `max_rejected` is 5 (use 0 to 1, such as 0.05 for five of a hundred rows)"
    );
    insta::assert_snapshot!(
        short(job, "target_file_mib = 64", "run_attempts = 0"),
        @"silver/bars/job.toml:6:16: `run_attempts` is 0 (use 1 to 100)"
    );
    insta::assert_snapshot!(
        short(job, "target_file_mib = 64", "run_timeout_s = 604801"),
        @"silver/bars/job.toml:6:17: `run_timeout_s` is 604801 (use 1 to 604800 seconds)"
    );
    insta::assert_snapshot!(
        short(job, "target_file_mib = 64", "target_file_mib = 0"),
        @"silver/bars/job.toml:6:19: `target_file_mib` is 0 (use 1 to 4096)"
    );
    insta::assert_snapshot!(
        short(job, "keys = [\"symbol\", \"ts\"]", "keys = []"),
        @"silver/bars/job.toml:9:8: `keys` is empty (name the columns by which a row replaces another, usually the grain)"
    );
    insta::assert_snapshot!(wrong(job, "[sink.merge]", "[source.\"bronze.barz\"]\nread = \"all\"\n[sink.merge]"), @r#"
    error: query.sql does not read `bronze.barz`
     --> silver/bars/job.toml:8:9
      |
    8 | [source."bronze.barz"]
      |         ^^^^^^^^^^^^^
      |
      = help: remove it or use it; did you mean `bronze.bars`?
    "#);
    let all = "[source.\"bronze.bars\"]\nread = \"all\"\nby = [\"symbol\"]\nlookback = { column = \"ts\", days = 0 }\n[sink.merge]";
    insta::assert_snapshot!(short(job, "[sink.merge]", all), @r#"
    silver/bars/job.toml:10:1: `by` is of no use when all rows are read (remove it, or set `read = "changed"`)
    silver/bars/job.toml:11:1: `lookback` is of no use when all rows are read (remove it, or set `read = "changed"`)
    silver/bars/job.toml:11:12: `lookback` of 0 days reads nothing more (remove it or use 1 and more)
    "#);
    insta::assert_snapshot!(
        short("bronze/bars/job.toml", "[sink.append]", "[sink.overwrite]"),
        @"bronze/bars/job.toml:5:8: `overwrite` computes the table from all rows of its sources (remove it, or use `merge`)"
    );
}

#[test]
fn the_interval_fits_the_query() {
    let job = "silver/bars/job.toml";
    insta::assert_snapshot!(
        short(job, "start = \"2024-01-01\"", ""),
        @r#"silver/bars/job.toml:4:1: `interval` needs `start` (write `start = "2024-01-01"`, where the first interval begins)"#
    );
    insta::assert_snapshot!(
        short(job, "2024-01-01", "2024-1-01"),
        @"silver/bars/job.toml:5:9: `2024-1-01` is not a day (write it as `2024-01-31`)"
    );
    insta::assert_snapshot!(
        short(job, "interval = \"day\"\nstart = \"2024-01-01\"", "interval = \"month\"\nstart = \"2024-01-05\""),
        @"silver/bars/job.toml:5:9: `2024-01-05` is not the start of a month (use 2024-01-01)"
    );
    insta::assert_snapshot!(wrong(job, "interval = \"day\"\nstart = \"2024-01-01\"\n", ""), @r"
    error: job.toml has no `interval`
     --> silver/bars/query.sql:3:13
      |
    3 | where ts >= $interval_start and ts < $interval_end
      |             ^^^^^^^^^^^^^^^
      |
      = help: set `interval` (hour, day, month, year) and `start` in job.toml, or remove the parameter
    ");
    insta::assert_snapshot!(short(job, "interval = \"day\"\n", ""), @r"
    silver/bars/query.sql:3:13: job.toml has no `interval` (set `interval` (hour, day, month, year) and `start` in job.toml, or remove the parameter)
    silver/bars/job.toml:4:1: `start` is of no use without `interval` (remove it)
    ");
    let bronze = "bronze/bars/job.toml";
    insta::assert_snapshot!(
        short(bronze, "grain", "interval = \"day\"\nstart = \"2024-01-01\"\ngrain"),
        @"bronze/bars/job.toml:2:1: query.sql does not use the interval (remove it, or filter by `$interval_start` and `$interval_end` in query.sql)"
    );
}

#[test]
fn an_expectation_is_one_check() {
    let job = "bronze/bars/job.toml";
    let check = "check = \"close > 0\"";
    insta::assert_snapshot!(
        short(job, check, ""),
        @"bronze/bars/job.toml:10:1: `close is positive` checks nothing (set exactly one of `check`, `unique`, `rows`, `fresh` and `refers`)"
    );
    insta::assert_snapshot!(wrong(job, check, "check = \"close > 0\"\nrows = { at_least = 1 }"), @r"
    error: `close is positive` has check and rows at once
      --> bronze/bars/job.toml:12:1
       |
    12 | rows = { at_least = 1 }
       | ^^^^
       |
       = help: set exactly one of `check`, `unique`, `rows`, `fresh` and `refers`
    ");
    insta::assert_snapshot!(wrong(job, check, "check = \"close >\""), @r#"
    error: SQL syntax: expected: an expression, found: EOF
      --> bronze/bars/job.toml:11:9
       |
    11 | check = "close >"
       |         ^^^^^^^^^
    "#);
    insta::assert_snapshot!(
        short(job, check, "unique = { columns = [\"symbol\"] }"),
        @r#"
    bronze/bars/job.toml:11:10: which of the repeated rows stays is not said (write `keep_first_by = ["column desc", ..]`, or the choice would differ between runs)
    bronze/bars/job.toml:11:22: a row of a later run may repeat one that is in the table, where `append` leaves it (use `merge` with these columns as keys, or set `on_fail` to `warn` or `fail`, which look at the table too)
    "#
    );
    insta::assert_snapshot!(short(job, check, "unique = { columns = [], keep_first_by = [\"ts down\"] }"), @r"
    bronze/bars/job.toml:11:22: `columns` is empty (name the columns in which no two rows may agree)
    bronze/bars/job.toml:11:43: `ts down` is not an order (write `column`, `column asc` or `column desc`)
    ");
    insta::assert_snapshot!(
        short(job, check, "rows = { at_least = 1 }"),
        @"bronze/bars/job.toml:12:11: `close is positive` has no rows to remove (it is about the table and not about a row: use `warn` or `fail`)"
    );
    insta::assert_snapshot!(
        short(job, check, "fresh = { column = \"ts\", hours = 1 }"),
        @"bronze/bars/job.toml:12:11: `close is positive` has no rows to remove (it is about the table and not about a row: use `warn` or `fail`)"
    );
    insta::assert_snapshot!(
        short(job, "on_fail = \"quarantine\"", "on_fail = \"drop\"\n[[expect]]\nname = \"close is positive\"\ncheck = \"true\"\non_fail = \"warn\""),
        @"bronze/bars/job.toml:14:8: a second expectation is called `close is positive` (the name is the reason in the quarantine table: say what differs)"
    );
    let refers = "refers = { column = \"symbol\", to = \"bronze.bars.symbol\" }";
    insta::assert_snapshot!(
        short(job, check, refers),
        @"bronze/bars/job.toml:12:11: `close is positive` has no rows to remove (use `warn` or `fail`; rows that refer to nothing can be filtered by the query)"
    );
    for (right, on_fail) in [
        ("unique = { columns = [\"symbol\"], keep_first_by = [\"ts desc\", \"close\"] }", "quarantine"),
        (refers, "warn"),
    ] {
        let mut files = files();
        let text = BRONZE.replace(check, right).replace("quarantine", on_fail);
        let text = text.replace("read = \"changed\"\n\n[sink.append]", "read = \"all\"\n\n[sink.overwrite]");
        files.insert(job.into(), text);
        Project::parse(&files).unwrap();
    }
    for empty in ["rows = {}", "rows = { at_least = 2, at_most = 1 }"] {
        let mut files = files();
        files.insert(job.into(), BRONZE.replace(check, empty).replace("quarantine", "warn"));
        assert_eq!(Project::parse(&files).unwrap_err().diagnostics().len(), 1, "{empty}");
    }
}

#[test]
fn the_latest_row_is_found_among_neighbours() {
    let problems = |head: &str, latest: &str, rest: &str, query: &str| -> Vec<String> {
        let mut files = files();
        let sink = format!("[sink.merge]\nkeys = [\"symbol\"]\nlatest_by = {latest}\n");
        files.insert("bronze/bars/job.toml".into(), format!("owner = \"o\"\n{head}\n{sink}{rest}"));
        files.insert("bronze/bars/query.sql".into(), query.to_owned());
        let error = Project::parse(&files).err();
        error.iter().flat_map(|e| e.diagnostics()).map(|problem| problem.message.clone()).collect()
    };
    let (plain, grain) = ("select symbol, ts, close from raw.bars", "grain = [\"symbol\"]");
    for (head, latest) in [(grain, "[\"ts\"]"), ("grain = [\"symbol\", \"ts\"]", "[\"ts desc\", \"close asc\"]")] {
        assert!(problems(head, latest, "", plain).is_empty(), "{head} {latest}");
    }
    assert_eq!(problems(grain, "[\"ts down\"]", "", plain), ["`ts down` is not an order"]);
    let apart = "rows of a key would not lie side by side in the table's order";
    assert_eq!(problems("grain = [\"symbol\"]\norder = [\"ts\", \"symbol\"]", "[\"ts\"]", "", plain), [apart]);
    let of_intervals = "select symbol, ts, close from raw.bars where ts >= $interval_start and ts < $interval_end";
    assert_eq!(
        problems("grain = [\"symbol\"]\ninterval = \"day\"\nstart = \"2024-01-01\"", "[\"ts\"]", "", of_intervals),
        ["`latest_by` compares rows of all intervals, and a run sees some"]
    );
    // One rule says which of the rows of a key stays.
    let once = "[[expect]]\nname = \"once\"\nunique = { columns = [\"symbol\"], keep_first_by = [\"ts\"] }\non_fail = \"drop\"\n";
    assert_eq!(problems(grain, "[\"ts\"]", once, plain), ["a second `unique` that takes rows out"]);
    assert!(problems(grain, "[\"ts\"]", &once.replace("drop", "fail"), plain).is_empty());
}

/// What the sink cannot see it may not be asked to take out.
#[test]
fn uniqueness_is_asked_where_it_can_be_seen() {
    let expect = |name: &str, unique: &str, on_fail: &str| {
        format!("[[expect]]\nname = \"{name}\"\nunique = {{ {unique} }}\non_fail = \"{on_fail}\"\n")
    };
    let problems = |sink: &str, expectations: &[String]| -> Vec<String> {
        let mut files = files();
        let head = "owner = \"o\"\ngrain = [\"symbol\", \"ts\"]\n";
        files.insert("bronze/bars/job.toml".into(), format!("{head}{sink}\n{}", expectations.concat()));
        let error = Project::parse(&files).err();
        error.iter().flat_map(|e| e.diagnostics()).map(|problem| problem.message.clone()).collect()
    };
    let (symbol, first) = ("columns = [\"symbol\"]", "columns = [\"symbol\"], keep_first_by = [\"ts\"]");
    let (append, overwrite) = ("[sink.append]", "[sink.overwrite]");
    let kept = expect("once", first, "drop");
    assert!(
        problems(overwrite, &[expect("a", symbol, "fail"), kept.clone(), expect("b", "columns = [\"close\"]", "warn")])
            .is_empty()
    );
    // Rows that stay are not looked at, so none may stay that could agree with new ones.
    let later = "a row of a later run may repeat one that is in the table, where `append` leaves it";
    let merged = |keys: &str| format!("[sink.merge]\nkeys = {keys}");
    assert_eq!(problems(append, std::slice::from_ref(&kept)), [later]);
    assert_eq!(
        problems(&merged("[\"symbol\", \"ts\"]"), std::slice::from_ref(&kept)),
        ["a row of a later run may repeat one that stays in the table, of another symbol, ts"]
    );
    assert!(problems(&merged("[\"symbol\"]"), std::slice::from_ref(&kept)).is_empty());
    let in_file = expect("once", "columns = [\"source_file\", \"symbol\"], keep_first_by = [\"ts\"]", "drop");
    assert!(problems(&format!("order = [\"symbol\", \"source_file\"]\n{append}"), &[in_file]).is_empty());
    let two = [kept.clone(), expect("twice", first, "quarantine")];
    assert_eq!(problems(overwrite, &two), ["a second `unique` that takes rows out"]);
    let apart = "repeated rows would not lie side by side in the table's order";
    let close = expect("close", "columns = [\"close\"], keep_first_by = [\"ts\"]", "drop");
    assert_eq!(problems(overwrite, &[close]), [apart]);
    // The same symbol on two days lies in two partitions.
    let by_day = "[sink.overwrite_partitions]\nby = [\"ts\"]";
    assert_eq!(problems(by_day, &[kept]), [apart]);
    let within = expect("once", "columns = [\"symbol\", \"ts\"], keep_first_by = [\"close\"]", "drop");
    assert!(problems(by_day, &[within]).is_empty());
    let hidden = expect("hidden", "columns = [\"_line\"]", "fail");
    assert_eq!(
        problems(append, &[hidden]),
        ["`_line` is not written, and this `unique` is counted on the table's rows"]
    );
}

#[test]
fn partitions_are_checked() {
    let problems = |head: &str, sink: &str| -> Vec<String> {
        let mut files = files();
        files.insert("bronze/bars/job.toml".into(), format!("owner = \"o\"\ngrain = [\"symbol\"]\n{head}\n{sink}\n"));
        let error = Project::parse(&files).err();
        error.iter().flat_map(|e| e.diagnostics()).map(|problem| problem.message.clone()).collect()
    };
    let by_day = "[sink.overwrite_partitions]\nby = [\"ts\"]";
    for (head, sink) in [
        ("", by_day),
        ("partition_by = [\"ts\"]", by_day),
        ("partition_by = [\"ts\", \"symbol\"]", "[sink.append]"),
        ("partition_by = []", "[sink.overwrite]"),
    ] {
        assert!(problems(head, sink).is_empty(), "{head} {sink}");
    }
    let differs = "`partition_by` differs from `by` of the sink";
    assert_eq!(problems("partition_by = [\"symbol\"]", by_day), [differs]);
    assert_eq!(problems("partition_by = [\"ts\", \"symbol\"]", by_day), [differs]);
    assert_eq!(
        problems("partition_by = [\"ts\", \"ts\"]", "[sink.merge]\nkeys = [\"ts\"]"),
        ["the column `ts` is here twice"]
    );
    assert_eq!(problems("partition_by = [\" \"]", "[sink.append]"), ["a column without a name"]);
    // Rows that agree in `symbol` may lie in two partitions.
    let once = "[sink.overwrite]\n[[expect]]\nname = \"once\"\non_fail = \"drop\"\n\
                unique = { columns = [\"symbol\"], keep_first_by = [\"ts\"] }";
    assert!(problems("", once).is_empty());
    assert_eq!(
        problems("partition_by = [\"ts\"]", once),
        ["repeated rows would not lie side by side in the table's order"]
    );
}

#[test]
fn histories_are_checked() {
    let problems = |grain: &str, rest: &str| -> Vec<String> {
        let mut files = files();
        let head = format!("owner = \"o\"\ngrain = [{grain}]\n");
        files.insert("silver/bars/job.toml".into(), head + rest);
        files.insert("silver/bars/query.sql".into(), "select symbol, ts, close from bronze.bars".into());
        files.retain(|path, _| !path.contains("/tests/"));
        let error = Project::parse(&files).err();
        error.iter().flat_map(|e| e.diagnostics()).map(|problem| problem.message.clone()).collect()
    };
    let grain = "\"symbol\", \"valid_from\"";
    let known = "\"symbol\", \"valid_from\", \"recorded_from\"";
    let scd2 = |rest: &str| format!("[sink.scd2]\nkeys = [\"symbol\"]\neffective = \"ts\"\n{rest}");
    let source = |rest: &str| format!("[source.\"bronze.bars\"]\nread = \"changed\"\n{rest}\n");
    for (grain, right) in [
        (grain, scd2("compare = [\"close\"]\ndeleted = \"close is null\"\n")),
        (grain, source("by = [\"symbol\"]") + &scd2("")),
        (grain, "[sink.scd2]\nkeys = [\"symbol\"]\neffective = \"observed\"\n".to_owned()),
        (known, scd2("").replace("scd2", "bitemporal")),
    ] {
        assert!(problems(grain, &right).is_empty(), "{right}: {:?}", problems(grain, &right));
    }
    let unique = "[[expect]]\nname = \"once\"\nunique = { columns = [\"symbol\"], keep_first_by = [\"ts\"] }\non_fail = \"drop\"\n";
    let observed = scd2("").replace("\"ts\"", "\"observed\"");
    for (grain, wrong, message) in [
        ("\"symbol\"", scd2(""), "a key has several rows in a table of `scd2`"),
        (grain, scd2("").replace("scd2", "bitemporal"), "a version has several rows where it was corrected"),
        (known, observed.replace("scd2", "bitemporal"), "`bitemporal` needs the time that the rows say"),
        (grain, scd2("").replace("[\"symbol\"]", "[]"), "`keys` is empty"),
        (grain, scd2("compare = []\n"), "`compare` is empty"),
        (grain, scd2("compare = [\"close\", \"symbol\"]\n"), "`symbol` is a key, and the same in all versions of it"),
        (grain, scd2("").replace("\"ts\"", "\"symbol\""), "`effective` does not say since when a version holds"),
        (grain, source("") + &scd2(""), "`scd2` needs all rows of a key to cut its history"),
        (
            grain,
            source("by = [\"symbol\"]\nlookback = { column = \"ts\", days = 2 }") + &scd2(""),
            "`scd2` needs all rows of a key, and `lookback` leaves out earlier ones",
        ),
        (grain, source("by = [\"symbol\"]") + &observed, "`scd2` reads all rows where something changed"),
        (grain, scd2("") + unique, "`unique` would take versions out of the history that `scd2` cuts"),
    ] {
        assert!(
            problems(grain, &wrong).iter().any(|problem| problem == message),
            "{wrong}: {:?}",
            problems(grain, &wrong)
        );
    }
    assert!(!problems(grain, &scd2("deleted = \"close is\"\n")).is_empty());
    let by_day = "interval = \"day\"\nstart = \"2024-01-01\"\n".to_owned() + &scd2("");
    assert!(problems(grain, &by_day).contains(&"`scd2` does not work by interval".to_owned()));
}

/// Hashes of jobs that do not use a key stay as they are when the key is added.
#[test]
fn keys_at_their_default_are_not_written() {
    let manifest: crate::manifest::Manifest = toml::from_str("grain = [\"k\"]\n[sink.append]\n").unwrap();
    assert_eq!(
        serde_json::to_string(&manifest).unwrap(),
        "{\"owner\":\"\",\"description\":\"\",\"interval\":null,\"start\":null,\"grain\":[\"k\"],\"order\":null,\"source\":{},\
         \"sink\":{\"append\":{}},\"expect\":[],\"target_file_mib\":128}"
    );
}

#[test]
fn sources_are_checked() {
    let path = "sources.toml";
    insta::assert_snapshot!(wrong(path, "{ticker}_1min", "{Symbol}_1min"), @r#"
    error: `{Symbol}` does not name a column: use lower-case letters, digits and `_`, a letter first
      --> sources.toml:11:8
       |
    11 | path = "week/{Symbol}_1min.csv"
       |        ^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(
        short(path, "week/{ticker}", "{symbol}/{symbol}"),
        @"sources.toml:11:8: `{symbol}` is in the path twice"
    );
    insta::assert_snapshot!(
        short(path, "{ ts = \"date\" }", "{ tsx = \"date\" }"),
        @"sources.toml:13:12: `rename` of `tsx`, which is not a column (did you mean `ts`?)"
    );
    insta::assert_snapshot!(
        short(path, "column = \"ts\"", "column = \"close\""),
        @"sources.toml:15:18: `close` is not a timestamp, so it labels no bar"
    );
    insta::assert_snapshot!(
        short(path, "column = \"ts\"", "column = \"stamp\""),
        @"sources.toml:15:18: `stamp` is not a column (`columns` lists them)"
    );
    insta::assert_snapshot!(
        short(path, "seconds = 60", "seconds = 0"),
        @"sources.toml:15:49: a bar must be longer than 0 seconds"
    );
    insta::assert_snapshot!(short(path, "name = \"ts\"", "name = \"symbol\""), @r"
    sources.toml:6:14: the column `symbol` is here twice
    sources.toml:13:12: `rename` of `ts`, which is not a column (`columns` lists them)
    sources.toml:15:18: `ts` is not a column (`columns` lists them)
    ");
    insta::assert_snapshot!(
        short(path, "week/{ticker}_", "week/{ts}_{line}_"),
        @r"
    sources.toml:11:8: `{ts}` is a column, and the source has one `ts` (give the part of the path another name, or write `*`)
    sources.toml:11:8: `{line}` is a column, and the source has one `line` (give the part of the path another name, or write `*`)
    "
    );
    insta::assert_snapshot!(
        short(path, "csv = {}", "cvs = {}"),
        @"sources.toml:12:12: unknown value `cvs`, expected one of `csv`, `fixed_width`, `json_lines`, `json`, `parquet`, `avro` (did you mean `csv`?)"
    );
    insta::assert_snapshot!(wrong(path, "csv = {}", "csv = { header = false }"), @r#"
    error: nothing names the fields
      --> sources.toml:12:29
       |
    12 | format = { csv = { header = false } }
       |                             ^^^^^
       |
       = help: list their names in `fields`, or take the columns of the source in their order by `match = "position"`
    "#);
    insta::assert_snapshot!(
        short(path, "csv = {}", "csv = { quote = \"\", escape = \"x\" }"),
        @"sources.toml:12:41: `escape` has no effect without a quote (remove it, or say which character is the `quote`)"
    );
    insta::assert_snapshot!(
        short(path, "csv = {}", "csv = { encoding = \"cp1252\" }"),
        @"sources.toml:12:31: unknown value `cp1252`, expected one of `utf-8`, `utf-16`, `utf-16le`, `utf-16be`, `windows-1252`, `latin-1`"
    );
    let wrong_type = short(path, "type = \"double\"", "type = \"integer\"");
    assert!(
        wrong_type.starts_with(
            "sources.toml:7:30: `integer` is not a type: did you mean `int`? there are string, json, boolean,"
        ),
        "{wrong_type}"
    );
}

#[test]
fn how_text_becomes_a_value_is_checked() {
    let problems = |sources: &str| {
        let mut files = files();
        files.insert("sources.toml".to_owned(), sources.to_owned());
        Project::parse(&files).err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (text, says) in [
        ("pattern = { ts = \"dd/MM/yyyy HH:mm:ss\" }", ""),
        ("pattern = { ts = \"epoch_ms\" }", ""),
        (
            "pattern = { ts = \"YYYY-MM-dd\" }",
            "the letter `Y` of the pattern is not supported as `YYYY`: a year is `yyyy`",
        ),
        ("pattern = { tx = \"yyyy-MM-dd\" }", "`pattern` of `tx`, which is not a column (did you mean `ts`?)"),
        ("pattern = { close = \"yyyy-MM-dd\" }", "`pattern` has no effect on `close`, which is a `double`"),
        ("nulls = [\"NA\", \"\"]", ""),
        ("nulls = [\"NA\", \"NA\"]", "`NA` is in `nulls` twice"),
        ("decimal = \",\"\nthousands = \".\"", ""),
        ("decimal = \";\"", "`;` is not a decimal mark (use `.` or `,`)"),
        ("thousands = \".\"", "`.` is the decimal mark, too (declare `decimal = \",\"`)"),
        ("thousands = \"x\"", "`x` does not group digits"),
    ] {
        let found = problems(&SOURCES.replace("time_zone =", &format!("{text}\ntime_zone =")));
        assert!(if says.is_empty() { found.is_empty() } else { found.contains(says) }, "{text}: {found}");
    }
    let all = "nulls = [\"\"]\npattern = { ts = \"epoch_s\" }\ndecimal = \",\"\nthousands = \"\u{202f}\"\ntime_zone =";
    let all = SOURCES.replace("time_zone =", all).replace("\"double\"", "\"decimal(18,4)\", round = true");
    let sources: crate::sources::Sources = toml::from_str(&all).unwrap();
    // A scan travels to executors so.
    let json = serde_json::to_string(&sources).unwrap();
    assert_eq!(serde_json::from_str::<crate::sources::Sources>(&json).unwrap(), sources);
    let found = problems(&SOURCES.replace("type = \"string\", ", "type = \"string\", round = true, "));
    assert!(found.contains("`round` has no effect on a `string`"), "{found}");
    let found = problems(&SOURCES.replace("type = \"double\"", "type = \"double\", round = true"));
    assert_eq!(found, "");
    let no_number = SOURCES.replace("\"double\"", "\"string\"").replace("time_zone =", "decimal = \",\"\ntime_zone =");
    let found = problems(&no_number);
    assert!(found.contains("`decimal` has no effect: no column is a number"), "{found}");
}

#[test]
fn fixtures_fit_their_query() {
    let path = "silver/bars/tests/one.toml";
    insta::assert_snapshot!(wrong(path, "given.\"bronze.bars\"", "given.\"bronze.bar\""), @r#"
    error: the query does not read `bronze.bar`
     --> silver/bars/tests/one.toml:6:9
      |
    6 | [[given."bronze.bar"]]
      |         ^^^^^^^^^^^^
      |
      = help: did you mean `bronze.bars`?
    "#);
    insta::assert_snapshot!(
        short(path, "interval_end = \"2024-01-02\"\n", ""),
        @"silver/bars/tests/one.toml:3:1: `interval_end` is missing"
    );
    insta::assert_snapshot!(
        short(path, "interval_end = \"2024-01-02\"", "interval_end = \"2024-01-01\""),
        @"silver/bars/tests/one.toml:4:16: an interval must end after it starts, and it does not contain its end: 2024-01-01 to 2024-01-01"
    );
    insta::assert_snapshot!(
        short(path, "[[expect]]\nsymbol = \"A\"\n", ""),
        @"silver/bars/tests/one.toml: the test expects nothing, so it cannot fail (write `[[expect]]` rows, or `expect = []` when no row must come out)"
    );
    let mut partial = files();
    let rows = FIXTURE.replace("[[expect]]\nsymbol = \"A\"\n", "");
    partial.insert(path.to_owned(), format!("partial = true\nexpect = []\n{rows}"));
    assert!(Project::parse(&partial).unwrap_err().to_string().contains("it cannot fail"));
    partial.insert(path.to_owned(), format!("partial = true\n{FIXTURE}"));
    assert!(Project::parse(&partial).is_ok());
    insta::assert_snapshot!(
        short(path, "[[expect]]", "[[expected]]"),
        @"silver/bars/tests/one.toml:11:3: unknown key `expected`, expected one of `description`, `interval_start`, `interval_end`, `given`, `partial`, `expect`, `quarantine` (did you mean `expect`?)"
    );
}

#[test]
fn variables_are_named_when_they_are_missing() {
    let project = Project::parse(&files()).unwrap();
    assert_eq!(project.variables(), BTreeSet::from(["raw".to_owned()]));
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let root = |value| project.with_variables(&map(&[("raw", value)])).sources.files["bars"].root.clone();
    assert_eq!(root("s3://bucket/x"), "s3://bucket/x/intraday");
    assert_eq!(root("s3://bucket/x/"), "s3://bucket/x/intraday");
    let needs = |job: &str| project.with_variables(&map(&[])).check_values(&[job.parse().unwrap()]);
    insta::assert_snapshot!(needs("bronze.bars").unwrap_err(), @"`raw.bars` of sources.toml needs the variable `raw`: pass `--var raw=FOLDER` (or a URL), or set it in project.toml");
    needs("silver.bars").unwrap();
    project.with_variables(&map(&[("raw", "$x")])).check_values(&["bronze.bars".parse().unwrap()]).unwrap();
    let wrong = |pairs: &[(&str, &str)]| project.check_names(&map(pairs)).unwrap_err();
    insta::assert_snapshot!(wrong(&[("raw", "x"), ("rwa", "x")]), @"no source uses the variable `rwa`: did you mean `raw`?");
    insta::assert_snapshot!(wrong(&[("raw", "x"), ("colour", "x")]), @"no source uses the variable `colour`: the project has `raw`");
}

#[test]
fn a_database_needs_the_variables_of_its_url() {
    let mut files = files();
    let sources = files.get_mut("sources.toml").unwrap();
    sources.push_str(
        "\n[databases.shop]\nurl = \"postgresql://r@$host/$base\"\n[databases.shop.tables.orders]\ncolumns = [{ name = \"id\", type = \"bigint\" }]\n",
    );
    let query = "select id, source_file from raw.orders".to_owned();
    files.insert("bronze/orders/query.sql".to_owned(), query);
    files.insert("bronze/orders/job.toml".to_owned(), "grain = [\"id\"]\n[sink.append]\n".to_owned());
    let project = Project::parse(&files).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(project.variables_of_urls(), BTreeSet::from(["host".to_owned(), "base".to_owned()]));
    let with = |pairs: &[(&str, &str)]| {
        let values = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        project.with_variables(&values)
    };
    let check = |pairs: &[(&str, &str)], job: &str| with(pairs).check_values(&[job.parse().unwrap()]);
    insta::assert_snapshot!(check(&[("base", "d")], "bronze.orders").unwrap_err(), @"`databases.shop` of sources.toml needs the variable `host`: pass `--var host=VALUE`, or set it in project.toml");
    check(&[("raw", "/x")], "bronze.bars").unwrap();
    let given = [("host", "h:6000"), ("base", "d$x")];
    check(&given, "bronze.orders").unwrap();
    assert_eq!(
        with(&given).sources.databases["shop"].address("shop").unwrap().to_string(),
        "postgresql://r@h:6000/d$x"
    );
    let secret = check(&[("host", "x:hunter2@h"), ("base", "d")], "bronze.orders").unwrap_err();
    assert!(secret.message().contains("`databases.shop`") && !secret.message().contains("hunter2"), "{secret}");
}

#[test]
fn an_interval_is_asked_of_jobs_that_have_one() {
    let asked = Some(Interval::parse_bounds("2024-01-01", "2024-01-02").unwrap());
    let (with, without): (TableName, TableName) = ("silver.bars".parse().unwrap(), "bronze.bars".parse().unwrap());
    let project = Project::parse(&files()).unwrap();
    assert!(project.check_asked(std::slice::from_ref(&with), asked).is_ok());
    assert!(project.check_asked(&[], asked).is_ok());
    assert!(project.check_asked(std::slice::from_ref(&without), None).is_ok());
    insta::assert_snapshot!(
        project.check_asked(&[with, without], asked).unwrap_err(),
        @"an interval is asked for, and job bronze.bars has none: set `interval` in bronze/bars/job.toml, or run the job without --from and --to"
    );
    let mut none = files();
    none.retain(|path, _| !path.starts_with("silver/"));
    assert!(Project::parse(&none).unwrap().check_asked(&[], asked).is_err());
}

#[test]
fn rows_that_are_read_again_are_not_appended_again() {
    for (rest, key) in [("by = [\"symbol\"]", "by"), ("lookback = { column = \"ts\", days = 1 }", "lookback")] {
        let mut files = files();
        let manifest = format!(
            "owner = \"o\"\ngrain = [\"symbol\"]\n[source.\"bronze.bars\"]\nread = \"changed\"\n{rest}\n[sink.append]\n"
        );
        files.insert("silver/bars/job.toml".into(), manifest);
        files.insert("silver/bars/query.sql".into(), "select symbol, ts, close from bronze.bars\n".into());
        files.retain(|path, _| !path.contains("tests/"));
        let error = Project::parse(&files).unwrap_err();
        let problem = format!("with `{key}` rows are read again, and `append` would add them again");
        assert_eq!(error.diagnostics().iter().map(|problem| &problem.message).collect::<Vec<_>>(), [&problem]);
    }
}

#[test]
fn an_unknown_job_is_named() {
    let project = Project::parse(&files()).unwrap();
    insta::assert_snapshot!(
        project.job(&"silver.bras".parse().unwrap()).unwrap_err(),
        @"no job writes `silver.bras`: did you mean `silver.bars`?"
    );
    insta::assert_snapshot!(
        project.job(&"gold.trends".parse().unwrap()).unwrap_err(),
        @"no job writes `gold.trends`: the project has `bronze.bars`, `silver.bars`"
    );
    assert!(project.job(&"silver.bars".parse().unwrap()).is_ok());
}

/// A job over a table that others write.
fn over_external(query: &str) -> ProjectFiles {
    let mut files = files();
    files.retain(|path, _| !path.starts_with("silver/"));
    files.insert(
        "sources.toml".into(),
        format!("{}\n[tables.trades]\nlocation = \"$raw/trades\"\n", files["sources.toml"]),
    );
    let manifest = "owner = \"o\"\ngrain = [\"id\"]\n[source.\"external.trades\"]\nread = \"changed\"\nby = [\"id\"]\n\
                    [sink.merge]\nkeys = [\"id\"]\n";
    files.insert("silver/trades/job.toml".into(), manifest.into());
    files.insert("silver/trades/query.sql".into(), query.into());
    files
}

#[test]
fn a_table_of_others_is_known_by_its_name() {
    let project = Project::parse(&over_external("select id from external.trades")).unwrap();
    let name: TableName = "external.trades".parse().unwrap();
    assert_eq!(project.external(&name).unwrap().location, "$raw/trades");
    assert_eq!(project.external(&"silver.trades".parse().unwrap()), None);
    assert_eq!(project.job(&"silver.trades".parse().unwrap()).unwrap().query.tables(), BTreeSet::from([name.clone()]));
    assert_eq!(project.variables(), BTreeSet::from(["raw".to_owned()]));
    let values = [("raw".to_owned(), "s3://bucket/x".to_owned())].into();
    assert_eq!(project.with_variables(&values).external(&name).unwrap().location, "s3://bucket/x/trades");
    let text = serde_json::to_string(&Sources::default()).unwrap();
    assert_eq!(text, r#"{"files":{}}"#, "contracts without tables are written as before");

    let wrong = |query: &str| Project::parse(&over_external(query)).unwrap_err().to_string();
    insta::assert_snapshot!(
        wrong("select id from external.trades join external.trade using (id)"),
        @"silver/trades/query.sql:1:37: sources.toml has no `external.trade` (did you mean `external.trades`?)"
    );
}

#[test]
fn one_key_says_where_a_table_of_others_lies() {
    let found = |table: &str| {
        let mut files = over_external("select id from external.trades");
        let text = files["sources.toml"].replace("location = \"$raw/trades\"", table);
        files.insert("sources.toml".into(), text);
        Project::parse(&files).map(|project| project.sources.tables["trades"].clone()).map_err(|e| e.to_string())
    };
    let of_glue = found("glue = \"vendor.trades\"").unwrap();
    assert_eq!(of_glue.glue_name(), Some(("vendor", "trades")));
    let json = serde_json::to_string(&of_glue).unwrap();
    assert_eq!(serde_json::from_str::<crate::sources::ExternalTable>(&json).unwrap(), of_glue);
    for (table, expected) in [
        ("", "nothing says where the table lies"),
        ("location = \"\"", "nothing says where the table lies"),
        ("location = \"$raw/t\"\nglue = \"a.b\"", "`location` and `glue` both say where the table lies"),
        ("glue = \"trades\"", "`trades` is no table of Glue (write `database.table`)"),
        ("glue = \"a.b.c\"", "`a.b.c` is no table of Glue"),
        ("glue = \".b\"", "`.b` is no table of Glue"),
    ] {
        let error = found(table).unwrap_err();
        assert!(error.contains(expected), "{table}: {error}");
    }
}

#[test]
fn no_job_writes_into_the_layer_of_others() {
    let mut files = over_external("select id from external.trades");
    let job = |path: &str| (path.to_owned(), files[path].replace("external.trades", "silver.trades"));
    let job = ["job.toml", "query.sql"].map(|file| job(&format!("silver/trades/{file}")));
    for (path, text) in job {
        files.insert(path.replace("silver/trades", "external/other"), text);
    }
    insta::assert_snapshot!(
        Project::parse(&files).unwrap_err(),
        @"external/other: `external` is the layer of the tables in sources.toml: move the job to another layer"
    );
    // Without tables of others, the name is as good as any.
    files.insert("sources.toml".into(), files["sources.toml"].split("[tables").next().unwrap().to_owned());
    files.insert("silver/trades/job.toml".into(), "owner = \"o\"\ngrain = [\"id\"]\n[sink.overwrite]\n".into());
    files.insert("silver/trades/query.sql".into(), "select 1 as id".into());
    Project::parse(&files).unwrap();
}
