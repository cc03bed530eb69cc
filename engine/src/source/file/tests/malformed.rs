//! Files that nobody meant to write: each of their letters and digits is in a row, kept or rejected, and how they arrive changes nothing.

use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::compression::Compression;
use super::super::rows::ReadOptions;
use super::support::{Row, batches, columns, read, read_with, rows};

fn texts(format: &Value) -> FileSource {
    columns(&["x string", "y string", "z string"], format)
}

fn csv(options: &[(&str, Value)]) -> Value {
    let mut csv = json!({ "header": false, "match": "position" });
    for (key, value) in options {
        csv[*key] = value.clone();
    }
    json!({ "csv": csv })
}

fn fixed() -> Value {
    let field = |name: &str, start: usize| json!({ "name": name, "start": start, "width": 3 });
    json!({ "fixed_width": { "fields": [field("x", 1), field("y", 4), field("z", 7)] } })
}

/// Letters and digits, which no format takes for anything but text.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn letters_of(rows: &[Row]) -> String {
    rows.iter()
        .map(|row| match &row.content {
            Ok(values) => letters(values),
            Err((_, raw)) => letters(raw),
        })
        .collect()
}

/// Reads a file in pieces of all kinds, which must all give the same rows.
fn read_in_all_pieces(source: &FileSource, bytes: &[u8]) -> Vec<Row> {
    let whole = read(source, bytes);
    for (piece, batch_rows) in [(1, 1), (1, 8192), (2, 3), (3, 8192), (5, 2), (16, 8192), (64, 1)] {
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        assert_eq!(read_with(source, bytes, &options, piece), whole, "pieces of {piece}: {bytes:?}");
    }
    assert!(whole.is_sorted_by(|a, b| a.line < b.line), "{bytes:?}");
    whole
}

