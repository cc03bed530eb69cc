//! Who asked for what, when, and what came of it: a line of JSON for each call of the API but `GET /healthz`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use chrono::{SecondsFormat, Utc};
use pulse_core::{Error, Result};

use super::auth::OPEN;

/// What a call was about, if its path does not say so.
#[derive(Clone)]
pub(super) struct About(pub(super) String);

/// Noted by the check of the token.
#[derive(Clone)]
pub(super) struct Caller(pub(super) &'static str);

/// The fingerprint of the caller's certificate, if it has shown one: certificates of one role have different ones.
#[derive(Clone)]
pub(super) struct Certificate(pub(super) Option<String>);

/// Where the lines go; they are added at its end.
#[derive(Clone)]
pub struct Audit(Arc<File>);

impl Audit {
    /// # Errors
    /// `Invalid` when the file cannot be written.
    pub fn to(file: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
        let opened = opened.map_err(|e| Error::invalid(format!("`audit_log` {}: {e}", file.display())))?;
        Ok(Self(Arc::new(opened)))
    }

    fn write(&self, line: &serde_json::Value) {
        // One write, so that lines of several calls do not mix.
        if let Err(error) = (&*self.0).write_all(format!("{line}\n").as_bytes()) {
            log::error!("a line of `audit_log` is lost: {error}: {line}");
        }
    }
}

/// Around all of `router`, so that refusals are noted too.
pub fn audited(router: Router, audit: Option<Audit>) -> Router {
    match audit {
        Some(audit) => router.layer(from_fn_with_state(audit, note)),
        None => router,
    }
}

async fn note(State(audit): State<Audit>, request: Request, next: Next) -> Response {
    if request.uri().path() == OPEN {
        return next.run(request).await;
    }
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|from| from.0.to_string());
    let certificate = request.extensions().get::<Certificate>().and_then(|certificate| certificate.0.clone());
    let what = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let extension = response.extensions();
    audit.write(&serde_json::json!({
        "at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "from": from,
        "who": extension.get::<Caller>().map_or("nobody known", |caller| caller.0),
        "certificate": certificate,
        "what": what,
        "about": extension.get::<About>().map(|about| about.0.as_str()),
        "status": response.status().as_u16(),
    }));
    response
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;
    use pulse_transport::{Shown, incoming};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::auth::{Asks, Token, protect};
    use super::super::serve::serve;
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[tokio::test]
    async fn calls_are_noted_with_who_and_what_and_without_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit");
        let routes = Router::new()
            .route("/healthz", get(|| async { "1" }))
            .route("/runs/x", get(|| async { (Extension(About("run x".to_owned())), "runs") }));
        let router = protect(routes, Asks::Token(Token::new(TOKEN).unwrap()), 1000);
        let router = audited(router, Some(Audit::to(&file).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(incoming(listener, Shown::Nothing), router, std::future::pending()));
        for (path, token) in [("/healthz", ""), ("/runs/x", TOKEN), ("/runs/x", "wrong")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!(
                "GET {path}?secret=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(TOKEN) && !text.contains("secret"), "{text}");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let picked = |line: &serde_json::Value| {
            (line["who"].clone(), line["what"].clone(), line["about"].clone(), line["status"].clone())
        };
        assert_eq!(lines.len(), 2);
        assert_eq!(picked(&lines[0]), ("token".into(), "GET /runs/x".into(), "run x".into(), 200.into()));
        assert_eq!(
            picked(&lines[1]),
            ("nobody known".into(), "GET /runs/x".into(), serde_json::Value::Null, 401.into())
        );
        assert!(lines[0]["from"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(lines[0]["certificate"], serde_json::Value::Null);
    }
}
