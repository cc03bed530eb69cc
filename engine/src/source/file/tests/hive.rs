//! Folders of Hive's layout: what their names say, and which files a filter leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FsPath;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use pulse_core::sources::FileSource;
use serde_json::{Value, json};

use super::super::RawFiles;
use super::files::{listed, options, parquet_bytes, run};
use crate::codec::tests::there_and_back;

/// Text of a partition column, and what pyarrow 26, DuckDB 2.0 and pandas 3.1 name its folder.
const NAMES: [(Option<&str>, &str); 16] = [
    (Some("plain"), "s=plain"),
    (Some("a/b"), "s=a%2Fb"),
    (Some("a=b"), "s=a%3Db"),
    (Some("a b"), "s=a%20b"),
    (Some("é"), "s=%C3%A9"),
    (Some("50%"), "s=50%25"),
    (Some("x:y"), "s=x%3Ay"),
    (Some("#1?"), "s=%231%3F"),
    (Some("NULL"), "s=NULL"),
    (Some("+"), "s=%2B"),
    (Some("'q'"), "s=%27q%27"),
    (Some("\"d\""), "s=%22d%22"),
    (Some("a\\b"), "s=a%5Cb"),
    (Some("%2F"), "s=%252F"),
    (Some("tab\tx"), "s=tab%09x"),
    (None, "s=__HIVE_DEFAULT_PARTITION__"),
];

fn source(format: &Value, columns: &[(&str, &str)], partitions: &[&str]) -> Arc<FileSource> {
    let columns: Vec<Value> =
        columns.iter().map(|(name, data_type)| json!({ "name": name, "type": data_type })).collect();
    let feed = json!({ "path": "t/*", "format": format, "partitions": partitions });
    Arc::new(serde_json::from_value(json!({ "root": "raw", "columns": columns, "feed": { "f": feed } })).unwrap())
}

