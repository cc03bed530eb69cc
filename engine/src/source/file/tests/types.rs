//! Every type from the text of every format: what is held exactly is kept, the rest is rejected by name.

use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::rows::ReadOptions;
use super::support::{Row, csv, read, read_with};

/// A source of one column `x` with more keys of the column and of the feed.
pub(super) fn source(column: &Value, feed: &Value, format: &Value) -> FileSource {
    let merged = |mut one: Value, other: &Value| {
        let (Some(into), Some(from)) = (one.as_object_mut(), other.as_object()) else { panic!("{one} {other}") };
        into.extend(from.clone());
        one
    };
    let column = merged(json!({ "name": "x" }), column);
    let feed = merged(json!({ "path": "bars/{symbol}", "format": format }), feed);
    let columns = json!([column, { "name": "y", "type": "string" }]);
    serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
}

fn only(rows: &[Row]) -> Result<String, String> {
    let [row] = rows else { panic!("{rows:?}") };
    let value = row.content.clone().map_err(|(reason, _)| reason)?;
    Ok(value.strip_suffix('|').unwrap_or(&value).to_owned())
}

/// What a field of CSV, in quotes, is read as.
fn from_csv(column: &Value, feed: &Value, text: &str) -> Result<String, String> {
    let quoted = text.replace('"', "\"\"");
    only(&read(&source(column, feed, &csv()), format!("x,y\n\"{quoted}\",\n").as_bytes()))
}

/// What a field of CSV without quotes is read as.
fn from_plain_csv(column: &Value, feed: &Value, text: &str) -> Result<String, String> {
    only(&read(&source(column, feed, &csv()), format!("x,y\n{text},\n").as_bytes()))
}

/// What a value of JSON is read as.
fn from_json(column: &Value, feed: &Value, raw: &str) -> Result<String, String> {
    let lines = json!({ "json_lines": {} });
    only(&read(&source(column, feed, &lines), format!("{{\"x\":{raw}}}\n").as_bytes()))
}

fn check(found: Result<String, String>, expected: &str, what: &str) {
    match (found, expected.strip_prefix('!')) {
        (Ok(found), None) => assert_eq!(found, expected, "{what}"),
        (Err(reason), Some(says)) => assert!(reason.contains(says), "{what}: {reason}"),
        (found, _) => panic!("{what}: {found:?} instead of {expected}"),
    }
}

