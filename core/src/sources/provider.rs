//! Providers of data that are asked over HTTP, and which of their answers are landed as files.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A provider that answers requests over HTTP. `pulse land` puts its answers below `root`, where feeds read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Start of the URL of each request, such as `https://www.alphavantage.co`; `$name` takes the value of `--var name=VALUE`. Plain
    /// `http://` is allowed without a key, and on this machine.
    pub url: String,
    /// `url` as sources.toml has it, once variables got their values.
    #[serde(skip)]
    pub written_url: Option<String>,
    /// URL or path of the folder that answers are put below, as `<provider>/<request>/<symbol>/<period>/`; `$raw` takes the value of
    /// `--var raw=URL`.
    pub root: String,
    /// `root` as sources.toml has it, once variables got their values.
    #[serde(skip)]
    pub written_root: Option<String>,
    /// Where the key is, as `pulse land` sees it: `env:NAME`, `file:/path` or `ssm:/path`. It stands for `{key}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many requests may be sent. All processes that land below the same `root` share them.
    #[serde(default, skip_serializing_if = "RequestLimits::is_default")]
    pub limits: RequestLimits,
    /// Requests that wait for an answer at once, 1 to 32, by default 4.
    #[serde(default = "four", skip_serializing_if = "is_four")]
    pub concurrency: u32,
    /// Attempts at a request while the provider cannot be reached or breaks off its answer, 1 to 10, by default 4.
    #[serde(default = "four", skip_serializing_if = "is_four")]
    pub attempts: u32,
    /// Seconds until a request without a whole answer has failed, 1 to 600, by default 60.
    #[serde(default = "sixty", skip_serializing_if = "is_sixty")]
    pub timeout_s: u32,
    /// What the provider is asked, by names of yours.
    pub requests: BTreeMap<String, ProviderRequest>,
}

/// Limits of a provider. A request counts when it is sent, whatever becomes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Requests within any second, at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Requests within any minute, at most 5,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Requests within any 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
}

impl RequestLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One kind of request of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderRequest {
    /// Path and query behind the provider's `url`, such as `/query?function=NEWS&tickers={symbol}&apikey={key}`. In braces: `symbol`, `key`;
    /// with a period also `date` (`2024-01-31`), `month` (`2024-01`), `year` and `month_number` (`2024` and `01`), `from` and `to` (first and last day), `from_epoch` and `to_epoch`
    /// (seconds since 1970 of the period's start and end in UTC), `from_compact` and `to_compact` (`20240131`). Values are percent-encoded.
    pub path: String,
    /// Headers of the request; their values may hold `{key}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The time that one request covers.
    #[serde(default, skip_serializing_if = "RequestPeriod::is_default")]
    pub period: RequestPeriod,
    /// What tells an answer with data from a notice about a limit, an error or a page of HTML, which arrive with status 200 as well.
    pub answer: Answer,
    /// Hours after the end of a period, in UTC, from which on its answer is final, by default 24. An older answer is asked for again.
    #[serde(default = "twenty_four", skip_serializing_if = "is_twenty_four")]
    pub final_hours: u32,
    /// Age in hours from which on an answer that is not final is asked for again, by default 24. With `period = "all"` no answer is final.
    #[serde(default = "twenty_four", skip_serializing_if = "is_twenty_four")]
    pub refresh_hours: u32,
}

/// The time that one request covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestPeriod {
    /// The default: everything that the provider has, as of the time of the request.
    #[default]
    All,
    /// One day.
    Day,
    /// One month of the calendar.
    Month,
}

impl RequestPeriod {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How an answer with data looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// One JSON document.
    Json(JsonAnswer),
    /// Lines of CSV with a header.
    Csv(CsvAnswer),
    /// A file that is taken as it is, such as a compressed one: any answer with status 200 and content.
    File(FileAnswer),
}

/// A JSON document with data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonAnswer {
    /// JSON pointer of the data, such as `/feed`. An answer without it, or with null there, has no data.
    pub data: String,
    /// JSON pointer of the symbol that the answer is about. An answer about another symbol than the requested one is not landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
}

/// CSV with data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvAnswer {
    /// Names that the header must have. An answer without them, or with no line behind the header, has no data.
    pub columns: Vec<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileAnswer {
    /// Ending of the landed files, such as `csv.gz`.
    pub ending: String,
}

impl Answer {
    /// Its key in sources.toml.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::File(_) => "file",
        }
    }

    /// Ending of the files that answers are landed as.
    pub fn ending(&self) -> &str {
        match self {
            Self::Json(_) => "json",
            Self::Csv(_) => "csv",
            Self::File(file) => &file.ending,
        }
    }
}

/// What is kept landed of a provider: a request, for some symbols, from a day on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Landing {
    /// `<provider>.<request>`, such as `alpha_vantage.daily`.
    pub request: String,
    /// Symbols, in the provider's spelling. None for a request without `{symbol}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// A file of the project with one symbol a line, such as `symbols.txt`; lines that begin with `#` are comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols_file: Option<String>,
    /// First day, `YYYY-MM-DD`; needed unless the request's `period` is `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Last day, `YYYY-MM-DD`. Without it, the current day in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// A column of dates, such as `silver.sessions.session_date`: days that it lacks are not asked for. Without it, and while the lake has no
    /// such table, these are Saturdays and Sundays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
}

fn four() -> u32 {
    4
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_four(number: &u32) -> bool {
    *number == four()
}

fn sixty() -> u32 {
    60
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_sixty(seconds: &u32) -> bool {
    *seconds == sixty()
}

fn twenty_four() -> u32 {
    24
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_twenty_four(hours: &u32) -> bool {
    *hours == twenty_four()
}

/// Whether a text is a day, `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok()
}

/// Why a text is no symbol.
pub fn wrong_symbol(symbol: &str) -> Option<&'static str> {
    match symbol {
        "" => Some("is empty"),
        _ if symbol.trim() != symbol => Some("begins or ends with a space"),
        _ if symbol.chars().any(char::is_control) => Some("has a control character"),
        _ if symbol.len() > 64 => Some("has more than 64 bytes"),
        _ => None,
    }
}
