use std::io::Write;

use serde_json::json;

use super::super::compression::Compression;
use super::super::rows::ReadOptions;
use super::support::{Row, bars, batches, csv, kept, one_column, read, read_with, rejected, rows};

const GOOD: &str = "2020-12-21 09:31:00,20.5,737,x";
/// GOOD at its bar's start, in UTC.
const GOOD_ROW: &str = "2020-12-21T14:30:00Z|20.5|737|x";

fn small(max_line_bytes: usize) -> ReadOptions {
    ReadOptions { max_line_bytes, ..ReadOptions::default() }
}

#[test]
fn files_in_all_shapes() {
    let cases: Vec<(&str, String, Vec<Row>)> = vec![
        ("empty", String::new(), vec![]),
        ("header only", "time,price,volume,note\n".into(), vec![]),
        ("header without newline", "time,price,volume,note".into(), vec![]),
        ("plain", format!("time,price,volume,note\n{GOOD}\n"), vec![kept(2, GOOD_ROW)]),
        ("no newline at the end", format!("time,price,volume,note\n{GOOD}"), vec![kept(2, GOOD_ROW)]),
        (
            "carriage returns",
            format!("time,price,volume,note\r\n{GOOD}\r\n{GOOD}\r\n"),
            vec![kept(2, GOOD_ROW), kept(3, GOOD_ROW)],
        ),
        ("byte order mark", format!("\u{feff}time,price,volume,note\n{GOOD}\n"), vec![kept(2, GOOD_ROW)]),
        ("mark and quotes", format!("\u{feff}\"time\",price,volume,note\n{GOOD}\n"), vec![kept(2, GOOD_ROW)]),
        (
            "blank lines",
            format!("\n  \ntime,price,volume,note\n\n{GOOD}\r\n\r\n   \n{GOOD}\n\n"),
            vec![kept(5, GOOD_ROW), kept(8, GOOD_ROW)],
        ),
        (
            "other order and more fields",
            "a,note,volume,price,time,b\n1,x,737,20.5,2020-12-21 09:31:00,2\n".into(),
            vec![kept(2, GOOD_ROW)],
        ),
        (
            "a blank name, as pandas writes an index",
            format!("{{,time,price,volume,note\n,{GOOD}\n"),
            vec![kept(2, GOOD_ROW)],
        ),
    ];
    for (name, text, expected) in cases {
        assert_eq!(read(&bars(&csv()), text.as_bytes()), expected, "{name}");
    }
}

#[test]
fn records_that_are_not_rows() {
    let cases = [
        ("2020-12-21 09:31:00,20.5,737", "expected 4 fields, found 3"),
        ("2020-12-21 09:31:00,20.5,737,x,y", "expected 4 fields, found 5"),
        ("2020-12-21 09:31:00,20.5,737,x,", "expected 4 fields, found 5"),
        ("oops", "expected 4 fields, found 1"),
        ("oops,20.5", "expected 4 fields, found 2"),
        (",20.5,737,x", "`time` is empty"),
        ("yesterday,20.5,737,x", "`time` is not a timestamp (YYYY-MM-DD HH:MM:SS): `yesterday`"),
        ("2021-03-14 02:30:00,20.5,737,x", "`time`: 2021-03-14 02:30:00 does not exist in America/New_York"),
        ("9999-12-31 23:59:59,20.5,737,x", "`time` is outside the years 1 to 9999: `9999-12-31 23:59:59`"),
        ("2020-12-21 09:31:00,cheap,737,x", "`price` is not a number: `cheap`"),
        ("2020-12-21 09:31:00,1.2.3,737,x", "`price` is not a number: `1.2.3`"),
        ("2020-12-21 09:31:00,NaN,737,x", "`price` is not a finite number: `NaN`"),
        ("2020-12-21 09:31:00,-Infinity,737,x", "`price` is not a finite number: `-Infinity`"),
        ("2020-12-21 09:31:00,1e999,737,x", "`price` is not a finite number: `1e999`"),
        ("2020-12-21 09:31:00,20.5,1e19,x", "`volume` does not fit in 64 bits: `1e19`"),
        ("2020-12-21 09:31:00,20.5,1.5,x", "`volume` is not a whole number: `1.5`"),
        ("2020-12-21 09:31:00,20.5,many,x", "`volume` is not a number: `many`"),
        ("2020-12-21 09:31:00,20.5,737,a\0b", "the line holds a NUL byte"),
        ("\"2020-12-21 09:31:00,20.5,737,x", "a quoted field is not closed"),
        ("\"2020-12-21\" 09:31:00,20.5,737,x", "text follows the closing quote of a field"),
        ("\"2020-12-21 09:31:00\",20.5,737", "expected 4 fields, found 3"),
        ("\"2020-12-21 09:31:00\",20.5,\"many\",x", "`volume` is not a number: `many`"),
    ];
    for (line, reason) in cases {
        let text = format!("time,price,volume,note\n{GOOD}\n{line}\n{GOOD}\n");
        let expected = vec![kept(2, GOOD_ROW), rejected(3, reason, line), kept(4, GOOD_ROW)];
        assert_eq!(read(&bars(&csv()), text.as_bytes()), expected, "{line}");
    }
}

