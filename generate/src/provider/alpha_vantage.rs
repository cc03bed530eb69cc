//! Alpha Vantage: errors and limits have status 200.

use chrono::{Datelike as _, NaiveDate};
use serde_json::{Map, Value, json};

use super::{Answer, Asked, is_symbol, price};
use crate::market::{Bar, Market};

/// Sessions of a compact answer.
const COMPACT: usize = 100;

pub(super) fn answer(market: &Market, asked: &Asked<'_>) -> Answer {
    let symbol = asked.get("symbol");
    match asked.get("function") {
        "LISTING_STATUS" => listing(asked),
        "NEWS_SENTIMENT" => news(market, asked),
        _ if !is_symbol(symbol) => invalid(),
        "TIME_SERIES_INTRADAY" => intraday(market, asked, symbol),
        "TIME_SERIES_DAILY" | "TIME_SERIES_DAILY_ADJUSTED" => daily(market, asked, symbol),
        "SPLITS" => splits(market, asked, symbol),
        "DIVIDENDS" => dividends(market, asked, symbol),
        _ => invalid(),
    }
}

pub(super) fn limited() -> Answer {
    Answer::json(
        &json!({ "Information": "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly." }),
    )
}

pub(super) fn forbidden() -> Answer {
    Answer::json(&json!({ "Error Message": "the parameter apikey is invalid or missing." }))
}

fn invalid() -> Answer {
    Answer::json(&json!({ "Error Message": "Invalid API call. Please retry or visit the documentation." }))
}

/// Rows of a header and its values, the newest first, as CSV or as an object of objects.
struct Series {
    symbol: String,
    key: String,
    names: &'static [&'static str],
    rows: Vec<(String, Vec<String>)>,
}

impl Series {
    fn answer(self, asked: &Asked<'_>) -> Answer {
        if asked.get("datatype") == "csv" {
            let plain = |name: &&str| name.split_once(". ").map_or(*name, |(_, name)| name).replace(' ', "_");
            let mut text = format!("timestamp,{}\r\n", self.names.iter().map(plain).collect::<Vec<_>>().join(","));
            for (stamp, values) in self.rows {
                text.push_str(&format!("{stamp},{}\r\n", values.join(",")));
            }
            return Answer::text(text);
        }
        let row = |(stamp, values): (String, Vec<String>)| {
            let values = self.names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Value::String(value)));
            (stamp, Value::Object(values.collect()))
        };
        let rows: Map<String, Value> = self.rows.into_iter().map(row).collect();
        let about = json!({ "1. Information": "made up", "2. Symbol": self.symbol, "6. Time Zone": "US/Eastern" });
        let mut document = Map::new();
        document.insert("Meta Data".to_owned(), about);
        document.insert(self.key, Value::Object(rows));
        Answer::json(&Value::Object(document))
    }
}

fn values(bar: &Bar) -> Vec<String> {
    vec![price(bar.open), price(bar.high), price(bar.low), price(bar.close), bar.volume.to_string()]
}

/// Stamps name the start of a bar, in New York.
fn intraday(market: &Market, asked: &Asked<'_>, symbol: &str) -> Answer {
    if asked.get("interval") != "1min" {
        return invalid();
    }
    let today = asked.now.date_naive();
    let month = format!("{}-01", asked.get("month")).parse::<NaiveDate>();
    let start = month.ok().or_else(|| today.with_day(1)).unwrap_or(today);
    let end = start.checked_add_months(chrono::Months::new(1)).and_then(|day| day.pred_opt()).unwrap_or(start);
    let days = market.days(start, end, asked.now);
    if days.is_empty() {
        return invalid();
    }
    let bars = days.into_iter().rev().flat_map(|day| market.minutes(symbol, day).into_iter().rev());
    let rows = bars.map(|bar| (bar.wall_clock().format("%Y-%m-%d %H:%M:%S").to_string(), values(&bar)));
    let names = &["1. open", "2. high", "3. low", "4. close", "5. volume"];
    Series { symbol: symbol.to_owned(), key: "Time Series (1min)".to_owned(), names, rows: rows.collect() }
        .answer(asked)
}

