//! Files of every format and a table of another engine, on a scheduler and two executors and in one process.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Int64Type;
use datafusion::parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::submissions::Cluster;
use crate::support::{Scene, assert_same_tables, workspace};

/// Files of each source, so that both executors read some.
const FILES: usize = 6;
const ROWS: usize = 50;
/// Rows 1 and 3 of a file, as Delta's protocol writes them in the log.
const DELETED: &str = "^Bg9^0rr910000000000iXQKl0rr91000315c8Xg0rri4";

const SOURCES: &str = r##"
[files.compressed]
root = "$raw"
columns = [{ name = "id", type = "bigint" }, { name = "px", type = "decimal(10,2)" }, { name = "at", type = "timestamp" }]
[files.compressed.feed.all]
path = "compressed/{symbol}.csv"
format = { csv = { delimiter = "||", comment = "#" } }
nulls = ["NA"]
pattern = { at = "dd/MM/yyyy HH:mm:ss" }
time_zone = "Europe/Berlin"
decimal = ","

[files.fixed]
root = "$raw"
columns = [{ name = "id", type = "int" }, { name = "name", type = "string" }]
[files.fixed.feed.all]
path = "fixed/{symbol}.txt"
format = { fixed_width = { fields = [{ name = "id", start = 1, width = 4 }, { name = "name", start = 5, width = 4 }] } }

[files.columns]
root = "$raw"
columns = [{ name = "t", type = "timestamp" }, { name = "px", type = "double" }]
[files.columns.feed.all]
path = "columns/{symbol}.json"
format = { json = { records = "/chart", layout = "columns" } }
pattern = { t = "epoch_s" }

[files.avro]
root = "$raw"
columns = [{ name = "id", type = "bigint" }, { name = "px", type = "double" }, { name = "code", type = "string" }]
[files.avro.feed.all]
path = "avro/{symbol}.avro"
format = { avro = {} }
rename = { code = "/venue/code" }

[files.nested]
root = "$raw"
columns = [{ name = "id", type = "bigint" }, { name = "pair", type = "struct<name:string,items:array<bigint>,px:decimal(8,3)>" }]
[files.nested.feed.all]
path = "nested/{symbol}.parquet"
format = { parquet = {} }

[tables.trades]
location = "$raw/theirs"
"##;

fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(SOURCES);
    for source in ["compressed", "fixed", "columns", "avro", "nested"] {
        let manifest = "grain = [\"source_file\", \"line\"]\n[sink.append]\n";
        scene.job(&format!("bronze.{source}"), manifest, &format!("select * from raw.{source}"));
    }
    let manifest = "grain = [\"id\"]\n[source.\"external.trades\"]\nread = \"changed\"\nby = [\"id\"]\n[sink.merge]\nkeys = [\"id\"]\n";
    scene.job("silver.trades", manifest, "select id, px from external.trades");
    let manifest = "grain = [\"id\", \"source_file\", \"item\"]\n[sink.overwrite]\n";
    let query = "select id, source_file, pair['px'] as px, unnest(pair['items']) as item from bronze.nested";
    scene.job("silver.items", manifest, query);
    for number in 0..FILES {
        files(&scene, number);
    }
    table_of_others(&scene);
    scene
}

fn files(scene: &Scene, number: usize) {
    let csv: String = (0..ROWS).map(|row| csv_line(number, row)).collect();
    scene.put(&format!("compressed/S{number}.csv.zst"), zstandard(format!("id||px||at\n{csv}").as_bytes()));
    let lines: String = (0..ROWS).map(|row| format!("{row:>4}é{number:<3}\n")).collect();
    scene.put(&format!("fixed/S{number}.txt"), format!("{lines}short\n   xabcd\n"));
    let stamps: Vec<usize> = (0..ROWS).map(|row| 1_704_205_800 + 60 * row).collect();
    let prices: Vec<f64> = (0..ROWS).map(|row| (row * number) as f64 / 4.0).collect();
    let sets = json!({ "chart": [{ "t": stamps, "px": prices }, { "t": [1], "px": [] }] });
    scene.put(&format!("columns/S{number}.json"), sets.to_string());
    let avro = workspace().join("engine/src/source/file/tests/data/trades_zstandard.avro");
    scene.put(&format!("avro/S{number}.avro"), fs::read(avro).unwrap());
    scene.put(&format!("nested/S{number}.parquet"), parquet(&nested(number)));
}

/// Every tenth row is wrong, and every seventh has a null.
fn csv_line(number: usize, row: usize) -> String {
    let price = match row {
        _ if row % 10 == 9 => "1.5".to_owned(),
        _ if row % 7 == 6 => "NA".to_owned(),
        _ => format!("{row},{number:02}"),
    };
    format!("{row}||{price}||{:02}/07/2024 09:30:{row:02}\n# a comment\n", number + 1)
}

