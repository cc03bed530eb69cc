use serde_json::{Map, Value, json};

use super::super::compression::Compression;
use super::super::rows::ReadOptions;
use super::support::{Row, batches, columns, kept, read, read_with, rejected, rows};

fn csv(options: Value) -> Value {
    json!({ "csv": options })
}

/// Rows of columns `x bigint`, `y string` and `z bigint`, however the bytes arrive.
fn xyz(options: Value, bytes: &[u8]) -> Vec<Row> {
    let source = columns(&["x bigint", "y string", "z bigint"], &csv(options));
    let whole = read(&source, bytes);
    for piece in [1, 2, 3, 7] {
        assert_eq!(read_with(&source, bytes, &ReadOptions::default(), piece), whole, "pieces of {piece}");
    }
    whole
}

#[test]
fn files_without_a_header() {
    let names = json!({ "header": false, "fields": ["z", "other", "x"] });
    assert_eq!(xyz(names.clone(), b"3,a,1\n30,b,10\n"), [kept(1, "1||3"), kept(2, "10||30")]);
    assert_eq!(xyz(names.clone(), b"\xEF\xBB\xBF3,a,1"), [kept(1, "1||3")]);
    assert_eq!(xyz(names.clone(), b"\n\"3\",\"a\nb\",1\n"), [kept(2, "1||3")]);
    assert_eq!(xyz(names.clone(), b""), []);
    assert_eq!(
        xyz(names, b"z,other,x\n3,a"),
        [rejected(1, "`z` is not a number: `z`", "z,other,x"), rejected(2, "expected 3 fields, found 2", "3,a"),]
    );
    let in_order = json!({ "header": false, "match": "position" });
    assert_eq!(
        xyz(in_order, b"1,a,3\n1,a,3,4\n"),
        [kept(1, "1|a|3"), rejected(2, "expected 3 fields, found 4", "1,a,3,4")]
    );
}

#[test]
fn a_header_that_does_not_count_is_read_past() {
    let in_order = json!({ "match": "position" });
    assert_eq!(xyz(in_order.clone(), b"p,q,r\n1,a,3\n"), [kept(2, "1|a|3")]);
    assert_eq!(xyz(in_order.clone(), b"p,\"q\n,\",r\n1,a,3\n"), [kept(3, "1|a|3")]);
    let reason = "the header has 2 fields, and there should be 3";
    assert_eq!(xyz(in_order, b"p,q\n1,a,3\n"), [rejected(1, reason, "p,q"), rejected(2, reason, "1,a,3")]);
    let names = json!({ "match": "position", "fields": ["z", "x"] });
    assert_eq!(xyz(names, b"x,z\n3,1\n"), [kept(2, "1||3")]);
}

#[test]
fn names_match_in_capital_and_small_letters_where_a_contract_says_so() {
    let options = json!({ "match": "name_ignoring_case" });
    assert_eq!(xyz(options.clone(), b"Z,X,\"y\"\n3,1,a\n"), [kept(2, "1|a|3")]);
    let reason = "the header has the field `x` twice";
    assert_eq!(xyz(options.clone(), b"x,X,y\n1,2,a\n"), [rejected(1, reason, "x,X,y"), rejected(2, reason, "1,2,a")]);
    let source = columns(&["straße string", "é string"], &csv(options));
    assert_eq!(read(&source, "STRAßE,É\na,b\n".as_bytes()), [kept(2, "a|b")]);
}

#[test]
fn lines_before_the_table_are_no_part_of_it() {
    let two = json!({ "skip_lines": 2 });
    assert_eq!(xyz(two.clone(), b"Data \"as of\xff\0\n\nx,y,z\n1,a,3\n"), [kept(4, "1|a|3")]);
    assert_eq!(xyz(two.clone(), b"\r\n\r\nx,y,z\r\n1,a,3\r\n"), [kept(4, "1|a|3")]);
    assert_eq!(xyz(two.clone(), b"a\nb"), []);
    assert_eq!(xyz(two.clone(), b"a\nb\n"), []);
    let long = format!("{}\nb\nx,y,z\n1,a,3\n", "a".repeat(1000));
    let source = columns(&["x bigint", "y string", "z bigint"], &csv(two));
    let options = ReadOptions { max_line_bytes: 10, ..ReadOptions::default() };
    for piece in [1, 8, usize::MAX] {
        assert_eq!(read_with(&source, long.as_bytes(), &options, piece), [kept(4, "1|a|3")]);
    }
}

