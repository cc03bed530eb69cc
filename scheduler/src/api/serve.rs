//! Serves the API. Connections that send no complete request in time are closed, and do not keep others out.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pulse_transport::{Connection, Incoming, Known, Pending};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::audit::Certificate;
use super::auth::Proven;

/// For the head of a request, also of the next one on the same connection.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// For the rest of it.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// As axum has it: longer ones are refused by its own extractors too.
const BODY_BYTES: usize = 2 << 20;
/// Connections of callers that have not shown a token.
const UNKNOWN: usize = 128;
/// For answers that are under way when the scheduler stops.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Until `stop`, then answers what was asked before.
pub async fn serve(mut incoming: Incoming, router: Router, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(false);
    let mut unknown = Pending::new(UNKNOWN);
    let mut all = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let (connection, address) = tokio::select! {
            next = incoming.next() => next,
            () = &mut stop => break,
        };
        while all.try_join_next().is_some() {}
        let known = Known::default();
        let serving = answer(connection, address, router.clone(), known.clone(), stopped.clone());
        unknown.push(all.spawn(serving), known);
    }
    drop(incoming);
    stopping.send_replace(true);
    let ends = async { while all.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, ends).await.is_err() {
        log::warn!("not every answer of the API was sent before its end");
    }
}

async fn answer(
    connection: Connection,
    address: SocketAddr,
    router: Router,
    known: Known,
    mut stopped: watch::Receiver<bool>,
) {
    let proven = match connection.is_certified() {
        true => Proven::by_certificate(known),
        false => Proven::noted_in(known),
    };
    let certificate = Certificate(connection.fingerprint());
    let router = router
        .layer(axum::Extension(ConnectInfo(address)))
        .layer(axum::Extension(certificate))
        .layer(axum::Extension(proven));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let mut serving = pin!(http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router)));
    let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection of {address} ended: {error}");
    }
}

/// Reads the whole request before anything is done with it.
pub(super) fn whole(router: Router) -> Router {
    router.layer(from_fn(read))
}

async fn read(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_LIMIT, to_bytes(body, BODY_BYTES)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use pulse_transport::{Shown, incoming};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::auth::{Asks, Token, protect};
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    async fn started() -> SocketAddr {
        started_with(1000).await
    }

    /// With a limit of calls in a minute.
    pub(super) async fn started_with(calls: u32) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/healthz", get(|| async { "1" })).route("/runs", get(|| async { "runs" }));
        let router = protect(routes, Asks::Token(Token::new(TOKEN).unwrap()), calls);
        tokio::spawn(serve(incoming(listener, Shown::Nothing), router, std::future::pending()));
        address
    }

    async fn asked(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_nobody_out() {
        let address = started().await;
        let mut silent = Vec::new();
        for number in 0..400 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
            }
            silent.push(stream);
        }
        let began = Instant::now();
        assert_eq!(asked(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await, "200");
        let with =
            format!("GET /runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
        assert_eq!(asked(address, &with).await, "200");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn half_a_head_is_waited_for_only_so_long() {
        let address = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /runs HTTP/1.1\r\nHost").await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(HEAD_LIMIT + Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "it is still open");
    }

    #[tokio::test]
    async fn who_has_shown_the_token_stays_when_strangers_come() {
        let address = started().await;
        let mut mine = TcpStream::connect(address).await.unwrap();
        let ask = format!("GET /runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        let mut answer = [0; 512];
        mine.write_all(ask.as_bytes()).await.unwrap();
        assert!(mine.read(&mut answer).await.unwrap() > 0);
        let mut strangers = Vec::new();
        for _ in 0..300 {
            strangers.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        mine.write_all(ask.as_bytes()).await.unwrap();
        let bytes = mine.read(&mut answer).await.unwrap();
        assert!(answer[..bytes].starts_with(b"HTTP/1.1 200"));
    }
}
