//! Answers as providers give them, from one [`Market`]: the same bars in each provider's format.
//!
//! | provider | path | format |
//! |---|---|---|
//! | Alpha Vantage | `/alpha_vantage/query?function=..&symbol=..&apikey=..` | JSON; CSV with `datatype=csv` and for listings |
//! | Yahoo | `/yahoo/v8/finance/chart/{symbol}?period1=..&period2=..&interval=1m` or `1d` | JSON with arrays |
//! | Stooq | `/stooq/q/d/l/?s=ibm.us&d1=20240102&d2=20240131&i=d` | CSV |
//! | Polygon's flat files | `/flat_files/us_stocks_sip/minute_aggs_v1/2024/01/2024-01-02.csv.gz`, `day_aggs_v1` | CSV, gzip |

mod alpha_vantage;
mod flat_files;
mod stooq;
mod yahoo;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::market::Market;

/// A symbol that no provider knows.
pub const UNKNOWN: &str = "UNKNOWN";

/// A request, as it arrived.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Without the query.
    pub path: &'a str,
    /// Decoded.
    pub query: BTreeMap<String, String>,
    pub now: DateTime<Utc>,
    /// Symbols of answers that are about all of them.
    pub symbols: &'a [String],
}

impl Asked<'_> {
    fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Answer {
    fn json(value: &serde_json::Value) -> Self {
        Self { status: 200, content_type: "application/json", body: value.to_string().into_bytes() }
    }

    fn text(body: String) -> Self {
        Self { status: 200, content_type: "text/csv", body: body.into_bytes() }
    }

    fn not_found() -> Self {
        Self { status: 404, content_type: "text/plain", body: b"not found\n".to_vec() }
    }
}

/// Which provider a path belongs to.
pub fn provider_of(path: &str) -> Option<&str> {
    let name = path.trim_start_matches('/').split('/').next()?;
    ["alpha_vantage", "yahoo", "stooq", "flat_files"].contains(&name).then_some(name)
}

/// Answers a request from a market.
pub fn answer(market: &Market, asked: &Asked<'_>) -> Answer {
    let rest = asked.path.trim_start_matches('/').split_once('/').map_or("", |(_, rest)| rest);
    match provider_of(asked.path) {
        Some("alpha_vantage") if rest == "query" => alpha_vantage::answer(market, asked),
        Some("yahoo") => yahoo::answer(market, asked, rest),
        Some("stooq") if rest == "q/d/l/" => stooq::answer(market, asked),
        Some("flat_files") => flat_files::answer(market, asked, rest),
        _ => Answer::not_found(),
    }
}

/// What a provider says when a limit is used up: with status 200, as Alpha Vantage does, or with 429.
pub fn limited(path: &str) -> Answer {
    match provider_of(path) {
        Some("alpha_vantage") => alpha_vantage::limited(),
        _ => Answer { status: 429, content_type: "text/plain", body: b"Too Many Requests\n".to_vec() },
    }
}

/// What a provider says to a wrong key.
pub fn forbidden(path: &str) -> Answer {
    match provider_of(path) {
        Some("alpha_vantage") => alpha_vantage::forbidden(),
        _ => Answer { status: 401, content_type: "text/plain", body: b"Unauthorized\n".to_vec() },
    }
}

/// Letters, digits and the signs of tickers.
fn is_symbol(symbol: &str) -> bool {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '^' | '=');
    !symbol.is_empty() && symbol.len() <= 12 && symbol.chars().all(is_sign) && symbol != UNKNOWN
}

/// A price as providers write it.
fn price(value: f64) -> String {
    format!("{value:.4}")
}

#[cfg(test)]
mod tests;
