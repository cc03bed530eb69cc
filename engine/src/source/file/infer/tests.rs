//! Proposals for files as people have them: each must be a contract that `check` accepts and that reads the file.

use super::*;

fn toml(path: &str, bytes: &[u8]) -> String {
    infer(path, bytes, true).unwrap().to_toml("s", "$raw", path)
}

/// The text of a proposal is a source with the format and columns that were proposed.
fn parsed(text: &str) -> pulse_core::sources::Sources {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_file_as_a_spreadsheet_of_a_german_bank_writes_it() {
    let text = "Kontoauszug 2024\n\nBuchungstag;Betrag;W\u{e4}hrung;Stück\n31.01.2024;1.234,56;EUR;1.000\n01.02.2024;-0,10;EUR;-\n";
    let bytes: Vec<u8> = text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
    let toml = toml("konto.csv", &bytes);
    let source = &parsed(&toml).files["s"];
    let feed = &source.feed["s"];
    let types: Vec<String> =
        source.columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect();
    assert_eq!(types, ["buchungstag date", "betrag double", "w_hrung string", "st_ck bigint"], "{toml}");
    assert_eq!((feed.decimal, feed.thousands), (',', Some('.')));
    assert_eq!(feed.pattern["buchungstag"], "dd.MM.yyyy");
    assert_eq!(feed.nulls.as_deref().unwrap(), ["", "-"]);
    assert_eq!(feed.rename["betrag"], "Betrag");
    let Format::Csv(csv) = &feed.format else { panic!("{toml}") };
    assert_eq!((csv.delimiter.as_str(), csv.encoding), (";", Encoding::Windows1252));
}

#[test]
fn json_and_names_that_sql_does_not_take() {
    let toml = toml("k.json", b"[[1700000000000, 1.5], [1700000060000, 2]]");
    let source = &parsed(&toml).files["s"];
    assert_eq!(source.columns[0].name, "c0");
    assert_eq!(source.feed["s"].rename["c0"], "0");
    let toml = super::infer("a.jsonl", b"{\"Trade Time\":\"2024-01-01T00:00:00Z\",\"trade-time\":1}\n", true)
        .unwrap()
        .to_toml("s", "r", "p");
    let names: Vec<String> = parsed(&toml).files["s"].columns.iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["trade_time", "trade_time_2"]);
    let toml = super::infer("a.jsonl", b"{\"/a\":1,\"\":2,\"line\":3}\n", true).unwrap().to_toml("s", "r", "p");
    let feed = &parsed(&toml).files["s"].feed["s"];
    assert_eq!(
        feed.rename.iter().map(|(name, field)| format!("{name} {field}")).collect::<Vec<_>>(),
        ["a /~1a", "line_2 line"]
    );
}

#[test]
fn what_is_neither_text_nor_parquet_is_refused() {
    for bytes in [&b"\x89PNG\r\n\x1a\n\0\0\0"[..], b"", b"   \n"] {
        assert!(infer("x.csv", bytes, true).is_err(), "{bytes:?}");
    }
    assert!(infer("x.csv.gz", b"no gzip", true).is_err());
}

#[test]
fn a_part_of_a_file_ends_with_its_last_whole_line() {
    let text = "a,b\n1,2\n3,4\n5,\"x";
    let proposal = infer("x.csv", text.as_bytes(), false).unwrap();
    assert!(proposal.columns.iter().all(|column| column.data_type == ColumnType::Bigint), "{proposal:?}");
}

/// Rows that a proposal keeps of its own file, and reasons of those that it rejects.
fn read_back(text: &str) -> (usize, Vec<String>) {
    use super::super::tests::support::read;
    let toml = toml("x.csv", text.as_bytes());
    let mut source = parsed(&toml).files["s"].clone();
    let feed = source.feed.remove("s").unwrap();
    source.feed.insert("bars".to_owned(), pulse_core::sources::Feed { path: "bars/{symbol}".to_owned(), ..feed });
    let rows = read(&source, text.as_bytes());
    let reasons: Vec<String> = rows.iter().filter_map(|row| Some(row.content.as_ref().err()?.0.clone())).collect();
    (rows.len() - reasons.len(), reasons)
}