/// Files without a header, and how many of their rows are kept and rejected.
fn files() -> Vec<(&'static str, &'static [u8], usize, usize)> {
    vec![
        ("nothing", b"", 0, 0),
        ("a newline", b"\n", 0, 0),
        ("newlines", b"\n\r\n\n", 0, 0),
        ("blanks", b"  \n \n   ", 0, 0),
        ("a carriage return", b"\r", 0, 0),
        ("carriage returns alone", b"a,b,c\rd,e,f\r", 0, 1),
        ("two carriage returns", b"a,b,c\r\r\nd,e,f\r\r\n", 2, 0),
        ("a NUL", b"a,\0,c\nd,e,f\n", 1, 1),
        ("NULs at the end", b"a,b,c\n\0\0\0\0", 1, 1),
        ("half of it NUL", b"a,b,c\n\0d,e,f\n\0\n", 1, 2),
        ("a control character", b"a,\x01,c\x7f\n", 1, 0),
        ("control-Z at the end", b"a,b,c\n\x1a", 1, 1),
        ("no UTF-8", b"a,\xff,c\nd,e,f\n", 1, 1),
        ("a byte alone", b"a,b,c\n\x80\n", 1, 1),
        ("half a character", b"a,b,\xe2\x82\nd,e,f\n", 1, 1),
        ("half a character at the end", b"a,b,c\nd,e,\xe2\x82", 1, 1),
        ("a surrogate", b"a,\xed\xa0\x80,c\n", 0, 1),
        ("a long form", b"a,\xc0\xaf,c\n", 0, 1),
        ("beyond Unicode", b"a,\xf4\x90\x80\x80,c\n", 0, 1),
        ("a mark", b"\xEF\xBB\xBFa,b,c\n", 1, 0),
        ("a mark alone", b"\xEF\xBB\xBF", 0, 0),
        ("half a mark", b"\xEF\xBBa,b,c\nd,e,f", 1, 1),
        ("two marks", b"\xEF\xBB\xBF\xEF\xBB\xBFa,b,c\n", 1, 0),
        ("a mark in the middle", b"a,b,c\n\xEF\xBB\xBFd,e,f\n", 2, 0),
        ("a mark and a quote", b"\xEF\xBB\xBF\"a\",b,c\n", 1, 0),
        ("a mark of UTF-32", b"\xFF\xFE\0\0a\0\0\0\n\0\0\0", 0, 2),
        ("too few fields", b"a,b\nd,e,f\n", 1, 1),
        ("too many fields", b"a,b,c,d\nd,e,f\n", 1, 1),
        ("a delimiter at the end", b"a,b,c,\nd,e,f,\n", 0, 2),
        ("delimiters alone", b",,\n,,,\n,\n", 1, 2),
        ("one word", b"oops", 0, 1),
        ("another delimiter", b"a;b;c\nd;e;f\n", 0, 2),
        ("a page of HTML", b"<html>\n<body>Not Found, sorry</body>\n</html>\n", 0, 3),
        ("JSON", b"{\"a\": 1,\n \"b\": [2, 3]}\n", 0, 2),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\xd4I\xd2I\xe6\x02\0\n", 0, 1),
        ("Parquet", b"PAR1\x15\x04\x15\x10\n\0PAR1", 0, 2),
        ("a quote", b"\"", 0, 1),
        ("a quote and a newline", b"\"\n", 0, 1),
        ("quotes alone", b"\"\",\"\",\"\"", 1, 0),
        ("four quotes", b"\"\"\"\",b,c", 1, 0),
        ("three quotes", b"\"\"\",b,c\nd,e,f\n", 1, 1),
        ("an open quote", b"\"a,b,c\nd,e,f\n", 1, 1),
        ("an open quote at the end", b"a,b,c\nd,e,\"f", 1, 1),
        ("an open quote in the last field", b"a,b,\"c\nd,e,f\ng,h,i\n", 2, 1),
        ("two open quotes", b"\"a,b,c\nd,e,f\n\"g,h,i\n", 1, 2),
        ("a quote closed lines later", b"\"a,b\nd,e,f\ng\",h,i\nj,k,l", 2, 0),
        ("a quote closed, and too many fields", b"\"a\nb\",c,d,e\nf,g,h\n", 1, 2),
        ("text behind a quote", b"\"a\"b,c,d\ne,f,g\n", 1, 1),
        ("a blank behind a quote", b"\"a\" ,c,d\ne,f,g\n", 1, 1),
        ("a blank before a quote", b" \"a,b\",c\nd, \"e\",f\n", 2, 0),
        ("a quote within", b"a,b\"c,d\n", 1, 0),
        ("quotes within", b"a,b\"c\"d,e\n", 1, 0),
        ("a backslash before a quote", b"a,\"b\\\",c\nd,e,f\n", 2, 0),
        ("a quote and NUL", b"\"a\0\",b,c\nd,e,f", 1, 1),
        ("a quote and no UTF-8", b"\"a\xff\",b,c\nd,e,f", 1, 1),
        ("lines in quotes and no UTF-8", b"\"a\n\xff\",b,c\nd,e,f", 1, 2),
        ("lines in quotes and NUL", b"\"a\n\0\n\",b,c\nd,e,f", 1, 3),
        ("a newline in quotes of Windows", b"\"a\r\nb\",c,d\r\n", 1, 0),
        ("a carriage return behind a quote", b"\"a\",b,\"c\"\r", 1, 0),
        ("a carriage return within quotes", b"\"a\r\",b,c\n", 1, 0),
        ("quotes of a typographer", "\u{201c}a\u{201d},b,c\n".as_bytes(), 1, 0),
        ("blanks around", b" a , b , c \n", 1, 0),
        ("the end cut off", b"a,b,c\nd,e", 1, 1),
        ("a line twice", b"a,b,c\na,b,c\n", 2, 0),
        ("other separators of lines", "a,b,c\u{2028}d\u{85},e,f\n".as_bytes(), 0, 1),
    ]
}

