//! Parquet files whose writer stored a checksum of each page.

use super::absent::read_parquet;
use super::support::columns;
use serde_json::json;

/// A file, and the ranges of its page bodies. If any bit there is flipped, pyarrow 26 reports a wrong checksum. Both files have 40 rows `i: 0.., d: i / 3, s: t0 t1 t2 t0 ..`, written by
/// `pq.write_table(table, file, write_page_checksum=True, store_schema=False, write_statistics=False, ..)`.
type Checked = (&'static [u8], &'static [std::ops::Range<usize>]);

/// `use_dictionary=False, compression="none", data_page_version="1.0"`: without the checksum, a flipped bit is another number.
const PLAIN: Checked = (include_bytes!("data/checksums-plain-v1.parquet"), &[31..357, 384..710, 736..982]);
/// `use_dictionary=True, compression="zstd", data_page_version="2.0"`.
const PACKED: Checked =
    (include_bytes!("data/checksums-packed-v2.parquet"), &[25..93, 123..157, 179..319, 349..383, 403..430, 460..474]);

fn read(bytes: &[u8]) -> Vec<Result<String, (String, String)>> {
    let source = columns(&["i bigint", "d double", "s string"], &json!({ "parquet": {} }));
    read_parquet(&source, bytes.to_vec()).into_iter().map(|row| row.content).collect()
}

#[test]
fn a_page_that_differs_from_its_checksum_makes_the_file_unreadable() {
    for (bytes, checked) in [PLAIN, PACKED] {
        let whole = read(bytes);
        assert_eq!(whole.len(), 40);
        for (row, content) in whole.iter().enumerate() {
            let content = content.as_ref().unwrap();
            assert!(
                content.starts_with(&format!("{row}|")) && content.ends_with(&format!("|t{}", row % 3)),
                "{content}"
            );
        }
        for (at, bit) in checked.iter().cloned().flatten().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            let rows = read(&damaged);
            let [Err((reason, _))] = rows.as_slice() else { panic!("byte {at}, bit {bit}: {rows:?}") };
            assert!(reason.starts_with("not readable as Parquet: ") && reason.contains("CRC"), "{at}: {reason}");
        }
    }
}
