//! Compares streaming plans with DataFusion's own, and runs inputs far larger than the memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use datafusion::catalog::MemTable;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext, col};
use futures::StreamExt;
use pulse_core::ErrorKind;

use super::*;
use crate::error::from_datafusion;
use crate::session::{RuntimeOptions, runtime, session_config, session_state};
use crate::store::Stores;

/// A pseudorandom generator with a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

fn context(memory_bytes: usize) -> SessionContext {
    let options = RuntimeOptions { memory_bytes, spill_dir: None, spill_limit_bytes: 4 << 30 };
    let runtime = runtime(&options, &Arc::new(Stores::default())).unwrap();
    SessionContext::new_with_state(session_state(session_config(SessionConfig::new(), 2, 512), runtime))
}

/// Rows in the order of `a`, `b` and `ts`, with nulls and NaN; groups of one to some hundred rows.
fn table(numbers: &mut Numbers, rows: usize) -> RecordBatch {
    let (mut a, mut b, mut x, mut v) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut first, mut second) = (0, 0);
    for _ in 0..rows {
        match numbers.below(200) {
            0..4 => (first, second) = (first + 1, if first < 4 { 0 } else { second + 1 }),
            4..12 => second += 1,
            _ => {}
        }
        // The last group is null: nulls sort last.
        a.push((first < 5).then(|| format!("S{first}")));
        b.push(second);
        x.push(match numbers.below(20) {
            0 => None,
            1 => Some(f64::NAN),
            _ => Some(numbers.below(10_000) as f64 / 100.0 - 5.0),
        });
        v.push(numbers.below(1000) as f64);
    }
    let ts = Int64Array::from_iter_values((0..rows).map(|row| i64::try_from(row).unwrap()));
    RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(StringArray::from(a)) as ArrayRef, true),
        ("b", Arc::new(Int64Array::from(b)) as ArrayRef, false),
        ("ts", Arc::new(ts) as ArrayRef, false),
        ("x", Arc::new(Float64Array::from(x)) as ArrayRef, true),
        ("v", Arc::new(Float64Array::from(v)) as ArrayRef, false),
    ])
    .unwrap()
}

/// The rows in pieces, some of them empty.
fn pieces(numbers: &mut Numbers, rows: &RecordBatch, longest: usize) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < rows.num_rows() {
        let length = numbers.below(longest + 1).min(rows.num_rows() - from);
        pieces.push(rows.slice(from, length));
        from += length;
    }
    pieces
}

fn register(context: &SessionContext, rows: &RecordBatch, pieces: Vec<RecordBatch>) {
    let order = ["a", "b", "ts"].map(|name| col(name).sort(true, false)).to_vec();
    let table = MemTable::try_new(rows.schema(), vec![pieces]).unwrap().with_sort_order(vec![order]);
    context.register_table("t", Arc::new(table)).unwrap();
}

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

async fn rows(context: &SessionContext, plan: &Arc<dyn ExecutionPlan>) -> RecordBatch {
    let batches = collect(Arc::clone(plan), context.task_ctx()).await.unwrap();
    for batch in &batches {
        assert_eq!(batch.schema(), plan.schema());
    }
    concat_batches(&plan.schema(), &batches).unwrap()
}

/// Compares bits, as NaN is not equal to itself.
fn assert_equal(found: &RecordBatch, expected: &RecordBatch, what: &str) {
    assert_eq!(found.schema(), expected.schema(), "{what}");
    for (index, (found, expected)) in found.columns().iter().zip(expected.columns()).enumerate() {
        // Not `assert_eq`: thousands of printed numbers would not help.
        assert!(found.to_data() == expected.to_data(), "{what}, column {index}");
    }
}

const OURS: &str = "sma(x, 5) over w, ema(x, 5) over w, rsi(x, 4) over w, macd(x, 3, 6) over w, \
    macd_signal(x, 3, 6, 3) over w, macd_hist(x, 3, 6, 3) over w, vwap(x, v) over w, drawdown(x, 5) over w, \
    max_drawdown(x, 5) over w, volatility(x, 5) over w, zscore(x, 5) over w, sma(x + v, 2) over w";

