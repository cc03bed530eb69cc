//! Who may use the API: whoever knows a token. Without one configured, everybody who can reach the address.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use pulse_core::{Error, ErrorKind, Result};
use pulse_transport::Known;

use super::Refusal;
use super::audit::Caller;
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

/// Notes that the caller of a connection has shown the token.
#[derive(Clone, Default)]
pub(super) struct Proven(Option<Known>);

impl Proven {
    pub(super) fn noted_in(known: Known) -> Self {
        Self(Some(known))
    }
}

/// Everything but `GET /healthz` asks for the token.
pub fn protect(router: Router, token: Option<Token>) -> Router {
    // Below the check: what nobody answers for is not read.
    let router = whole(router);
    match token {
        Some(token) => router.layer(from_fn_with_state(token, check)),
        None => router,
    }
}

async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    let is_known = given.is_some_and(|given| token.is(given));
    if is_known && let Some(Proven(Some(known))) = request.extensions().get::<Proven>() {
        known.note();
    }
    if request.uri().path() == OPEN || is_known {
        let mut answer = next.run(request).await;
        if is_known {
            answer.extensions_mut().insert(Caller("token"));
        }
        return answer;
    }
    let message = match given {
        None => "the scheduler asks for a token; set `api_token_source` as it is set for the scheduler",
        Some(_) => {
            "the scheduler does not know this token; `api_token_source` must lead to the same one as the scheduler's"
        }
    };
    (StatusCode::UNAUTHORIZED, Json(Refusal { kind: ErrorKind::Invalid, message: message.to_owned() })).into_response()
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
        let router = protect(router, Some(Token::new(TOKEN).unwrap()));
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