#[test]
fn malformed_files_lose_nothing() {
    let source = texts(&csv(&[]));
    for (name, bytes, kept, rejected) in files() {
        let found = read_in_all_pieces(&source, bytes);
        let counts = (found.iter().filter(|row| row.content.is_ok()).count(), found.len());
        assert_eq!(counts, (kept, kept + rejected), "{name}: {found:?}");
        let read = if bytes.starts_with(b"\xFF\xFE") {
            let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16_lossy(&units)
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        };
        assert_eq!(letters_of(&found), letters(&read), "{name}: {found:?}");
    }
    assert!(files().len() >= 60);
}

/// The same files as lines of fixed width, with every option of CSV, and cut off everywhere.
#[test]
fn malformed_files_lose_nothing_by_other_contracts() {
    let formats = [
        fixed(),
        csv(&[("delimiter", json!("||"))]),
        csv(&[("escape", json!("\\"))]),
        csv(&[("quote", json!(""))]),
        csv(&[("quote", json!("'")), ("escape", json!("\\"))]),
        csv(&[("ragged", json!("null"))]),
        csv(&[("encoding", json!("latin-1"))]),
        csv(&[("encoding", json!("windows-1252")), ("ragged", json!("null"))]),
    ];
    for format in &formats {
        let source = texts(format);
        for (name, bytes, ..) in files().into_iter().filter(|(_, bytes, ..)| !bytes.starts_with(b"\xFF\xFE")) {
            let found = read_in_all_pieces(&source, bytes);
            let lost = letters(&String::from_utf8_lossy(bytes));
            // Behind the fields of fixed width text may follow that no contract asks for.
            if format.get("fixed_width").is_none() {
                assert_eq!(letters_of(&found), lost, "{name} by {format}: {found:?}");
            }
        }
    }
    let all: Vec<u8> = files()
        .into_iter()
        .filter(|(_, bytes, ..)| !bytes.starts_with(b"\xFF\xFE"))
        .flat_map(|(_, bytes, ..)| bytes.to_vec())
        .collect();
    for format in &formats[1..] {
        let source = texts(format);
        for end in 0..all.len() {
            let bytes = &all[..end];
            let found = read(&source, bytes);
            assert_eq!(read_with(&source, bytes, &ReadOptions { batch_rows: 3, ..ReadOptions::default() }, 7), found);
            assert_eq!(letters_of(&found), letters(&String::from_utf8_lossy(bytes)), "{end} by {format}");
        }
    }
}

#[test]
fn malformed_compressed_files_keep_the_rows_before_the_fault() {
    let source = texts(&csv(&[]));
    let text: String = (0..3000).map(|at| format!("{at},n{},{}\n", at * 7919 % 1013, at % 7)).collect();
    let whole = read(&source, text.as_bytes());
    for (compression, bytes) in [
        (Compression::Zstd, zstd::stream::encode_all(text.as_bytes(), 1).unwrap()),
        (Compression::Snappy, framed(text.as_bytes())),
        (Compression::Gzip, gzipped(text.as_bytes())),
    ] {
        for end in (0..bytes.len()).step_by(bytes.len() / 50) {
            let read = |piece, batch_rows| {
                let options = ReadOptions { batch_rows, ..ReadOptions::default() };
                rows(&source, &batches(&source, &bytes[..end], compression, &options, piece))
            };
            let found = read(usize::MAX, 8192);
            assert_eq!(read(1, 8192), found);
            assert_eq!(read(1000, 10), found);
            let Some((last, before)) = found.split_last() else {
                assert!(compression == Compression::Snappy && end <= 10, "{compression:?} {end}");
                continue;
            };
            assert_eq!(before, &whole[..before.len()], "{compression:?} {end}");
            let reason = last.content.as_ref().unwrap_err().0.clone();
            assert!(reason.contains("stream ends early"), "{compression:?} {end}: {reason}");
            assert_eq!(last.line, before.len() as i64 + 1);
        }
    }
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzEncoder::new(text, flate2::Compression::default()), &mut bytes)
        .unwrap();
    bytes
}

fn framed(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut snap::read::FrameEncoder::new(text), &mut bytes).unwrap();
    bytes
}