#[test]
fn a_wrong_value_is_shown_in_part() {
    let text = format!("time,price,volume,note\n2020-12-21 09:31:00,{},1,x\n", "é".repeat(100));
    let expected = format!("`price` is not a number: `{}...`", "é".repeat(80));
    let rows = read(&bars(&csv()), text.as_bytes());
    assert_eq!(rows[0].content.as_ref().unwrap_err().0, expected);
}

#[test]
fn bytes_that_are_not_utf8() {
    let text = [b"time,price,volume,note\n2020-12-21 09:31:00,1,2,\xff\n", GOOD.as_bytes()].concat();
    let expected = vec![rejected(2, "the line is not UTF-8", "2020-12-21 09:31:00,1,2,\u{fffd}"), kept(3, GOOD_ROW)];
    assert_eq!(read(&bars(&csv()), &text), expected);
}

#[test]
fn values_of_each_type() {
    let bad = None;
    let cases = [
        ("double", "1", Some("1.0")),
        ("double", " 1.5 ", Some("1.5")),
        ("double", "-2e-3", Some("-0.002")),
        ("double", "113.50399999999999", Some("113.50399999999999")),
        ("double", "", Some("")),
        ("double", "  ", Some("")),
        ("double", "0x1", bad),
        ("bigint", "737", Some("737")),
        ("bigint", "737.0", Some("737")),
        ("bigint", " 1e3 ", Some("1000")),
        ("bigint", "-9223372036854775808", Some("-9223372036854775808")),
        ("bigint", "9223372036854775808", bad),
        ("boolean", "TRUE", Some("true")),
        ("boolean", "0", Some("false")),
        ("boolean", "maybe", bad),
        ("date", "1900-01-01", Some("1900-01-01")),
        ("date", "9999-12-31", Some("9999-12-31")),
        ("date", "2021-02-29", bad),
        ("date", "0000-01-01", bad),
        ("date", "2021-02-28 00:00:00", bad),
        ("timestamp", "2020-11-01 01:30:00", bad),
        ("timestamp", "2020-07-01T09:30", Some("2020-07-01T13:30:00Z")),
        ("timestamp", "2020-07-01 09:30:00.25+02:00", Some("2020-07-01T07:30:00.250Z")),
        ("timestamp", "2020-07-01", bad),
        ("string", " a b ", Some(" a b ")),
        ("string", "", Some("")),
        ("string", "é", Some("é")),
    ];
    for (data_type, text, expected) in cases {
        let rows = read(&one_column(data_type, &csv()), format!("x,y\n{text},end\n").as_bytes());
        let found = rows[0].content.as_ref().ok().map(|values| values.strip_suffix("|end").unwrap());
        assert_eq!(found, expected, "{data_type} {text}");
    }
}

#[test]
fn a_broken_header_costs_every_line() {
    for (header, reason) in [
        ("price,volume,note", "the header has no field `time`"),
        (
            "time,price, Volume,note",
            "the header has no field `volume` but `Volume`: name it in `rename` of the feed, or declare a column that is read from \
             `Volume`",
        ),
        ("time;price;volume;note", "the header has no field `time`"),
        ("time,price,volume,volume,note", "the header has the field `volume` twice"),
        ("TIME,price,volume,note", "the header has no field `time`"),
    ] {
        let text = format!("{header}\n{GOOD}\n\n{GOOD}");
        let expected = vec![rejected(1, reason, header), rejected(2, reason, GOOD), rejected(4, reason, GOOD)];
        assert_eq!(read(&bars(&csv()), text.as_bytes()), expected, "{header}");
    }
    let text = "{\n    \"Error Message\": \"Invalid API call.\"\n}\n";
    let rows = read(&bars(&csv()), text.as_bytes());
    assert_eq!(
        rows.iter().map(|row| (row.line, row.content.is_ok())).collect::<Vec<_>>(),
        [(1, false), (2, false), (3, false)]
    );
}

