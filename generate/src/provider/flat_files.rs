//! Flat files in Polygon's layout: all symbols of one day, CSV with gzip, starts of bars in nanoseconds since 1970.

use std::io::Write as _;

use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Answer, Asked};
use crate::market::{Bar, Market};

const HEAD: &str = "ticker,volume,open,close,high,low,window_start,transactions\n";

pub(super) fn answer(market: &Market, asked: &Asked<'_>, path: &str) -> Answer {
    let parts: Vec<&str> = path.split('/').collect();
    let &["us_stocks_sip", kind, year, month, file] = parts.as_slice() else { return Answer::not_found() };
    let day = file.strip_suffix(".csv.gz").and_then(|day| day.parse::<NaiveDate>().ok());
    let Some(day) = day.filter(|day| day.format("%Y/%m").to_string() == format!("{year}/{month}")) else {
        return Answer::not_found();
    };
    if market.days(day, day, asked.now).is_empty() {
        return Answer::not_found();
    }
    let mut text = HEAD.to_owned();
    for symbol in asked.symbols {
        let bars: Vec<Bar> = match kind {
            "minute_aggs_v1" => market.minutes(symbol, day),
            "day_aggs_v1" => market.session(symbol, day).into_iter().collect(),
            _ => return Answer::not_found(),
        };
        for bar in bars {
            let start = bar.start.timestamp() * 1_000_000_000;
            let Bar { volume, open, close, high, low, .. } = bar;
            text.push_str(&format!("{symbol},{volume},{open},{close},{high},{low},{start},{}\n", volume / 100 + 1));
        }
    }
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    match zipped.write_all(text.as_bytes()).and_then(|()| zipped.finish()) {
        Ok(body) => Answer { status: 200, content_type: "application/gzip", body },
        Err(_) => Answer::not_found(),
    }
}
