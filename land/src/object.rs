//! Names of landed files: `<request>/<symbol>/<period>/<time>-<hash>.<ending>`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::period::Period;
use crate::plan::Wanted;

/// Time of an answer to the millisecond; names with it sort by time.
const STAMP: &str = "%Y%m%dT%H%M%S%3fZ";
/// Bytes of a segment of a path that stand for themselves.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'=');
/// Folder of requests without a symbol.
const WITHOUT_SYMBOL: &str = "all";

/// What an answer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It holds data. Its file has the ending that feeds read.
    Data,
    /// It holds none.
    NoData,
    /// It is not what was asked for: another format, or another symbol.
    Bad,
}

const NO_DATA: &str = "none";
const BAD: &str = "bad";

/// An answer, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) at: DateTime<Utc>,
    pub(crate) outcome: Outcome,
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.format(STAMP).to_string()
}

/// Folder of a symbol below that of its request.
pub(crate) fn symbol_folder(symbol: Option<&str>) -> String {
    match symbol {
        None => WITHOUT_SYMBOL.to_owned(),
        // Dots alone are no name of a folder.
        Some(symbol) if symbol == WITHOUT_SYMBOL || symbol.chars().all(|c| c == '.') => {
            symbol.bytes().map(|byte| format!("%{byte:02X}")).collect()
        }
        Some(symbol) => utf8_percent_encode(symbol, PLAIN).to_string(),
    }
}

/// Path of an answer below its provider's folder.
pub(crate) fn path(
    request: &str,
    wanted: &Wanted,
    at: DateTime<Utc>,
    outcome: Outcome,
    ending: &str,
    body: &[u8],
) -> String {
    let symbol = symbol_folder(wanted.symbol.as_deref());
    let ending = match outcome {
        Outcome::Data => ending,
        Outcome::NoData => NO_DATA,
        Outcome::Bad => BAD,
    };
    let hash: String = hash(body).chars().take(8).collect();
    format!("{request}/{symbol}/{}/{}-{hash}.{ending}", wanted.period.folder(at), stamp(at))
}

/// The symbol's folder, the period's folder and what the name says, of a path below the request's folder. `None` for other files.
pub(crate) fn parse(below_request: &str, ending: &str) -> Option<(String, String, Answered)> {
    let mut parts = below_request.split('/');
    let (symbol, period, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, found) = file.split_once('.')?;
    let outcome = match found {
        NO_DATA => Outcome::NoData,
        BAD => Outcome::Bad,
        other if other == ending => Outcome::Data,
        _ => return None,
    };
    let (time, _) = name.rsplit_once('-')?;
    let at = NaiveDateTime::parse_from_str(time, STAMP).ok()?.and_utc();
    parts.next().is_none().then(|| (symbol.to_owned(), period.to_owned(), Answered { at, outcome }))
}

/// Whether an answer in a folder of this name belongs to a period.
pub(crate) fn is_of(period: Period, folder: &str) -> bool {
    match period {
        Period::All => folder.parse::<NaiveDate>().is_ok(),
        Period::Day(_) | Period::Month(_) => folder == period.folder(DateTime::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_name_says_what_was_answered(symbol in "\\PC{1,12}", millis in 0_i64..4_000_000_000_000, kind in 0_usize..3) {
            let outcome = [Outcome::Data, Outcome::NoData, Outcome::Bad][kind];
            let at = DateTime::from_timestamp_millis(millis).unwrap();
            let wanted = Wanted { symbol: Some(symbol.clone()), period: Period::Month("2024-02-01".parse().unwrap()) };
            let path = path("bars", &wanted, at, outcome, "json", b"x");
            let (folder, period, answered) = parse(path.strip_prefix("bars/").unwrap(), "json").unwrap();
            prop_assert_eq!(percent_decode_str(&folder).decode_utf8().unwrap(), symbol);
            prop_assert_ne!(folder.as_str(), "all");
            prop_assert_eq!(period, "2024-02");
            prop_assert_eq!(answered, Answered { at, outcome });
            prop_assert!(path.split('/').all(|part| !matches!(part, "." | ".." | "")));
            prop_assert!(path.is_ascii());
        }
    }

    #[test]
    fn names_sort_by_time_and_say_the_content() {
        let wanted = Wanted { symbol: None, period: Period::All };
        let name = |time: &str, body: &[u8]| path("list", &wanted, at(time), Outcome::Data, "csv", body);
        assert_eq!(name("2024-01-02T03:04:05.678Z", b"abc"), "list/all/2024-01-02/20240102T030405678Z-ba7816bf.csv");
        assert!(name("2024-01-02T03:04:05.678Z", b"abc") < name("2024-01-02T03:04:05.679Z", b"abc"));
    }

    #[test]
    fn other_files_are_no_answers() {
        for other in [
            "IBM/2024-01/x.json",
            "IBM/2024-01/20240102T030405678Z-aa.txt",
            "a.json",
            "IBM/2024-01/d/20240102T030405678Z-aa.json",
        ] {
            assert_eq!(parse(other, "json"), None, "{other}");
        }
    }
}
