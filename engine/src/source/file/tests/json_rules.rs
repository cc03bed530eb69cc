use serde_json::{Value, json};

use super::super::rows::ReadOptions;
use super::support::{bars, kept, one_column, read, read_with, rejected};

const GOOD: &str = r#"{"time":"2020-12-21 09:31:00","price":20.5,"volume":737,"note":"x"}"#;
const GOOD_ROW: &str = "2020-12-21T14:30:00Z|20.5|737|x";

fn lines() -> Value {
    json!({ "json_lines": {} })
}

fn document(records: &str, key: Option<&str>) -> Value {
    json!({ "json": { "records": records, "key": key } })
}

#[test]
fn one_object_a_line() {
    let other = r#" {"x":{"time":1},"note":"a\"b","price":"20.5","volume":"737.0","time":"2020-12-21T14:31:00Z"} "#;
    let text = format!("\u{feff}{GOOD}\r\n\n{other}\n{GOOD}");
    let expected = vec![kept(1, GOOD_ROW), kept(3, "2020-12-21T14:30:00Z|20.5|737|a\"b"), kept(4, GOOD_ROW)];
    for piece in [1, 10, usize::MAX] {
        assert_eq!(read_with(&bars(&lines()), text.as_bytes(), &ReadOptions::default(), piece), expected);
    }
    assert_eq!(read(&bars(&lines()), b""), vec![]);
}