fn write(root: &FsPath, path: &str, content: &[u8]) {
    let path = root.join("t").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A file of one row in each format.
fn content(format: &str, x: i64) -> Vec<u8> {
    match format {
        // A field with the name of a folder is not read.
        "csv" => format!("s,x\nnot this,{x}\n").into_bytes(),
        "json_lines" => format!("{{\"x\": {x}, \"s\": 5}}\n").into_bytes(),
        _ => {
            parquet_bytes(vec![("s", Arc::new(Int64Array::from(vec![9]))), ("x", Arc::new(Int64Array::from(vec![x])))])
        }
    }
}

async fn planned(root: &FsPath, source: &Arc<FileSource>, sql: &str, target: u64) -> Arc<dyn ExecutionPlan> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    let files = listed(root, source).await.files;
    let table = RawFiles::new(Arc::clone(source), files, options(root, target));
    context.register_table("t", Arc::new(table)).unwrap();
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

/// Rows in their order, as executors get the plan, too.
async fn query(root: &FsPath, source: &Arc<FileSource>, sql: &str) -> Vec<String> {
    let plan = planned(root, source, sql, 1).await;
    let found = texts(&run(Arc::clone(&plan)).await);
    assert_eq!(texts(&run(there_and_back(&plan)).await), found, "{sql}");
    found
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let text = |column: &arrow::array::ArrayRef, row: usize| match column.is_null(row) {
        true => "-".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    let row = |row| batch.columns().iter().map(|column| text(column, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

#[tokio::test]
async fn names_of_folders_are_values_in_every_format() {
    for format in ["csv", "json_lines", "parquet"] {
        let root = tempfile::tempdir().unwrap();
        for (at, (_, folder)) in NAMES.iter().enumerate() {
            write(root.path(), &format!("{folder}/part-0"), &content(format, at as i64));
        }
        let source = source(&json!({ format: {} }), &[("s", "string"), ("x", "bigint")], &["s"]);
        let found = query(root.path(), &source, "select x, s, _reason from t order by x").await;
        let expected: Vec<String> =
            NAMES.iter().enumerate().map(|(at, (text, _))| format!("{at}|{}|-", text.unwrap_or("-"))).collect();
        assert_eq!(found, expected, "{format}");
        for (text, _) in NAMES.iter().filter_map(|(text, folder)| Some((text.as_ref()?, folder))) {
            let sql = format!("select count(*) from t where s = '{}'", text.replace('\'', "''"));
            assert_eq!(query(root.path(), &source, &sql).await, ["1"], "{format} {sql}");
        }
    }
}

#[tokio::test]
async fn values_have_the_declared_types() {
    let root = tempfile::tempdir().unwrap();
    // As pyarrow names them; DuckDB and pandas write the same but `true` and `True`.
    for (at, path) in [
        "day=2026-01-02/n=1/b=true/t=2026-01-02%2010%3A00%3A00.000000",
        "day=2026-01-02/n=2/b=False/t=2026-01-02%2010%3A00%3A00.5",
        "day=2026-01-03/n=__HIVE_DEFAULT_PARTITION__/b=__HIVE_DEFAULT_PARTITION__/t=__HIVE_DEFAULT_PARTITION__",
        // Another order.
        "n=-3/t=2026-01-02%2000%3A00%3A00/b=1/day=__HIVE_DEFAULT_PARTITION__",
    ]
    .iter()
    .enumerate()
    {
        write(root.path(), &format!("{path}/part-0"), &content("csv", at as i64));
    }
    let columns = [("x", "bigint"), ("day", "date"), ("n", "int"), ("b", "boolean"), ("t", "timestamp_ntz")];
    let source = source(&json!({ "csv": {} }), &columns, &["day", "n", "b", "t"]);
    assert_eq!(
        query(root.path(), &source, "select x, day, n, b, t, _reason from t order by x").await,
        [
            "0|2026-01-02|1|true|2026-01-02T10:00:00|-",
            "1|2026-01-02|2|false|2026-01-02T10:00:00.500|-",
            "2|2026-01-03|-|-|-|-",
            "3|-|-3|true|2026-01-02T00:00:00|-",
        ]
    );
}

#[tokio::test]
async fn a_file_whose_path_says_too_little_is_one_rejected_row() {
    let root = tempfile::tempdir().unwrap();
    for path in ["day=2026-01-02/a", "b", "day=nonsense/c", "day=2026-01-02/hour=3/d"] {
        write(root.path(), path, b"x\n1\n2\noops,3\n");
    }
    let source = source(&json!({ "csv": {} }), &[("x", "bigint"), ("day", "date")], &["day"]);
    let all = "select source_file, line, x, day, _reason from t";
    let good = ["t/day=2026-01-02/a|2|1|2026-01-02|-", "t/day=2026-01-02/a|3|2|2026-01-02|-"];
    let wrong_line = "t/day=2026-01-02/a|4|-|2026-01-02|expected 1 fields, found 2";
    let misplaced = [
        "t/b|1|-|-|the path has no folder `day=`; the file is not read",
        "t/day=2026-01-02/hour=3/d|1|-|2026-01-02|the folder `hour=3` is not in `partitions` of the feed; the file is not read",
        "t/day=nonsense/c|1|-|-|the path's `day` is not a date (YYYY-MM-DD): `nonsense`; the file is not read",
    ];
    for (filter, expected) in [
        ("", [good.as_slice(), &[wrong_line], &misplaced].concat()),
        // Rejected rows of files that the filter leaves out are not seen; files whose day is not known are.
        ("where day = '2026-01-02' or _reason is not null", [good.as_slice(), &[wrong_line], &misplaced].concat()),
        ("where day = '2026-01-03' or _reason is not null", misplaced.to_vec()),
        ("where day = '2026-01-03'", vec![]),
        ("where _reason is not null", [[wrong_line].as_slice(), &misplaced].concat()),
        (
            "where (day = '2026-01-02' and x > 1) or _reason is not null",
            [&good[1..], &[wrong_line], &misplaced].concat(),
        ),
    ] {
        let mut found = query(root.path(), &source, &format!("{all} {filter}")).await;
        let mut expected = expected;
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test]
async fn filters_on_folders_leave_files_unopened() {
    let root = tempfile::tempdir().unwrap();
    let mut all = BTreeMap::new();
    for day in 1..=28_i64 {
        for venue in ["X", "Y"] {
            write(root.path(), &format!("day=2026-02-{day:02}/venue={venue}/p"), &content("csv", day));
            all.insert((day, venue), day);
        }
    }
    let columns = [("x", "bigint"), ("day", "date"), ("venue", "string")];
    let source = source(&json!({ "csv": {} }), &columns, &["day", "venue"]);
    for (filter, files, rows) in [
        ("day = '2026-02-03'", 2, 2),
        ("day between '2026-02-03' and '2026-02-05' and venue = 'X'", 3, 3),
        ("date_part('day', day) > 26 and x > 27", 4, 2),
        ("venue || 'Z' = 'XZ' and (day < '2026-02-02' or day > '2026-02-27')", 2, 2),
        ("venue in ('Y', 'Q') and not (day > '2026-02-01')", 1, 1),
        ("day is null", 0, 0),
        // They look at the content, too.
        ("x = 3", 56, 2),
        ("day = '2026-02-03' or x = 4", 56, 4),
        // It fails for a value that only the content could keep from it.
        ("x = 3 and cast(venue as int) = 1 and 1 = 0", 0, 0),
    ] {
        let sql = format!("select count(*) from t where {filter}");
        let plan = planned(root.path(), &source, &sql, 1).await;
        let picture = displayable(plan.as_ref()).indent(true).to_string();
        let opened = picture.matches("/p").count();
        // A picture shows at most five groups.
        assert_eq!(opened.min(5), files.min(5), "{sql}: {picture}");
        let shown = format!("{files} groups");
        assert!(files <= 5 || picture.contains(&shown), "{sql}: {picture}");
        let count = run(plan).await.column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(count, rows, "{sql}");
    }
}
