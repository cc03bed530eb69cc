//! Shapes in which vendors send JSON, and paths into it.

use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::layout::Layout;
use super::super::rows::ReadOptions;
use super::support::{Row, kept, read, read_with, rejected};

/// A source of columns `name: type`, `!` behind a required one.
fn source(columns: &[&str], format: &Value, rename: &Value) -> FileSource {
    let column = |text: &&str| {
        let (name, data_type) = text.split_once(": ").unwrap();
        json!({ "name": name, "type": data_type.trim_end_matches('!'), "required": data_type.ends_with('!') })
    };
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let feed = json!({ "path": "bars/{symbol}", "format": format, "rename": rename });
    serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
}

/// Rows of `text`, which are the same however its bytes arrive.
fn rows_of(source: &FileSource, text: &str) -> Vec<Row> {
    let whole = read(source, text.as_bytes());
    for (piece, batch_rows) in [(1, 1), (3, 2), (7, 8192)] {
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        assert_eq!(read_with(source, text.as_bytes(), &options, piece), whole, "pieces of {piece}: {text}");
    }
    whole
}

fn joined() -> Value {
    json!({ "json_lines": { "joined": true } })
}

#[test]
fn records_without_newlines_between_them() {
    let source = source(&["s: string!", "p: double"], &joined(), &json!({}));
    for text in [
        r#"{"s":"A","p":1}{"s":"B","p":2}{"s":"C","p":3}"#,
        "{\"s\":\"A\",\"p\":1}\n{\"s\":\"B\",\"p\":2}\r\n\r\n  {\"s\":\"C\",\"p\":3}\n",
        "\u{feff}{\n  \"s\": \"A\",\n  \"p\": 1\n}\n{\n  \"s\": \"B\",\n  \"p\": 2\n} {\n\"s\": \"C\", \"p\": 3\n}",
        "\u{1e}{\"s\":\"A\",\"p\":1}\n\u{1e}{\"s\":\"B\",\"p\":2}\n\u{1e}{\"s\":\"C\",\"p\":3}\n",
    ] {
        assert_eq!(rows_of(&source, text), [kept(1, "A|1.0"), kept(2, "B|2.0"), kept(3, "C|3.0")], "{text}");
    }
    assert_eq!(rows_of(&source, r#"{"s":"}{"}{"s":"\"}{"}"#), [kept(1, "}{|"), kept(2, "\"}{|")]);
    assert_eq!(rows_of(&source, ""), []);
    assert_eq!(rows_of(&source, "\n \n"), []);
}

#[test]
fn a_wrong_record_costs_itself_and_reading_resumes() {
    let source = source(&["s: string!"], &joined(), &json!({}));
    for wrong in [
        r#"{"s":"x"#,
        r#"{"s":"x","#,
        r#"{"s":"x","t":{"s":"y"}"#,
        r#"{"s":"x","t":{"s":"y"},oops}"#,
        r#"{"s":"x","t":[{"s":"y"} {"#,
        "{\"s\":\"x\n",
        r#"{"s":5}"#,
        r#"{"s":"\ud800"}"#,
        "oops\n",
        "oops",
        "}",
        ",",
        "5 ",
        "\"x\"",
    ] {
        for between in ["", "\n"] {
            let text = format!("{{\"s\":\"A\"}}{between}{wrong}{between}{{\"s\":\"B\"}}{{\"s\":\"C\"}}");
            let rows = rows_of(&source, &text);
            let kept: Vec<&str> = rows.iter().filter_map(|row| row.content.as_deref().ok()).collect();
            let raw: Vec<&str> = rows.iter().filter_map(|row| Some(row.content.as_ref().err()?.1.as_str())).collect();
            let held = raw.concat();
            let plain = |text: &str| text.replace([' ', '\n'], "");
            assert!(plain(&held).starts_with(&plain(wrong)), "{text}: {rows:?}");
            // What a broken record swallows is in its text.
            assert!(kept.starts_with(&["A"]) && kept.ends_with(&["C"]), "{text}: {rows:?}");
            assert!(kept.contains(&"B") || held.contains("\"B\""), "{text}: {rows:?}");
            assert!(!kept.contains(&"y"), "a part of a record is not a record: {rows:?}");
        }
    }
}

#[test]
fn a_joined_record_beyond_the_limit() {
    let source = source(&["s: string!"], &joined(), &json!({}));
    let long = format!("{{\"s\":\"{}\"}}", "x".repeat(60));
    let text = format!("{{\"s\":\"A\"}}{long}{{\"s\":\"B\"}}{long}\n{{\"s\":\"C\"}}{long}");
    let options = ReadOptions { max_line_bytes: 40, ..ReadOptions::default() };
    let reason = "the record is longer than 40 bytes";
    let expected = vec![
        kept(1, "A"),
        rejected(2, reason, &long[..40]),
        kept(3, "B"),
        rejected(4, reason, &long[..40]),
        kept(5, "C"),
        rejected(6, reason, &long[..40]),
    ];
    for piece in [1, 7, 41, usize::MAX] {
        assert_eq!(read_with(&source, text.as_bytes(), &options, piece), expected, "{piece}");
    }
}

#[test]
fn without_joined_a_line_is_one_record() {
    let source = source(&["s: string"], &json!({ "json_lines": {} }), &json!({}));
    let line = r#"{"s":"A"}{"s":"B"}"#;
    let reason = "not a JSON object: trailing characters at column 10: if records follow each other without newlines, set `joined = true`";
    assert_eq!(rows_of(&source, line), [rejected(1, reason, line)]);
}

#[test]
fn rows_that_are_arrays() {
    let klines = r#"[[1704205800000,"10.1",9,"10.5"],[1704205860000,"10.5",8,null]]"#;
    let lines = "[1704205800000,\"10.1\",9,\"10.5\"]\n[1704205860000,\"10.5\",8,null]\n";
    let columns = ["t: bigint!", "open: double", "close: double"];
    let expected = [kept(1, "1704205800000|10.1|10.5"), kept(2, "1704205860000|10.5|")];
    let names = json!(["t", "open", "vol", "c"]);
    for (format, rename, text) in [
        (json!({ "json": {} }), json!({ "t": "0", "open": "1", "close": "3" }), klines),
        (json!({ "json": {} }), json!({ "t": "/0", "open": "/1", "close": "/3" }), klines),
        (json!({ "json": { "fields": names } }), json!({ "close": "c" }), klines),
        (json!({ "json_lines": {} }), json!({ "t": "0", "open": "1", "close": "3" }), lines),
        (json!({ "json_lines": { "fields": names } }), json!({ "close": "c" }), lines),
    ] {
        assert_eq!(rows_of(&source(&columns, &format, &rename), text), expected, "{format}");
    }
}

#[test]
fn a_column_of_another_feed_is_absent_from_arrays() {
    let columns = ["t: bigint", "vwap: double"];
    for format in [json!({ "json_lines": {} }), json!({ "json_lines": { "fields": ["first", "o"] } })] {
        let source = source(&columns, &format, &json!({ "t": "/0" }));
        assert_eq!(rows_of(&source, "[5,6]"), [kept(1, "5|")], "{format}");
    }
    let required = source(&["t: bigint", "vwap: double!"], &json!({ "json_lines": {} }), &json!({ "t": "0" }));
    assert_eq!(rows_of(&required, "[5,6]"), [rejected(1, "`vwap` is empty", "[5,6]")]);
}

#[test]
fn arrays_that_are_not_the_declared_rows() {
    let by_place = source(&["t: bigint", "c: double"], &json!({ "json_lines": {} }), &json!({ "t": "0", "c": "2" }));
    let named =
        source(&["t: bigint", "c: double"], &json!({ "json_lines": { "fields": ["t", "o", "c"] } }), &json!({}));
    for (source, line, reason) in [
        (&by_place, "[1,2]", "the array has 2 items, and none at `2`"),
        (&by_place, "[]", "the array has 0 items, and none at `0`"),
        (
            &by_place,
            "5",
            "not a JSON object or array: invalid type: integer `5`, expected an object or an array at column 1",
        ),
        (&by_place, "{\"x\":1}", "the object or array has none of the declared fields"),
        (&named, "[1,2]", "the array has 2 items, and `fields` names 3"),
        (&named, "[1,2,3,4]", "the array has 4 items, and `fields` names 3"),
        (&named, "[1,2,{\"t\":1}]", "`c` is not a number: `an object`"),
        (&named, "[1,2,3", "not a JSON array: EOF while parsing a list at column 6"),
    ] {
        assert_eq!(rows_of(source, line), [rejected(1, reason, line)]);
    }
    let (_, reason) =
        rows_of(&named, "{\"t\":1}").remove(0).content.map_err(|(reason, raw)| (raw, reason)).unwrap_err();
    assert!(reason.starts_with("not a JSON array: invalid type: map, expected an array of 3 items"), "{reason}");
}

#[test]
fn values_by_their_path() {
    let rename = json!({
        "px": "/trade/price", "first": "/legs/0/px", "second": "/legs/1/px", "slash": "/a~1b", "tilde": "/m~0n", "deep": "/trade/by/name",
    });
    let columns = [
        "id: bigint",
        "px: double",
        "first: double",
        "second: double",
        "slash: bigint",
        "tilde: bigint",
        "deep: string",
    ];
    let source = source(&columns, &json!({ "json_lines": {} }), &rename);
    for (line, expected) in [
        (
            r#"{"id":1,"trade":{"price":1.5,"by":{"name":"x"},"n":2},"legs":[{"px":7},{"q":1,"px":8},9],"a/b":3,"m~n":4}"#,
            "1|1.5|7.0|8.0|3|4|x",
        ),
        (r#"{"m~n":4,"legs":[],"trade":{"by":null},"id":1}"#, "1|||||4|"),
        (r#"{"legs":[{},{"px":null}],"trade":null,"id":1,"trade/price":5}"#, "1||||||"),
        (r#"{"trade":{"price":2}}"#, "|2.0|||||"),
    ] {
        assert_eq!(rows_of(&source, line), [kept(1, expected)], "{line}");
    }
    for (line, reason) in [
        (r#"{"id":1,"trade":5}"#, "`trade` is `5`, so that there is no `/trade/price`"),
        (r#"{"id":1,"trade":"x"}"#, "`trade` is `x`, so that there is no `/trade/price`"),
        (r#"{"id":1,"trade":[]}"#, "`trade` is an array, so that there is no `/trade/price`"),
        (r#"{"id":1,"trade":{"by":true}}"#, "`/trade/by` is `true`, so that there is no `/trade/by/name`"),
        (r#"{"id":1,"legs":[5]}"#, "`/legs/0` is `5`, so that there is no `/legs/0/px`"),
        (r#"{"id":1,"legs":[{"px":"x"}]}"#, "`/legs/0/px` is not a number: `x`"),
        (r#"{"trade":{"x":1},"legs":[]}"#, "the object has none of the declared fields"),
    ] {
        assert_eq!(rows_of(&source, line), [rejected(1, reason, line)], "{line}");
    }
}

#[test]
fn a_field_of_two_columns_is_read_into_both() {
    let source = source(
        &["a: bigint", "b: json", "c: bigint"],
        &json!({ "json_lines": {} }),
        &json!({ "a": "/x/y", "b": "x", "c": "/x/y" }),
    );
    assert_eq!(rows_of(&source, r#"{"x":{"y":5}}"#), [kept(1, r#"5|{"y":5}|5"#)]);
}

#[test]
fn json_text_as_it_stands() {
    let source = source(
        &["raw: string", "t: json", "payload: json", "id: bigint"],
        &json!({ "json_lines": {} }),
        &json!({ "raw": "", "t": "/payload/t" }),
    );
    for (line, values) in [
        (
            r#" {"payload": {"t":  [1, 2.50,{"x":"\u00e9é"}] }, "id":7} "#,
            r#"{"payload": {"t":  [1, 2.50,{"x":"\u00e9é"}] }, "id":7}|[1, 2.50,{"x":"\u00e9é"}]|{"t":  [1, 2.50,{"x":"\u00e9é"}] }|7"#,
        ),
        (r#"{"payload":{"t":"x"}}"#, r#"{"payload":{"t":"x"}}|"x"|{"t":"x"}|"#),
        (r#"{"payload":{"t":1e400}}"#, r#"{"payload":{"t":1e400}}|1e400|{"t":1e400}|"#),
        (r#"{"payload":null}"#, r#"{"payload":null}|||"#),
        (r#"{}"#, r#"{}|||"#),
    ] {
        assert_eq!(rows_of(&source, line), [kept(1, values)], "{line}");
    }
    let line = r#"{"payload":5}"#;
    assert_eq!(rows_of(&source, line), [rejected(1, "`payload` is `5`, so that there is no `/payload/t`", line)]);
}

#[test]
fn a_whole_record_as_text_as_json_and_as_a_struct() {
    for format in [json!({ "json_lines": {} }), joined(), json!({ "json": {} })] {
        let source = source(
            &["text: string", "all: json", "one: struct<s:string,t:bigint>"],
            &format,
            &json!({ "text": "", "all": "", "one": "" }),
        );
        let record = r#"{"s": "a", "t": 5, "x": [1.50]}"#;
        let text = if format.get("json").is_some() { format!("[{record}]") } else { format!("{record}\n") };
        let expected = format!("{record}|{record}|{{s: a, t: 5}}");
        assert_eq!(rows_of(&source, &text), [kept(1, &expected)], "{format}");
    }
    let source = source(&["one: struct<t:bigint>"], &json!({ "json_lines": {} }), &json!({ "one": "" }));
    let rows = rows_of(&source, "{\"t\":\"x\"}\n{\"t\":1}\n{}\n");
    assert_eq!(rows[1..], [kept(2, "{t: 1}"), kept(3, "{t: }")]);
    let (reason, raw) = rows[0].content.clone().unwrap_err();
    assert!(reason.contains("one.t") && raw == "{\"t\":\"x\"}", "{reason}");
}

#[test]
fn names_that_differ_by_case_and_names_that_occur_twice() {
    let source = source(&["t: bigint", "ticker: string"], &json!({ "json_lines": {} }), &json!({ "ticker": "T" }));
    assert_eq!(rows_of(&source, r#"{"T":"A","t":1}"#), [kept(1, "1|A")]);
    assert_eq!(rows_of(&source, r#"{"t":1}"#), [kept(1, "1|")]);
    for (line, field) in
        [(r#"{"t":1,"T":"A","t":2}"#, "t"), (r#"{"t":1,"t":1}"#, "t"), (r#"{"t":null,"\u0074":1}"#, "t")]
    {
        assert_eq!(rows_of(&source, line), [rejected(1, &format!("`{field}` is there twice"), line)]);
    }
    // Fields that no column reads are not looked at.
    assert_eq!(rows_of(&source, r#"{"x":1,"t":1,"x":2}"#), [kept(1, "1|")]);
}

const CHART: &str = r#"{"chart":{"result":[{"meta":{"symbol":"BBB"},"timestamp":[1704205800,1704205860],
    "indicators":{"quote":[{"open":[20.1,null],"close":[20.5 , 20.6],"volume":[]}]}}],"error":null}}"#;

fn chart(records: &str, columns: &[&str]) -> FileSource {
    let format = json!({ "json": { "records": records, "layout": "columns", "outer": { "name": "/chart/result/0/meta/symbol" } } });
    let quote = |field: &str| format!("/indicators/quote/0/{field}");
    source(columns, &format, &json!({ "t": "/timestamp", "open": quote("open"), "close": quote("close") }))
}

#[test]
fn columns_that_are_arrays() {
    let columns = ["name: string", "t: bigint", "open: double", "close: double", "none: string"];
    let expected = [kept(1, "BBB|1704205800|20.1|20.5|"), kept(2, "BBB|1704205860||20.6|")];
    for records in ["/chart/result/0", "/chart/result"] {
        assert_eq!(rows_of(&chart(records, &columns), CHART), expected, "{records}");
    }
    let sets = source(&["s: string", "p: double"], &json!({ "json": { "layout": "columns" } }), &json!({}));
    let text = r#"[{"s":["A","B"],"p":[1,2]},{"s":[],"p":[]},{"s":["C"]},5,{"p":[3,"x"],"s":["D","E"]}]"#;
    let rows = rows_of(&sets, text);
    assert_eq!(rows[..3], [kept(1, "A|1.0"), kept(2, "B|2.0"), kept(3, "C|")]);
    assert_eq!((rows[3].content.as_ref().unwrap_err().1.as_str(), &rows[4]), ("5", &kept(5, "D|3.0")));
    assert_eq!(rows[5..], [rejected(6, "`p` is not a number: `x`", r#"{"s":"E","p":"x"}"#)]);
}

#[test]
fn columns_that_are_not_of_one_length() {
    for (text, reason) in [
        (r#"{"s":["A","B"],"p":[1]}"#, "the columns are not of one length: `s` 2, `p` 1 items"),
        (r#"{"s":["A"],"p":5}"#, "`p` is not an array"),
        (r#"{"s":["A"],"p":{"0":5}}"#, "`p` is not an array"),
        (r#"{"x":["A"]}"#, "the object has none of the declared fields"),
        (r#"{"s":["A"],"s":["B"]}"#, "`s` is there twice"),
    ] {
        let source = source(&["s: string", "p: double"], &json!({ "json": { "layout": "columns" } }), &json!({}));
        assert_eq!(rows_of(&source, text), [rejected(1, reason, text)]);
    }
    let required = source(&["s: string", "p: double!"], &json!({ "json": { "layout": "columns" } }), &json!({}));
    let rows = rows_of(&required, r#"{"s":["A","B"]}"#);
    let expected = [rejected(1, "`p` is empty", r#"{"s":"A"}"#), rejected(2, "`p` is empty", r#"{"s":"B"}"#)];
    assert_eq!(rows, expected);
}

#[test]
fn values_beside_the_records() {
    let format = json!({ "json": { "records": "/results", "outer": { "symbol_name": "/ticker", "n": "/meta/n" } } });
    let source = source(&["symbol_name: string!", "n: bigint", "c: double"], &format, &json!({}));
    let text = r#"{"ticker":"AAA","results":[{"c":1},{"c":2,"n":9}],"meta":{"n":5}}"#;
    assert_eq!(rows_of(&source, text), [kept(1, "AAA|5|1.0"), kept(2, "AAA|9|2.0")]);
    let text = r#"{"results":[{"c":1}]}"#;
    assert_eq!(rows_of(&source, text), [rejected(1, "`symbol_name` is empty", r#"{"c":1}"#)]);
    let text = r#"{"ticker":"AAA","ticker":"BBB","results":[{"c":1}]}"#;
    assert_eq!(rows_of(&source, text), [rejected(1, "`ticker` is there twice", text)]);
    let text = r#"{"ticker":"AAA","results":[{"c":1}],"results":[{"c":2}]}"#;
    assert_eq!(rows_of(&source, text), [rejected(1, "`results` is there twice", text)]);
}

#[test]
fn options_travel_with_the_scan() {
    for format in [
        json!({ "json_lines": {} }),
        json!({ "json": { "records": "", "key": null } }),
        json!({ "json_lines": { "joined": true, "fields": ["a"] } }),
        json!({ "json": { "records": "/a", "key": "b", "layout": "columns", "fields": ["a"], "outer": { "a": "/b" } } }),
    ] {
        let source = source(&["a: string"], &format, &json!({ "a": "/x" }));
        let text = serde_json::to_value(&source).unwrap();
        assert_eq!(text["feed"]["bars"]["format"], format);
        assert_eq!(serde_json::from_value::<FileSource>(text).unwrap(), source);
        assert!(Layout::new(&source).is_ok());
    }
}