#[test]
fn quotes_by_rfc_4180() {
    let source = bars(&csv());
    let header = "time,price,volume,note\n";
    let record = "\"2020-12-21 09:31:00\",\"20.5\",\"737\"";
    let row = "2020-12-21T14:30:00Z|20.5|737|";
    for (field, expected) in [
        ("\"x\"", "x"),
        ("\"a,b\"", "a,b"),
        ("\"a\"\"b\"", "a\"b"),
        ("\"\"\"\"", "\""),
        ("\"\"", ""),
        ("\"a\nb\"", "a\nb"),
        ("\"a\r\nb\"", "a\r\nb"),
        ("5\" wide", "5\" wide"),
    ] {
        let text = format!("{header}{record},{field}\n{GOOD}\n");
        let next = 3 + expected.matches('\n').count() as i64;
        let expected = vec![kept(2, &format!("{row}{expected}")), kept(next, GOOD_ROW)];
        assert_eq!(read(&source, text.as_bytes()), expected, "{field}");
    }
}

#[test]
fn a_stray_quote_costs_its_own_line() {
    let source = bars(&csv());
    let stray = "\"2020-12-21 09:31:00,20.5,737,x";
    let lines = [GOOD, stray, GOOD, GOOD, stray, GOOD, stray, stray, GOOD];
    let text = format!("time,price,volume,note\n{}", lines.join("\n"));
    for piece in [1, 7, 50, usize::MAX] {
        let rows = read_with(&source, text.as_bytes(), &ReadOptions::default(), piece);
        let kept_lines: Vec<(i64, bool)> = rows.iter().map(|row| (row.line, row.content.is_ok())).collect();
        let expected: Vec<(i64, bool)> =
            lines.iter().enumerate().map(|(at, line)| (at as i64 + 2, *line == GOOD)).collect();
        assert_eq!(kept_lines, expected, "pieces of {piece}");
    }
}

#[test]
fn a_quote_that_closes_beyond_the_limit_costs_its_line() {
    let source = bars(&csv());
    let text = format!("time,price,volume,note\n{GOOD},\"\n{GOOD}\n{GOOD}\n{GOOD}\n{GOOD}\"\n{GOOD}\n");
    for piece in [1, 33, usize::MAX] {
        let rows = read_with(&source, text.as_bytes(), &small(100), piece);
        let expected: Vec<(i64, bool)> = vec![(2, false), (3, true), (4, true), (5, true), (6, true), (7, true)];
        let found: Vec<(i64, bool)> = rows.iter().map(|row| (row.line, row.content.is_ok())).collect();
        assert_eq!(found, expected, "pieces of {piece}");
        assert_eq!(rows[0].content, Err(("a quoted field is not closed".into(), format!("{GOOD},\""))));
    }
}

#[test]
fn a_long_line_is_skipped_without_being_held() {
    let long = "x".repeat(10_000);
    let source = bars(&csv());
    for end in ["\n", ""] {
        let text = format!("time,price,volume,note\n{GOOD}\n{long}\n{GOOD}\n{long}{end}");
        for piece in [1, 10, 64, 4096, usize::MAX] {
            let options = ReadOptions { max_raw_bytes: 5, ..small(64) };
            let reason = "the line is longer than 64 bytes";
            let expected =
                vec![kept(2, GOOD_ROW), rejected(3, reason, "xxxxx"), kept(4, GOOD_ROW), rejected(5, reason, "xxxxx")];
            assert_eq!(read_with(&source, text.as_bytes(), &options, piece), expected, "pieces of {piece}");
        }
    }
}

#[test]
fn a_line_may_be_as_long_as_the_limit() {
    let text = format!("time,price,volume,note\n{GOOD}\n");
    for (limit, is_read) in [(GOOD.len(), true), (GOOD.len() - 1, false)] {
        for piece in [1, 10, usize::MAX] {
            let rows = read_with(&bars(&csv()), text.as_bytes(), &small(limit), piece);
            assert_eq!(rows.iter().map(|row| row.content.is_ok()).collect::<Vec<_>>(), [is_read], "{limit} {piece}");
        }
    }
}

#[test]
fn a_header_beyond_the_limit_costs_every_line() {
    let text = format!("time,price,volume,note{}\n{GOOD}\n", ",x".repeat(100));
    let rows = read_with(&bars(&csv()), text.as_bytes(), &small(100), usize::MAX);
    assert_eq!(rows.iter().map(|row| (row.line, row.content.is_ok())).collect::<Vec<_>>(), [(1, false), (2, false)]);
}

#[test]
fn raw_text_is_cut_between_characters() {
    let options = ReadOptions { max_raw_bytes: 4, ..ReadOptions::default() };
    let text = "time,price,volume,note\nabcé,1\n";
    let rows = read_with(&bars(&csv()), text.as_bytes(), &options, usize::MAX);
    assert_eq!(rows[0].content.as_ref().unwrap_err().1, "abc");
}