#[test]
fn a_proposal_reads_its_own_file() {
    for (text, rows) in [
        ("'a','b'\n'x, y','1'\n'z','2'\n", 2),
        (",day,close\n0,2024-01-01,1\n1,2024-01-02,2\n", 2),
        ("day,px,px\n2024-01-01,1,2\n2024-01-02,3,4\n", 2),
        ("id,n\n18446744073709551615,1\n1,2\n", 2),
        ("\"a\",\"b\"\n\"{\\\"k\\\":1,\\\"v\\\":2}\",\"1\"\n\"{\\\"k\\\":3}\",\"2\"\n", 2),
        ("sym        price  note\nAAPL      181.25  first\nMSFT        9.50\nBRK.B  541200.00  a b\n", 3),
        ("20240102 AAPL      5\n20240102 MSFT     15\n20240103 GOOG   1500\n20240104 BRK.B     1\n", 4),
    ] {
        assert_eq!(read_back(text), (rows, Vec::new()), "{}", toml("x.csv", text.as_bytes()));
    }
    let error = infer("x.csv", b"a,b\r1,2\r3,4\r", true).unwrap_err();
    assert!(error.message().contains("carriage return alone"), "{error}");
}

#[test]
fn what_is_not_read_is_said() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, Time64MicrosecondArray};

    let pandas = toml("x.csv", b",day\n0,2024-01-01\n1,2024-01-02\n");
    assert!(pandas.contains("    # not read: a field without a name: 2 values such as 0"), "{pandas}");
    assert!(pandas.contains("\n# unknown = \"reject\""), "{pandas}");
    assert!(!toml("x.csv", b"1,2\n3,4\n").contains("unknown"));
    let time = Arc::new(Time64MicrosecondArray::from(vec![1, 2])) as ArrayRef;
    let bytes =
        super::super::tests::files::parquet_bytes(vec![("t", time), ("n", Arc::new(Int64Array::from(vec![1, 2])))]);
    let parquet = toml("x.parquet", &bytes);
    assert!(parquet.contains("# not read: `t`: Time64(µs) in the file, which no type of a column holds"), "{parquet}");
    assert_eq!(parsed(&parquet).files["s"].columns.len(), 1);
}

/// Tables hold microseconds, and structs only fields that a contract can name.
#[test]
fn what_tables_cannot_hold_of_parquet_is_rounded_or_left_out_and_said() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray};
    use arrow::datatypes::{Field, Fields};

    let numbers = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let record = |field: &str| {
        let fields = Fields::from(vec![Field::new(field, DataType::Int64, true)]);
        Arc::new(StructArray::new(fields, vec![numbers()], None)) as ArrayRef
    };
    let fine = Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789, 2])) as ArrayRef;
    let coarse = Arc::new(TimestampMicrosecondArray::from(vec![1, 2])) as ArrayRef;
    let bytes = super::super::tests::files::parquet_bytes(vec![
        ("fine", fine),
        ("coarse", coarse),
        ("a b,c", numbers()),
        ("named", record("x")),
        ("unnamed", record("x y")),
    ]);
    let proposal = infer("x.parquet", &bytes, true).unwrap();
    assert_eq!(proposal.rounded().collect::<Vec<_>>(), ["fine"]);
    assert_eq!(proposal.unread().len(), 1, "{:?}", proposal.unread());
    assert!(proposal.unread()[0].starts_with("`unnamed`: "), "{:?}", proposal.unread());
    let source = &parsed(&proposal.to_toml("s", "$raw", "x.parquet")).files["s"];
    let columns: Vec<(&str, bool)> = source.columns.iter().map(|column| (column.name.as_str(), column.round)).collect();
    assert_eq!(columns, [("fine", true), ("coarse", false), ("a_b_c", false), ("named", false)]);
    assert_eq!(source.feed["s"].rename["a_b_c"], "a b,c");
}

