//! `pulse query`: what it prints, where a query comes from, and what it says of a wrong one.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Scene;

fn scene() -> Scene {
    let scene = Scene::empty();
    let manifest = "grain = [\"n\"]\n[sink.overwrite]\n";
    scene.job(
        "silver.numbers",
        manifest,
        "select cast(column1 as bigint) as n, column2 as word from (values (1, 'a'), (2, ''), (3, null))",
    );
    scene.run_all();
    scene
}

#[test]
fn no_value_and_an_empty_text_look_different() {
    let scene = scene();
    let query = |output: &str| {
        scene.pulse(&["--output", output, "query", "select n, word from silver.numbers order by n"]).ok().stdout
    };
    assert_eq!(query("csv"), "n,word\n1,a\n2,\"\"\n3,\n");
    assert_eq!(query("json"), "{\"n\":1,\"word\":\"a\"}\n{\"n\":2,\"word\":\"\"}\n{\"n\":3,\"word\":null}\n");
    let table = query("table");
    assert!(table.contains("| 3 | NULL |") && table.contains("| 2 |      |"), "{table}");
}

#[test]
fn a_query_comes_from_the_line_a_file_or_stdin() {
    let scene = scene();
    let sql = "select count(*) as rows from silver.numbers;";
    let file = scene.raw.join("query.sql");
    std::fs::write(&file, sql).unwrap();
    for arguments in [["query", sql].as_slice(), &["query", "--file", file.to_str().unwrap()]] {
        assert_eq!(scene.pulse(&[&["--output", "csv"], arguments].concat()).ok().stdout, "rows\n3\n");
    }
    let mut command = scene.command(&["--output", "csv", "query"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), "rows\n3\n");
}

#[test]
fn a_question_has_the_limits_of_a_job() {
    let scene = scene();
    let doubled = |steps: u32| {
        let step = |step| format!("a{step} as (select * from a{0} union all select * from a{0})", step - 1);
        let steps: Vec<String> = (1..=steps).map(step).collect();
        format!("with a0 as (select n from silver.numbers), {} select count(*) from a{}", steps.join(", "), steps.len())
    };
    scene.pulse(&["query", &doubled(5)]).ok();
    for asked in [doubled(30), format!("explain {}", doubled(30))] {
        scene.pulse(&["query", &asked]).fails(2, &["more than 2000 tables, counted each time"]);
    }
    let many = vec!["(1)"; 5_000].join(", ");
    scene.pulse(&["query", &format!("select sum(a) as n from (values {many}) t(a)")]).ok();
    scene
        .pulse(&[
            "query",
            "select count(distinct a) from (select repeat('a', 1000000) as a from generate_series(1, 3000))",
        ])
        .fails(1, &["would make more than", "batch_rows"]);
}

#[test]
fn rows_beyond_the_limit_are_counted() {
    let scene = scene();
    let limited = scene.pulse(&["query", "select n from silver.numbers order by n", "--limit", "2"]).ok();
    assert_eq!(limited.stdout.lines().count(), 6);
    limited.says(&["2 of 3 rows", "--limit 0"]);
    scene.pulse(&["query", "select n from silver.numbers where n = 1"]).ok().says(&["1 row"]);
}

#[test]
fn tables_are_listed_described_and_read_as_they_were() {
    let scene = scene();
    scene.job("silver.numbers", "grain = [\"n\"]\n[sink.overwrite]\n", "select cast(7 as bigint) as n, 'x' as word");
    scene.run_all();
    let csv = |sql: &str| scene.pulse(&["--output", "csv", "query", sql]).ok().stdout;
    assert_eq!(csv("show tables"), "table,kind\nsilver.numbers,table\n");
    assert_eq!(csv("describe silver.numbers"), "column,type\nn,bigint\nword,string\n");
    assert_eq!(csv("select count(*) as c from silver.numbers"), "c\n1\n");
    assert_eq!(csv("select count(*) as c from silver.numbers@0"), "c\n3\n");
    assert_eq!(csv("select count(*) as c from silver.numbers@1 a join silver.numbers@0 b on a.n > b.n"), "c\n3\n");
    scene.pulse(&["query", "select n from silver.numbers@9"]).fails(2, &["silver.numbers", "9"]);
    scene.pulse(&["query", "select n from silver.numbers@last"]).fails(2, &["write a version as a number"]);
}

#[test]
fn a_wrong_name_has_a_caret_and_the_name_that_was_meant() {
    let scene = scene();
    let wrong = |sql: &str, texts: &[&str]| drop(scene.pulse(&["query", sql]).fails(2, texts));
    wrong("select n\nfrom silver.nmbers", &["query:2:6", "^", "did you mean `silver.numbers`?"]);
    wrong("select wrod from silver.numbers", &["query:1:8", "^", "did you mean `silver.numbers.word`?"]);
    wrong("select n from numbers", &["query:1:15", "name its layer: `silver.numbers`"]);
    wrong("  ", &["there is no query"]);
}

#[test]
fn several_statements_have_an_answer_each() {
    let scene = scene();
    let text = "select count(*) as c from silver.numbers; -- two; or three\ndescribe silver.numbers;\n";
    let answer = scene.pulse(&["--output", "csv", "query", text]).ok().stdout;
    assert_eq!(answer, "c\n3\n\ncolumn,type\nn,bigint\nword,string\n");
    let file = scene.path("asked.sql");
    std::fs::write(&file, "select 1 as a;\nselect wrod from silver.numbers;\nselect 3 as c").unwrap();
    let broken = scene.pulse(&["--output", "json", "query", "--file", file.to_str().unwrap()]);
    let broken = broken.fails(2, &["query:2:8", "^", "did you mean"]);
    assert_eq!(broken.stdout, "{\"a\":1}\n");
}

