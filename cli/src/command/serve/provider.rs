//! `pulse serve provider`: stands in for providers of market data.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use chrono::Utc;
use percent_encoding::percent_decode_str;
use pulse_core::{Error, Result};
use pulse_generate::Market;
use pulse_generate::provider::{Answer, Asked, answer, forbidden, limited, provider_of};
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::args::StandIn;
use crate::interrupt::interrupted;

const SLOW: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn serve(options: &StandIn) -> Result<()> {
    let server = Arc::new(Server::new(options)?);
    let taken = |error: std::io::Error| {
        Error::invalid(format!("port {} cannot be used: name another with --port", options.port)).with_source(error)
    };
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    eprintln!("provider: http://{address}/alpha_vantage, /yahoo, /stooq and /flat_files; Ctrl-C ends it");
    let router = Router::new().fallback(respond).with_state(server);
    let served = axum::serve(listener, router).with_graceful_shutdown(interrupted()).await;
    served.map_err(|error| Error::unavailable("the provider ended").with_source(error))
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Error,
    BusyWithTime,
    Busy,
    Html,
    Truncated,
    Notice,
    OtherSymbol,
    Slow,
    Broken,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::Error,
        Self::BusyWithTime,
        Self::Busy,
        Self::Html,
        Self::Truncated,
        Self::Notice,
        Self::OtherSymbol,
        Self::Slow,
        Self::Broken,
    ];
}

struct Server {
    market: Market,
    options: StandIn,
    key: Option<String>,
    log: Option<Mutex<File>>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: u32,
    faults: usize,
    minute: VecDeque<Instant>,
}

impl Server {
    fn new(options: &StandIn) -> Result<Self> {
        if !(0.0..=1.0).contains(&options.faults) {
            return Err(Error::invalid(format!("--faults is {}: use 0 to 1", options.faults)));
        }
        let key =
            match &options.key_variable {
                Some(name) => Some(std::env::var(name).map_err(|_| {
                    Error::invalid("--key-variable names a variable of the environment that is not set")
                })?),
                None => None,
            };
        let open = |path| File::options().create(true).append(true).open(path);
        let log = options.log.as_ref().map(open).transpose();
        let log = log.map_err(|error| Error::invalid("--log cannot be opened").with_source(error))?.map(Mutex::new);
        Ok(Self { market: Market::new(options.seed), options: options.clone(), key, log, counts: Mutex::default() })
    }

    /// The fault of the next request, and whether a limit is used up.
    fn count(&self) -> (Option<Fault>, bool) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while counts.minute.front().is_some_and(|time| now - *time >= MINUTE) {
            counts.minute.pop_front();
        }
        let is_full = |limit: Option<u32>, used: usize| limit.is_some_and(|limit| used >= limit as usize);
        if is_full(self.options.per_minute, counts.minute.len())
            || is_full(self.options.per_day, counts.requests as usize)
        {
            return (None, true);
        }
        counts.minute.push_back(now);
        counts.requests += 1;
        // The n-th request has the n-th number of a sequence that is spread evenly over 0 to 1.
        let spread = (f64::from(counts.requests) * 0.618_033_988_749_895 + self.options.seed as f64 * 0.137).fract();
        if spread >= self.options.faults {
            return (None, false);
        }
        counts.faults += 1;
        (Fault::ALL.get((counts.faults - 1) % Fault::ALL.len()).copied(), false)
    }

    fn is_allowed(&self, query: &BTreeMap<String, String>, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return true };
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "));
        query.get("apikey").is_some_and(|given| given == key) || bearer.is_some_and(|given| given == key)
    }

    fn record(&self, shown: &str, status: u16, what: &str) {
        let Some(log) = &self.log else { return };
        let line =
            serde_json::json!({ "time": Utc::now().to_rfc3339(), "request": shown, "status": status, "what": what });
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written is no reason to fail a request.
        let _ = writeln!(log, "{line}");
    }
}