#[test]
fn other_delimiters() {
    for delimiter in [';', '\t', '|'] {
        let text = format!("time,price,volume,note\n{GOOD}\n").replace(',', &delimiter.to_string());
        let source = bars(&json!({ "csv": { "delimiter": delimiter } }));
        assert_eq!(read(&source, text.as_bytes()), vec![kept(2, GOOD_ROW)]);
    }
}

#[test]
fn batches_are_bounded_in_rows_and_bytes() {
    let source = bars(&csv());
    let text = format!("time,price,volume,note\n{}", format!("{GOOD}\n").repeat(25));
    let options = ReadOptions { batch_rows: 10, ..ReadOptions::default() };
    let sizes = |text: &[u8], options| -> Vec<usize> {
        batches(&source, text, Compression::None, options, 1 << 20).iter().map(|batch| batch.num_rows()).collect()
    };
    assert_eq!(sizes(text.as_bytes(), &options), [10, 10, 5]);
    let long = format!("time,price,volume,note\n{}", format!("{}\n", "x".repeat(1 << 20)).repeat(20));
    let options = ReadOptions { max_raw_bytes: 1 << 20, ..ReadOptions::default() };
    assert_eq!(sizes(long.as_bytes(), &options), [8, 8, 4]);
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_is_decompressed_as_it_arrives() {
    let source = bars(&csv());
    let text = format!("time,price,volume,note\n{}", format!("{GOOD}\n").repeat(20_000));
    let two_members = [gzipped(&text.as_bytes()[..1000]), gzipped(&text.as_bytes()[1000..])].concat();
    for piece in [1000, usize::MAX] {
        for compressed in [gzipped(text.as_bytes()), two_members.clone()] {
            let found =
                rows(&source, &batches(&source, &compressed, Compression::Gzip, &ReadOptions::default(), piece));
            assert_eq!(found.len(), 20_000);
            assert!(found.iter().zip(2..).all(|(row, line)| *row == kept(line, GOOD_ROW)));
        }
    }
    let nothing = rows(&source, &batches(&source, b"", Compression::Gzip, &ReadOptions::default(), 1));
    assert!(nothing[0].content.as_ref().unwrap_err().0.contains("it has no bytes"), "{nothing:?}");
}

#[test]
fn a_broken_gzip_stream_keeps_the_rows_before_its_end() {
    let source = bars(&csv());
    let lines: Vec<String> = (0..20_000).map(|at| format!("2020-12-21 09:31:00,{at},{},x", at * 7919 % 1013)).collect();
    let text = format!("time,price,volume,note\n{}\n", lines.join("\n"));
    let whole = gzipped(text.as_bytes());
    let mut miscounted = whole.clone();
    let checksum = miscounted.len() - 8;
    miscounted[checksum] ^= 1;
    for (bytes, reason) in [
        (&whole[..whole.len() / 2], "gzip stream ends early"),
        (&whole[..whole.len() - 1], "gzip stream ends early"),
        (&whole[..4], "gzip stream ends early"),
        (&miscounted, "gzip stream ends early, or its checksum is wrong"),
        (&text.as_bytes()[..5000], "gzip stream is damaged"),
    ] {
        let found = rows(&source, &batches(&source, bytes, Compression::Gzip, &ReadOptions::default(), 4096));
        let (last, before) = found.split_last().unwrap();
        assert!(before.iter().zip(2..).all(|(row, line)| row.line == line && row.content.is_ok()), "{reason}");
        let last_reason = &last.content.as_ref().unwrap_err().0;
        assert!(last_reason.starts_with(reason), "{last_reason}");
        let header_was_read = bytes.len() > 1000 && bytes.starts_with(&[0x1f, 0x8b]);
        assert_eq!(last.line, if header_was_read { before.len() as i64 + 2 } else { 1 });
    }
}

#[test]
fn damage_within_a_gzip_stream_keeps_the_rows_before_it() {
    let source = bars(&csv());
    let lines: Vec<String> = (0..20_000).map(|at| format!("2020-12-21 09:31:00,{at},{},x", at * 7919 % 1013)).collect();
    let mut bytes = gzipped(format!("time,price,volume,note\n{}\n", lines.join("\n")).as_bytes());
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xff);
    let found = rows(&source, &batches(&source, &bytes, Compression::Gzip, &ReadOptions::default(), 4096));
    assert!(found.len() > 5000 && found[..5000].iter().all(|row| row.content.is_ok()), "{}", found.len());
    assert!(found.last().unwrap().content.as_ref().unwrap_err().0.starts_with("gzip stream"));
}