#[tokio::test]
async fn batch_by_batch_is_the_same_as_whole() {
    let windows = [
        "partition by a order by b, ts",
        "partition by a, b order by ts",
        "partition by b, a order by ts",
        "order by a, b, ts",
    ];
    for seed in 0..3 {
        let mut numbers = Numbers(seed);
        let all = table(&mut numbers, 1500);
        for (window, longest) in windows.iter().flat_map(|window| [1, 40, 700].map(|longest| (window, longest))) {
            let context = context(1 << 30);
            register(&context, &all, pieces(&mut numbers, &all, longest));
            let plan = plan(&context, &format!("select *, {OURS} from t window w as ({window})")).await;
            let streamed = streaming(Arc::clone(&plan)).unwrap();
            let text = text(&streamed);
            assert!(text.contains("StreamingWindowExec") && !text.contains("WindowAggExec"), "{text}");
            assert!(!text.contains("SortExec"), "{text}");
            let expected = rows(&context, &plan).await;
            assert_eq!(expected.num_rows(), 1500);
            assert!(expected.column(5).null_count() < 1500);
            assert_equal(&rows(&context, &streamed).await, &expected, &format!("{window}, up to {longest} rows"));
        }
    }
}

/// Functions that DataFusion computes in bounded memory are combined with ours, in the original column order.
#[tokio::test]
async fn other_functions_of_the_same_window_stream_too() {
    let mut numbers = Numbers(77);
    let all = table(&mut numbers, 2000);
    let context = context(1 << 30);
    register(&context, &all, pieces(&mut numbers, &all, 100));
    let sql = "select row_number() over w as n, ema(x, 5) over w as e, lag(x, 2) over w as l, vwap(x, v) over w, \
        sum(v) over (w rows between unbounded preceding and current row) as s, ts from t \
        window w as (partition by a order by b, ts)";
    let plan = plan(&context, sql).await;
    let streamed = streaming(Arc::clone(&plan)).unwrap();
    let text = text(&streamed);
    assert!(text.contains("StreamingWindowExec") && text.contains("BoundedWindowAggExec"), "{text}");
    assert!(!text.replace("BoundedWindowAggExec", "").contains("WindowAggExec"), "{text}");
    assert_equal(&rows(&context, &streamed).await, &rows(&context, &plan).await, sql);
}

#[tokio::test]
async fn what_looks_ahead_stays_whole() {
    let mut numbers = Numbers(3);
    let all = table(&mut numbers, 300);
    let context = context(1 << 30);
    register(&context, &all, vec![all.clone()]);
    for other in ["max(x) over (partition by a)", "ntile(4) over (partition by a order by b, ts)"] {
        let plan = plan(&context, &format!("select {other} from t")).await;
        assert_eq!(text(&streaming(Arc::clone(&plan)).unwrap()), text(&plan), "{other}");
        assert!(text(&plan).contains(" WindowAggExec") || text(&plan).starts_with("WindowAggExec"), "{}", text(&plan));
    }
}

#[tokio::test]
async fn chunks_of_a_sorted_prefix_are_the_same_as_one_sort() {
    let ordering = |plan: &Arc<dyn ExecutionPlan>, keys: &[(&str, bool)]| {
        let keys = keys.iter().map(|(name, descending)| {
            let column = Arc::new(Column::new_with_schema(name, &plan.schema()).unwrap());
            let options = arrow::compute::SortOptions { descending: *descending, nulls_first: *descending };
            PhysicalSortExpr::new(column, options)
        });
        LexOrdering::new(keys).unwrap()
    };
    for seed in 0..5 {
        let mut numbers = Numbers(seed);
        let all = table(&mut numbers, 1200);
        let context = context(1 << 30);
        register(&context, &all, pieces(&mut numbers, &all, 90));
        let scan = plan(&context, "select * from t").await;
        for keys in [&[("a", false), ("ts", true)][..], &[("a", false), ("b", false), ("v", true), ("ts", false)]] {
            let sort = SortExec::new(ordering(&scan, keys), Arc::clone(&scan));
            let expected = rows(&context, &(Arc::new(sort.clone()) as _)).await;
            for chunk_rows in [1, 17, 400, 100_000] {
                let chunked = ChunkedSortExec::try_new(&sort).unwrap().unwrap().with_chunk_rows(chunk_rows);
                let found = rows(&context, &(Arc::new(chunked) as _)).await;
                assert_equal(&found, &expected, &format!("{keys:?} in chunks of {chunk_rows}"));
            }
        }
        // Without a common prefix there are no chunks.
        let sort = SortExec::new(ordering(&scan, &[("ts", false), ("a", false)]), Arc::clone(&scan));
        assert!(ChunkedSortExec::try_new(&sort).unwrap().is_none());
        let sort = SortExec::new(ordering(&scan, &[("a", false), ("v", false)]), Arc::clone(&scan));
        assert!(ChunkedSortExec::try_new(&sort.with_fetch(Some(3))).unwrap().is_none());
    }
}

