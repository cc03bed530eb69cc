//! The examples of docs/guide/describe-your-files.md, run as they stand there: every block, every option that its text shows, and every
//! option of `sources.toml` that the reference has. `daily` is another guide.

mod daily;
mod examples;

use std::fs;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;

use crate::support::{Scene, workspace};
use examples::{ELSEWHERE, EXAMPLES, Example, SUPPLEMENT};

const FILE_JOB: &str = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

fn guide() -> String {
    read("docs/guide/describe-your-files.md")
}

/// Blocks of code with their language; those that are set off by four blanks have none.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut open = None;
    let mut is_set_off = false;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```"), line.strip_prefix("    ")) {
            (None, Some(language), _) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_), _) => blocks.extend(open.take()),
            (Some((_, block)), None, _) => *block += &format!("{line}\n"),
            (None, None, Some(code)) if is_set_off => blocks.last_mut().unwrap().1 += &format!("{code}\n"),
            (None, None, Some(code)) => blocks.push((String::new(), format!("{code}\n"))),
            (None, None, None) => {}
        }
        is_set_off = open.is_none() && line.starts_with("    ");
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Code within the text that sets an option.
fn settings(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block && !line.starts_with("    ") {
            let spans = line.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|"));
            found.extend(spans.filter(|span| span.contains(" = ")));
        }
    }
    found
}

/// Contracts of the guide and of the examples: one `sources.toml`.
fn contracts() -> String {
    let is_contract = |(language, block): &(String, String)| {
        language == "toml" && block.lines().any(|line| line.starts_with("[files.") || line.starts_with("[tables."))
    };
    let mut text: String = blocks(&guide()).into_iter().filter(is_contract).map(|(_, block)| block).collect();
    text += SUPPLEMENT;
    text += ELSEWHERE;
    for Example { name, columns, feed, .. } in EXAMPLES.iter().filter(|example| !example.columns.is_empty()) {
        let path = if feed.starts_with("path") { "" } else { "path = \"*\"\n" };
        text += &format!("[files.{name}]\nroot = \"$raw/{name}\"\n{columns}\n[files.{name}.feed.all]\n{path}{feed}\n");
    }
    text
}

/// Files of jobs in the guide: their path and their text. A comment says where a file begins.
fn job_files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for (language, block) in blocks(&guide()) {
        let mark = match language.as_str() {
            "toml" => "# ",
            "sql" => "-- ",
            _ => continue,
        };
        let mut is_open = false;
        for line in block.lines() {
            match line.strip_prefix(mark).filter(|path| path.contains('/') && !path.contains(' ')) {
                Some(path) => {
                    let path = if path.ends_with(".toml") || path.ends_with(".sql") {
                        path.to_owned()
                    } else {
                        format!("{path}/query.sql")
                    };
                    files.push((path, String::new()));
                    is_open = true;
                }
                None if is_open => files.last_mut().unwrap().1 += &format!("{line}\n"),
                None => assert!(language != "sql", "a query without a path: {block}"),
            }
        }
    }
    files
}

fn write_jobs(scene: &Scene) {
    let files = job_files();
    for (path, text) in &files {
        let folder = scene.project.join(path).parent().unwrap().to_owned();
        fs::create_dir_all(&folder).unwrap();
        fs::write(scene.project.join(path), text).unwrap();
        let manifest = folder.join("job.toml");
        if !manifest.exists() {
            let usual =
                if path.starts_with("bronze/") { FILE_JOB } else { "grain = [\"id\", \"leg\"]\n[sink.overwrite]\n" };
            fs::write(manifest, usual).unwrap();
        }
    }
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    for path in
        ["bronze/trades/job.toml", "bronze/trades/query.sql", "silver/trades/query.sql", "silver/legs/query.sql"]
    {
        assert!(paths.contains(&path), "{path} is not in the guide: {paths:?}");
    }
}

/// With one blank between words: names stand below each other, and lines break where a terminal ends.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All values of a row as one text.
fn query(Example { name, values, .. }: &Example) -> String {
    let cells: Vec<String> = values.iter().map(|value| format!("coalesce(cast({value} as varchar), '')")).collect();
    format!("select concat_ws('|', {}) as v, source_file, line from raw.{name}", cells.join(", "))
}

fn cell(text: &str) -> String {
    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[test]
fn every_example_reads_what_it_says() {
    let mut scene = Scene::empty();
    scene.sources(&contracts());
    let is_of_guide = |example: &Example| example.columns.is_empty();
    for example in EXAMPLES {
        scene.job(&format!("rows.{}", example.name), FILE_JOB, &query(example));
        for (path, content) in example.files {
            let folder = if is_of_guide(example) { String::new() } else { format!("{}/", example.name) };
            scene.put(&format!("{folder}{path}"), content);
        }
    }
    other_input(&scene);
    write_jobs(&scene);
    let said = words(&scene.run_all().stderr);
    for (_, block) in blocks(&guide()).into_iter().filter(|(language, _)| language == "text") {
        block.lines().for_each(|line| assert!(said.contains(&words(line)), "the run does not say `{line}`: {said}"));
    }

    let unions = EXAMPLES.iter().map(|Example { name, .. }| format!("select '{name}' as n, line, v from rows.{name}"));
    let found = scene.rows(&format!("({})", unions.collect::<Vec<_>>().join(" union all ")));
    let mut expected: Vec<String> = EXAMPLES
        .iter()
        .flat_map(|example| {
            example.rows.iter().map(|(line, values)| format!("{},{line},{}", example.name, cell(values)))
        })
        .collect();
    expected.sort();
    assert_eq!(found, expected);
    for example in EXAMPLES.iter().filter(|example| !example.rejects.is_empty()) {
        let found = scene.rows(&format!("(select line, _reason from rows.{}__quarantine)", example.name));
        let is_expected = |(found, expected): (&String, &&str)| match expected.strip_suffix('@') {
            Some(line) => found.starts_with(line),
            None => found == expected,
        };
        let is_same = found.len() == example.rejects.len() && found.iter().zip(example.rejects).all(is_expected);
        assert!(is_same, "{}: expected {:?}, found {found:?}", example.name, example.rejects);
    }

    assert_eq!(scene.count("bronze.trades"), 2);
    assert_eq!(scene.rows("(select * from silver.trades)"), ["1,A,10.5", "2,B,"]);
    assert_eq!(scene.rows("(select id, first from bronze.ev)"), ["1,1.50", "2,"]);
    assert_eq!(scene.rows("(select id, px from silver.legs)"), ["1,1.50", "1,2"]);
    assert_eq!(scene.rows("(select k, px, _rescued from bronze.ticks)"), ["1,,\"{\"\"venue\"\":\"\"X\"\"}\"", "2,,"]);
    assert_eq!(scene.rows("(select x, d, s from bronze.hive)"), ["1,2024-01-01,a/b", "2,,\u{fc} c"]);
    // By fastavro: the twelfth value of each row.
    let codes: Vec<String> = read("engine/src/source/file/tests/data/trades.txt")
        .lines()
        .map(|line| line.split('|').collect::<Vec<_>>())
        .map(|values| format!("{},{}", values[0], values[11]))
        .collect();
    assert_eq!(scene.rows("(select id, code from rows.avro)"), codes);
}

/// Input that is no text.
fn other_input(scene: &Scene) {
    let avro = workspace().join("engine/src/source/file/tests/data/trades_null.avro");
    scene.put("avro/trades.avro", fs::read(avro).unwrap());
    scene.job("rows.avro", FILE_JOB, "select id, code, source_file, line from raw.avro");
    scene.put("a.jsonl", "{\"k\":1,\"venue\":\"X\"}\n{\"k\":2}\n");
    scene.put("ev/a.json", "{\"id\":1,\"legs\":[{\"px\":1.50},{\"px\":2}]}\n{\"id\":2,\"legs\":[]}\n");
    scene.put("hive/d=2024-01-01/s=a%2Fb/part-0.parquet", parquet(1));
    scene.put("hive/d=__HIVE_DEFAULT_PARTITION__/s=%C3%BC%20c/part-0.parquet", parquet(2));
    let mut theirs = Scene::empty();
    theirs.sources(
        "[files.t]\nroot = \"$raw\"\ncolumns = [{ name = \"id\", type = \"bigint\" }, { name = \"symbol\", type = \"string\" }, \
         { name = \"price\", type = \"double\" }]\n[files.t.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n",
    );
    theirs.put("a.csv", "id,symbol,price\n1,A,10.5\n2,B,\n");
    let manifest = "grain = [\"id\"]\n[sink.overwrite]\n";
    theirs.job("gold.trades", manifest, "select id, symbol, price from raw.t");
    theirs.run_all();
    crate::support::copy_folder(&theirs.lake.join("gold/trades"), &scene.raw.join("trades"));
}

fn parquet(x: i64) -> Vec<u8> {
    let rows = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![x])) as _)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn every_block_and_every_option_of_the_guide_is_run() {
    let run = contracts();
    for (language, block) in blocks(&guide()) {
        match language.as_str() {
            "toml" | "sql" | "sh" | "text" => {}
            "" => assert!(run.contains(block.trim_end()), "is run by no test:\n{block}"),
            other => panic!("no test runs blocks of {other}:\n{block}"),
        }
    }
    for setting in settings(&guide()) {
        let setting = setting.trim_start_matches("{ ").trim_end_matches(" }");
        assert!(run.contains(setting), "no example of cli/tests/it/guide/examples.rs has `{setting}`");
    }
}

/// Options of `sources.toml` as the reference has them.
fn options() -> Vec<String> {
    let reference = read("docs/reference/manifest.md");
    let part = reference.split("\n## ").find(|part| part.starts_with("sources.toml")).unwrap();
    let mut options = Vec::new();
    let mut are_keys = false;
    for line in part.lines() {
        if line.starts_with("| key ") || line.starts_with("| value ") || line.starts_with("| table ") {
            are_keys = line.starts_with("| key ");
        }
        if let Some(rest) = line.strip_prefix("| `").filter(|_| are_keys) {
            options.push(rest.split('`').next().unwrap().to_owned());
        }
    }
    options
}