async fn respond(State(server): State<Arc<Server>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut query: BTreeMap<String, String> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let path = percent_decoded(uri.path());
    let shown: String =
        query.iter().filter(|(name, _)| *name != "apikey").map(|(name, value)| format!(" {name}={value}")).collect();
    let shown = format!("{path}{shown}");
    if provider_of(&path).is_none() {
        server.record(&shown, 404, "");
        return response(Answer { status: 404, content_type: "text/plain", body: b"not found\n".to_vec() });
    }
    let is_allowed = server.is_allowed(&query, &headers);
    query.remove("apikey");
    let (fault, is_limited) = server.count();
    let refusal = match (is_allowed, is_limited) {
        (false, _) => Some((forbidden(&path), "key")),
        (true, true) => Some((limited(&path), "limit")),
        (true, false) => None,
    };
    if let Some((answer, what)) = refusal {
        server.record(&shown, answer.status, what);
        return response(answer);
    }
    let asked = Asked { path: &path, query, now: Utc::now(), symbols: &server.options.symbols };
    let (response, status) = faulty(&server.market, asked, fault).await;
    server.record(&shown, status, &fault.map(|fault| format!("{fault:?}")).unwrap_or_default());
    response
}

async fn faulty(market: &Market, mut asked: Asked<'_>, fault: Option<Fault>) -> (Response, u16) {
    let plain = |status: u16, content_type, body: &str| Answer { status, content_type, body: body.as_bytes().to_vec() };
    let answered = match fault {
        Some(Fault::Error) => plain(500, "text/plain", "internal error\n"),
        Some(Fault::Busy | Fault::BusyWithTime) => plain(429, "text/plain", "Too Many Requests\n"),
        Some(Fault::Html) => {
            plain(200, "text/html", "<html><body><h1>Service temporarily unavailable</h1></body></html>\n")
        }
        Some(Fault::Notice) => plain(200, "application/json", "{\"Note\": \"The service is busy. Please try later.\"}"),
        Some(Fault::OtherSymbol) => {
            if let Some(symbol) = asked.query.get_mut("symbol") {
                *symbol = if symbol == "MSFT" { "IBM" } else { "MSFT" }.to_owned();
            }
            answer(market, &asked)
        }
        Some(Fault::Truncated) => {
            let whole = answer(market, &asked);
            Answer { body: whole.body.get(..whole.body.len() / 2).unwrap_or_default().to_vec(), ..whole }
        }
        Some(Fault::Slow | Fault::Broken) | None => answer(market, &asked),
    };
    let status = answered.status;
    match fault {
        Some(Fault::Slow) => tokio::time::sleep(SLOW).await,
        Some(Fault::Broken) => return (broken(&answered), status),
        _ => {}
    }
    let mut response = response(answered);
    if fault == Some(Fault::BusyWithTime) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    (response, status)
}

/// Half of an answer, and then the end of the connection.
fn broken(answered: &Answer) -> Response {
    let half = answered.body.get(..answered.body.len() / 2).unwrap_or_default().to_vec();
    let parts = [Ok(half), Err(std::io::Error::other("broken on request"))];
    Response::new(Body::from_stream(futures::stream::iter(parts)))
}

fn response(answered: Answer) -> Response {
    let mut response = Response::new(Body::from(answered.body));
    *response.status_mut() = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(answered.content_type));
    // Clients compare their clock with the date that a server sends.
    if let Ok(date) = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse() {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

fn percent_decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> StandIn {
        StandIn {
            port: 0,
            seed: 7,
            symbols: vec!["IBM".to_owned()],
            key_variable: None,
            per_minute: None,
            per_day: None,
            faults: 0.0,
            log: None,
        }
    }

    #[test]
    fn faults_have_their_share_and_take_turns() {
        let server = Server::new(&StandIn { faults: 0.2, ..options() }).unwrap();
        let faults: Vec<Fault> = (0..1000).filter_map(|_| server.count().0).collect();
        assert!((195..=205).contains(&faults.len()), "{}", faults.len());
        assert_eq!(faults[..9], Fault::ALL);
        assert!(Server::new(&StandIn { faults: 1.5, ..options() }).is_err());
    }

    #[test]
    fn limits_hold_for_all_requests() {
        let server = Server::new(&StandIn { per_day: Some(3), ..options() }).unwrap();
        let refused: Vec<bool> = (0..5).map(|_| server.count().1).collect();
        assert_eq!(refused, [false, false, false, true, true]);
    }
}
