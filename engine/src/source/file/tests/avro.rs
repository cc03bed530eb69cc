//! Files that fastavro wrote, whole and damaged. `data/trades.txt` holds what fastavro reads from them, in Python's words.

use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::json;

use super::super::rows::ReadOptions;
use super::support::{Row, read, read_with};

const FILES: [(&str, &[u8]); 6] = [
    ("null", include_bytes!("data/trades_null.avro")),
    ("deflate", include_bytes!("data/trades_deflate.avro")),
    ("snappy", include_bytes!("data/trades_snappy.avro")),
    ("zstandard", include_bytes!("data/trades_zstandard.avro")),
    ("bzip2", include_bytes!("data/trades_bzip2.avro")),
    ("xz", include_bytes!("data/trades_xz.avro")),
];
const PLAIN: &[u8] = FILES[0].1;
const ROWS: &str = include_str!("data/trades.txt");
const MARKER: &[u8] = b"0123456789abcdef";

fn trades() -> FileSource {
    let column = |name: &str, data_type: &str| json!({ "name": name, "type": data_type });
    let columns = [
        column("id", "bigint"),
        column("ticker", "string"),
        column("px", "double"),
        column("qty", "bigint"),
        column("ratio", "double"),
        column("ok", "boolean"),
        column("day", "date"),
        column("ts", "timestamp"),
        column("ms", "timestamp"),
        column("clock", "timestamp"),
        column("side", "string"),
        column("code", "string"),
        column("tier", "bigint"),
        column("uid", "string"),
        column("at", "bigint"),
        column("again", "string"),
    ];
    let rename = json!({ "ticker": "symbol", "code": "/venue/code", "tier": "/venue/tier", "again": "/other/code" });
    let feed = json!({ "path": "bars/{symbol}", "format": { "avro": {} }, "rename": rename });
    serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
}

fn expected() -> Vec<Row> {
    (1..).zip(ROWS.lines()).map(|(line, row)| super::support::kept(line, row)).collect()
}

fn reasons(rows: &[Row]) -> Vec<(i64, &str)> {
    rows.iter().filter_map(|row| Some((row.line, row.content.as_ref().err()?.0.as_str()))).collect()
}

/// Where blocks begin: behind the header, and behind each block.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, MARKER).map(|at| at + MARKER.len()).collect()
}

#[test]
fn every_codec_and_type() {
    for (codec, bytes) in FILES {
        for (piece, batch_rows) in [(usize::MAX, 8192), (1, 1), (7, 3)] {
            let options = ReadOptions { batch_rows, ..ReadOptions::default() };
            assert_eq!(read_with(&trades(), bytes, &options, piece), expected(), "{codec} in pieces of {piece}");
        }
    }
    assert_eq!(read(&trades(), b""), vec![]);
}

#[test]
fn a_contract_that_the_file_does_not_fit() {
    let source = |columns: serde_json::Value, rename: serde_json::Value| -> FileSource {
        let feed = json!({ "path": "bars/{symbol}", "format": { "avro": {} }, "rename": rename });
        serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "bars": feed } })).unwrap()
    };
    for (columns, rename, reason) in [
        (json!([{ "name": "x", "type": "string", "required": true }]), json!({}), "the file has no column `x`"),
        (json!([{ "name": "x", "type": "string" }]), json!({}), "the file has none of the declared columns"),
        (
            json!([{ "name": "x", "type": "string", "required": true }]),
            json!({ "x": "/venue/name" }),
            "the file has no column `/venue/name`",
        ),
    ] {
        let rows = read(&source(columns, rename), PLAIN);
        assert_eq!(reasons(&rows), [(1, format!("not readable as Avro: {reason}").as_str())]);
    }
    let rows = read(&source(json!([{ "name": "id", "type": "boolean" }]), json!({})), PLAIN);
    assert_eq!((rows.len(), reasons(&rows)[3]), (10, (4, "`id` is not true or false: `3`")));
    let rows = read(
        &source(json!([{ "name": "mixed", "type": "bigint" }, { "name": "y", "type": "date" }]), json!({})),
        PLAIN,
    );
    assert_eq!(rows.len(), 10);
}

