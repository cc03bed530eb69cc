//! Tables of another engine, read through the bytes of a plan, as executors get it.

use std::collections::BTreeSet;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::foreign::{Foreign, Row};
use super::*;
use crate::codec::tests::there_and_back;
use crate::session::{RuntimeOptions, runtime, session_config, session_state};
use crate::store::{Stores, folder_url};

struct Reader {
    _folder: tempfile::TempDir,
    place: std::path::PathBuf,
    stores: Arc<Stores>,
    context: SessionContext,
}

impl Reader {
    fn new() -> Self {
        let stores = Arc::new(Stores::default());
        let limits = RuntimeOptions { memory_bytes: 64 << 20, spill_dir: None, spill_limit_bytes: 1 << 30 };
        let state = session_state(session_config(SessionConfig::new(), 2, 4), runtime(&limits, &stores).unwrap());
        let folder = tempfile::tempdir().unwrap();
        // A name that is another one when it is decoded.
        let place = folder.path().join("a b%20c");
        Self { _folder: folder, place, stores, context: SessionContext::new_with_state(state) }
    }

    fn place(&self) -> std::path::PathBuf {
        self.place.clone()
    }

    async fn snapshot(&self) -> pulse_core::Result<(Table, Snapshot)> {
        let url = folder_url(self.place().to_str().unwrap(), "/".as_ref())?;
        let table = Table::of_others(&"external.t".parse()?, url, &self.stores)?;
        let snapshot = table.snapshot(None).await?.unwrap();
        Ok((table, snapshot))
    }

    async fn query(&self, sql: &str) -> (Arc<dyn ExecutionPlan>, Vec<arrow::array::RecordBatch>) {
        let (table, snapshot) = self.snapshot().await.unwrap();
        let _ = self.context.deregister_table("t").unwrap();
        // So small that each file is a task of its own.
        self.context.register_table("t", Arc::new(DeltaScan::new(table, &snapshot, 1).with_file_column())).unwrap();
        let plan = self.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let plan = there_and_back(&plan);
        let batches = collect(Arc::clone(&plan), self.context.task_ctx()).await.unwrap();
        (plan, batches)
    }

    async fn rows(&self, filter: &str) -> Vec<Row> {
        let (_, batches) = self.query(&format!("select * from t {filter}")).await;
        let mut rows = Vec::new();
        for batch in &batches {
            let batch = batch.clone().project(&(0..batch.num_columns() - 1).collect::<Vec<_>>()).unwrap();
            let cell = |at: usize, row: usize| {
                let column = arrow::compute::cast(batch.column(at), &DataType::Int64).unwrap();
                let values = column.as_primitive::<Int64Type>();
                values.is_valid(row).then(|| (batch.schema().field(at).name().clone(), values.value(row)))
            };
            let row = |row| (0..batch.num_columns()).filter_map(|at| cell(at, row)).collect::<Row>();
            rows.extend((0..batch.num_rows()).map(row));
        }
        rows.sort();
        rows
    }
}

fn row(k: Option<i64>, v: i64, id: i64) -> Row {
    let named = [("k", k), ("v", Some(v)), ("id", Some(id))];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Filters that bounds of files cannot answer, and what they mean.
type Predicate = (&'static str, fn(Option<i64>) -> bool);
const PREDICATES: [Predicate; 5] = [
    ("k % 2 = 1", |k| k.is_some_and(|k| k % 2 == 1)),
    ("coalesce(k, 5) > 1", |k| k.unwrap_or(5) > 1),
    ("cast(k as varchar) like '%1'", |k| k == Some(1)),
    ("k is distinct from 2", |k| k != Some(2)),
    ("not (k = 1 or k is null)", |k| k.is_some_and(|k| k != 1)),
];

#[test]
fn rows_of_others_are_read_as_they_wrote_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mapping = prop_oneof![Just(Mapping::None), Just(Mapping::Name), Just(Mapping::Id)];
    let file = prop::collection::vec((prop::option::of(0..3_i64), 0..9_i64), 1..12);
    let files = prop::collection::vec(file, 1..4);
    let deleted =
        prop::collection::vec((0..4_usize, prop::collection::btree_set(0..12_u64, 1..9), any::<bool>()), 0..4);
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(mapping in mapping, partitioned in any::<bool>(), files in files, deleted in deleted)| {
        runtime.block_on(async {
            let reader = Reader::new();
            let mut table = Foreign::new(reader.place(), mapping, partitioned);
            let mut id = 0;
            for (at, file) in files.iter().enumerate() {
                let mut number = || { id += 1; id };
                table.append(&file.iter().map(|(k, v)| row(*k, *v, number())).collect::<Vec<_>>());
                if at == 0 {
                    table.widen("v");
                    table.add_column();
                }
                if at == 1 && mapping != Mapping::None {
                    table.rename("v", "w");
                    table.rename("id", "v");
                    table.rename("w", "id");
                }
            }
            for (at, rows, inline) in &deleted {
                table.delete_rows(*at, rows, *inline);
            }
            let expected = table.rows();
            assert_eq!(reader.rows("").await, expected);
            for k in [0, 2, 7] {
                let of_k: Vec<Row> = expected.iter().filter(|row| row.get("k") == Some(&k)).cloned().collect();
                assert_eq!(reader.rows(&format!("where k = {k}")).await, of_k);
            }
            let nulls: Vec<Row> = expected.iter().filter(|row| !row.contains_key("k")).cloned().collect();
            assert_eq!(reader.rows("where k is null").await, nulls);
            for (filter, holds) in PREDICATES {
                let of_filter: Vec<Row> =
                    expected.iter().filter(|row| holds(row.get("k").copied())).cloned().collect();
                assert_eq!(reader.rows(&format!("where {filter}")).await, of_filter, "{filter}");
            }
            let (_, counted) = reader.query("select count(*) from t").await;
            let count = counted[0].column(0).as_primitive::<Int64Type>().value(0);
            assert_eq!(usize::try_from(count), Ok(expected.len()));
        });
    });
}

