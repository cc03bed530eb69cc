//! Through SQL: values against independent ones, then what must hold of every indicator.

mod plans;
mod references;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::catalog::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::Indicator;
use crate::function::register_all;

type Series = Vec<Option<f64>>;

/// Every indicator over one column, with lengths that a short series exceeds.
const CALLS: [&str; 10] = [
    "sma(x, 5)",
    "ema(x, 5)",
    "rsi(x, 4)",
    "macd(x, 3, 6)",
    "macd_signal(x, 3, 6, 3)",
    "macd_hist(x, 3, 6, 3)",
    "drawdown(x, 5)",
    "max_drawdown(x, 5)",
    "volatility(x, 5)",
    "zscore(x, 5)",
];

fn context() -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    SessionContext::new_with_state(register_all(SessionStateBuilder::new().with_config(config)).build())
}

fn rows(from: usize, x: &[Option<f64>], v: &[Option<f64>]) -> RecordBatch {
    let symbols = StringArray::from_iter_values(x.iter().map(|_| "A"));
    let order = Int64Array::from_iter_values((from..from + x.len()).map(|row| row as i64));
    RecordBatch::try_from_iter_with_nullable([
        ("symbol", Arc::new(symbols) as ArrayRef, false),
        ("ts", Arc::new(order), false),
        ("x", Arc::new(Float64Array::from(x.to_vec())), true),
        ("v", Arc::new(Float64Array::from(v.to_vec())), true),
    ])
    .unwrap()
}

/// The values of each call in row order, the input being read in batches of the given size.
async fn over(calls: &[&str], x: &[Option<f64>], v: &[Option<f64>], batch: usize) -> Vec<Series> {
    let batches: Vec<_> = (0..x.len())
        .step_by(batch)
        .map(|from| {
            let to = (from + batch).min(x.len());
            rows(from, &x[from..to], &v[from..to])
        })
        .collect();
    let table = MemTable::try_new(rows(0, &[], &[]).schema(), vec![batches]).unwrap();
    let context = context();
    context.register_table("t", Arc::new(table)).unwrap();
    let columns: Vec<_> = calls
        .iter()
        .enumerate()
        .map(|(index, call)| format!("{call} over (partition by symbol order by ts) as c{index}"))
        .collect();
    let sql = format!("select {} from t order by ts", columns.join(", "));
    let results = context.sql(&sql).await.unwrap().collect().await.unwrap();
    (0..calls.len())
        .map(|index| {
            results.iter().flat_map(|batch| batch.column(index).as_primitive::<Float64Type>().iter()).collect()
        })
        .collect()
}

async fn one(call: &str, x: &[Option<f64>]) -> Series {
    over(&[call], x, &vec![None; x.len()], 8192).await.remove(0)
}

fn all(values: &[f64]) -> Series {
    values.iter().copied().map(Some).collect()
}

/// Prices of a random walk, the same for the same seed.
fn walk(seed: u64, length: usize) -> Vec<f64> {
    let mut state = seed;
    let mut price = 100.0;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let step = (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
            price *= 1.0 + 0.02 * step;
            price
        })
        .collect()
}

/// The same rows exist, and their values differ by no more than `tolerance` of the expected or of `scale`.
fn assert_close(found: &[Option<f64>], expected: &[Option<f64>], tolerance: f64, scale: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        match (found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                let allowed = tolerance * expected.abs().max(scale);
                assert!((found - expected).abs() <= allowed, "{what}, row {row}: {found}, expected {expected}");
            }
            _ => panic!("{what}, row {row}: {found:?}, expected {expected:?}"),
        }
    }
}

/// What a function of the last `length` values gives by its definition.
fn by_definition(x: &[f64], length: usize, value: impl Fn(&[f64]) -> Option<f64>) -> Series {
    (1..=x.len()).map(|end| end.checked_sub(length).and_then(|start| value(&x[start..end]))).collect()
}

fn mean(window: &[f64]) -> f64 {
    window.iter().sum::<f64>() / window.len() as f64
}

fn deviation(window: &[f64]) -> f64 {
    let mean = mean(window);
    (window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (window.len() - 1) as f64).sqrt()
}

fn highest(window: &[f64]) -> f64 {
    window.iter().copied().fold(f64::MIN, f64::max)
}

#[tokio::test]
async fn functions_of_a_window_follow_their_definitions() {
    for (seed, length) in [(1, 2), (2, 3), (3, 7), (4, 20), (5, 50)] {
        let x = walk(seed, 173);
        let found = |call: &str| format!("{call}(x, {length})");
        let input = all(&x);

        let expected = by_definition(&x, length, |window| Some(mean(window)));
        assert_close(&one(&found("sma"), &input).await, &expected, 1e-13, 0.0, "sma");

        let expected = by_definition(&x, length, |w| Some(w[w.len() - 1] / highest(w) - 1.0));
        assert_close(&one(&found("drawdown"), &input).await, &expected, 1e-13, 1.0, "drawdown");

        let expected = by_definition(&x, length, |window| {
            let falls = (0..window.len()).map(|row| window[row] / highest(&window[..=row]) - 1.0);
            Some(falls.fold(0.0, f64::min))
        });
        assert_close(&one(&found("max_drawdown"), &input).await, &expected, 1e-13, 1.0, "max_drawdown");

        let expected = by_definition(&x, length, |w| Some((w[w.len() - 1] - mean(w)) / deviation(w)));
        assert_close(&one(&found("zscore"), &input).await, &expected, 1e-10, 1.0, "zscore");

        let expected = by_definition(&x, length + 1, |window| {
            let returns: Vec<f64> = window.windows(2).map(|pair| pair[1].ln() - pair[0].ln()).collect();
            Some(deviation(&returns))
        });
        assert_close(&one(&found("volatility"), &input).await, &expected, 1e-9, 0.0, "volatility");
    }
}

