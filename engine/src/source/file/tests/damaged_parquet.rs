//! Parquet files with damage anywhere, of all types; and rows that a footer knows of.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array,
    Int64Array, ListArray, NullArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression as Codec, ZstdLevel};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::{infer, scan};
use super::absent::read_parquet;
use super::files::{listed, options, parquet_bytes, run};
use super::support::columns;

const ROWS: i64 = 40;

fn parquet() -> Value {
    json!({ "parquet": {} })
}

fn all_types() -> Vec<(&'static str, ArrayRef)> {
    let longs = || Int64Array::from_iter((0..ROWS).map(|row| (row % 7 != 0).then_some(row)));
    let texts = || (0..ROWS).map(|row| (row % 5 != 0).then(|| format!("text {row}")));
    let lists = (0..ROWS).map(|row| (row % 3 != 0).then(|| (0..row % 4).map(Some).collect::<Vec<_>>()));
    let dictionary: DictionaryArray<Int32Type> = (0..ROWS).map(|row| ["a", "b", "c"][row as usize % 3]).collect();
    let inner = Arc::new(Field::new("n", DataType::Int64, true));
    let decimals = Decimal128Array::from_iter_values((0..ROWS).map(|row| i128::from(row) * 101));
    vec![
        ("i", Arc::new(longs())),
        ("d", Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64 / 3.0)))),
        ("s", Arc::new(StringArray::from_iter(texts()))),
        ("b", Arc::new(BinaryArray::from_iter_values((0..ROWS).map(|row| row.to_le_bytes())))),
        ("f", Arc::new(BooleanArray::from_iter((0..ROWS).map(|row| Some(row % 2 == 0))))),
        ("day", Arc::new(Date32Array::from_iter_values(0..ROWS as i32))),
        ("t", Arc::new(TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|row| row * 1_000_001)))),
        ("m", Arc::new(decimals.with_precision_and_scale(20, 2).unwrap())),
        ("l", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("o", Arc::new(StructArray::from(vec![(inner, Arc::new(longs()) as ArrayRef)]))),
        ("k", Arc::new(dictionary)),
        ("int", Arc::new(Int32Array::from_iter_values(0..ROWS as i32))),
        ("none", Arc::new(NullArray::new(ROWS as usize))),
    ]
}

fn source() -> FileSource {
    let names = ["i bigint", "d double", "s string", "b binary", "f boolean", "day date", "t timestamp_ntz"];
    let more = ["m decimal(20,2)", "l array<bigint>", "o struct<n:bigint>", "k string", "int int", "none string"];
    columns(&[&names[..], &more[..]].concat(), &parquet())
}

