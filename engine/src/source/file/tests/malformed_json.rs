//! JSON that is not what it should be: no byte of it is lost, nothing panics, and how the bytes arrive changes nothing.

use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::rows::ReadOptions;
use super::support::{Row, read, read_with};

/// Texts that are not JSON, or not the records that are declared, or barely are.
fn corpus() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "\n",
        "\r\n",
        "\n\n\n",
        "{",
        "}",
        "[",
        "]",
        "{}",
        "[]",
        "{}{}",
        "[][]",
        "{]",
        "[}",
        "{{}}",
        "[[]]",
        "null",
        "true",
        "nul",
        "0",
        "-",
        "01",
        "1e",
        "1.",
        "+1",
        "NaN",
        "Infinity",
        "\"",
        "\"x\"",
        "\"x",
        "'x'",
        "{\"s\"}",
        "{\"s\":}",
        "{\"s\":1",
        "{\"s\":1,",
        "{\"s\":1,}",
        "{,}",
        "{\"s\" 1}",
        "{s:1}",
        "{\"s\":'x'}",
        "{\"s\":1}}",
        "{\"s\":1}]",
        "[{\"s\":1}",
        "[{\"s\":1},]",
        "[{\"s\":1},,{}]",
        "{\"s\":\"a}",
        "{\"s\":\"a\nb\"}",
        "{\"s\":\"\t\"}",
        "{\"s\":\"\\x\"}",
        "{\"s\":\"\\u12\"}",
        "{\"s\":\"\\ud800\"}",
        "{\"s\":\"\\udc00\\ud800\"}",
        "{\"\\ud800\":1,\"s\":\"a\"}",
        "{\"s\":\"\\u0000\"}",
        "{\"s\":\"\u{0}\"}",
        "\u{0}",
        "\u{0}{\"s\":\"a\"}",
        "\u{feff}",
        "\u{feff}{\"s\":\"a\"}",
        "{\"s\":\"a\"}\u{feff}{\"s\":\"b\"}",
        "\u{feff}\u{feff}{}",
        "{\"s\":\"a\"} x",
        "x {\"s\":\"a\"}",
        "{\"s\":\"a\",\"s\":\"b\"}",
        "{\"s\":1e400}",
        "{\"s\":-1e400}",
        "{\"s\":123456789012345678901234567890}",
        "{\"s\":0.1e-99999}",
        "{\"s\":[1,2}",
        "{\"s\":{\"s\":\"b\"}",
        "{\"s\":{\"s\":\"b\"}}",
        "// c\n{\"s\":\"a\"}",
        "{\"s\":\"a\"}//",
        "/* c */",
        "{\"s\":\"a\"},{\"s\":\"b\"}",
        "{\"s\":\"a\"}\n{\"s\":\n{\"s\":\"c\"}",
        "{\"s\":\"}{\"}{\"s\":\"b\"}",
        "{\"s\":\"a\" {\"s\":\"b\"}{\"s\":\"c\"}",
        "\u{2028}{}\u{2029}",
        "{\"S\":\"a\"}",
        "{\"s\":undefined}",
        "{\"s\":True}",
        "<html><body>503</body></html>",
        "s\na\nb\n",
        "{\"s\":\"a\"}\r{\"s\":\"b\"}",
        "\u{1e}{\"s\":\"a\"}\n",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    for bytes in [
        b"{\"s\":\"\xff\"}".as_slice(),
        b"\xff\xfe{\0}\0",
        b"{\"\xc3\":1}",
        b"\xef\xbb",
        b"\x80",
        b"{\"x\":\"\xed\xa0\x80\",\"s\":\"a\"}",
    ] {
        all.push(bytes.to_vec());
    }
    for deep in [100, 200, 10_000] {
        all.push("[".repeat(deep).into_bytes());
        all.push("{\"s\":".repeat(deep).into_bytes());
        all.push(format!("{}{}", "[".repeat(deep), "]".repeat(deep)).into_bytes());
        all.push(format!("{{\"s\":{}1{}}}", "[".repeat(deep), "]".repeat(deep)).into_bytes());
        all.push(format!("{{\"x\":{}1{},\"s\":\"a\"}}", "{\"s\":".repeat(deep), "}".repeat(deep)).into_bytes());
    }
    all.push(format!("{{\"s\":\"{}\"}}", "x".repeat(100_000)).into_bytes());
    all.push(format!("{{\"s\":1{}}}", "0".repeat(10_000)).into_bytes());
    all
}

fn source(format: &Value) -> FileSource {
    let feed = json!({ "path": "bars/{symbol}", "format": format, "rename": { "s": "/s", "raw": "" } });
    let columns = json!([{ "name": "s", "type": "string" }, { "name": "raw", "type": "string" }]);
    serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
}

/// The text of each row, kept or rejected.
fn texts(rows: &[Row]) -> Vec<String> {
    let text = |row: &Row| match &row.content {
        Ok(values) => values.split_once("|").unwrap().1.to_owned(),
        Err((_, raw)) => raw.clone(),
    };
    rows.iter().map(text).collect()
}

/// What is not white space between records.
fn solid(text: &str) -> String {
    text.chars().filter(|character| !matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{1e}')).collect()
}

/// The text as the mark in front of it says.
fn without_bom(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => without_bom_utf8(bytes),
    }
}