#[tokio::test]
async fn a_mean_keeps_its_precision_behind_huge_values() {
    let mut x = walk(9, 60_000);
    for row in (0..x.len()).step_by(1_000) {
        x[row] *= 1e12;
    }
    let expected = by_definition(&x, 20, |window| Some(mean(window)));
    assert_close(&one("sma(x, 20)", &all(&x)).await, &expected, 1e-14, 0.0, "sma");
    // Far from zero, where a sum of squares would have no digit left.
    let x: Vec<f64> = walk(9, 5_000).iter().map(|value| 1e9 + value.round()).collect();
    let expected = by_definition(&x, 20, |w| match deviation(w) {
        0.0 => None,
        deviation => Some((w[w.len() - 1] - mean(w)) / deviation),
    });
    assert_close(&one("zscore(x, 20)", &all(&x)).await, &expected, 1e-6, 1.0, "zscore");
}

#[tokio::test]
async fn vwap_is_turnover_over_volume_and_null_without_volume() {
    let price = [Some(10.0), Some(11.0), Some(12.0), None, Some(13.0), Some(14.0), Some(99.0), Some(f64::NAN)];
    let volume = [Some(0.0), Some(100.0), Some(300.0), Some(5.0), None, Some(0.0), Some(-1.0), Some(1.0)];
    let found = over(&["vwap(x, v)"], &price, &volume, 3).await.remove(0);
    let both = 1100.0 + 3600.0;
    assert_eq!(found, [None, Some(11.0), Some(both / 400.0), None, None, Some(both / 400.0), None, None]);
}

#[tokio::test]
async fn later_rows_never_change_earlier_values() {
    let x = all(&walk(11, 60));
    let v = all(&walk(12, 60));
    let calls = [&CALLS[..], &["vwap(x, v)"]].concat();
    let whole = over(&calls, &x, &v, 8192).await;
    for length in [1, 2, 5, 6, 7, 11, 30, 59] {
        let part = over(&calls, &x[..length], &v[..length], 8192).await;
        for ((call, whole), part) in calls.iter().zip(&whole).zip(&part) {
            assert_eq!(&whole[..length], &part[..], "{call} of {length} rows");
        }
    }
}

#[tokio::test]
async fn batches_do_not_matter() {
    let (x, v) = (all(&walk(13, 200)), all(&walk(14, 200)));
    let calls = [&CALLS[..], &["vwap(x, v)"]].concat();
    let whole = over(&calls, &x, &v, 8192).await;
    for batch in [1, 3, 64, 199] {
        assert_eq!(over(&calls, &x, &v, batch).await, whole, "batches of {batch}");
    }
}