fn written(properties: WriterProperties) -> Vec<u8> {
    let columns = all_types().into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn files() -> Vec<Vec<u8>> {
    let plain = || WriterProperties::builder().set_max_row_group_row_count(Some(15));
    let zstd = Codec::ZSTD(ZstdLevel::try_new(1).unwrap());
    vec![
        written(plain().set_dictionary_enabled(false).build()),
        written(plain().set_data_page_row_count_limit(4).set_write_batch_size(4).build()),
        written(plain().set_compression(Codec::SNAPPY).build()),
        written(plain().set_compression(zstd).build()),
    ]
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Copy(usize, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Places from the end, since the footer is there, and from the start.
    let at = || prop_oneof![3 => 0_usize..2600, 2 => any::<usize>()];
    prop_oneof![
        6 => (at(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (at(), prop::sample::select(vec![0_u8, 1, 0x7f, 0x80, 0xff])).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1_usize..30).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (at(), at(), 1_usize..30).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        let place = |at: usize| length - 1 - at % length;
        match *damage {
            Damage::Flip(at, bit) => bytes[place(at)] ^= 1 << bit,
            Damage::Set(at, byte) => bytes[place(at)] = byte,
            Damage::Cut(at) => bytes.truncate(place(at)),
            Damage::Remove(at, count) => drop(bytes.drain(place(at)..(place(at) + count).min(length))),
            Damage::Copy(from, to, count) => {
                let part = bytes[place(from)..(place(from) + count).min(length)].to_vec();
                drop(bytes.splice(place(to)..(place(to) + count).min(length), part));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing panics, and a file that is not read to its end has one rejected row that says so.
    #[test]
    fn damage_is_a_reason_of_the_file(which in 0_usize..4, damages in prop::collection::vec(damage(), 1..4)) {
        let bytes = damaged(files().swap_remove(which), &damages);
        let _ = infer("a.parquet", &bytes, true);
        let rows = read_parquet(&source(), bytes);
        let broken = rows.iter().filter_map(|row| row.content.as_ref().err()).filter(|(reason, _)| {
            reason.starts_with("not readable as Parquet: ")
        });
        prop_assert!(broken.count() <= 1);
    }
}

/// Footers in which each bit is wrong once make the decoder panic: the test above would fail without catching it.
#[test]
fn a_decoder_that_panics_takes_its_file_alone() {
    let whole = parquet_bytes(vec![("i", Arc::new(Int64Array::from(vec![1, 2, 3])))]);
    let source = columns(&["i bigint"], &parquet());
    let mut panics = 0;
    for at in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let rows = catch_unwind(AssertUnwindSafe(|| read_parquet(&source, bytes)));
        let rows = rows.unwrap_or_else(|_| panic!("bit {at}"));
        let reasons: Vec<String> =
            rows.into_iter().filter_map(|row| row.content.err()).map(|(reason, _)| reason).collect();
        panics +=
            usize::from(reasons.iter().any(|reason| reason.contains("the decoder cannot go on with its bytes: ")));
    }
    assert!(panics > 0, "no bit of {} makes the decoder panic", whole.len() * 8);
}

#[tokio::test]
async fn the_files_beside_a_damaged_one_are_read() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bars")).unwrap();
    let good = parquet_bytes(vec![("i", Arc::new(Int64Array::from(vec![1, 2, 3])))]);
    let mut expected = 0;
    for at in 0..100 {
        let mut bytes = good.clone();
        let place = good.len() - 1 - at;
        bytes[place] ^= 1;
        std::fs::write(root.path().join(format!("bars/bad{at}")), bytes).unwrap();
        std::fs::write(root.path().join(format!("bars/good{at}")), &good).unwrap();
        expected += 3;
    }
    let source = Arc::new(columns(&["i bigint"], &parquet()));
    let batch =
        run(scan(&source, listed(root.path(), &source).await.files, &options(root.path(), u64::MAX)).unwrap()).await;
    let text = |row: usize, name: &str| {
        arrow::util::display::array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
    };
    let kept = (0..batch.num_rows())
        .filter(|row| text(*row, "source_file").contains("good") && text(*row, "_reason").is_empty());
    assert_eq!(kept.count(), expected);
}

#[test]
fn a_column_without_values_is_nulls() {
    let nulls = || -> ArrayRef { Arc::new(NullArray::new(2)) };
    let within = Arc::new(StructArray::from(vec![(Arc::new(Field::new("n", DataType::Null, true)), nulls())]));
    let bytes = || {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
        parquet_bytes(vec![("i", ids), ("x", nulls()), ("o", within.clone() as ArrayRef)])
    };
    for data_type in
        ["string", "bigint", "double", "decimal(9,2)", "date", "timestamp", "boolean", "binary", "json", "array<int>"]
    {
        let optional = columns(&["i bigint", &format!("x {data_type}"), "o struct<n:string>"], &parquet());
        let rows: Vec<_> = read_parquet(&optional, bytes()).into_iter().map(|row| row.content).collect();
        assert!(
            rows.len() == 2 && rows.iter().all(|row| row.as_ref().is_ok_and(|row| row.contains("||"))),
            "{data_type}: {rows:?}"
        );
        let required = columns(&["i bigint", &format!("x {data_type} required")], &parquet());
        let rows = read_parquet(&required, bytes());
        assert!(rows.len() == 2 && rows.iter().all(|row| row.content.is_err()), "{data_type}: {rows:?}");
    }
}

/// As Spark 3.5 wrote `date'1500-01-01'` and later ones in its legacy calendar.
#[test]
fn old_values_of_the_legacy_calendar_are_rejected() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![-171_655, -141_428, -141_427, 0]));
    let second = 1_000_000;
    let stamps = vec![-62_135_596_800 * second, -2_208_988_800 * second - 1, -2_208_988_800 * second, 0];
    let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from(stamps.clone()).with_timezone("UTC"));
    let clocks: ArrayRef = Arc::new(TimestampMicrosecondArray::from(stamps));
    let kept = |array: &ArrayRef, data_type: &str, entries: &[(&str, &str)]| -> Vec<bool> {
        let batch = RecordBatch::try_from_iter_with_nullable([("x", Arc::clone(array), true)]).unwrap();
        let entries =
            entries.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect();
        let properties = WriterProperties::builder().set_key_value_metadata(Some(entries)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let source = columns(&[&format!("x {data_type}")], &parquet());
        let rows = read_parquet(&source, writer.into_inner().unwrap()).into_iter();
        rows.map(|row| match row.content {
            Ok(_) => true,
            Err((reason, _)) => {
                assert!(
                    reason.contains("`x` has a ") && reason.contains("datetimeRebaseModeInWrite=CORRECTED"),
                    "{reason}"
                );
                false
            }
        })
        .collect()
    };
    let version = ("org.apache.spark.version", "3.5.1");
    let legacy = [version, ("org.apache.spark.legacyDateTime", "")];
    assert_eq!(kept(&days, "date", &legacy), [false, false, true, true]);
    assert_eq!(kept(&days, "date", &[("org.apache.spark.version", "2.4.8")]), [false, false, true, true]);
    assert_eq!(kept(&days, "date", &[version]), [true; 4]);
    assert_eq!(kept(&days, "date", &[]), [true; 4]);
    assert_eq!(kept(&instants, "timestamp", &legacy), [false, false, true, true]);
    assert_eq!(kept(&instants, "timestamp", &[version]), [true; 4]);
    assert_eq!(kept(&clocks, "timestamp_ntz", &legacy), [true; 4]);
    let inner = Arc::new(Field::new("d", DataType::Date32, true));
    let within: ArrayRef = Arc::new(StructArray::from(vec![(inner, Arc::clone(&days))]));
    assert_eq!(kept(&within, "struct<d:date>", &legacy), [false, false, true, true]);
}

/// Spark 4.3 wrote these with `datetimeRebaseModeInWrite` and `int96RebaseModeInWrite` LEGACY in America/New_York: 1500-01-01, 1582-10-15 with
/// 1899-12-31 12:00, 1899-12-31 with 1900-01-01 12:00, and 2024-02-29 with 01:02:03.456789. It reads them so, too.
#[test]
fn files_of_spark_in_its_legacy_calendar() {
    let source = columns(&["d date", "t timestamp"], &parquet());
    for (bytes, mode) in [
        (&include_bytes!("data/spark-legacy-micros.parquet")[..], "parquet.datetimeRebaseModeInWrite"),
        (&include_bytes!("data/spark-legacy-int96.parquet")[..], "parquet.int96RebaseModeInWrite"),
    ] {
        let found: Vec<_> = read_parquet(&source, bytes.to_vec()).into_iter().map(|row| row.content).collect();
        let [Err((old_date, _)), Err((old_stamp, _)), Ok(first), Ok(second)] = found.as_slice() else {
            panic!("{mode}: {found:?}")
        };
        assert!(old_date.contains("`d` has a date before 1582-10-15"), "{old_date}");
        assert!(old_stamp.contains("`t` has a timestamp before 1900") && old_stamp.contains(mode), "{old_stamp}");
        assert_eq!(first, "1899-12-31|1900-01-01T17:00:00Z");
        assert_eq!(second, "2024-02-29|2024-02-29T06:02:03.456789Z");
    }
}

#[test]
fn a_file_that_is_not_read_says_how_many_rows_it_has() {
    let rows = 1000;
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("i", values)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(250)).set_dictionary_enabled(false);
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    let mut bytes = writer.into_inner().unwrap();
    let file = datafusion::parquet::file::metadata::ParquetMetaDataReader::new();
    let footer = file.parse_and_finish(&bytes::Bytes::from(bytes.clone())).unwrap();
    let page = usize::try_from(footer.row_group(2).column(0).data_page_offset()).unwrap();
    let source = columns(&["i bigint"], &parquet());
    assert!(read_parquet(&source, bytes.clone()).iter().all(|row| row.content.is_ok()));
    bytes[page..page + 14].fill(0xff);
    let found = read_parquet(&source, bytes);
    let (last, kept) = found.split_last().unwrap();
    assert!(kept.iter().all(|row| row.content.is_ok()));
    let (reason, _) = last.content.as_ref().unwrap_err();
    let unread = usize::try_from(rows).unwrap() - kept.len();
    assert!(unread >= 500 && reason.ends_with(&format!("; {unread} rows of the file are not read")), "{reason}");
}