fn without_bom_utf8(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// The rows, which are the same in pieces.
fn rows_of(source: &FileSource, bytes: &[u8]) -> Vec<Row> {
    let options = |batch_rows| ReadOptions { batch_rows, max_raw_bytes: 1 << 20, ..ReadOptions::default() };
    let whole = read_with(source, bytes, &options(8192), usize::MAX);
    let pieces: &[usize] = if bytes.len() < 1000 { &[1, 2, 3, 7] } else { &[1009] };
    for piece in pieces {
        assert_eq!(
            read_with(source, bytes, &options(2), *piece),
            whole,
            "in pieces of {piece}: {:?}",
            without_bom(bytes)
        );
    }
    whole
}

fn is_blank(line: &str) -> bool {
    line.strip_suffix('\r').unwrap_or(line).chars().all(|character| character == ' ')
}

#[test]
fn every_line_is_a_row() {
    assert!(corpus().len() >= 100);
    let source = source(&json!({ "json_lines": {} }));
    for bytes in corpus() {
        let text = without_bom(&bytes);
        let lines: Vec<String> =
            text.split('\n').filter(|line| !is_blank(line)).map(|line| line.trim_ascii().to_owned()).collect();
        let found: Vec<String> =
            texts(&rows_of(&source, &bytes)).iter().map(|text| text.trim_ascii().to_owned()).collect();
        assert_eq!(found, lines, "{text:?}");
    }
}

#[test]
fn joined_records_lose_no_byte() {
    let source = source(&json!({ "json_lines": { "joined": true } }));
    for bytes in corpus() {
        let text = without_bom(&bytes);
        let found = texts(&rows_of(&source, &bytes)).concat();
        assert_eq!(solid(&found), solid(&text), "{text:?}");
    }
}

#[test]
fn a_document_is_records_or_one_rejected_row() {
    let rows_source = source(&json!({ "json": {} }));
    let columns: FileSource = {
        let feed = json!({ "path": "bars/{symbol}", "format": { "json": { "layout": "columns" } } });
        let columns = json!([{ "name": "s", "type": "string" }]);
        serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
    };
    for bytes in corpus() {
        let text = without_bom(&bytes);
        let rows = rows_of(&rows_source, &bytes);
        let by_columns = rows_of(&columns, &bytes);
        if text.trim_ascii().is_empty() {
            assert!(rows.is_empty() && by_columns.is_empty());
            continue;
        }
        let items = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| serde_json::from_str::<Vec<&RawValue>>(text.trim_start_matches('\u{feff}')).ok());
        match items {
            Some(items) => {
                let items: Vec<String> = items.iter().map(|item| item.get().to_owned()).collect();
                assert_eq!(texts(&rows), items, "{text:?}");
            }
            None if serde_json::from_str::<IgnoredAny>(&text).is_ok() && text.trim_ascii().starts_with('{') => {}
            None => {
                let held = texts(&rows).concat();
                assert!(held == text || text.contains(&held), "{text:?}: {rows:?}");
                assert!(rows.iter().any(|row| row.content.is_err()), "{text:?}: {rows:?}");
            }
        }
        assert!(by_columns.iter().all(|row| row.line >= 1));
    }
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(b"{\"s\":\"a\"}".to_vec()),
        2 => Just(b"{\"s\":\"b\",\"x\":{\"y\":[1,{\"s\":\"no\"}]}}".to_vec()),
        1 => Just(b"[1,2]".to_vec()),
        1 => Just(b"\n".to_vec()),
        3 => prop::collection::vec(prop::sample::select(b"{}[]\":,\\ \n\r1-.e+tfnsu0\x1e\xef\xbb\xbf\xff".to_vec()), 0..6),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn joined_noise_loses_no_byte(bytes in noise()) {
        let source = source(&json!({ "json_lines": { "joined": true } }));
        let found = texts(&read(&source, &bytes)).concat();
        // Half a character at a border between rows is shown as another.
        if std::str::from_utf8(&bytes).is_ok() {
            prop_assert_eq!(solid(&found), solid(&without_bom(&bytes)));
        }
    }

    #[test]
    fn how_joined_bytes_arrive_changes_nothing(bytes in noise(), piece in 1_usize..40, batch_rows in 1_usize..6, max_line_bytes in 5_usize..60) {
        let options = |batch_rows| ReadOptions { batch_rows, max_line_bytes, ..ReadOptions::default() };
        for format in [json!({ "json_lines": { "joined": true } }), json!({ "json_lines": {} }), json!({ "json": {} })] {
            let source = source(&format);
            let whole = read_with(&source, &bytes, &options(8192), usize::MAX);
            prop_assert_eq!(&whole, &read_with(&source, &bytes, &options(batch_rows), piece));
            prop_assert!(whole.is_sorted_by(|a, b| a.line < b.line));
        }
    }

    #[test]
    fn whole_records_survive_what_stands_before(bytes in noise()) {
        let source = source(&json!({ "json_lines": { "joined": true } }));
        let text = [bytes.as_slice(), b"\n}\n{\"s\":\"x\"}{\"s\":\"last\"}"].concat();
        let rows = read(&source, &text);
        prop_assert_eq!(rows.last().map(|row| row.content.clone()), Some(Ok("last|{\"s\":\"last\"}".to_owned())));
    }
}
