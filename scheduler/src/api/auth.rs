//! Who may use the API, and how often: callers who know a token, or whose connection has shown a certificate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use pulse_core::{Error, ErrorKind, Result};
use pulse_transport::Known;

use super::RETRY_AFTER_SECONDS;
use super::Refusal;
use super::audit::Caller;
use super::rates::{Rates, Who};
use super::serve::whole;

/// Shorter ones can be guessed.
const LEAST_CHARACTERS: usize = 16;
/// Answers whether the scheduler is alive; says nothing of lakes and runs.
pub(super) const OPEN: &str = "/healthz";

/// A secret. It is never shown.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// # Errors
    /// `Invalid` when it is too short or not printable, since it must pass in a header.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.len() < LEAST_CHARACTERS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(format!(
                "the API's token (`api_token_source`) needs at least {LEAST_CHARACTERS} printable ASCII characters without \
                 blanks; make one with `openssl rand -hex 32`"
            )));
        }
        Ok(Self(text.into()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Takes as long for a wrong text as for the right one, so that nobody finds it character by character.
    fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        let differing = own.iter().enumerate().fold(own.len() ^ other.len(), |sum, (place, byte)| {
            sum | usize::from(byte ^ other.get(place).unwrap_or(&0))
        });
        std::hint::black_box(differing) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What the caller of a connection has proven.
#[derive(Clone, Default)]
pub(super) struct Proven {
    /// Where it is noted that he has shown the token, or a certificate.
    known: Known,
    has_certificate: bool,
}

impl Proven {
    pub(super) fn noted_in(known: Known) -> Self {
        Self { known, has_certificate: false }
    }

    pub(super) fn by_certificate(known: Known) -> Self {
        Self { known, has_certificate: true }
    }
}

/// What callers have to show.
#[derive(Debug, Clone)]
pub enum Asks {
    /// Nothing: every client that can reach the address may do everything.
    Nothing,
    /// Or a certificate that is made from it, which the connection has checked already (`transport`).
    Token(Token),
    /// A certificate, which the connection has checked already.
    Certificate,
}

#[derive(Clone)]
struct Gate {
    asks: Asks,
    rates: Arc<Rates>,
}

impl Gate {
    /// How the caller is known, if he is.
    fn known(&self, given: Option<&str>, has_certificate: bool) -> Option<Caller> {
        match &self.asks {
            Asks::Nothing => None,
            Asks::Token(token) => {
                (has_certificate || given.is_some_and(|given| token.is(given))).then_some(Caller("token"))
            }
            Asks::Certificate => has_certificate.then_some(Caller("certificate")),
        }
    }

    fn refusal(&self, given: Option<&str>) -> &'static str {
        match (&self.asks, given) {
            (Asks::Certificate, _) => {
                "the scheduler asks for a certificate: `pulse` of the account that runs the scheduler shows one by itself; give other clients one \
                 with `api_clients = \"certificate\"`, or set `api_token_source` for the scheduler and for them"
            }
            (_, None) => "the scheduler asks for a token; set `api_token_source` as it is set for the scheduler",
            (_, Some(_)) => {
                "the scheduler does not know this token; `api_token_source` must lead to the same one as the scheduler's"
            }
        }
    }
}

/// Everything but `GET /healthz` requires what `asks` says. Each caller may make `per_minute` calls in a minute.
pub fn protect(router: Router, asks: Asks, per_minute: u32) -> Router {
    let gate = Gate { asks, rates: Arc::new(Rates::new(per_minute)) };
    // Below the check: the body of a refused request is not read.
    whole(router).layer(from_fn_with_state(gate, check))
}

async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    let proven = request.extensions().get::<Proven>();
    let caller = gate.known(given, proven.is_some_and(|proven| proven.has_certificate));
    if caller.is_some()
        && let Some(proven) = proven
    {
        proven.known.note();
    }
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip());
    let who = Who::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), caller.is_some());
    let is_allowed = caller.is_some() || matches!(gate.asks, Asks::Nothing) || request.uri().path() == OPEN;
    let mut answer = if !gate.rates.admit(who, Instant::now()) {
        let message = "too many calls in a minute (`api_calls_per_minute`); call again later";
        let refusal = refused(StatusCode::TOO_MANY_REQUESTS, ErrorKind::Unavailable, message);
        ([(RETRY_AFTER, RETRY_AFTER_SECONDS)], refusal).into_response()
    } else if is_allowed {
        next.run(request).await
    } else {
        refused(StatusCode::UNAUTHORIZED, ErrorKind::Invalid, gate.refusal(given))
    };
    if let Some(caller) = caller {
        answer.extensions_mut().insert(caller);
    }
    answer
}

fn refused(status: StatusCode, kind: ErrorKind, message: &str) -> Response {
    (status, Json(Refusal { kind, message: message.to_owned() })).into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    async fn status(address: std::net::SocketAddr, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    #[tokio::test]
    async fn nothing_but_health_is_open() {
        let router = Router::new().route("/runs", get(|| async { "runs" })).route("/healthz", get(|| async { "1" }));
        let router = protect(router, Asks::Token(Token::new(TOKEN).unwrap()), 1000);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        assert_eq!(status(address, "/runs", "").await, "401");
        assert_eq!(status(address, "/nothing", "").await, "401");
        assert_eq!(status(address, "/runs/../healthz", "").await, "401");
        assert_eq!(status(address, "/runs", &bearer("0123456789abcdee")).await, "401");
        assert_eq!(status(address, "/runs", &bearer("")).await, "401");
        assert_eq!(status(address, "/runs", &format!("Authorization: Basic {TOKEN}\r\n")).await, "401");
        assert_eq!(status(address, "/runs", &bearer(TOKEN)).await, "200");
        assert_eq!(status(address, "/healthz", "").await, "200");
        serving.abort();
    }

    #[tokio::test]
    async fn guesses_are_limited_and_cost_the_holder_of_the_token_nothing() {
        let router = Router::new().route("/runs", get(|| async { "runs" }));
        let router = protect(router, Asks::Token(Token::new(TOKEN).unwrap()), 20);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut answers = Vec::new();
        for _ in 0..30 {
            answers.push(status(address, "/runs", "Authorization: Bearer 0123456789abcdee\r\n").await);
        }
        assert_eq!(&answers[..20], vec!["401"; 20]);
        assert!(answers.iter().any(|answer| answer == "429"), "{answers:?}");
        let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
        let mut answers = Vec::new();
        for _ in 0..30 {
            answers.push(status(address, "/runs", &bearer).await);
        }
        assert_eq!(&answers[..20], vec!["200"; 20]);
        assert!(answers.iter().any(|answer| answer == "429"), "{answers:?}");
        serving.abort();
    }

    #[tokio::test]
    async fn without_a_token_calls_are_limited_too() {
        let router = Router::new().route("/runs", get(|| async { "runs" }));
        let router = protect(router, Asks::Nothing, 2);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        assert_eq!(status(address, "/runs", "").await, "200");
        assert_eq!(status(address, "/runs", "").await, "200");
        assert_eq!(status(address, "/runs", "").await, "429");
        serving.abort();
    }

    #[test]
    fn a_token_is_compared_as_a_whole_and_never_shown() {
        let token = Token::new(&format!(" {TOKEN}\n")).unwrap();
        assert!(token.is(TOKEN));
        for wrong in ["", "0", "0123456789abcde", "0123456789abcdef0", "1123456789abcdef", "0123456789abcdeg"] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
        for refused in ["", "short", "with a blank in it", "0123456789abcdé0"] {
            assert!(Token::new(refused).is_err(), "{refused}");
        }
    }
}
