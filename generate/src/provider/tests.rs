//! All providers serve one market.

use std::io::Read as _;

use serde_json::Value;

use super::*;

fn ask(path_and_query: &str) -> Answer {
    let url = url::Url::parse(&format!("http://h{path_and_query}")).unwrap();
    let symbols = ["IBM".to_owned(), "MSFT".to_owned()];
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let now = "2024-03-05T12:00:00Z".parse().unwrap();
    answer(&Market::new(7), &Asked { path: url.path(), query, now, symbols: &symbols })
}

fn json(path_and_query: &str) -> Value {
    serde_json::from_slice(&ask(path_and_query).body).unwrap()
}

fn text(answer: Answer) -> String {
    String::from_utf8(answer.body).unwrap()
}

/// Opens of the minutes of 2024-03-04.
fn opens() -> Vec<f64> {
    Market::new(7).minutes("IBM", "2024-03-04".parse().unwrap()).iter().map(|bar| bar.open).collect()
}

#[test]
fn a_minute_has_one_price_at_every_provider() {
    let month =
        json("/alpha_vantage/query?function=TIME_SERIES_INTRADAY&symbol=IBM&interval=1min&month=2024-03&apikey=k");
    let series = month["Time Series (1min)"].as_object().unwrap();
    let of_day = series.iter().filter(|(stamp, _)| stamp.starts_with("2024-03-04 "));
    let mut rows: Vec<(String, f64)> =
        of_day.map(|(stamp, row)| (stamp.clone(), row["1. open"].as_str().unwrap().parse().unwrap())).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(rows[0].0, "2024-03-04 09:30:00");
    assert_eq!(rows.into_iter().map(|(_, open)| open).collect::<Vec<_>>(), opens());

    let chart = json("/yahoo/v8/finance/chart/IBM?period1=1709510400&period2=1709596800&interval=1m");
    let result = &chart["chart"]["result"][0];
    let yahoo: Vec<f64> = serde_json::from_value(result["indicators"]["quote"][0]["open"].clone()).unwrap();
    assert_eq!(yahoo, opens());
    assert_eq!(result["timestamp"].as_array().unwrap().len(), 390);

    let zipped = ask("/flat_files/us_stocks_sip/minute_aggs_v1/2024/03/2024-03-04.csv.gz").body;
    let mut lines = String::new();
    flate2::read::GzDecoder::new(zipped.as_slice()).read_to_string(&mut lines).unwrap();
    let flat: Vec<f64> = lines
        .lines()
        .filter(|line| line.starts_with("IBM,"))
        .map(|line| line.split(',').nth(2).unwrap().parse().unwrap())
        .collect();
    assert_eq!(flat, opens());
}

#[test]
fn a_session_has_one_close_at_every_provider() {
    let close = Market::new(7).session("IBM", "2024-03-04".parse().unwrap()).unwrap().close;
    let daily = json("/alpha_vantage/query?function=TIME_SERIES_DAILY_ADJUSTED&symbol=IBM&apikey=k");
    assert_eq!(daily["Time Series (Daily)"]["2024-03-04"]["4. close"], format!("{close:.4}"));
    let stooq = text(ask("/stooq/q/d/l/?s=ibm.us&d1=20240304&d2=20240304&i=d"));
    assert!(stooq.lines().nth(1).unwrap().contains(&format!(",{close:.4},")), "{stooq}");
    let csv = text(ask("/alpha_vantage/query?function=TIME_SERIES_DAILY_ADJUSTED&symbol=IBM&datatype=csv&apikey=k"));
    assert_eq!(
        csv.lines().next().unwrap(),
        "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
    );
}

#[test]
fn absences_look_as_the_providers_make_them() {
    let unknown = json("/alpha_vantage/query?function=SPLITS&symbol=UNKNOWN&apikey=k");
    assert!(unknown["Error Message"].is_string() && unknown.get("data").is_none());
    let none =
        json("/alpha_vantage/query?function=TIME_SERIES_INTRADAY&symbol=IBM&interval=1min&month=2031-01&apikey=k");
    assert!(none["Error Message"].is_string());
    let saturday = json("/yahoo/v8/finance/chart/IBM?period1=1709337600&period2=1709424000&interval=1m");
    assert!(saturday["chart"]["result"][0].get("timestamp").is_none());
    assert_eq!(ask("/yahoo/v8/finance/chart/UNKNOWN?period1=1&period2=2&interval=1m").status, 404);
    assert_eq!(text(ask("/stooq/q/d/l/?s=unknown.us&d1=20240304&d2=20240304&i=d")), "No data");
    assert_eq!(ask("/flat_files/us_stocks_sip/minute_aggs_v1/2024/03/2024-03-02.csv.gz").status, 404);
    for path in ["/", "/other/query", "/flat_files/../x", "/yahoo/v8"] {
        assert_eq!(ask(path).status, 404, "{path}");
    }
}

#[test]
fn news_and_listings_are_about_the_symbols() {
    let news = json("/alpha_vantage/query?function=NEWS_SENTIMENT&tickers=IBM&apikey=k");
    assert_eq!(news["items"], news["feed"].as_array().unwrap().len().to_string());
    assert_eq!(news["feed"][0]["ticker_sentiment"][0]["ticker"], "IBM");
    assert_eq!(text(ask("/alpha_vantage/query?function=LISTING_STATUS&apikey=k")).lines().count(), 3);
    let dividends = json("/alpha_vantage/query?function=DIVIDENDS&symbol=IBM&apikey=k");
    assert!(dividends["data"].is_array());
}
