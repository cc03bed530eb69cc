//! Mutations of the corpus, of its contracts and of both: nothing panics, and how bytes arrive changes nothing. `PULSE_TEST_FUZZ_S` says
//! for how many seconds each kind is tried, `PULSE_TEST_SEED` repeats a failure.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulse_core::project::Project;
use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::compression::Compression;
use super::super::infer;
use super::super::rows::ReadOptions;
use super::corpus::{Case, Corpus, corpus, source};
use super::support::batches;
use crate::fuzz::{Random, fuzz, mutated};

fn read(
    source: &FileSource,
    bytes: &[u8],
    compression: Compression,
    options: &ReadOptions,
    piece: usize,
) -> RecordBatch {
    let batches = batches(source, bytes, compression, options, piece);
    match batches.first() {
        Some(first) => concat_batches(&first.schema(), &batches).unwrap(),
        None => RecordBatch::new_empty(arrow::datatypes::Schema::empty().into()),
    }
}

fn read_both_ways(random: &mut Random, source: &FileSource, bytes: &[u8], compression: Compression) {
    let max_line_bytes = *random.of(&[16 << 20, 16 << 20, 60]);
    let options = |batch_rows| ReadOptions { batch_rows, max_line_bytes, ..ReadOptions::default() };
    let whole = read(source, bytes, compression, &options(8192), usize::MAX);
    let pieces = read(source, bytes, compression, &options(1 + random.below(5)), 1 + random.below(50));
    assert_eq!(pieces, whole);
}

const WORDS: &[&str] = &[
    "\"",
    "\"\"",
    "'",
    ",",
    ";",
    "||",
    "\n",
    "\r\n",
    "\r",
    "\\",
    "\\\"",
    "#",
    " ",
    "\t",
    "\0",
    "\u{feff}",
    "{",
    "}",
    "[",
    "]",
    ":",
    "null",
    "true",
    "NaN",
    "-0",
    "1e400",
    "0.1",
    "9223372036854775808",
    "\\ud800",
    "\\u0000",
    "\u{e9}",
    "\u{1f600}",
    "{\"id\":1}",
    "{\"id\":1,\"s\":\"a\"}",
    "\"id\"",
    "\"s\"",
    "/*",
    "a,b,c\n",
    "2024-02-30",
    "\u{1e}",
];

/// Files of these contracts, read by their own and by another one.
fn fuzz_files(kind: &str, is_of_kind: fn(&str) -> bool) {
    let Corpus { contracts, cases } = corpus();
    let cases: Vec<(Case, Vec<u8>)> = cases
        .into_iter()
        .filter(|case| is_of_kind(&case.contract))
        .map(|case| (STANDARD.decode(&case.bytes).unwrap(), case))
        .map(|(bytes, case)| (case, bytes))
        .collect();
    let sources: Vec<(&String, FileSource)> = contracts
        .iter()
        .filter(|(name, _)| is_of_kind(name))
        .map(|(name, contract)| (name, source(contract)))
        .collect();
    fuzz(kind, |random, tried| {
        let ((case, bytes), (_, other)) = (random.of(&cases), random.of(&cases));
        let bytes = mutated(random, bytes, other, WORDS);
        let (name, source) = random.of(&sources);
        *tried = format!("{name} {} {}", case.ending, STANDARD.encode(&bytes));
        read_both_ways(random, source, &bytes, Compression::of(&format!("a{}", case.ending)));
        if random.below(8) == 0 {
            let ending = random.of(&[".csv", ".json", ".avro", ".txt"]);
            let _ = infer(&format!("a{ending}"), &bytes, true);
        }
    });
}

fn is_json(contract: &str) -> bool {
    ["json lines", "joined", "document", "results", "columns", "items"].contains(&contract)
}

#[test]
fn csv_and_fixed_width() {
    fuzz_files("csv", |contract| !is_json(contract) && contract != "avro" && contract != "parquet");
}

#[test]
fn json() {
    fuzz_files("json", is_json);
}

#[test]
fn avro() {
    fuzz_files("avro", |contract| contract == "avro");
}