#[test]
fn comments_are_lines_that_begin_so() {
    let options = json!({ "comment": "#" });
    let text = b"# by us\nx,y,z\n1,#a,3\n#2,b,4\n \n5,\"c\n# no comment\n\",6\n \"#\",7,8\n#\xff\0\n#";
    assert_eq!(
        xyz(options.clone(), text),
        [
            kept(3, "1|#a|3"),
            kept(6, "5|c\n# no comment\n|6"),
            rejected(9, "`x` is not a number: ` \"#\"`", " \"#\",7,8"),
        ]
    );
    let source = columns(&["y string"], &csv(json!({ "comment": "--", "header": false, "fields": ["y"] })));
    assert_eq!(read(&source, b"-- a\n-1\n\"-- b\"\n"), [kept(2, "-1"), kept(3, "-- b")]);
    assert_eq!(read(&source, b"\xEF\xBB\xBF-- a\n-1\n"), [kept(2, "-1")]);
}

#[test]
fn any_text_may_stand_between_fields() {
    for delimiter in ["||", "|", "~|~", "\u{1}", "¦", "\t|\t", " ", "::", ", "] {
        let options = || json!({ "delimiter": delimiter });
        let row = |fields: [&str; 3]| fields.join(delimiter);
        let quoted = format!("\"a{delimiter}\"\"b\"");
        let lines = [
            row(["x", "y", "z"]),
            row(["1", "é", "3"]),
            row(["", "", "30"]),
            row(["4", &quoted, "5"]),
            row(["6", "", ""]),
        ];
        let text = lines.join("\r\n");
        let value = format!("4|a{delimiter}\"b|5");
        let expected = [kept(2, "1|é|3"), kept(3, "||30"), kept(4, &value), kept(5, "6||")];
        assert_eq!(xyz(options(), text.as_bytes()), expected, "{delimiter:?}");
        let short = format!("{}\n1{delimiter}a\n", lines[0]);
        let reason = "expected 3 fields, found 2";
        assert_eq!(xyz(options(), short.as_bytes()), [rejected(2, reason, &format!("1{delimiter}a"))], "{delimiter:?}");
    }
    let double = json!({ "delimiter": "||" });
    assert_eq!(
        xyz(double.clone(), b"x||y||z\n1||a|||3\n1||\"a\"|3\n1||\"a\"|"),
        [
            rejected(2, "`z` is not a number: `|3`", "1||a|||3"),
            rejected(3, "text follows the closing quote of a field", "1||\"a\"|3"),
            rejected(4, "text follows the closing quote of a field", "1||\"a\"|"),
        ]
    );
    assert_eq!(xyz(double, b"x||y||z\n1||\"a\nb\"||3"), [kept(2, "1|a\nb|3")]);
}

#[test]
fn blanks_between_fields_are_a_record() {
    let source =
        columns(&["x string", "y string"], &csv(json!({ "delimiter": " ", "header": false, "fields": ["x", "y"] })));
    assert_eq!(
        read(&source, b"a b\n \n\n  \n"),
        [kept(1, "a|b"), kept(2, "|"), rejected(4, "expected 2 fields, found 3", "  "),]
    );
}

#[test]
fn other_quotes_and_none() {
    let single = json!({ "quote": "'" });
    assert_eq!(
        xyz(single, b"x,y,z\n1,'it''s \"a\", b',3\n2,\"q\",4\n"),
        [kept(2, "1|it's \"a\", b|3"), kept(3, "2|\"q\"|4")]
    );
    let none = json!({ "quote": "" });
    assert_eq!(
        xyz(none, b"x,y,z\n1,\"a,3\n2,\"b\",4\n5,\"c,d\",6\n"),
        [kept(2, "1|\"a|3"), kept(3, "2|\"b\"|4"), rejected(4, "expected 3 fields, found 4", "5,\"c,d\",6"),]
    );
}