fn daily(market: &Market, asked: &Asked<'_>, symbol: &str) -> Answer {
    let is_adjusted = asked.get("function").ends_with("ADJUSTED");
    let today = asked.now.date_naive();
    let mut days = market.days(NaiveDate::from_ymd_opt(2015, 1, 1).unwrap_or(today), today, asked.now);
    if asked.get("outputsize") != "full" {
        days.drain(..days.len().saturating_sub(COMPACT));
    }
    let (splits, dividends) = (market.splits(symbol), market.dividends(symbol, today));
    let row = |day: NaiveDate| {
        let bar = market.session(symbol, day)?;
        let mut cells = values(&bar);
        if is_adjusted {
            let ratio = |split: &&(NaiveDate, f64)| split.0 == day;
            let later: f64 = splits.iter().filter(|(date, _)| *date > day).map(|(_, ratio)| ratio).product();
            cells.insert(4, price(bar.close / later));
            cells.push(price(dividends.get(&day).copied().unwrap_or(0.0)));
            cells.push(format!("{:.1}", splits.iter().find(ratio).map_or(1.0, |(_, ratio)| *ratio)));
        }
        Some((day.to_string(), cells))
    };
    let rows = days.into_iter().rev().filter_map(row).collect();
    let names: &[&str] = match is_adjusted {
        true => &[
            "1. open",
            "2. high",
            "3. low",
            "4. close",
            "5. adjusted close",
            "6. volume",
            "7. dividend amount",
            "8. split coefficient",
        ],
        false => &["1. open", "2. high", "3. low", "4. close", "5. volume"],
    };
    Series { symbol: symbol.to_owned(), key: "Time Series (Daily)".to_owned(), names, rows }.answer(asked)
}

fn splits(market: &Market, asked: &Asked<'_>, symbol: &str) -> Answer {
    let splits = market.splits(symbol).into_iter().filter(|(day, _)| *day <= asked.now.date_naive());
    let rows: Vec<(NaiveDate, String)> = splits.map(|(day, ratio)| (day, format!("{ratio:.4}"))).collect();
    if asked.get("datatype") == "csv" {
        let lines = rows.iter().map(|(day, ratio)| format!("{day},{ratio}\r\n")).collect::<String>();
        return Answer::text(format!("effective_date,split_factor\r\n{lines}"));
    }
    let data: Vec<Value> =
        rows.iter().map(|(day, ratio)| json!({ "effective_date": day.to_string(), "split_factor": ratio })).collect();
    Answer::json(&json!({ "symbol": symbol, "data": data }))
}

fn dividends(market: &Market, asked: &Asked<'_>, symbol: &str) -> Answer {
    let all = market.dividends(symbol, asked.now.date_naive());
    let head = "ex_dividend_date,declaration_date,record_date,payment_date,amount\r\n";
    if asked.get("datatype") == "csv" {
        let lines =
            all.iter().rev().map(|(day, amount)| format!("{day},None,None,None,{amount}\r\n")).collect::<String>();
        return Answer::text(format!("{head}{lines}"));
    }
    let row = |(day, amount): (&NaiveDate, &f64)| {
        json!({ "ex_dividend_date": day.to_string(), "declaration_date": "None", "record_date": "None", "payment_date": "None",
                "amount": amount.to_string() })
    };
    Answer::json(&json!({ "symbol": symbol, "data": all.iter().rev().map(row).collect::<Vec<_>>() }))
}

fn listing(asked: &Asked<'_>) -> Answer {
    let line = |symbol: &String| format!("{symbol},{symbol} Corporation,NYSE,Stock,2010-01-04,null,Active\r\n");
    let lines: String = asked.symbols.iter().map(line).collect();
    Answer::text(format!("symbol,name,exchange,assetType,ipoDate,delistingDate,status\r\n{lines}"))
}

/// One article for each symbol and session of the last ten.
fn news(market: &Market, asked: &Asked<'_>) -> Answer {
    let today = asked.now.date_naive();
    let tickers: Vec<&str> = asked.get("tickers").split(',').filter(|symbol| is_symbol(symbol)).collect();
    let start = today.checked_sub_days(chrono::Days::new(14)).unwrap_or(today);
    let mut feed = Vec::new();
    for day in market.days(start, today, asked.now).into_iter().rev().take(10) {
        for symbol in &tickers {
            let Some(bar) = market.session(symbol, day) else { continue };
            let score = ((bar.close / bar.open - 1.0) * 20.0).clamp(-1.0, 1.0);
            let label = if score > 0.15 {
                "Bullish"
            } else if score < -0.15 {
                "Bearish"
            } else {
                "Neutral"
            };
            feed.push(json!({
                "title": format!("{symbol} closes at {:.2}", bar.close),
                "url": format!("https://news.example/{symbol}/{day}"),
                "time_published": format!("{}T210000", day.format("%Y%m%d")),
                "authors": [],
                "summary": format!("Shares of {symbol} moved from {:.2} to {:.2}.", bar.open, bar.close),
                "source": "Example Wire",
                "topics": [{ "topic": "Earnings", "relevance_score": "0.5" }],
                "overall_sentiment_score": score,
                "overall_sentiment_label": label,
                "ticker_sentiment": [{ "ticker": symbol, "relevance_score": "0.9",
                    "ticker_sentiment_score": format!("{score:.6}"), "ticker_sentiment_label": label }],
            }));
        }
    }
    match tickers.is_empty() {
        true => invalid(),
        false => Answer::json(&json!({ "items": feed.len().to_string(), "feed": feed })),
    }
}