const KEYS: &[&str] = &[
    "header = false\n",
    "match = \"position\"\n",
    "ragged = \"null\"\n",
    "encoding = \"utf-16\"\n",
    "encoding = \"latin-1\"\n",
    "quote = \"\"\n",
    "quote = \"'\"\n",
    "escape = \"\\\\\"\n",
    "delimiter = \"\"\n",
    "delimiter = \"\\t\"\n",
    "comment = \"#\"\n",
    "skip_lines = 1\n",
    "fields = [\"x\", \"y\", \"z\"]\n",
    "fields = [\"id\", \"s\"]\n",
    "joined = true\n",
    "records = \"/a\"\n",
    "key = \"s\"\n",
    "layout = \"columns\"\n",
    "nulls = [\"NA\"]\n",
    "decimal = \",\"\n",
    "thousands = \".\"\n",
    "ambiguous = \"earlier\"\n",
    "round = true\n",
    "required = true\n",
    "type = \"struct<a:array<int>>\"\n",
    "type = \"map<string,decimal(9,2)>\"\n",
    "type = \"json\"\n",
    "type = \"timestamp\"\n",
    "type = \"decimal(38,38)\"\n",
    "type = \"binary\"\n",
    "type = \"date\"\n",
    "rename = { s = \"/a/0\" }\n",
    "rename = { s = \"\" }\n",
    "rename = { x = \"0\" }\n",
    "pattern = { x = \"yyyyMMdd\" }\n",
    "pattern = { x = \"epoch_ns\" }\n",
    "outer = { s = \"/s\" }\n",
    "start = 1\n",
    "width = 0\n",
    "width = 4294967295\n",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "=",
    ",",
    "\n",
    "<",
    ">",
    "(",
    ")",
];

/// A contract as the text of `sources.toml`.
fn text_of(contract: &Value) -> String {
    let mut feed = contract["feed"].clone();
    feed["path"] = json!("bars/{symbol}");
    let source = json!({ "root": "raw", "columns": contract["columns"], "feed": { "bars": feed } });
    toml::to_string(&json!({ "files": { "t": source } })).unwrap()
}

/// Keys are put between lines mostly, where they may mean something.
fn mutated_contract(random: &mut Random, text: &str, other: &str) -> String {
    if random.below(3) == 0 {
        let bytes = mutated(random, text.as_bytes(), other.as_bytes(), KEYS);
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    for _ in 0..=random.below(3) {
        let at = random.below(lines.len() + 1);
        match random.below(3) {
            0 if at < lines.len() => {
                lines.remove(at);
            }
            1 if at < lines.len() && lines[at].contains(" = ") => lines[at] = *random.of(KEYS),
            _ => lines.insert(at, *random.of(KEYS)),
        }
    }
    lines.concat()
}

/// A contract that `pulse check` accepts reads any file; one that it refuses is refused by a message.
#[test]
fn contracts() {
    let Corpus { contracts, cases } = corpus();
    let texts: Vec<String> = contracts.values().map(text_of).collect();
    let files: Vec<(Case, Vec<u8>)> = cases
        .into_iter()
        .map(|case| (STANDARD.decode(&case.bytes).unwrap(), case))
        .map(|(bytes, case)| (case, bytes))
        .collect();
    let mut accepted = 0;
    fuzz("contracts", |random, tried| {
        let (text, other) = (random.of(&texts), random.of(&texts));
        let text = mutated_contract(random, text, other);
        tried.clone_from(&text);
        let project = "name = \"t\"\n[defaults]\nowner = \"t\"\n".to_owned();
        let parsed = Project::parse(&[("project.toml".into(), project), ("sources.toml".into(), text)].into());
        if let Err(error) = &parsed {
            assert!(!error.to_string().is_empty());
        }
        for source in parsed.iter().flat_map(|project| project.sources.files.values()) {
            let Some(feed) = source.feed.get("bars") else { continue };
            if feed.path_columns() != Ok(vec!["symbol"]) || feed.format.key() == "parquet" {
                continue;
            }
            accepted += 1;
            let (_, bytes) = random.of(&files);
            *tried += &format!("\n{}", STANDARD.encode(bytes));
            read_both_ways(random, source, bytes, Compression::None);
        }
    });
    assert!(accepted > 10, "{accepted} contracts were accepted");
}