#[test]
fn every_type_holds_its_values_and_no_others() {
    for (data_type, text, expected) in [
        ("tinyint", "-128", "-128"),
        ("tinyint", "128", "!`x` does not fit in 8 bits: `128`"),
        ("tinyint", "1.5", "!not a whole number"),
        ("smallint", "32767.0", "32767"),
        ("smallint", "-32769", "!16 bits"),
        ("int", "2147483647", "2147483647"),
        ("int", "2147483648", "!32 bits"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("bigint", "9223372036854775808", "!64 bits"),
        ("float", "0.1", "0.1"),
        ("float", "16777217", "!between two values of float: `16777217`: declare a `decimal`, or `round = true`"),
        ("float", "1e39", "!not a finite number"),
        ("double", "0.1", "0.1"),
        ("double", "-0.0", "-0.0"),
        ("double", "9007199254740993", "!between two values of double"),
        ("double", "1e400", "!not a finite number"),
        ("double", "NaN", "!not a finite number"),
        ("double", "inf", "!not a finite number"),
        ("decimal(10,2)", "12345678.90", "12345678.90"),
        ("decimal(10,2)", "-0.00", "0.00"),
        ("decimal(10,2)", "1.5e1", "15.00"),
        ("decimal(10,2)", "123456789.00", "!does not fit in decimal(10,2): `123456789.00`"),
        ("decimal(10,2)", "0.125", "!has more digits than decimal(10,2): `0.125`: declare more, or `round = true`"),
        ("decimal(10,2)", "abc", "!not a number"),
        ("decimal(10,2)", "1,000", "!not a number"),
        ("decimal(38,38)", "0.99999999999999999999999999999999999999", "0.99999999999999999999999999999999999999"),
        ("decimal(38,0)", "-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"),
        ("decimal(38,0)", "100000000000000000000000000000000000000", "!does not fit"),
        ("binary", "aGVsbG8=", "68656c6c6f"),
        ("binary", "aGVsbG8", "!is not base64"),
        ("binary", "aGVsbG9=", "!is not base64"),
        ("boolean", "Yes", "true"),
        ("boolean", "2", "!not true or false"),
        ("date", "2020-02-29", "2020-02-29"),
        ("date", "2021-02-29", "!not a date"),
        ("timestamp", "2020-10-26 04:01:02.123456", "2020-10-26T04:01:02.123456Z"),
        ("timestamp", "2020-10-26 04:01:02.1234567", "!finer than a microsecond"),
        ("timestamp", "2020-10-26 04:01:02.1234560", "2020-10-26T04:01:02.123456Z"),
        ("timestamp_ntz", "2020-10-26 04:01:02.5", "2020-10-26T04:01:02.500"),
        ("timestamp_ntz", "2020-10-26T04:01:02Z", "!not a timestamp"),
        ("json", r#"{"a": [1, 2.50]}"#, r#"{"a": [1, 2.50]}"#),
        ("json", "{", "!is not JSON"),
        ("array<int>", "[1, null, 3]", "[1, , 3]"),
        ("array<int>", "[1, 2", "!is not JSON"),
    ] {
        let column = json!({ "type": data_type });
        check(from_csv(&column, &json!({}), text), expected, &format!("{data_type} {text}"));
        // A field without quotes takes other ways through the reader.
        if !text.contains([',', '"']) {
            check(from_plain_csv(&column, &json!({}), text), expected, &format!("{data_type} {text}"));
        }
        if !text.contains('"') && !data_type.starts_with("array") && data_type != "json" {
            check(
                from_json(&column, &json!({}), &format!("\"{text}\"")),
                expected,
                &format!("json {data_type} {text}"),
            );
        }
    }
}

#[test]
fn values_of_json_keep_their_digits() {
    for (data_type, raw, expected) in [
        ("bigint", "9007199254740993", "9007199254740993"),
        ("bigint", "1.5e3", "1500"),
        ("bigint", "18446744073709551615", "!64 bits"),
        ("bigint", "true", "!not a whole number"),
        ("double", "9007199254740993", "!between two values of double"),
        ("double", "18446744073709551615", "!between two values of double"),
        ("double", "9007199254740992", "9007199254740992.0"),
        ("double", "-0.0", "-0.0"),
        ("double", "-0", "-0.0"),
        ("double", "1e999", "!not a finite number"),
        ("decimal(38,18)", "0.123456789012345678", "0.123456789012345678"),
        ("decimal(38,18)", "12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ("decimal(10,2)", "12.30", "12.30"),
        ("decimal(10,2)", "\"12.3\"", "12.30"),
        ("string", "12", "!is not a text"),
        ("string", r#""a\u00e9\n""#, "aé\n"),
        ("string", r#""\ud800""#, "!no text has"),
        ("json", "12.50", "12.50"),
        ("json", r#""a\u00e9""#, r#""a\u00e9""#),
        ("json", r#"{"b":1, "a":[1.0]}"#, r#"{"b":1, "a":[1.0]}"#),
        ("json", "null", ""),
        ("binary", r#""AAEC""#, "000102"),
        ("binary", "12", "!is not bytes"),
        ("timestamp", "1606500000", "!is not a timestamp"),
        ("date", "20201026", "!is not a date"),
        ("boolean", "1", "!is not true or false"),
    ] {
        check(from_json(&json!({ "type": data_type }), &json!({}), raw), expected, &format!("{data_type} {raw}"));
    }
}

#[test]
fn rounding_is_declared() {
    for (data_type, text, expected) in [
        ("decimal(10,2)", "0.125", "0.13"),
        ("decimal(10,2)", "-0.125", "-0.13"),
        ("decimal(10,2)", "99999999.995", "!does not fit"),
        ("double", "9007199254740993", "9007199254740992.0"),
        ("float", "16777217", "16777216.0"),
        ("timestamp", "2020-10-26 04:01:02.1234565", "2020-10-26T04:01:02.123457Z"),
        ("timestamp_ntz", "2020-10-26 04:01:02.9999999", "2020-10-26T04:01:03"),
    ] {
        let column = json!({ "type": data_type, "round": true });
        check(from_csv(&column, &json!({}), text), expected, &format!("{data_type} {text}"));
        check(from_plain_csv(&column, &json!({}), text), expected, &format!("{data_type} {text}"));
    }
}

#[test]
fn texts_that_mean_null_are_declared() {
    for (data_type, nulls, text, expected) in [
        ("double", json!(["NA", "-", ""]), "NA", ""),
        ("double", json!(["NA", "-", ""]), "-", ""),
        ("double", json!(["NA", "-", ""]), "", ""),
        ("double", json!(["NA", "-", ""]), " NA ", ""),
        ("double", json!(["NA", "-", ""]), "na", "!not a number"),
        ("double", json!(["NA", "-", ""]), "-5", "-5.0"),
        ("double", json!(["NA"]), "", "!not a number"),
        ("double", json!(["-999.9"]), "-999.9", ""),
        ("double", json!(["-999.9"]), "-999.90", "-999.9"),
        ("bigint", json!(["0"]), "0", ""),
        ("bigint", json!(["0"]), "00", "0"),
        ("decimal(5,1)", json!(["999"]), "999", ""),
        ("timestamp", json!(["0001-01-01 00:00:00"]), "0001-01-01 00:00:00", ""),
        ("string", json!(["NA", ""]), "NA", ""),
        ("string", json!(["NA", ""]), "NAN", "NAN"),
        ("string", json!(["NA", ""]), " NA", " NA"),
        ("boolean", json!(["n"]), "n", ""),
        ("boolean", json!(["n"]), "N", "false"),
    ] {
        let column = json!({ "type": data_type });
        let feed = json!({ "nulls": nulls });
        let what = format!("{data_type} {nulls} `{text}`");
        check(from_csv(&column, &feed, text), expected, &what);
        check(from_json(&column, &feed, &format!("\"{text}\"")), expected, &what);
        if !text.is_empty() {
            check(from_plain_csv(&column, &feed, text), expected, &what);
        }
    }
    // An empty text is a text where only something else means null.
    let kept = read(
        &source(&json!({ "type": "string", "required": true }), &json!({ "nulls": ["NA"] }), &csv()),
        b"x,y\n\"\",z\n",
    );
    assert_eq!(kept[0].content.as_deref(), Ok("|z"));
    let required = json!({ "type": "double", "required": true });
    check(from_csv(&required, &json!({ "nulls": ["NA"] }), "NA"), "!`x` is empty: `NA` means null", "required");
    check(from_json(&json!({ "type": "double" }), &json!({ "nulls": ["-1"] }), "-1"), "", "a number of JSON");
}

#[test]
fn numbers_have_the_marks_that_are_declared() {
    let german = json!({ "decimal": ",", "thousands": "." });
    for (data_type, text, expected) in [
        ("double", "1.000", "1000.0"),
        ("double", "1.234,5", "1234.5"),
        ("double", "1.00", "!not a number"),
        ("double", "1,000.5", "!not a number"),
        ("bigint", "1.234.567", "1234567"),
        ("bigint", "1.234,50", "!not a whole number"),
        ("decimal(12,2)", "-1.234.567,89", "-1234567.89"),
        ("tinyint", "1.000", "!8 bits"),
        ("float", "0,5", "0.5"),
    ] {
        check(from_csv(&json!({ "type": data_type }), &german, text), expected, text);
        check(from_json(&json!({ "type": data_type }), &german, &format!("\"{text}\"")), expected, text);
    }
    // Numbers of JSON are JSON's.
    check(from_json(&json!({ "type": "double" }), &german, "1.5"), "1.5", "1.5");
    check(from_csv(&json!({ "type": "double" }), &json!({}), "1,000"), "!not a number", "1,000");
    check(from_csv(&json!({ "type": "bigint" }), &json!({ "thousands": "," }), "1,000"), "1000", "1,000");
    check(from_csv(&json!({ "type": "bigint" }), &json!({ "thousands": "," }), "1,00"), "!not a number", "1,00");
}

#[test]
fn stamps_are_read_by_their_pattern() {
    let berlin = "Europe/Berlin";
    for (data_type, pattern, text, expected) in [
        ("timestamp", "dd/MM/yyyy HH:mm:ss", "03/04/2020 05:06:07", "2020-04-03T03:06:07Z"),
        ("timestamp", "dd/MM/yyyy HH:mm:ss", "2020-04-03 05:06:07", "!not a timestamp (dd/MM/yyyy HH:mm:ss)"),
        ("timestamp", "dd/MM/yyyy HH:mm:ss", "31/02/2020 05:06:07", "!not a timestamp"),
        ("timestamp", "dd/MM/yyyy HH:mm:ss", "29/03/2020 02:30:00", "!does not exist in Europe/Berlin"),
        ("timestamp", "dd/MM/yyyy HH:mm:ss", "25/10/2020 02:30:00", "!occurs twice in Europe/Berlin"),
        ("timestamp", "yyyy-MM-dd'T'HH:mm:ssXXX", "2020-10-25T02:30:00+01:00", "2020-10-25T01:30:00Z"),
        ("timestamp", "yyyy-MM-dd HH:mm:ss.SSSSSSS", "2020-01-01 00:00:00.1234567", "!finer than a microsecond"),
        ("timestamp_ntz", "dd/MM/yyyy HH:mm:ss", "29/03/2020 02:30:00", "2020-03-29T02:30:00"),
        ("date", "yyyyMMdd", "20200403", "2020-04-03"),
        ("date", "yyyyMMdd", "2020-04-03", "!not a date (yyyyMMdd)"),
        ("date", "EEE d MMM yyyy", "Fri 3 Apr 2020", "2020-04-03"),
        ("date", "EEE d MMM yyyy", "Sat 3 Apr 2020", "!not a date"),
        ("date", "dd.MM.yyyy HH:mm", "03.04.2020 00:00", "2020-04-03"),
        ("date", "dd.MM.yyyy HH:mm", "03.04.2020 10:00", "!is a date with a time"),
        ("timestamp", "epoch_s", "1606500000", "2020-11-27T18:00:00Z"),
        ("timestamp", "epoch_s", "1606500000.25", "2020-11-27T18:00:00.250Z"),
        ("timestamp", "epoch_s", "1606500000.1234567", "!finer than a microsecond"),
        ("timestamp", "epoch_ms", "1606500000123", "2020-11-27T18:00:00.123Z"),
        ("timestamp", "epoch_us", "-1", "1969-12-31T23:59:59.999999Z"),
        ("timestamp", "epoch_ns", "1606500000123456000", "2020-11-27T18:00:00.123456Z"),
        ("timestamp", "epoch_ns", "1606500000123456789", "!finer than a microsecond"),
        ("timestamp", "epoch_ms", "1606500000123000", "!outside the years"),
        ("timestamp", "epoch_ms", "soon", "!not a number"),
    ] {
        let column = json!({ "type": data_type });
        let feed = json!({ "pattern": { "x": pattern }, "time_zone": berlin, "ambiguous": "reject" });
        let what = format!("{data_type} {pattern} {text}");
        check(from_csv(&column, &feed, text), expected, &what);
        check(from_plain_csv(&column, &feed, text), expected, &what);
        check(from_json(&column, &feed, &format!("\"{text}\"")), expected, &what);
        if text.parse::<f64>().is_ok() {
            check(from_json(&column, &feed, text), expected, &what);
        }
    }
    // What looks like the usual form is not read as it when a pattern says otherwise.
    let feed = json!({ "pattern": { "x": "yyyy-dd-MM HH:mm:ss" } });
    check(
        from_plain_csv(&json!({ "type": "timestamp" }), &feed, "2020-04-03 05:06:07"),
        "2020-03-04T05:06:07Z",
        "days first",
    );
}

#[test]
fn what_is_nested_is_held_to_its_type() {
    let legs = "array<struct<px:decimal(10,2),qty:int,at:timestamp>>";
    for (data_type, raw, expected) in [
        (
            legs,
            r#"[{"px":1.5,"qty":2},{"qty":3,"px":"2.25","more":[1]}]"#,
            "[{px: 1.50, qty: 2, at: }, {px: 2.25, qty: 3, at: }]",
        ),
        (legs, "[]", "[]"),
        (legs, "null", ""),
        (legs, r#"[{"px":1.5},{"px":1.505}]"#, "!`x[1].px` has more digits than decimal(10,2): `1.505`"),
        (legs, r#"[{"px":1.5},7]"#, "!`x[1]` is not an object: `7`"),
        (legs, r#"[{"px":[]}]"#, "!`x[0].px` is not a number: `an array`"),
        (legs, r#"{"px":1}"#, "!`x` is not an array: `an object`"),
        (legs, r#"[{"qty":3000000000}]"#, "!`x[0].qty` does not fit in 32 bits"),
        (legs, r#"[{"px":1,"px":2}]"#, "!`x[0].px` is there twice"),
        (legs, r#"[{"at":"2020-03-29 02:30:00"}]"#, "!`x[0].at`: 2020-03-29 02:30:00 does not exist in Europe/Berlin"),
        (legs, r#"[{"at":"2020-10-25 02:30:00"}]"#, "!`x[0].at`: 2020-10-25 02:30:00 occurs twice in Europe/Berlin"),
        ("map<string,double>", r#"{"a":1,"":null}"#, "{a: 1.0, : }"),
        ("map<string,double>", r#"{"a":1,"a":2}"#, "!is there twice"),
        ("map<string,double>", r#"{"a":"x"}"#, "!`x[\"a\"]` is not a number: `x`"),
        (
            "struct<a:array<array<boolean>>,b:map<string,struct<c:json>>>",
            r#"{"a":[[true],null,[]],"b":{"k":{"c":{"d": 1}}}}"#,
            r#"{a: [[true], , []], b: {k: {c: {"d": 1}}}}"#,
        ),
        ("struct<a:array<array<boolean>>>", r#"{"a":[[true],[1]]}"#, "!`x.a[1][0]` is not true or false: `1`"),
        ("array<string>", r#"["a\"b",""]"#, "[a\"b, ]"),
        ("array<string>", r#"["\ud800"]"#, "!is not JSON"),
        ("array<bigint>", "\"[1]\"", "!is not a value of type array<bigint>"),
    ] {
        let column = json!({ "type": data_type });
        let feed = json!({ "time_zone": "Europe/Berlin" });
        check(from_json(&column, &feed, raw), expected, &format!("{data_type} {raw}"));
        if !raw.starts_with('"') && raw != "null" {
            check(from_csv(&column, &feed, raw), expected, &format!("csv {data_type} {raw}"));
        }
    }
}

#[test]
fn rounding_reaches_what_is_nested() {
    let column = json!({ "type": "array<struct<px:decimal(10,2)>>", "round": true });
    check(from_json(&column, &json!({}), r#"[{"px":1.505}]"#), "[{px: 1.51}]", "nested");
}

/// A value that does not fit leaves nothing behind: the rows around it are what they are without it.
#[test]
fn a_rejected_row_leaves_nothing_of_its_nested_values() {
    let legs = source(
        &json!({ "type": "array<struct<a:map<string,int>,b:array<string>>>" }),
        &json!({}),
        &json!({ "json_lines": {} }),
    );
    let good = |n: usize| format!(r#"{{"x":[{{"a":{{"k":{n}}},"b":["s{n}",null]}}],"y":"{n}"}}"#);
    let bad = [
        r#"{"x":[{"a":{"k":1,"l":"no"},"b":["s"]}],"y":"bad"}"#,
        r#"{"x":[{"a":{"k":1},"b":["s",5]}],"y":"bad"}"#,
        r#"{"x":[{"a":{"k":1},"b":["s"]}],"y":5}"#,
        r#"{"x":[{"a":{"k":1},"b":["s"]},"#,
    ];
    let text: String = (0..12).map(|n| format!("{}\n{}\n", good(n), bad[n % bad.len()])).collect();
    for (piece, batch_rows) in [(1, 1), (7, 3), (1000, 5), (usize::MAX, 8192)] {
        let rows = read_with(&legs, text.as_bytes(), &ReadOptions { batch_rows, ..ReadOptions::default() }, piece);
        assert_eq!(rows.len(), 24);
        for (n, pair) in rows.chunks(2).enumerate() {
            assert_eq!(pair[0].content, Ok(format!("[{{a: {{k: {n}}}, b: [s{n}, ]}}]|{n}")));
            assert!(pair[1].content.is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Doubles of JSON and CSV are the nearest to their text, by Rust's own parser.
    #[test]
    fn doubles_are_the_nearest_to_their_text(
        texts in prop::collection::vec("-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", 1..40),
    ) {
        let expected: Vec<u64> = texts.iter().map(|text| text.parse::<f64>().unwrap().to_bits()).collect();
        let column = json!({ "type": "double", "round": true });
        let lines: String = texts.iter().map(|text| format!("{{\"x\":{text}}}\n")).collect();
        let array = format!("[{}]", texts.iter().map(|text| format!("{{\"x\":{text}}}")).collect::<Vec<_>>().join(","));
        let csv_lines: String = std::iter::once("x,y\n".to_owned()).chain(texts.iter().map(|text| format!("{text},\n"))).collect();
        for (format, text) in
            [(json!({ "json_lines": {} }), lines), (json!({ "json": { "records": "" } }), array), (csv(), csv_lines)]
        {
            let rows = read(&source(&column, &json!({}), &format), text.as_bytes());
            let found: Vec<u64> = rows
                .iter()
                .map(|row| row.content.as_ref().unwrap().trim_end_matches('|').parse::<f64>().unwrap().to_bits())
                .collect();
            prop_assert_eq!(&found, &expected, "{}", format);
        }
    }

    /// Decimals are compared as text, with the zeros that their scale has.
    #[test]
    fn decimals_keep_every_digit(whole in "(0|[1-9][0-9]{0,19})", fraction in "[0-9]{0,18}", negative in any::<bool>()) {
        let sign = if negative && (whole != "0" || fraction.contains(|digit| digit != '0')) { "-" } else { "" };
        let text = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
        let expected = format!("{sign}{whole}.{fraction:0<18}");
        let column = json!({ "type": "decimal(38,18)" });
        prop_assert_eq!(from_plain_csv(&column, &json!({}), &text), Ok(expected.clone()));
        prop_assert_eq!(from_json(&column, &json!({}), &text), Ok(expected));
    }
}