#[test]
fn a_query_only_reads_and_its_syntax_has_a_caret() {
    let scene = scene();
    for text in
        ["delete from silver.numbers", "insert into silver.numbers values (1, 'x')", "create table x as select 1"]
    {
        scene.pulse(&["query", text]).fails(2, &["a query only reads", "query:1:1", "^", "pulse run"]);
    }
    scene.pulse(&["query", "select n form silver.numbers"]).fails(2, &["SQL syntax", "query:1:15", "^"]);
    scene.pulse(&["query", "select sum(word) from silver.numbers"]).fails(2, &["`sum` does not take string", "^"]);
    scene.pulse(&["query", "select 7 / 0"]).fails(1, &["a division by zero"]);
    let head = scene.pulse(&["--output", "csv", "query", "select 7 / 2, null as nothing"]).ok().stdout;
    assert_eq!(head, "7 / 2,nothing\n3.5,\n");
}

#[test]
fn variables_have_values_as_in_jobs() {
    let scene = scene();
    let project = "name = \"p\"\n[defaults]\nowner = \"o\"\n[variables]\nzone = { type = \"bigint\", default = 2 }\n";
    std::fs::write(scene.project.join("project.toml"), project).unwrap();
    let csv = |arguments: &[&str]| scene.pulse(&[&["--output", "csv"], arguments].concat()).ok().stdout;
    assert_eq!(csv(&["query", "select $zone + 1 as z"]), "z\n3\n");
    assert_eq!(csv(&["--var", "zone=7", "query", "select $zone as z"]), "z\n7\n");
    scene.pulse(&["query", "select $zne as z"]).fails(2, &["query:1:8", "^", "did you mean `$zone`?"]);
    scene.pulse(&["--var", "zne=7", "query", "select $zone as z"]).fails(2, &["`zne`", "did you mean `zone`?"]);
    scene.pulse(&["--var", "zone=x", "query", "select 1"]).fails(2, &["--var zone=x: `x` is no bigint"]);
}

/// Exit code 0 means that the answer is whole. Nobody needs to read what it says on stderr.
#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    use std::fs::File;
    use std::process::Stdio;

    let scene = scene();
    let text = "select * from generate_series(1, 100000)";
    for output in ["csv", "json", "table"] {
        for arguments in [&["--output", output, "query", text][..], &["--output", output, "graph"]] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut process = scene.command(arguments);
            let ended = process.stdout(full).stderr(Stdio::piped()).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.contains("could not be written to stdout: No space left"), "{arguments:?}: {said}");
        }
    }
    for (arguments, code) in [(&["query", "selec 1"][..], 2), (&["run", "--all"], 0)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = scene.command(arguments).stdout(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
    // A reader that has seen enough is no error.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status =
        scene.command(&["--output", "csv", "query", text]).stdout(writer).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Ends with the test; its program then gets the end of the terminal.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a terminal shows a text.
#[track_caller]
fn shows(screen: &std::path::Path, text: &str) {
    let began = Instant::now();
    while !std::fs::read_to_string(screen).is_ok_and(|shown| shown.contains(text)) {
        assert!(began.elapsed() < Duration::from_secs(60), "{text}: {:?}", std::fs::read_to_string(screen));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_at_the_prompt_stops_a_join_that_yields_nothing() {
    let scene = scene();
    let screen = scene.path("screen");
    let mut command = Command::new("script");
    // The shell makes room for the query: one that waits for it would end by the same Ctrl-C, as dash does.
    command.args(["-qec", &format!("exec {} query", env!("CARGO_BIN_EXE_pulse")), "/dev/null"]).env("SHELL", "/bin/sh");
    command.env("PULSE_PROJECT", &scene.project).env("PULSE_LAKE", &scene.lake).env("TERM", "dumb");
    command.env("XDG_STATE_HOME", scene.path("state")).current_dir(&scene.raw);
    command.stdin(Stdio::piped()).stdout(std::fs::File::create(&screen).unwrap()).stderr(Stdio::null());
    // The program gives the query a terminal; not every machine has it.
    let Ok(child) = command.spawn() else { return };
    let mut terminal = Terminal(child);
    let mut keys = terminal.0.stdin.take().unwrap();
    let mut types = |text: &str| keys.write_all(text.as_bytes()).unwrap();
    shows(&screen, "pulse> ");
    let series = "(select cast(value as bigint) as v from generate_series(1, 3000000))";
    types(&format!("select count(*) from {series} a join {series} b on a.v * 2 > b.v + 100000000;\r"));
    std::thread::sleep(Duration::from_secs(2));
    types("\x03");
    shows(&screen, "the query was stopped");
    types("select n + 41 as answer from silver.numbers where n = 1;\r");
    shows(&screen, "42");
    // Each statement of a line has its answer; one within a text is none.
    types("select 100 + n as a from silver.numbers where n = 1; select 'x;' || 'y' as b; -- both\r");
    shows(&screen, "101");
    shows(&screen, "x;y");
    types("select 7000 + n as a from silver.numbers where n = 1; quit;\r");
    shows(&screen, "7001");
    let ended = terminal.0.wait().unwrap();
    assert!(ended.success(), "{ended}: {}", std::fs::read_to_string(&screen).unwrap());
}