#[test]
fn an_escape_stands_before_quotes_and_itself() {
    let options = || json!({ "escape": "\\" });
    for (field, value) in [
        (r#""He said \"buy\"""#, r#"He said "buy""#),
        (r"C:\dir\", r"C:\dir\"),
        (r#""C:\dir""#, r"C:\dir"),
        (r#""C:\\dir\\""#, r"C:\dir\"),
        (r#""\"""#, "\""),
        (r#""\\\"""#, "\\\""),
        (r#""a\nb""#, r"a\nb"),
        ("\"a\\\nb\"", "a\\\nb"),
        ("\"\\\",\n\"", "\",\n"),
        (r#"\"x"#, r#"\"x"#),
        ("\"\"", ""),
    ] {
        let text = format!("x,y,z\n1,{field},3\n5,b,6\n");
        let next = 3 + field.matches('\n').count() as i64;
        let expected = [kept(2, &format!("1|{value}|3")), kept(next, "5|b|6")];
        assert_eq!(xyz(options(), text.as_bytes()), expected, "{field}");
    }
    for (line, reason) in [
        (r#"1,"a""b",3"#, "text follows the closing quote of a field"),
        (r#"1,"a\",3"#, "a quoted field is not closed"),
        (r#"1,"a\"#, "a quoted field is not closed"),
    ] {
        let text = format!("x,y,z\n{line}\n5,b,6\n");
        assert_eq!(xyz(options(), text.as_bytes()), [rejected(2, reason, line), kept(3, "5|b|6")]);
    }
    let caret = json!({ "escape": "^", "quote": "'" });
    assert_eq!(xyz(caret, b"x,y,z\n1,'a^'b^^^c',3\n"), [kept(2, "1|a'b^^c|3")]);
}

/// What Spark 4, Python's csv and DuckDB wrote, and the same rows as Spark wrote them as JSON.
#[test]
fn files_of_other_programs_are_read_as_they_mean_them() {
    let json = include_str!("csv/spark.json");
    let rows: Vec<String> = json.lines().map(spark_row).collect();
    assert_eq!(rows.len(), 29);
    // With another quote, Spark still writes two double quotes for an empty text.
    let mut odd = rows.clone();
    odd[11] = "11|\"\"|110".to_owned();
    for (options, bytes, expected) in [
        (json!({ "escape": "\\" }), &include_bytes!("csv/spark.csv")[..], &rows),
        (
            json!({ "escape": "\\", "delimiter": ";", "quote": "'" }),
            include_bytes!("csv/spark_semicolon_quote.csv"),
            &odd,
        ),
        (json!({ "escape": "\\", "delimiter": "||" }), include_bytes!("csv/spark_all.csv"), &rows),
        (json!({}), include_bytes!("csv/python.csv"), &rows),
        (json!({ "escape": "\\" }), include_bytes!("csv/python_escape.csv"), &rows),
        (
            json!({ "delimiter": "\t", "quote": "'", "encoding": "utf-16" }),
            include_bytes!("csv/python_utf16.csv"),
            &rows,
        ),
        (json!({ "delimiter": ";" }), include_bytes!("csv/duckdb.csv"), &rows),
        (json!({ "escape": "\\" }), include_bytes!("csv/duckdb_escape.csv"), &rows),
    ] {
        let found: Vec<String> = xyz(options.clone(), bytes).into_iter().map(|row| row.content.unwrap()).collect();
        assert_eq!(&found, expected, "{options}");
    }
}

fn spark_row(line: &str) -> String {
    let row: Map<String, Value> = serde_json::from_str(line).unwrap();
    let text = row.get("y").and_then(Value::as_str).unwrap_or_default();
    format!("{}|{text}|{}", row["x"], row["z"])
}

#[test]
fn ragged_lines_are_null_at_their_end() {
    let options = || json!({ "ragged": "null" });
    for (line, expected) in [
        ("1", "1||"),
        ("1,a", "1|a|"),
        ("1,", "1||"),
        ("1,\"a,b\"", "1|a,b|"),
        ("\"1\"", "1||"),
        ("1,é", "1|é|"),
        ("1,a,3,", "1|a|3"),
        ("1,a,3,, ,", "1|a|3"),
        ("1,\"a\",3,\"\"", "1|a|3"),
    ] {
        assert_eq!(
            xyz(options(), format!("x,y,z\n{line}\n5,b,6\n").as_bytes()),
            [kept(2, expected), kept(3, "5|b|6")],
            "{line}"
        );
    }
    for (line, reason) in [
        ("1,a,3,4", "expected 3 fields, found 4"),
        ("1,a,3,,5", "expected 3 fields, found 5"),
        ("1,\"a\",3,4", "expected 3 fields, found 4"),
        ("b", "`x` is not a number: `b`"),
        ("b,a,3,", "`x` is not a number: `b`"),
        ("\"1\",\"a", "a quoted field is not closed"),
    ] {
        assert_eq!(
            xyz(options(), format!("x,y,z\n{line}\n5,b,6\n").as_bytes()),
            [rejected(2, reason, line), kept(3, "5|b|6")],
            "{line}"
        );
    }
    let source = columns(&["x bigint", "y string", "z bigint required"], &csv(options()));
    assert_eq!(read(&source, b"x,y,z\n1,a\n"), [rejected(2, "`z` is empty", "1,a")]);
    // A record over several lines: a stray quote may have joined them.
    assert_eq!(
        xyz(options(), b"x,y,z\n1,\"a\nb\"\n5,b,6\n"),
        [
            rejected(2, "expected 3 fields, found 2", "1,\"a"),
            rejected(3, "`x` is not a number: `b\"`", "b\""),
            kept(4, "5|b|6"),
        ]
    );
    let by_text = json!({ "ragged": "null", "delimiter": "||" });
    assert_eq!(
        xyz(by_text, b"x||y||z\n1||a\n1||a||3||\n1||a||3||4\n"),
        [kept(2, "1|a|"), kept(3, "1|a|3"), rejected(4, "expected 3 fields, found 4", "1||a||3||4"),]
    );
}

#[test]
fn other_encodings() {
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let text = "x,y,z\r\n1,\u{20ac} \u{1d11e},3\r\n";
    let expected = [kept(2, "1|\u{20ac} \u{1d11e}|3")];
    assert_eq!(xyz(json!({ "encoding": "utf-16le" }), &utf16(text)), expected);
    assert_eq!(xyz(json!({}), &[b"\xFF\xFE".to_vec(), utf16(text)].concat()), expected);
    assert_eq!(xyz(json!({ "encoding": "windows-1252" }), b"x,y,z\n1,\x80\xe9,3\n"), [kept(2, "1|\u{20ac}\u{e9}|3")]);
    assert_eq!(xyz(json!({ "encoding": "latin-1" }), b"x,y,z\n1,\x80\xe9,3\n"), [kept(2, "1|\u{80}\u{e9}|3")]);
    assert_eq!(
        xyz(json!({ "encoding": "windows-1252" }), b"x,y,z\n1,\x81a,3\n5,b,6\n"),
        [rejected(2, "the line is not Windows-1252", "1,\u{fffd}a,3"), kept(3, "5|b|6"),]
    );
    let broken = [utf16("x,y,z\n1,a"), vec![0, 0xD8], utf16(",3\n5,b,6\n")].concat();
    assert_eq!(
        xyz(json!({ "encoding": "utf-16le" }), &broken),
        [rejected(2, "the line is not UTF-16", "1,a\u{fffd},3"), kept(3, "5|b|6"),]
    );
    let no_mark = "the file does not begin with a byte order mark of UTF-16: say `utf-16le` or `utf-16be`";
    assert_eq!(xyz(json!({ "encoding": "utf-16" }), b"x,y,z\n1,a,3\n"), [rejected(1, no_mark, "x,y")]);
    assert_eq!(xyz(json!({ "encoding": "utf-16" }), b""), []);
}

#[test]
fn a_header_without_newlines_is_no_header() {
    let reason = "the header holds a carriage return: a line must end with a newline";
    assert_eq!(xyz(json!({}), b"x,y,z\r1,a,3\r"), [rejected(1, reason, "x,y,z\r1,a,3")]);
    assert_eq!(xyz(json!({}), b"x,y,z\r\n1,a\rb,3\r\n"), [kept(2, "1|a\rb|3")]);
}

#[test]
fn a_compressed_file_of_another_encoding() {
    let source = columns(&["x bigint", "y string"], &csv(json!({ "encoding": "latin-1", "skip_lines": 1 })));
    let text = [&b"made by us\nx,y\n"[..], &b"1,\xe9\n".repeat(5000)].concat();
    let bytes = zstd::stream::encode_all(&text[..], 1).unwrap();
    let options = ReadOptions { batch_rows: 100, ..ReadOptions::default() };
    for piece in [1, usize::MAX] {
        let found = rows(&source, &batches(&source, &bytes, Compression::Zstd, &options, piece));
        assert_eq!(found.len(), 5000);
        assert!(found.iter().zip(3..).all(|(row, line)| *row == kept(line, "1|\u{e9}")));
    }
    let found = rows(&source, &batches(&source, &bytes[..bytes.len() - 1], Compression::Zstd, &options, 7));
    let (last, before) = found.split_last().unwrap();
    assert!(before.iter().all(|row| row.content.is_ok()));
    assert_eq!(last.content.as_ref().unwrap_err().0, "zstd stream ends early");
}

proptest::proptest! {
    #[test]
    fn every_line_of_a_file_of_one_field_is_a_row_unless_it_is_empty(lines in proptest::collection::vec("[ \ta]{0,3}", 0..12)) {
        for (format, header) in [(json!({}), "x\n"), (json!({ "header": false, "fields": ["x"] }), "")] {
            let text = format!("{header}{}\n", lines.join("\n"));
            let found: Vec<i64> = read(&columns(&["x string"], &csv(format)), text.as_bytes()).iter().map(|row| row.line).collect();
            let first = 1 + header.len() as i64 / 2;
            let expected = lines.iter().zip(first..).filter(|(line, _)| !line.is_empty()).map(|(_, at)| at);
            proptest::prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}