#[test]
fn lines_that_are_not_rows() {
    for (line, reason) in [
        ("{", "not a JSON object: EOF while parsing an object at column 1"),
        ("[1]", "not a JSON object: invalid type: sequence, expected an object at column 0"),
        ("5", "not a JSON object: invalid type: integer `5`, expected an object at column 1"),
        ("{} {}", "not a JSON object: trailing characters at column 4"),
        (r#"{"Error Message":"Invalid API call"}"#, "the object has none of the declared fields"),
        (r#"{"price":1}"#, "`time` is empty"),
        (r#"{"time":5}"#, "`time` is not a timestamp: `5`"),
        (r#"{"time":"2020-12-21 09:31:00","price":true}"#, "`price` is not a number: `true`"),
        (r#"{"time":"2020-12-21 09:31:00","price":{"a":1}}"#, "`price` is not a number: `an object`"),
        (r#"{"time":"2020-12-21 09:31:00","note":[1,2]}"#, "`note` is not a text: `an array`"),
        (r#"{"time":"2020-12-21 09:31:00","note":5}"#, "`note` is not a text: `5`"),
        (r#"{"time":"2020-12-21 09:31:00","volume":1.5}"#, "`volume` is not a whole number: `1.5`"),
        (
            r#"{"time":"2020-12-21 09:31:00","volume":18446744073709551615}"#,
            "`volume` does not fit in 64 bits: `18446744073709551615`",
        ),
        (r#"{"time":"2020-12-21 09:31:00","volume":1e19}"#, "`volume` does not fit in 64 bits: `1e19`"),
        (r#"{"time":"2020-12-21 09:31:00","volume":"a lot"}"#, "`volume` is not a number: `a lot`"),
    ] {
        let text = format!("{GOOD}\n{line}\n{GOOD}\n");
        let rows = read(&bars(&lines()), text.as_bytes());
        let (found, raw) = rows[1].content.clone().unwrap_err();
        let start = reason.split(" at column 0").next().unwrap();
        assert!(found.starts_with(start), "{line}: {found}");
        assert_eq!((rows[1].line, raw.as_str()), (2, line));
        assert_eq!((&rows[0], &rows[2], rows.len()), (&kept(1, GOOD_ROW), &kept(3, GOOD_ROW), 3));
    }
}

#[test]
fn numbers_and_nulls() {
    for (data_type, value, expected) in [
        ("double", "1", Some("1.0")),
        ("double", "\"1.5\"", Some("1.5")),
        ("double", "null", Some("")),
        ("double", "\"\"", Some("")),
        ("double", "\"NaN\"", None),
        ("bigint", "737.0", Some("737")),
        ("bigint", "-9223372036854775808", Some("-9223372036854775808")),
        ("boolean", "true", Some("true")),
        ("boolean", "1", None),
        ("date", "\"2020-01-02\"", Some("2020-01-02")),
        ("string", "\"\\u00e9\"", Some("é")),
    ] {
        let rows = read(&one_column(data_type, &lines()), format!("{{\"x\":{value},\"y\":\"end\"}}").as_bytes());
        let found = rows[0].content.as_ref().ok().map(|values| values.strip_suffix("|end").unwrap());
        assert_eq!(found, expected, "{data_type} {value}");
    }
    assert_eq!(read(&one_column("double", &lines()), b"{\"y\":\"a\"}"), vec![kept(1, "|a")]);
}

#[test]
fn records_within_a_document() {
    let item = r#"{"price":20.5,"volume":"737","note":"x"}"#;
    let stamp = "2020-12-21 09:31:00";
    for (text, records, key) in [
        (format!("[{GOOD}, {GOOD}]"), "", None),
        (format!(" {{ \"a\" : {GOOD} , \"b\":{GOOD} }} "), "", None),
        (format!("{{\"meta\":{{\"x\":[1,\"]\"]}},\"a/b\":{{\"c\":[{GOOD},{GOOD}]}}}}"), "/a~1b/c", None),
        (format!("[[],{{\"c\":[{GOOD}\n,\n{GOOD}]}}]"), "/1/c", None),
        (
            format!("{{\"Series (1min)\":{{\"{stamp}\":{item},\"2020-12-21 09:31:00\":{item}}}}}"),
            "/Series (1min)",
            Some("time"),
        ),
    ] {
        for piece in [1, usize::MAX] {
            let options = ReadOptions { batch_rows: 1, ..ReadOptions::default() };
            let rows = read_with(&bars(&document(records, key)), text.as_bytes(), &options, piece);
            assert_eq!(rows, vec![kept(1, GOOD_ROW), kept(2, GOOD_ROW)], "{text}");
        }
    }
}

#[test]
fn documents_without_records() {
    let error = r#"{"Error Message": "Invalid API call."}"#;
    for (text, expected) in [
        ("", vec![]),
        (" \n ", vec![]),
        ("{\"r\":[]}", vec![]),
        ("{\"r\":{}}", vec![]),
        (error, vec![rejected(1, "the document has nothing at `/r`", error)]),
        ("{\"r\":5}", vec![rejected(1, "what stands at `/r` is neither an array nor an object", "{\"r\":5}")]),
        ("{\"r\":[\n5,", vec![rejected(2, "not JSON: EOF while parsing a value at line 2 column 2", "{\"r\":[\n5,")]),
    ] {
        assert_eq!(read(&bars(&document("/r", None)), text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn wrong_records_cost_themselves() {
    let text = format!("[{GOOD},5,{{\"time\":\"x\"}},{GOOD}]");
    let rows = read(&bars(&document("", None)), text.as_bytes());
    let reason = "`time` is not a timestamp (YYYY-MM-DD HH:MM:SS): `x`";
    assert_eq!(rows[1].content.as_ref().unwrap_err().1, "5");
    assert_eq!(rows[2], rejected(3, reason, "{\"time\":\"x\"}"));
    assert_eq!((&rows[0], &rows[3], rows.len()), (&kept(1, GOOD_ROW), &kept(4, GOOD_ROW), 4));
}

#[test]
fn a_document_beyond_the_limit_is_not_held() {
    let text = format!("[{GOOD}]");
    let options = ReadOptions { max_object_bytes: text.len() - 1, max_raw_bytes: 3, ..ReadOptions::default() };
    let reason = format!("the document is larger than {} bytes: raise `max_object_mib`", text.len() - 1);
    let source = bars(&document("", None));
    for piece in [10, usize::MAX] {
        let rows = read_with(&source, text.as_bytes(), &options, piece);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].content.as_ref().unwrap_err().0, reason);
    }
    let options = ReadOptions { max_object_bytes: text.len(), ..ReadOptions::default() };
    assert_eq!(read_with(&source, text.as_bytes(), &options, 10), vec![kept(1, GOOD_ROW)]);
}