#[test]
fn every_option_of_the_reference_has_an_example_that_runs() {
    let (options, run) = (options(), contracts());
    assert!(options.len() > 40 && options.contains(&"outer".to_owned()), "{options:?}");
    for option in &options {
        // Some are written as tables of their own.
        let has_table = run.lines().any(|line| line.starts_with('[') && line.contains(&**option));
        assert!(has_table || run.contains(&format!("{option} = ")), "no example of the guide has `{option}`");
    }
}

#[test]
fn the_first_commands_of_the_guide_run() {
    let mut scene = Scene::empty();
    scene.sources(&contracts());
    scene.put("trades.csv", "id,px,at\n1,1.50,2024-01-02 10:00:00\n2,NA,2024-01-03 10:00:00\n");
    scene.put("vendor/AAA.csv", EXAMPLES[0].files[0].1);
    let (_, block) = blocks(&guide()).into_iter().find(|(language, _)| language == "sh").unwrap();
    let commands: Vec<Vec<&str>> =
        block.lines().map(|line| line.split('#').next().unwrap().split_whitespace().skip(1).collect()).collect();
    assert_eq!(commands.len(), 3, "{block}");
    let infer = scene.pulse(&commands[0]).ok().stdout;
    for text in ["[files.trades]", "name = \"id\", type = \"bigint\"", "nulls = [\"\", \"NA\"]"] {
        assert!(infer.contains(text), "{text} is not in {infer}");
    }
    let rows = scene.pulse(&commands[1]).ok().stdout;
    assert!(rows.contains("1234.5000") && !rows.contains("1.00;1"), "{rows}");
    let rejects = scene.pulse(&commands[2]).ok().stdout;
    assert!(rejects.contains("3;1.00;1") && !rejects.contains("1234.5000"), "{rejects}");
}