/// An operator with sorted input may hand a partition to its evaluator batch by batch.
#[test]
fn a_partition_may_come_in_pieces() {
    let columns: [ArrayRef; 2] =
        [Arc::new(Float64Array::from(walk(21, 100))), Arc::new(Float64Array::from(walk(22, 100)))];
    for indicator in Indicator::ALL {
        let count = indicator.columns().len();
        let lengths = [3_i64, 6, 3].map(|length| Arc::new(Literal::new(length.into())) as Arc<dyn PhysicalExpr>);
        let inputs = (0..count).map(|index| Arc::new(Column::new("x", index)) as Arc<dyn PhysicalExpr>);
        let arguments: Vec<_> = inputs.chain(lengths.into_iter().take(indicator.lengths().len())).collect();
        let whole = indicator.evaluator(&arguments).unwrap().evaluate_all(&columns[..count], 100).unwrap();
        assert!(whole.is_valid(99), "{indicator:?}");
        for piece in [1, 7, 64] {
            let mut evaluator = indicator.evaluator(&arguments).unwrap();
            for from in (0..100).step_by(piece) {
                let rows = piece.min(100 - from);
                let values: Vec<_> = columns[..count].iter().map(|column| column.slice(from, rows)).collect();
                let found = evaluator.evaluate_all(&values, rows).unwrap();
                assert_eq!(&found, &whole.slice(from, rows), "{indicator:?} in pieces of {piece}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_without_a_number_gives_null_and_is_passed_over() {
    let clean = walk(15, 80);
    for hole in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
        // A hole before every third value, and one at the end.
        let mut holed = Vec::new();
        for (row, value) in clean.iter().enumerate() {
            if row % 3 == 0 {
                holed.push(hole);
            }
            holed.push(Some(*value));
        }
        holed.push(hole);
        let expected = over(&CALLS, &all(&clean), &all(&clean), 8192).await;
        let found = over(&CALLS, &holed, &holed, 8192).await;
        for ((call, found), expected) in CALLS.iter().zip(found).zip(expected) {
            let mut kept = expected.into_iter();
            for (row, (input, found)) in holed.iter().zip(found).enumerate() {
                let expected = if input.is_some_and(f64::is_finite) { kept.next().unwrap() } else { None };
                assert_eq!(found, expected, "{call}, row {row}, hole {hole:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_price_is_passed_over_where_ratios_are_taken() {
    let x = [Some(4.0), Some(0.0), Some(2.0), Some(-3.0), Some(8.0)];
    assert_eq!(one("drawdown(x, 2)", &x).await, [None, None, Some(-0.5), None, Some(0.0)]);
    assert_eq!(one("max_drawdown(x, 2)", &x).await, [None, None, Some(-0.5), None, Some(0.0)]);
    // Log returns -ln 2 and 2 ln 2, 3 ln 2 apart.
    let expected = [None, None, None, None, Some(3.0 * 2_f64.ln() / 2_f64.sqrt())];
    assert_close(&one("volatility(x, 2)", &x).await, &expected, 1e-14, 0.0, "volatility");
}

#[tokio::test]
async fn a_flat_series() {
    let x = vec![Some(0.1); 40];
    let found = over(&CALLS, &x, &x, 8192).await;
    for (call, found) in CALLS.iter().zip(found) {
        let (first, value) = match *call {
            "sma(x, 5)" => (5, Some(0.1)),
            "ema(x, 5)" => (5, Some(0.1)),
            "rsi(x, 4)" => (5, Some(0.0)),
            "macd(x, 3, 6)" => (6, Some(0.0)),
            "macd_signal(x, 3, 6, 3)" | "macd_hist(x, 3, 6, 3)" => (8, Some(0.0)),
            "drawdown(x, 5)" | "max_drawdown(x, 5)" => (5, Some(0.0)),
            "volatility(x, 5)" => (6, Some(0.0)),
            "zscore(x, 5)" => (1, None),
            other => panic!("{other} has no expectation"),
        };
        let expected: Series = (1..=40).map(|row| if row < first { None } else { value }).collect();
        assert_close(&found, &expected, 1e-15, 0.0, call);
    }
}

#[tokio::test]
async fn short_series_have_no_value() {
    for x in [vec![], vec![Some(1.0)], vec![Some(1.0), Some(2.0)], vec![None; 30]] {
        for (call, found) in CALLS.iter().zip(over(&CALLS, &x, &x, 8192).await) {
            assert_eq!(found, vec![None; x.len()], "{call}");
        }
        let volume = vec![None; x.len()];
        assert_eq!(over(&["vwap(x, v)"], &x, &volume, 8192).await[0], vec![None; x.len()]);
    }
}

#[tokio::test]
async fn a_length_of_one_is_the_value_itself() {
    let x = all(&walk(17, 30));
    assert_eq!(one("sma(x, 1)", &x).await, x);
    assert_close(&one("ema(x, 1)", &x).await, &x, 1e-15, 0.0, "ema");
    assert_eq!(one("drawdown(x, 1)", &x).await, vec![Some(0.0); 30]);
    let rises: Series = x.windows(2).map(|pair| Some(if pair[1] > pair[0] { 100.0 } else { 0.0 })).collect();
    assert_eq!(one("rsi(x, 1)", &x).await[1..], rises);
}

#[tokio::test]
async fn a_length_beyond_any_series_costs_nothing() {
    let x = all(&walk(18, 30));
    for call in ["sma(x, 9223372036854775807)", "ema(x, 9223372036854775807)", "volatility(x, 4000000000)"] {
        assert_eq!(one(call, &x).await, vec![None; 30], "{call}");
    }
}

#[tokio::test]
async fn partitions_do_not_touch_each_other() {
    let sql = "select symbol, ema(x, 2) over (partition by symbol order by ts) as value from \
               (values ('A', 1, 1.0), ('B', 1, 10.0), ('A', 2, 3.0), ('B', 2, 30.0), ('A', 3, 5.0)) t(symbol, ts, x) \
               order by symbol, ts";
    let batches = context().sql(sql).await.unwrap().collect().await.unwrap();
    let found: Series = batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Float64Type>().iter()).collect();
    let expected = [None, Some(2.0), Some(4.0), None, Some(20.0)];
    assert_close(&found, &expected, 1e-15, 0.0, "ema");
}

#[tokio::test]
async fn any_number_will_do() {
    for kind in ["int", "bigint unsigned", "float", "decimal(12, 2)"] {
        let sql = format!(
            "select sma(cast(x as {kind}), 2) over (order by ts) from (values (1, 1), (2, 4)) t(ts, x) order by ts"
        );
        let batches = context().sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(batches[0].column(0).as_primitive::<Float64Type>().value(1), 2.5, "{kind}");
    }
}