#[test]
fn folders_of_hive_are_columns_of_their_types() {
    let folders = [
        ("day".to_owned(), vec!["2026-01-02".to_owned(), "2026-01-03".to_owned()]),
        ("Venue Id".to_owned(), vec!["7".to_owned(), "__HIVE_DEFAULT_PARTITION__".to_owned()]),
        ("s".to_owned(), vec!["a%2Fb".to_owned()]),
    ];
    let proposal = infer("part-0.csv", b"x,day\n1,5\n", true).unwrap().with_partitions(&folders);
    let toml = proposal.to_toml("s", "$raw", "*.csv");
    let source = &parsed(&toml).files["s"];
    let types: Vec<String> =
        source.columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect();
    assert_eq!(types, ["x bigint", "day date", "venue_id bigint", "s string"], "{toml}");
    let feed = &source.feed["s"];
    assert_eq!(feed.partitions, ["day", "venue_id", "s"]);
    assert_eq!(feed.rename["venue_id"], "Venue Id");
    assert!(toml.contains("# not read: `day` of the file, which folders say"), "{toml}");
}

#[test]
fn a_mark_beside_semicolons_is_ambiguous_until_a_value_decides() {
    let is_ambiguous = |text: &str| toml("x.csv", text.as_bytes()).contains("AMBIGUOUS");
    assert!(is_ambiguous("a;b\n1.000;x\n2.500;y\n"));
    assert!(!is_ambiguous("a;b\n1.000;1,5\n2.500;2,5\n"), "a decimal comma decides");
    assert!(!is_ambiguous("a;b\n1.000;1.5\n2.500;2.5\n"), "a decimal point decides");
    assert!(!is_ambiguous("a;b\n1000;x\n2500;y\n"));
    assert!(!is_ambiguous("a,b\n1.000,x\n2.500,y\n"));
    assert!(is_ambiguous("a;b\n1,234;x\n2,345;y\n"));
    assert!(!is_ambiguous("a;b\n1,234;1.5\n2,345;2.5\n"), "a decimal point decides");
    assert!(!is_ambiguous("a;b\n1,234;1,5\n2,345;2,5\n"), "a decimal comma decides");
    assert!(!is_ambiguous("a;b\n1,5;x\n2,25;y\n"));
}

#[test]
fn broken_lines_and_texts_for_null_are_said() {
    let text = "{\"a\":\"x\"}\n{\"a\":\n{\"a\":\"NA\"}\n";
    let json = toml("x.jsonl", text.as_bytes());
    assert!(json.contains("# line 2 is rejected: ") && json.contains("`NA` is text here"), "{json}");
    let nulls = |csv: &str| parsed(csv).files["s"].feed["s"].nulls.clone().unwrap_or_default();
    let csv = toml("x.csv", b"name;n\nAda;1\nBob;n/a\nGrace;3\n");
    assert_eq!(nulls(&csv), ["", "n/a"]);
    assert!(csv.contains("type = \"bigint\""), "{csv}");
    // A value of one column is null in no other.
    assert!(!nulls(&toml("x.csv", b"name;n\nAda;1\nn/a;2\nGrace;3\n")).contains(&"n/a".to_owned()));
    let csv = toml("x.csv", b"name;n\nn/a;1\nBob;n/a\nGrace;3\n");
    assert!(!nulls(&csv).contains(&"n/a".to_owned()) && csv.contains("AMBIGUOUS: `n/a` seems to be null"), "{csv}");
    assert!(!csv.contains("bigint"), "{csv}");
}

#[test]
fn digits_in_quotes_stay_text_unless_all_numbers_are_quoted() {
    for (text, expected) in [
        ("{\"account\":\"1234\"}\n{\"account\":\"5678\"}\n", "string"),
        ("{\"account\":\"1234\",\"v\":1.5}\n", "string"),
        ("{\"account\":\"1234\",\"v\":\"1.5\"}\n", "bigint"),
        ("{\"account\":1234}\n", "bigint"),
    ] {
        let json = toml("x.jsonl", text.as_bytes());
        let account = &parsed(&json).files["s"].columns[0];
        assert_eq!(account.data_type.to_string(), expected, "{json}");
    }
}

