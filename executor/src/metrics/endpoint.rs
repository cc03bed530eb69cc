//! `GET /metrics` of an executor, at a port of its own: it speaks nothing else over HTTP.

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming as Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_transport::{Connection, Incoming, Known, Pending, Role, Shown, incoming, keyring};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::Metrics;

const PATH: &str = "/metrics";
/// Connections at once; the oldest gives way to the newest.
const CONNECTIONS: usize = 32;
/// For a connection from its handshake to its end: each is for one request.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers until it is dropped.
pub(crate) struct Endpoint {
    serving: Option<JoinHandle<Infallible>>,
}

impl Endpoint {
    /// Listens at `metrics_port`, unless it is 0.
    ///
    /// # Errors
    /// `Invalid` when the port cannot be used, or when others could reach it and no certificates keep them out.
    pub(crate) fn start(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self> {
        if settings.metrics_port == 0 {
            return Ok(Self { serving: None });
        }
        let address = address(settings)?;
        let shows = shows(settings, address)?;
        let scheme = if matches!(shows, Shown::Nothing) { "http" } else { "https" };
        let taken = |e: std::io::Error| {
            Error::invalid(format!("port {} (`metrics_port`) cannot be used: {e}; choose another", address.port()))
                .with_source(e)
        };
        let listener = std::net::TcpListener::bind(address).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        let listener = TcpListener::from_std(listener).map_err(taken)?;
        log::info!("metrics at {scheme}://{address}{PATH}");
        let serving = tokio::spawn(serve(incoming(listener, shows), Arc::clone(metrics)));
        Ok(Self { serving: Some(serving) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

fn address(settings: &Settings) -> Result<SocketAddr> {
    let host = &settings.metrics_host;
    let unknown = |e: std::io::Error| Error::invalid(format!("`metrics_host` `{host}` is not known")).with_source(e);
    let mut addresses = (host.as_str(), settings.metrics_port).to_socket_addrs().map_err(unknown)?;
    addresses.next().ok_or_else(|| Error::invalid(format!("`metrics_host` `{host}` has no address")))
}

/// With certificates of the cluster, only clients are let in; without them, only this machine.
fn shows(settings: &Settings, address: SocketAddr) -> Result<Shown> {
    if !settings.cluster_certificates.is_empty() {
        return Ok(Shown::ToRoles(Arc::new(keyring(settings, Role::Executor)?), &[Role::Client]));
    }
    match address.ip().is_loopback() {
        true => Ok(Shown::Nothing),
        false => Err(Error::invalid(format!(
            "`metrics_host` is {}, which other machines reach, and nothing would keep them out: set `cluster_certificates`, or \
             `metrics_host = \"127.0.0.1\"`",
            settings.metrics_host
        ))),
    }
}

async fn serve(mut incoming: Incoming, metrics: Arc<Metrics>) -> Infallible {
    let mut open = Pending::new(CONNECTIONS);
    let mut all = JoinSet::new();
    loop {
        let (connection, address) = incoming.next().await;
        while all.try_join_next().is_some() {}
        let answering = answer(connection, address, Arc::clone(&metrics));
        open.push(all.spawn(answering), Known::default());
    }
}

async fn answer(connection: Connection, address: SocketAddr, metrics: Arc<Metrics>) {
    let service = service_fn(|request: Request<Body>| {
        let response = respond(request.method(), request.uri().path(), &metrics);
        async { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(connection), service);
    match tokio::time::timeout(LIMIT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a scrape of {address} ended: {error}"),
        Err(_) => log::debug!("a scrape of {address} takes too long"),
    }
}

fn respond(method: &Method, path: &str, metrics: &Metrics) -> Response<String> {
    if path != PATH {
        return plain(StatusCode::NOT_FOUND, format!("only {PATH} is here\n"));
    }
    if method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is known here\n".to_owned());
    }
    match metrics.encode() {
        Ok(text) => {
            let mut response = Response::new(text);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(pulse_metrics::CONTENT_TYPE));
            response
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.message().to_owned()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use pulse_metrics::Process;
    use pulse_metrics::text::Scraped;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn started() -> SocketAddr {
        let metrics = Arc::new(Metrics::new(3, 1 << 30, Process::new("b".to_owned(), 1)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(incoming(listener, Shown::Nothing), metrics));
        address
    }

    async fn asked(address: SocketAddr, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn one_path_answers_a_scrape_and_the_connection_ends() {
        let address = started().await;
        let (head, body) = asked(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
        assert_eq!(Scraped::parse(&body).unwrap().value("pulse_executor_slots", &[]), Some(3.0));
        let status = |answer: (String, String)| answer.0.split(' ').nth(1).unwrap().to_owned();
        for (request, expected) in
            [("GET /", "404"), ("GET /metrics/x", "404"), ("POST /metrics", "405"), ("GET /../metrics", "404")]
        {
            let request = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(status(asked(address, &request).await), expected, "{request}");
        }
    }

    #[tokio::test]
    async fn silent_connections_keep_no_scrape_out() {
        let address = started().await;
        let mut silent = Vec::new();
        for _ in 0..4 * CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost").await.unwrap();
            silent.push(stream);
        }
        let began = Instant::now();
        let (head, _) = asked(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn others_are_kept_out() {
        let settings = |host: &str, certificates: &str| Settings {
            metrics_host: host.to_owned(),
            metrics_port: 1,
            cluster_certificates: certificates.to_owned(),
            ..Settings::default()
        };
        let of = |settings: &Settings| shows(settings, address(settings)?);
        assert!(matches!(of(&settings("127.0.0.1", "")), Ok(Shown::Nothing)));
        assert!(matches!(of(&settings("localhost", "")), Ok(Shown::Nothing)));
        let error = of(&settings("0.0.0.0", "")).err().unwrap();
        for word in ["`metrics_host` is 0.0.0.0", "`cluster_certificates`", "127.0.0.1"] {
            assert!(error.message().contains(word), "{}", error.message());
        }
        let folder = tempfile::tempdir().unwrap();
        pulse_transport::init(folder.path(), 1, 1).unwrap();
        for host in ["127.0.0.1", "0.0.0.0"] {
            let shown = of(&settings(host, folder.path().to_str().unwrap()));
            assert!(matches!(shown, Ok(Shown::ToRoles(_, [Role::Client]))), "{host}");
        }
        assert!(address(&settings("no-such-host.invalid", "")).is_err());
    }

    #[tokio::test]
    async fn without_a_port_nothing_listens_and_a_taken_one_is_named() {
        let metrics = Arc::new(Metrics::new(1, 1, Process::new("b".to_owned(), 1)).unwrap());
        assert!(Endpoint::start(&Settings::default(), &metrics).unwrap().serving.is_none());
        let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics_port = held.local_addr().unwrap().port();
        let error = Endpoint::start(&Settings { metrics_port, ..Settings::default() }, &metrics).err().unwrap();
        assert!(error.message().contains("metrics_port"), "{}", error.message());
    }
}