#[test]
fn a_damaged_block_costs_itself() {
    let blocks = blocks(PLAIN);
    assert!(blocks.len() > 4);
    // The marker behind the second block.
    let mut bytes = PLAIN.to_vec();
    bytes[blocks[2] - 1] ^= 1;
    let rows = read(&trades(), &bytes);
    assert_eq!(reasons(&rows).len(), 1, "{rows:?}");
    assert!(reasons(&rows)[0].1.starts_with("a block is damaged: it does not end with the file's marker"));
    let kept: Vec<&str> = rows.iter().filter_map(|row| row.content.as_deref().ok()).collect();
    assert!(
        kept.len() >= 4 && kept.first() == ROWS.lines().next().as_ref() && kept.last() == ROWS.lines().last().as_ref()
    );
    // Its number of rows, doubled: what is not there is said.
    let mut bytes = PLAIN.to_vec();
    bytes[blocks[0]] *= 2;
    let rows = read(&trades(), &bytes);
    assert_eq!(reasons(&rows).len(), 1, "{rows:?}");
    assert!(reasons(&rows)[0].1.contains("rows are not read: a value goes on beyond the block"), "{rows:?}");
    // One row fewer than there are: its bytes are left.
    let mut bytes = PLAIN.to_vec();
    bytes[blocks[0]] -= 2;
    let rows = read(&trades(), &bytes);
    assert!(reasons(&rows)[0].1.contains("bytes are left behind its last row"), "{rows:?}");
}

#[test]
fn a_value_that_is_wrong_costs_its_row() {
    let at = memchr::memmem::find(PLAIN, "S4é".as_bytes()).unwrap();
    let mut bytes = PLAIN.to_vec();
    bytes[at + 2] = 0xff;
    let rows = read(&trades(), &bytes);
    assert_eq!((rows.len(), reasons(&rows)), (10, vec![(5, "a text is not UTF-8")]));
    assert_eq!([&rows[..4], &rows[5..]].concat(), [&expected()[..4], &expected()[5..]].concat());
    assert!(rows[4].content.as_ref().unwrap_err().1.contains("5334ff"), "its bytes are there");
}

#[test]
fn a_file_that_is_cut_off_keeps_what_is_whole() {
    for (codec, bytes) in FILES {
        let blocks = blocks(bytes);
        for length in (1..bytes.len()).step_by(7).chain(blocks.iter().copied()) {
            let rows = read(&trades(), &bytes[..length]);
            let kept: Vec<&Row> = rows.iter().filter(|row| row.content.is_ok()).collect();
            assert_eq!(kept, expected().iter().take(kept.len()).collect::<Vec<_>>(), "{codec} cut at {length}");
            let is_whole = blocks.contains(&length);
            assert_eq!(rows.len() - kept.len(), usize::from(!is_whole), "{codec} cut at {length}: {rows:?}");
            if !is_whole && length > blocks[0] {
                let reason = reasons(&rows)[0].1;
                assert!(reason.starts_with("the file ends within a block"), "{codec} cut at {length}: {reason}");
            }
        }
    }
}

#[test]
fn headers_that_are_none() {
    let header = &PLAIN[..blocks(PLAIN)[0]];
    let with = |from: &str, to: &str| {
        let at = memchr::memmem::find(header, from.as_bytes()).unwrap();
        [&PLAIN[..at], to.as_bytes(), &PLAIN[at + from.len()..]].concat()
    };
    for (bytes, reason) in [
        (b"PAR1 and more".to_vec(), "it does not begin as Avro's object container files do"),
        (b"Obj\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "its header is damaged"),
        (b"Obj\x01\x00".iter().chain(MARKER).copied().collect(), "it has no schema"),
        (with("null", "lzma"), "its codec is `lzma`, which is not read"),
        (with("\"record\"", "\"recced\""), "its schema has no type `recced`"),
        (with("{\"type\"", "[\"type\""), "its schema is not JSON"),
    ] {
        let rows = read(&trades(), &bytes);
        assert!(rows.len() == 1 && reasons(&rows)[0].1.contains(reason), "{reason}: {rows:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_is_survived_and_never_hides_whole_blocks(
        file in prop::sample::select(&FILES[..]),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        piece in 1_usize..400,
        batch_rows in 1_usize..12,
    ) {
        let (codec, bytes) = file;
        let start = blocks(bytes)[0];
        let mut bytes = bytes.to_vec();
        for (at, byte) in &damages {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = *byte;
        }
        let whole = read(&trades(), &bytes);
        let options = ReadOptions { batch_rows, ..ReadOptions::default() };
        prop_assert_eq!(&whole, &read_with(&trades(), &bytes, &options, piece));
        // These have checksums, so that what is kept is what was written.
        if ["snappy", "bzip2", "xz"].contains(&codec) {
            for row in whole.iter().filter_map(|row| row.content.as_deref().ok()) {
                prop_assert!(ROWS.lines().any(|line| line == row), "{}", row);
            }
        }
        prop_assert!(whole.iter().any(|row| row.content.is_err()) || whole.len() >= expected().len());
    }

    #[test]
    fn any_bytes_are_answered(header: bool, noise in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let start = if header { &PLAIN[..blocks(PLAIN)[0]] } else { b"Obj\x01".as_slice() };
        let bytes = [start, &noise].concat();
        let whole = read(&trades(), &bytes);
        prop_assert_eq!(&whole, &read_with(&trades(), &bytes, &ReadOptions::default(), piece));
        prop_assert!(!whole.is_empty() || (header && noise.is_empty()));
    }
}