/// Each with what it is and what to do.
#[test]
fn files_of_other_formats_are_named() {
    let mut tar = vec![b'a'; 257];
    tar.extend(b"ustar\x0000");
    for (path, bytes, what, remedy) in [
        ("a.orc", &b"ORC\x0a\x01"[..], "an ORC file", "convert it to Parquet"),
        ("a.xml", b"<a><b>1</b></a>\n<a><b>2</b></a>\n", "is XML", "convert it to JSON lines"),
        ("a.xml", b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<a>\n", "is XML", "convert it to JSON lines"),
        ("a.csv", b"<!DOCTYPE HTML>\n<p>404, not found", "a page of HTML", "instead of the file"),
        ("a.xlsx", b"PK\x03\x04..[Content_Types].xml..xl/workbook.xml", "an Excel workbook", "save its sheet as CSV"),
        ("a.zip", b"PK\x03\x04..xl/workbook.xml..[Content_Types].xml", "an Excel workbook", "save its sheet as CSV"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..", "an older Excel", "save its sheet as CSV"),
        ("a.csv", b"\x1f\x8b\x08..", "it is compressed", "`.gz`"),
        ("a.gz", b"\x28\xb5\x2f\xfd..", "it is compressed", "`.zst`"),
        ("a", b"PK\x03\x04..a.csv", "it is compressed", "`.zip`"),
        ("a", b"ARROW1\0\0", "an Arrow IPC (Feather) file", "convert it to Parquet"),
        ("a", b"SQLite format 3\0..", "a database of SQLite", "convert it to Parquet"),
        ("a.avro", b"Obj\x01..", "an Avro file", "declare `format = { avro = {} }`"),
        ("a.tar", &tar, "a tar archive", "unpack it"),
        ("a.pdf", b"%PDF-1.7\n", "a PDF", "as CSV"),
    ] {
        let said = infer(path, bytes, true).unwrap_err().to_string();
        assert!(said.starts_with(path) && said.contains(what) && said.contains(remedy), "{path}: {said}");
    }
}

/// A vendor's header in brackets, and texts that begin as a magic number does.
#[test]
fn texts_that_look_like_other_formats_are_proposed() {
    for text in ["<TICKER>,<DATE>,<CLOSE>\nAAPL,20240102,1.5\nMSFT,20240102,2.5\n", "ORDER,b\n1,2\n2,3\n"] {
        assert!(infer("a.csv", text.as_bytes(), true).is_ok(), "{text}");
    }
}

/// An empty text is a value where the format has nulls of its own.
#[test]
fn formats_with_nulls_keep_empty_texts() {
    let nulls = |path: &str, bytes: &[u8]| {
        let toml = toml(path, bytes);
        parsed(&toml).files["s"].feed["s"].nulls.clone()
    };
    assert_eq!(nulls("x.jsonl", b"{\"a\":\"\",\"n\":1}\n{\"a\":null,\"n\":2}\n"), Some(vec![]));
    // Here an empty text stands for a number that is not there.
    assert_eq!(nulls("x.jsonl", b"{\"n\":\"\",\"m\":1.5}\n{\"n\":\"2.5\",\"m\":2}\n"), Some(vec![String::new()]));
    assert_eq!(nulls("x.csv", b"a,n\n,1\nx,2\n"), None);
}

/// pandas takes the fewest digits that the values of one file need.
#[test]
fn a_decimal_has_room_for_the_next_file() {
    assert_eq!(column_type(&DataType::Decimal128(4, 2)).unwrap().to_string(), "decimal(18,2)");
    assert_eq!(column_type(&DataType::Decimal128(30, 9)).unwrap().to_string(), "decimal(30,9)");
}