#[tokio::test]
async fn tables_that_spark_wrote_are_read_to_its_values() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/source/delta/tests/spark"));
    let tables = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let tables: Vec<_> = tables.collect();
    assert_eq!(tables.len(), 7, "{tables:?}");
    for place in tables {
        let reader = Reader { place: place.clone(), ..Reader::new() };
        let (_, batches) = reader.query("select * from t").await;
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        for batch in &batches {
            // JSON has no maps by numbers.
            let has_json = |at: &usize| !matches!(batch.column(*at).data_type(), DataType::Map(..));
            let columns: Vec<usize> = (0..batch.num_columns() - 1).filter(has_json).collect();
            writer.write(&batch.project(&columns).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let text = String::from_utf8(writer.into_inner()).unwrap();
        let mut rows: Vec<&str> = text.lines().collect();
        rows.sort_unstable();
        let expected = std::fs::read_to_string(place.with_extension("jsonl")).unwrap();
        assert_eq!(rows, expected.lines().collect::<Vec<_>>(), "{}", place.display());
    }
}

#[tokio::test]
async fn files_are_pruned_and_some_rows_are_enough() {
    let reader = Reader::new();
    let mut table = Foreign::new(reader.place(), Mapping::Id, false);
    table.append(&[row(Some(1), 1, 1), row(Some(2), 2, 2)]);
    table.append(&[row(Some(5), 1, 3), row(Some(6), 2, 4)]);
    table.delete_rows(0, &BTreeSet::from([0]), false);
    let (plan, _) = reader.query("select id from t where k > 4").await;
    let picture = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    assert!(picture.contains("1 group") && picture.contains("file_type=delta"), "{picture}");
    let (_, batches) = reader.query("select v from t limit 1").await;
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
    let (_, batches) = reader.query("select __file, k from t order by k").await;
    let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let files: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
    assert_eq!(files.len(), 3);
    assert!(files[0] != files[1] && files[1] == files[2], "{files:?}");
}

#[tokio::test]
async fn what_a_table_needs_of_its_readers_and_is_not_known_is_refused_by_name() {
    for (found, changed, expected) in [
        ("\"timestampNtz\"]", "\"timestampNtz\",\"catalogManaged\"]", "catalogManaged"),
        ("\"timestampNtz\"]", "\"timestampNtz\",\"madeUp\"]", "madeUp"),
        ("\"delta.columnMapping.mode\":\"none\"", "\"delta.columnMapping.mode\":\"other\"", "other"),
        ("\"path\":\"part", "\"path\":\"file:/part", "shallow clones"),
        ("\"path\":\"part", "\"path\":\"/part", "shallow clones"),
    ] {
        let reader = Reader::new();
        let mut table = Foreign::new(reader.place(), Mapping::None, false);
        table.append(&[row(Some(1), 1, 1)]);
        let entry = |version: u32| reader.place().join(format!("_delta_log/{version:020}.json"));
        let text = |version| std::fs::read_to_string(entry(version)).unwrap();
        let log = if text(0).contains(found) { entry(0) } else { entry(1) };
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains(found), "{text}");
        std::fs::write(&log, text.replace(found, changed)).unwrap();
        let error = reader.snapshot().await.err().unwrap();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.kind(), pulse_core::ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn the_feature_of_variants_is_read_and_a_column_of_them_is_refused() {
    let field = r#"{"name":"w","type":"variant","nullable":true,"metadata":{}}"#;
    let map = r#"{"type":"map","keyType":"string","valueType":"variant","valueContainsNull":true}"#;
    for (data_type, expected) in [
        (r#""integer""#.to_owned(), None),
        (r#""variant""#.to_owned(), Some("column `v`")),
        (r#"{"type":"array","elementType":"variant","containsNull":true}"#.to_owned(), Some("column `v`")),
        (format!(r#"{{"type":"struct","fields":[{field}]}}"#), Some("column `v.w`")),
        (map.to_owned(), Some("column `v`")),
    ] {
        let reader = Reader::new();
        let mut table = Foreign::new(reader.place(), Mapping::None, false);
        table.append(&[row(Some(1), 7, 1)]);
        let log = reader.place().join(format!("_delta_log/{:020}.json", 0));
        let text = std::fs::read_to_string(&log).unwrap();
        let escaped = |text: &str| text.replace('"', "\\\"");
        let typed = |data_type: &str| escaped(&format!("\"type\":{data_type}"));
        assert!(text.contains(&typed("\"integer\"")), "{text}");
        let text = text.replace(&typed("\"integer\""), &typed(&data_type));
        std::fs::write(&log, text.replace("\"timestampNtz\"]", "\"timestampNtz\",\"variantType\"]")).unwrap();
        match expected {
            None => assert_eq!(reader.rows("").await, [row(Some(1), 7, 1)]),
            Some(column) => {
                let error = reader.snapshot().await.err().unwrap();
                assert_eq!(error.kind(), pulse_core::ErrorKind::Invalid, "{error}");
                assert!(error.to_string().contains(column) && error.to_string().contains("variant"), "{error}");
            }
        }
    }
}