/// One frame of blocks that are not compressed.
fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x58".to_vec();
    let last = bytes.len().div_ceil(1000);
    for (at, block) in (1..).zip(bytes.chunks(1000)) {
        let header = block.len() << 3 | usize::from(at == last);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}

fn nested(number: usize) -> RecordBatch {
    let ids: Int64Array = (0..ROWS as i64).collect();
    let names: StringArray = (0..ROWS).map(|row| (row % 5 > 0).then(|| format!("n{row}"))).collect();
    let items = (0..ROWS).map(|row| (row % 3 > 0).then(|| (0..row as i64 % 4).map(Some).collect::<Vec<_>>()));
    let items = ListArray::from_iter_primitive::<Int64Type, _, _>(items);
    let prices: Float64Array = (0..ROWS).map(|row| Some((row + number) as f64 / 8.0)).collect();
    let pair = StructArray::try_from(vec![
        ("name", Arc::new(names) as ArrayRef),
        ("items", Arc::new(items) as ArrayRef),
        ("px", Arc::new(prices) as ArrayRef),
    ]);
    RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef), ("pair", Arc::new(pair.unwrap()) as ArrayRef)])
        .unwrap()
}

fn parquet(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

/// A Delta table of several files. Each file has two deleted rows.
fn table_of_others(scene: &Scene) {
    let field = |name: &str, kind: &str| json!({ "name": name, "type": kind, "nullable": true, "metadata": {} });
    let schema = json!({ "type": "struct", "fields": [field("id", "long"), field("px", "double")] }).to_string();
    let mut log = vec![
        json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
                              "writerFeatures": ["deletionVectors"] } }),
        json!({ "metaData": { "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": { "provider": "parquet", "options": {} },
                              "schemaString": schema, "partitionColumns": [], "createdTime": 0,
                              "configuration": { "delta.enableDeletionVectors": "true" } } }),
    ];
    for number in 0..FILES {
        let ids: Int64Array = (0..ROWS as i64).map(|row| row + (number * ROWS) as i64).collect();
        let prices: Float64Array = (0..ROWS).map(|row| Some(row as f64 / 2.0)).collect();
        let columns = [("id", Arc::new(ids) as ArrayRef), ("px", Arc::new(prices) as ArrayRef)];
        let bytes = parquet(&RecordBatch::try_from_iter(columns).unwrap());
        log.push(json!({ "add": {
            "path": format!("part-{number}.parquet"), "size": bytes.len(), "partitionValues": {}, "modificationTime": 0,
            "dataChange": true,
            "deletionVector": { "storageType": "i", "pathOrInlineDv": DELETED, "sizeInBytes": 36, "cardinality": 2 },
        } }));
        scene.put(&format!("theirs/part-{number}.parquet"), bytes);
    }
    let log: String = log.iter().map(|action| format!("{action}\n")).collect();
    scene.put("theirs/_delta_log/00000000000000000000.json", log);
}

/// Rows of every table; nested values as their parts.
fn tables(scene: &Scene) -> BTreeMap<String, Vec<String>> {
    let parts =
        "id, symbol, source_file, line, pair is null, pair['name'], pair['px'], array_to_string(pair['items'], ' ')";
    let rows = |table: String| {
        let rows = match table.as_str() {
            "bronze.nested" => scene.rows(&format!("(select {parts} from bronze.nested)")),
            _ => scene.rows(&table),
        };
        (table, rows)
    };
    scene.versions().into_keys().map(rows).collect()
}

#[test]
fn a_cluster_reads_every_format_as_one_process_does() {
    let expected = scene();
    expected.run_all();
    let scene = scene();
    let cluster = Cluster::start(&scene);
    let mut submit = scene.command(&["submit", "--all", "--wait"]);
    cluster.reach(&mut submit);
    scene.start(submit).wait().ok();
    assert_eq!(scene.versions(), expected.versions());
    assert_same_tables(&tables(&scene), &tables(&expected));
    let counts = [
        ("bronze.compressed", FILES * ROWS * 9 / 10),
        ("bronze.compressed__quarantine", FILES * ROWS / 10),
        ("bronze.fixed", FILES * ROWS),
        ("bronze.fixed__quarantine", FILES * 2),
        ("bronze.columns", FILES * ROWS),
        ("bronze.columns__quarantine", FILES),
        ("bronze.avro", FILES * 10),
        ("bronze.nested", FILES * ROWS),
        ("silver.trades", FILES * (ROWS - 2)),
    ];
    for (table, rows) in counts {
        assert_eq!(scene.count(table), rows as u64, "{table}");
    }
    // Of each file: rows 1 and 3 are deleted.
    assert_eq!(scene.value("select count(*) from silver.trades where id % 50 in (1, 3)"), "0");
    assert_eq!(scene.value("select at from bronze.compressed where id = 0 and symbol = 'S0'"), "2024-07-01T07:30:00Z");
    assert_eq!(scene.value("select px from bronze.compressed where id = 1 and symbol = 'S3'"), "1.03");
}