fn special() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(b",\n\r\"'|\\# \0\xff\xc3\xa9\xfe;~".to_vec()),
        2 => prop::sample::select(b"abc123".to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_by_random_rules_lose_nothing(
        bytes in prop::collection::vec(special(), 0..120),
        characters in (0_usize..4, 0_usize..3, any::<bool>(), any::<bool>()),
        layout in (0_usize..4, 0_usize..2, any::<bool>()),
        encoding in 0_usize..5,
        pieces in (1_usize..40, 1_usize..6),
    ) {
        let (delimiter, quote, escape, comment) = characters;
        let (names, skip_lines, ragged) = layout;
        let (delimiter, quote) = ([",", "|", "||", "~"][delimiter], ["\"", "'", ""][quote]);
        let encoding = ["utf-8", "windows-1252", "latin-1", "utf-16le", "utf-16be"][encoding];
        // Within quotes a line that looks like a comment is none, so that a model would have to know the quotes.
        let comment = comment && quote.is_empty();
        let mut format = json!({ "delimiter": delimiter, "quote": quote, "encoding": encoding, "skip_lines": skip_lines });
        if escape && !quote.is_empty() {
            format["escape"] = json!("\\");
        }
        if comment {
            format["comment"] = json!("#");
        }
        if ragged {
            format["ragged"] = json!("null");
        }
        let header = match names {
            0 => String::new(),
            1 => "y D x D z\n".replace(" D ", delimiter),
            2 => "X D Y D Z\n".replace(" D ", delimiter),
            _ => "1 D 2 D 3\n".replace(" D ", delimiter),
        };
        match names {
            0 => {
                format["header"] = json!(false);
                format["fields"] = json!(["x", "y", "z"]);
            }
            1 => {}
            2 => format["match"] = json!("name_ignoring_case"),
            _ => format["match"] = json!("position"),
        }
        let before = "7,8\"\n".repeat(skip_lines) + &header;
        let encoded: Vec<u8> = match encoding {
            "utf-16le" => before.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => before.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => before.into_bytes(),
        };
        let has_mark = encoded.is_empty() && (bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF"));
        let text = match encoding {
            "utf-8" => String::from_utf8_lossy(&bytes).into_owned(),
            "utf-16le" => utf16(&bytes, u16::from_le_bytes),
            "utf-16be" => utf16(&bytes, u16::from_be_bytes),
            _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
        };
        let records = text.split('\n').filter(|line| !(comment && line.starts_with('#')));
        let expected: String = records.map(letters).collect();
        let file = [encoded, bytes].concat();
        let source = texts(&json!({ "csv": format }));
        let whole = read(&source, &file);
        let (piece, batch_rows) = pieces;
        prop_assert_eq!(&read_with(&source, &file, &ReadOptions { batch_rows, ..ReadOptions::default() }, piece), &whole);
        let short = ReadOptions { max_line_bytes: 20, ..ReadOptions::default() };
        let cut = read_with(&source, &file, &short, usize::MAX);
        prop_assert_eq!(&read_with(&source, &file, &ReadOptions { batch_rows, ..short }, piece), &cut);
        if !has_mark {
            let mut sorted: Vec<char> = letters_of(&whole).chars().collect();
            let mut all: Vec<char> = expected.chars().collect();
            // Columns may stand in another order than fields.
            sorted.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(sorted, all, "{:?}", whole);
        }
    }

    #[test]
    fn random_lines_of_fixed_width_lose_nothing(
        lines in prop::collection::vec("[ab1\u{e9}\u{0}]{0,9}", 0..9),
        ragged: bool,
        piece in 1_usize..40,
    ) {
        let mut format = fixed();
        format["fixed_width"]["ragged"] = json!(if ragged { "null" } else { "reject" });
        let text = lines.join("\n");
        let found = read_with(&texts(&format), text.as_bytes(), &ReadOptions::default(), piece);
        prop_assert_eq!(letters_of(&found), letters(&text));
        prop_assert_eq!(found.len(), lines.iter().filter(|line| !line.is_empty()).count());
    }
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|bytes| unit(*bytes)).collect();
    String::from_utf16_lossy(&units)
}
