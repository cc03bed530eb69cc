//! Whether an answer holds data. Limits and errors arrive with status 200 and words that change: only the presence of the data counts.

use pulse_core::sources::{Answer, CsvAnswer, JsonAnswer, pointer_steps};
use serde_json::Value;

/// Bytes of an answer that are quoted.
const QUOTED: usize = 200;

/// What an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Data,
    /// Why there are none, for people.
    NoData(String),
    /// Why it is not an answer to the request.
    Bad(String),
}

/// Judges the body of an answer to a request for `symbol`.
pub(crate) fn judge(answer: &Answer, symbol: Option<&str>, body: &[u8]) -> Verdict {
    match answer {
        Answer::Json(json) => judge_json(json, symbol, body),
        Answer::Csv(csv) => judge_csv(csv, body),
        Answer::File(_) if body.is_empty() => Verdict::NoData("nothing".to_owned()),
        Answer::File(_) => Verdict::Data,
    }
}

fn judge_json(json: &JsonAnswer, symbol: Option<&str>, body: &[u8]) -> Verdict {
    let document: Value = match serde_json::from_slice(body) {
        Ok(document) => document,
        Err(error) => return Verdict::Bad(format!("no whole JSON document ({error}): {}", quoted(body))),
    };
    match at(&document, &json.data) {
        None | Some(Value::Null) => {
            return Verdict::NoData(format!("nothing at `{}`: {}", json.data, quoted(body)));
        }
        Some(_) => {}
    }
    let Some((pointer, symbol)) = json.symbol.as_ref().zip(symbol) else { return Verdict::Data };
    match at(&document, pointer).and_then(Value::as_str) {
        Some(about) if about.eq_ignore_ascii_case(symbol) => Verdict::Data,
        Some(about) => Verdict::Bad(format!("the answer is about `{}`, not `{symbol}`", about.escape_debug())),
        None => Verdict::Bad(format!("the answer does not say its symbol at `{pointer}`")),
    }
}

fn at<'v>(document: &'v Value, pointer: &str) -> Option<&'v Value> {
    let steps = pointer_steps(pointer).ok()?;
    steps.iter().try_fold(document, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn judge_csv(csv: &CsvAnswer, body: &[u8]) -> Verdict {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let mut lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let header = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let names: Vec<&str> = header.split([',', ';', '\t']).map(|name| name.trim().trim_matches('"')).collect();
    match csv.columns.iter().find(|column| !names.contains(&column.as_str())) {
        Some(missing) => Verdict::NoData(format!("no column `{missing}`: {}", quoted(body))),
        None if lines.next().is_none() => Verdict::NoData("no line behind the header".to_owned()),
        None => Verdict::Data,
    }
}

/// The beginning of an answer, on one line.
fn quoted(body: &[u8]) -> String {
    let cut = body.get(..QUOTED).unwrap_or(body);
    let text: String = String::from_utf8_lossy(cut).split_whitespace().collect::<Vec<_>>().join(" ");
    let more = if body.len() > QUOTED { " .." } else { "" };
    format!("\"{}{more}\"", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Verdict {
        let answer =
            JsonAnswer { data: "/Time Series (1min)".to_owned(), symbol: Some("/Meta Data/2. Symbol".to_owned()) };
        judge(&Answer::Json(answer), Some("IBM"), body.as_bytes())
    }

    fn csv(body: &str) -> Verdict {
        judge(
            &Answer::Csv(CsvAnswer { columns: vec!["timestamp".to_owned(), "open".to_owned()] }),
            None,
            body.as_bytes(),
        )
    }

    #[test]
    fn an_answer_with_the_data_key_holds_data() {
        let body = r#"{"Meta Data": {"2. Symbol": "ibm"}, "Time Series (1min)": {}}"#;
        assert_eq!(json(body), Verdict::Data);
        assert!(matches!(json(&body.replace("ibm", "MSFT")), Verdict::Bad(why) if why.contains("MSFT")));
        assert!(matches!(json(&body.replace("2. ", "")), Verdict::Bad(_)));
    }

    #[test]
    fn notices_with_status_200_hold_none_whatever_their_words() {
        for body in [
            r#"{"Note": "Thank you for using Alpha Vantage! 5 calls per minute"}"#,
            r#"{"Information": "Please subscribe"}"#,
            r#"{"Error Message": "Invalid API call"}"#,
            r#"{"Time Series (1min)": null}"#,
            "{}",
            "[]",
            "7",
        ] {
            assert!(matches!(json(body), Verdict::NoData(_)), "{body}");
        }
    }

    #[test]
    fn pages_of_html_and_truncated_documents_are_bad() {
        for body in ["<html><body>Service</body></html>", r#"{"Meta Data": {"2. Sym"#, ""] {
            assert!(matches!(json(body), Verdict::Bad(_)), "{body}");
        }
    }

    #[test]
    fn csv_needs_its_columns_and_a_row() {
        assert_eq!(csv("\u{feff}\"timestamp\",open\r\n2024,1\r\n"), Verdict::Data);
        for body in [
            "timestamp,open\n",
            "timestamp,open\r\n\r\n",
            "{\"Note\": \"x\"}\n1\n",
            "",
            "<html>\n<p>\n",
            "time,open\n1,2\n",
        ] {
            assert!(matches!(csv(body), Verdict::NoData(_)), "{body}");
        }
    }

    #[test]
    fn a_quote_is_short_and_on_one_line() {
        let long = format!("<p>\n{}\u{1b}", "x ".repeat(1000));
        let Verdict::Bad(why) = json(&long) else { panic!() };
        assert!(why.len() < 400 && !why.contains(['\n', '\u{1b}']), "{why}");
    }
}