const LARGE_ROWS: usize = 300_000;
/// A tenth of the size of the rows below.
const SMALL_MEMORY: usize = 5 << 19;

/// Writes ten 8-byte columns to a Parquet file, unsorted.
async fn large(context: &SessionContext, folder: &std::path::Path) {
    let file = folder.join("large.parquet");
    let columns: Vec<String> = (2..9).map(|column| format!("cast(value * {column} as double) as c{column}")).collect();
    let rows = format!(
        "select (value * 7919) % 1000003 as h, value % 100 as k, value as n, {} from generate_series(1, {LARGE_ROWS})",
        columns.join(", ")
    );
    let rows = context.sql(&rows).await.unwrap();
    let path = file.to_str().unwrap();
    rows.write_parquet(path, datafusion::dataframe::DataFrameWriteOptions::new(), None).await.unwrap();
    context.register_parquet("t", path, datafusion::prelude::ParquetReadOptions::new()).await.unwrap();
}

/// Runs a plan, discards its rows and returns their number.
async fn drained(context: &SessionContext, plan: Arc<dyn ExecutionPlan>) -> datafusion::error::Result<usize> {
    let mut stream = datafusion::physical_plan::execute_stream(streaming(plan)?, context.task_ctx())?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

#[tokio::test]
async fn ten_times_the_memory_is_worked_off() {
    let folder = tempfile::tempdir().unwrap();
    large(&context(1 << 30), folder.path()).await;
    let context = context(SMALL_MEMORY);
    let path = folder.path().join("large.parquet");
    let path = path.to_str().unwrap();
    context.register_parquet("t", path, datafusion::prelude::ParquetReadOptions::new()).await.unwrap();
    for (what, sql, operator) in [
        ("sort", "select * from t order by h, n", "SortExec"),
        ("window", "select *, ema(c2, 12) over (partition by k order by h) from t", "StreamingWindowExec"),
        ("aggregate", "select h, count(*), sum(c2), sum(c3), max(c4), max(c5) from t group by h", "AggregateExec"),
        ("join", "select a.*, b.c3 from t a join t b on a.h = b.h", "SortMergeJoinExec"),
        (
            "join by stamps",
            "select a.n from (select arrow_cast(h, 'Timestamp(us, \"UTC\")') as ts, n from t) a \
             where a.ts in (select arrow_cast(h, 'Timestamp(us, \"UTC\")') from t where n > 0)",
            "SortMergeJoinExec",
        ),
        ("semi join", "select a.* from t a where a.h in (select h from t b where b.n > 0)", "SortMergeJoinExec"),
    ] {
        let plan = plan(&context, sql).await;
        let text = text(&streaming(Arc::clone(&plan)).unwrap());
        assert!(text.contains(operator), "{what}: {text}");
        // 7919 and 1000003 are coprime, so `h` differs from row to row and each join meets one row.
        let rows = drained(&context, plan).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(rows, LARGE_ROWS, "{what}");
    }
}

/// If sizes are unknown, a join collects one side; if that does not fit, the error names the limit to raise.
#[tokio::test]
async fn what_cannot_spill_says_which_setting_to_raise() {
    let context = context(SMALL_MEMORY);
    let sql = "select a.value from (select value from generate_series(1, 4000000)) a \
        join (select value from generate_series(1, 4000000)) b on a.value = b.value";
    let plan = plan(&context, sql).await;
    assert!(text(&plan).contains("HashJoinExec"), "{}", text(&plan));
    let error = from_datafusion("join", drained(&context, plan).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.message().contains("raise `memory_mib`"), "{}", error.message());
}
