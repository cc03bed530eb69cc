//! Yahoo's charts: arrays by column, stamps in seconds since 1970. Split-adjusted prices, as Yahoo serves them.

use chrono::{DateTime, NaiveDate, TimeDelta};
use serde_json::json;

use super::{Answer, Asked, is_symbol};
use crate::market::{Bar, Market};

pub(super) fn answer(market: &Market, asked: &Asked<'_>, path: &str) -> Answer {
    let Some(symbol) = path.strip_prefix("v8/finance/chart/") else { return Answer::not_found() };
    if !is_symbol(symbol) {
        let error = json!({ "code": "Not Found", "description": "No data found, symbol may be delisted" });
        return Answer { status: 404, ..Answer::json(&json!({ "chart": { "result": null, "error": error } })) };
    }
    let time =
        |name: &str| asked.get(name).parse::<i64>().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let (Some(from), Some(to)) = (time("period1"), time("period2")) else { return Answer::not_found() };
    let (first, last) = (from.date_naive() - TimeDelta::days(1), to.date_naive());
    let days = market.days(first, last, asked.now);
    let bars: Vec<Bar> = match asked.get("interval") {
        "1m" => days.into_iter().flat_map(|day| market.minutes(symbol, day)).collect(),
        "1d" => days.into_iter().filter_map(|day| market.session(symbol, day)).collect(),
        _ => return Answer::not_found(),
    };
    let bars: Vec<Bar> = bars.into_iter().filter(|bar| (from..to).contains(&bar.start)).collect();
    let later = |day: NaiveDate| -> f64 {
        let splits = market.splits(symbol).into_iter();
        splits.filter(|(date, _)| *date > day && *date <= asked.now.date_naive()).map(|(_, ratio)| ratio).product()
    };
    let ratios: Vec<f64> = bars.iter().map(|bar| later(bar.wall_clock().date_naive())).collect();
    let prices =
        |of: fn(&Bar) -> f64| bars.iter().zip(&ratios).map(|(bar, ratio)| of(bar) / ratio).collect::<Vec<f64>>();
    let volumes: Vec<u64> = bars.iter().zip(&ratios).map(|(bar, ratio)| (bar.volume as f64 * ratio) as u64).collect();
    let mut result = json!({
        "meta": { "currency": "USD", "symbol": symbol, "exchangeTimezoneName": "America/New_York" },
        "indicators": { "quote": [{}] },
    });
    if !bars.is_empty() {
        result["timestamp"] = json!(bars.iter().map(|bar| bar.start.timestamp()).collect::<Vec<_>>());
        result["indicators"]["quote"] = json!([{
            "open": prices(|bar| bar.open), "high": prices(|bar| bar.high), "low": prices(|bar| bar.low),
            "close": prices(|bar| bar.close), "volume": volumes,
        }]);
    }
    Answer::json(&json!({ "chart": { "result": [result], "error": null } }))
}
