//! Stooq's CSV of daily bars. Without data, the answer is one line of text with status 200.

use chrono::NaiveDate;

use super::{Answer, Asked, is_symbol, price};
use crate::market::Market;

pub(super) fn answer(market: &Market, asked: &Asked<'_>) -> Answer {
    let symbol = asked.get("s").to_ascii_uppercase();
    let symbol = symbol.strip_suffix(".US").unwrap_or(&symbol);
    let day = |name: &str| NaiveDate::parse_from_str(asked.get(name), "%Y%m%d").ok();
    let (Some(from), Some(to)) = (day("d1"), day("d2")) else { return Answer::text("No data".to_owned()) };
    let days = if is_symbol(symbol) { market.days(from, to, asked.now) } else { Vec::new() };
    let bars = days.into_iter().filter_map(|day| Some((day, market.session(symbol, day)?)));
    let line = |(day, bar): (NaiveDate, crate::market::Bar)| {
        let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(price);
        format!("{day},{open},{high},{low},{close},{}\r\n", bar.volume)
    };
    let lines: String = bars.map(line).collect();
    match lines.is_empty() {
        true => Answer::text("No data".to_owned()),
        false => Answer::text(format!("Date,Open,High,Low,Close,Volume\r\n{lines}")),
    }
}
