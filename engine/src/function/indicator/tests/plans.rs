//! How queries with indicators are planned, refused, and sent to executors.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::catalog::MemTable;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionContext, col};
use datafusion_proto::bytes::{physical_plan_from_bytes, physical_plan_to_bytes};

use super::{CALLS, all, context, rows, walk};

const NINE: &str = "select ts, sma(x, 20) over w, ema(x, 12) over w, ema(x, 26) over w, rsi(x, 14) over w, \
     macd(x, 12, 26) over w, macd_signal(x, 12, 26, 9) over w, macd_hist(x, 12, 26, 9) over w, \
     vwap(x, v) over w, zscore(x, 20) over w from t window w as (partition by symbol order by ts)";

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

#[tokio::test]
async fn one_window_is_one_node_and_sorted_input_is_not_sorted_again() {
    let x = all(&walk(1, 10));
    let batch = rows(0, &x, &x);
    let order = vec![vec![col("symbol").sort(true, false), col("ts").sort(true, false)]];
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap().with_sort_order(order);
    let context = context();
    context.register_table("t", Arc::new(table)).unwrap();
    let plan = plan(&context, NINE).await;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert_eq!(text.matches("WindowAggExec").count(), 1, "{text}");
    assert!(!text.contains("BoundedWindowAggExec"), "{text}");
    assert!(!text.contains("SortExec"), "{text}");
    assert!(!text.contains("RepartitionExec"), "{text}");
}

#[tokio::test]
async fn unsorted_input_is_sorted_once() {
    let x = all(&walk(1, 10));
    let context = context();
    context.register_batch("t", rows(0, &x, &x)).unwrap();
    let text = displayable(plan(&context, NINE).await.as_ref()).indent(false).to_string();
    assert_eq!(text.matches("WindowAggExec").count(), 1, "{text}");
    assert_eq!(text.matches("SortExec").count(), 1, "{text}");
}

/// As Ballista does: the plan travels as bytes, functions by name.
#[tokio::test]
async fn a_plan_survives_the_way_to_an_executor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let lines: Vec<String> = walk(2, 100).iter().enumerate().map(|(row, x)| format!("A,{row},{x},{row}")).collect();
    std::fs::write(&path, format!("symbol,ts,x,v\n{}\n", lines.join("\n"))).unwrap();
    let register = format!("create external table t stored as csv location '{}'", path.display());

    let driver = context();
    driver.sql(&register).await.unwrap();
    let calls: Vec<_> = CALLS.iter().map(|call| format!("{call} over w")).collect();
    let sql = format!(
        "select {}, vwap(x, v) over w, date_in_zone(to_timestamp_micros(ts) at time zone 'UTC', 'America/New_York') \
         from t window w as (partition by symbol order by ts) order by ts",
        calls.join(", ")
    );
    let plan = plan(&driver, &sql).await;
    let bytes = physical_plan_to_bytes(Arc::clone(&plan)).unwrap();

    let executor = context();
    let received = physical_plan_from_bytes(&bytes, executor.task_ctx().as_ref()).unwrap();
    let sent = collect(plan, driver.task_ctx()).await.unwrap();
    let found = collect(received, executor.task_ctx()).await.unwrap();
    assert_eq!(sent, found);
    let last = found[0].column(0).as_primitive::<Float64Type>();
    assert!(last.is_valid(99) && found[0].num_rows() == 100);
}

#[tokio::test]
async fn wrong_arguments_are_refused_when_planned() {
    let x = all(&walk(1, 10));
    let context = context();
    context.register_batch("t", rows(0, &x, &x)).unwrap();
    for (call, expected) in [
        ("sma(x)", "sma: write sma(x, n), found 1 arguments"),
        ("macd(x, 12)", "macd: write macd(x, fast, slow), found 2 arguments"),
        ("sma(symbol, 3)", "sma: `x` must be a number, found Utf8"),
        ("ema(x, 2.5)", "ema: `n` must be an integer literal, found Float64"),
        ("ema(x, '3')", "ema: `n` must be an integer literal, found Utf8"),
        ("ema(x, null)", "ema: `n` must be an integer literal, found Null"),
        ("ema(x, 0)", "ema: `n` must be an integer literal of at least 1, found 0"),
        ("ema(x, -3)", "ema: `n` must be an integer literal of at least 1, found -3"),
        ("ema(x, ts)", "ema: `n` must be an integer literal of at least 1, found ts@"),
        ("zscore(x, 1)", "zscore: `n` must be an integer literal of at least 2, found 1"),
        ("volatility(x, 1)", "volatility: `n` must be an integer literal of at least 2, found 1"),
        ("macd(x, 26, 12)", "macd: `fast` must be below `slow`, found 26 and 12"),
        ("macd_signal(x, 12, 26, 0)", "macd_signal: `signal` must be an integer literal of at least 1, found 0"),
        ("vwap(x, symbol)", "vwap: `volume` must be a number, found Utf8"),
    ] {
        let sql = format!("select {call} over (partition by symbol order by ts) from t");
        let error = match context.sql(&sql).await {
            Ok(frame) => frame.create_physical_plan().await.map(|_| ()).expect_err(call),
            Err(error) => error,
        };
        assert!(error.strip_backtrace().contains(expected), "{call}: {error}");
    }
}
