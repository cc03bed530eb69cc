//! Against TA-Lib and the reference results of Stock.Indicators.

use std::path::PathBuf;

use super::{Series, all, assert_close, one, over};

/// Values of TA-Lib 0.8.1 for a series that anybody can write down.
#[tokio::test]
async fn values_of_ta_lib() {
    let x: Vec<f64> = (0..60_u32).map(|i| 100.0 + f64::from(i * 37 % 17) - f64::from(i * i % 11) * 0.5).collect();
    for (call, first, values) in [
        ("sma(x, 10)", 9, [(9, 104.55), (10, 105.8), (30, 106.5), (59, 105.05)]),
        ("ema(x, 10)", 9, [(9, 104.55), (10, 105.99545454545455), (30, 105.35283916813918), (59, 104.90416858602545)]),
        (
            "rsi(x, 14)",
            14,
            [(14, 52.892561983471076), (15, 56.74255691768826), (30, 47.242575071258536), (59, 49.393010996961024)],
        ),
    ] {
        let found = one(call, &all(&x)).await;
        assert_eq!(found.iter().position(Option::is_some), Some(first), "{call}");
        for (row, value) in values {
            assert_close(&[found[row]], &[Some(value)], 1e-13, 0.0, &format!("{call}, row {row}"));
        }
    }
}

/// Data that is not ours to ship, beside the repository.
fn reference(path: &str) -> String {
    let root = std::env::var_os("PULSE_SHARED_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")), PathBuf::from);
    let path = root.join("indicator_references/stock_indicators").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; set PULSE_SHARED_DATA", path.display()))
}

fn quotes() -> Vec<[f64; 5]> {
    let text = reference("quotes/default.csv");
    let row = |line: &str| -> Option<[f64; 5]> {
        let numbers: Result<Vec<f64>, _> = line.split(',').skip(1).map(str::parse).collect();
        numbers.ok()?.try_into().ok()
    };
    text.lines().skip(1).map(|line| row(line).unwrap_or_else(|| panic!("`{line}` is no quote"))).collect()
}

fn results(name: &str, field: &str) -> Series {
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&reference(&format!("results/{name}.standard.json"))).unwrap();
    rows.iter().map(|row| row[field].as_f64()).collect()
}

#[tokio::test]
async fn values_of_stock_indicators() {
    let quotes = quotes();
    assert_eq!(quotes.len(), 502);
    let close: Series = quotes.iter().map(|[.., close, _]| Some(*close)).collect();
    for (call, name, field) in [
        ("sma(x, 20)", "sma", "sma"),
        ("ema(x, 20)", "ema", "ema"),
        ("ema(x, 12)", "macd", "fastEma"),
        ("ema(x, 26)", "macd", "slowEma"),
        ("rsi(x, 14)", "rsi", "rsi"),
        ("macd(x, 12, 26)", "macd", "macd"),
        ("macd_signal(x, 12, 26, 9)", "macd", "signal"),
        ("macd_hist(x, 12, 26, 9)", "macd", "histogram"),
    ] {
        // Stock.Indicators shows the fast average of MACD from the slow one's first row on.
        let mut found = one(call, &close).await;
        let expected = results(name, field);
        if field == "fastEma" {
            let first = expected.iter().position(Option::is_some).unwrap();
            found[..first].fill(None);
        }
        assert!(expected.iter().flatten().count() > 450, "{call}");
        assert_close(&found, &expected, 1e-9, 0.0, call);
    }
    let typical: Series = quotes.iter().map(|[_, high, low, close, _]| Some((high + low + close) / 3.0)).collect();
    let volume: Series = quotes.iter().map(|[.., volume]| Some(*volume)).collect();
    let found = over(&["vwap(x, v)"], &typical, &volume, 100).await.remove(0);
    assert_close(&found, &results("vwap", "vwap"), 1e-12, 0.0, "vwap");
}
