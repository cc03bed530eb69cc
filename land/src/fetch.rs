//! One request over HTTP.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::sources::{Placeholder, Provider, Requested, Template};
use pulse_core::{Error, Result};
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use url::Url;

use crate::key::{Key, encoded};
use crate::plan::Wanted;

/// Bytes of the longest answer.
const MOST_BYTES: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request with its key.
#[derive(Clone)]
pub struct Request {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// The URL without the key.
    pub(crate) shown: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.shown)
    }
}

impl Request {
    /// # Errors
    /// `Invalid` when the declaration yields no URL or header, or would send a key over plain HTTP to another machine.
    pub(crate) fn new(requested: Requested<'_>, wanted: &Wanted, key: Option<&Key>) -> Result<Self> {
        let Requested { provider_name: name, provider, request, .. } = requested;
        let wrong = |why: &str| Error::invalid(format!("`providers.{name}` of sources.toml: {why}"));
        let value = |key: &str, placeholder| match placeholder {
            Placeholder::Symbol => encoded(wanted.symbol.as_deref().unwrap_or_default()),
            Placeholder::Key => key.to_owned(),
            other => encoded(&wanted.period.value(other)),
        };
        let template = Template::parse(&request.path).map_err(|why| wrong(&why))?;
        let base = provider.url.trim_end_matches('/');
        let with = |key: &str| format!("{base}{}", template.render(|placeholder| value(key, placeholder)));
        let revealed = key.map_or("", Key::reveal);
        let url = Url::parse(&with(&encoded(revealed))).map_err(|error| wrong(&format!("its URL is none: {error}")))?;
        let mut headers = HeaderMap::new();
        for (header, text) in &request.headers {
            let template = Template::parse(text).map_err(|why| wrong(&why))?;
            let text = template.render(|placeholder| value(revealed, placeholder));
            let no_header = |_| wrong(&format!("`{}` is no header", header.escape_debug()));
            let header_name = HeaderName::try_from(header.as_str()).map_err(|_| no_header(()))?;
            let mut value = HeaderValue::try_from(text).map_err(|_| no_header(()))?;
            value.set_sensitive(true);
            headers.insert(header_name, value);
        }
        let is_loopback = match url.host() {
            Some(url::Host::Domain(host)) => host.eq_ignore_ascii_case("localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if key.is_none() || is_loopback => {}
            "http" => return Err(wrong("its key would be sent over plain HTTP: write https://")),
            _ => return Err(wrong("its URL begins with https:// or http://")),
        }
        Ok(Self { url, headers, shown: with("<key>") })
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// A whole answer with status 200.
    Body(Vec<u8>),
    /// A whole answer that refuses the request, such as with status 404.
    Refused(u16),
    /// Key or account are not accepted: status 401 or 403.
    Forbidden(u16),
    /// Too many requests: status 429, or 503 with a time to wait.
    Busy { status: u16, retry_after: Option<TimeDelta> },
    /// No whole answer, for a reason that may pass.
    Failed(String),
    /// The machine's clock is this far from the provider's.
    Clock(TimeDelta),
}

/// Sends requests.
#[async_trait]
pub trait Fetch: fmt::Debug + Send + Sync {
    async fn fetch(&self, request: &Request) -> Fetched;
}

/// Over HTTP. Follows no redirect, which would carry the key elsewhere.
#[derive(Debug)]
pub struct HttpFetch {
    client: reqwest::Client,
}

impl HttpFetch {
    /// # Errors
    /// `Unavailable` when the machine has no TLS.
    pub fn new(provider: &Provider) -> Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_secs(u64::from(provider.timeout_s)))
            .user_agent(concat!("pulse/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::unavailable("no HTTP client can be made").with_source(error.without_url()))?;
        Ok(Self { client })
    }

    async fn answer(&self, request: &Request) -> reqwest::Result<Fetched> {
        let sent = self.client.get(request.url.clone()).headers(request.headers.clone()).send().await?;
        let (status, headers) = (sent.status().as_u16(), sent.headers().clone());
        if let Some(ahead) = clock_difference(&headers, Utc::now()) {
            return Ok(Fetched::Clock(ahead));
        }
        let retry_after = retry_after(&headers, Utc::now());
        Ok(match status {
            200 => body(sent).await?,
            401 | 403 => Fetched::Forbidden(status),
            429 => Fetched::Busy { status, retry_after },
            503 if retry_after.is_some() => Fetched::Busy { status, retry_after },
            408 | 425 | 500.. => Fetched::Failed(format!("status {status}")),
            _ => Fetched::Refused(status),
        })
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, request: &Request) -> Fetched {
        // The error's own text has the URL, and with it the key.
        self.answer(request).await.unwrap_or_else(|error| Fetched::Failed(reason(&error.without_url())))
    }
}

async fn body(mut answer: reqwest::Response) -> reqwest::Result<Fetched> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if bytes.len() + part.len() > MOST_BYTES {
            return Ok(Fetched::Failed(format!("an answer of more than {} MiB", MOST_BYTES >> 20)));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Fetched::Body(bytes))
}

/// The whole chain of causes: `connection refused` is the last of them.
fn reason(error: &reqwest::Error) -> String {
    let mut text = match error {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ if error.is_connect() => "no connection".to_owned(),
        _ => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// A greater difference between the clocks than any that synchronized machines have. Names of files are times.
const CLOCKS: TimeDelta = TimeDelta::minutes(10);

fn clock_difference(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let theirs = headers.get(DATE)?.to_str().ok().and_then(http_date)?;
    let ahead = now - theirs;
    (ahead.abs() > CLOCKS).then_some(ahead)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u32>() {
        Ok(seconds) => Some(TimeDelta::seconds(i64::from(seconds))),
        Err(_) => Some((http_date(text)? - now).max(TimeDelta::zero())),
    }
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use pulse_core::sources::{Sources, wrong_symbol};

    use super::*;
    use crate::period::Period;

    const SOURCES: &str = r#"
[providers.p]
url = "https://h.example/"
root = "r"
key = "env:K"
[providers.p.requests.bars]
path = "/q?s={symbol}&m={month}&f={from_compact}&apikey={key}"
period = "month"
headers = { Authorization = "Bearer {key}" }
answer = { json = { data = "/d" } }
"#;

    fn request(change: (&str, &str), key: Option<&str>) -> Result<Request> {
        let sources: Sources = toml_of(&SOURCES.replace(change.0, change.1));
        let provider = &sources.providers["p"];
        let wanted =
            Wanted { symbol: Some("BRK/B&x".to_owned()), period: Period::Month("2024-02-01".parse().unwrap()) };
        let key = key.map(|key| Key::new("p", key).unwrap());
        let (provider_name, request_name, request) = ("p", "bars", &provider.requests["bars"]);
        Request::new(Requested { provider_name, provider, request_name, request }, &wanted, key.as_ref())
    }

    fn toml_of(text: &str) -> Sources {
        use pulse_core::project::{Project, ProjectFiles};
        let files = ProjectFiles::from([
            ("project.toml".to_owned(), "name = \"p\"\n[defaults]\nowner = \"o\"\n".to_owned()),
            ("sources.toml".to_owned(), text.to_owned()),
        ]);
        Project::parse(&files).unwrap().sources
    }

    #[test]
    fn values_are_encoded_and_the_key_is_hidden() {
        assert_eq!(wrong_symbol("BRK/B&x"), None);
        let request = request(("", ""), Some("a+b c")).unwrap();
        assert_eq!(request.url.as_str(), "https://h.example/q?s=BRK%2FB%26x&m=2024-02&f=20240201&apikey=a%2Bb%20c");
        assert_eq!(request.shown, "https://h.example/q?s=BRK%2FB%26x&m=2024-02&f=20240201&apikey=<key>");
        assert_eq!(request.headers["authorization"], "Bearer a+b c");
        assert!(!format!("{request:?} {:?}", request.headers).contains("a+b"));
    }

    #[test]
    fn a_key_is_sent_over_tls_or_to_this_machine_alone() {
        for (url, is_allowed) in [
            ("http://h.example", false),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://127.0.0.1.example", false),
        ] {
            assert_eq!(request(("https://h.example/", url), Some("k")).is_ok(), is_allowed, "{url}");
        }
        assert!(request(("https://h.example/", "http://h.example"), None).is_ok());
    }

    #[test]
    fn a_time_to_wait_is_a_number_of_seconds_or_a_date() {
        let now: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
        let of =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]), now);
        assert_eq!(of("120"), Some(TimeDelta::seconds(120)));
        assert_eq!(of("Mon, 01 Jan 2024 00:01:00 GMT"), Some(TimeDelta::seconds(60)));
        assert_eq!(of("Sun, 31 Dec 2023 00:01:00 GMT"), Some(TimeDelta::zero()));
        assert_eq!(of("soon"), None);
    }

    #[test]
    fn clocks_may_differ_by_minutes_and_not_by_more() {
        let headers = |text: &str| HeaderMap::from_iter([(DATE, HeaderValue::from_str(text).unwrap())]);
        let now: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(clock_difference(&headers("Mon, 01 Jan 2024 00:09:00 GMT"), now), None);
        assert_eq!(clock_difference(&headers("Mon, 01 Jan 2024 01:00:00 GMT"), now), Some(TimeDelta::hours(-1)));
        assert_eq!(clock_difference(&HeaderMap::new(), now), None);
    }
}
