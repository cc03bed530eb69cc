//! Doors: connections that have shaken hands, and shown a certificate where one is asked for.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures::Stream;
use pulse_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::keys::{Keyring, Keys};
use crate::pending::{Known, Pending};
use crate::role::Role;

/// Time limit of a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at once.
const HANDSHAKES: usize = 128;
/// Connections that are served at once; a process may open 1,024 files where nobody has said otherwise.
const CONNECTIONS: usize = 512;
/// Connections that have shaken hands and wait to be served.
const WAITING: usize = 64;
/// After an accept that failed, as when no more files can be opened.
const PAUSE: Duration = Duration::from_millis(200);
/// What gRPC speaks.
const HTTP2: &[u8] = b"h2";
/// What the API speaks.
const HTTP1: &[u8] = b"http/1.1";
/// The first byte of a client that speaks TLS: the record of a handshake. No request of HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// What a door shows, and whom it asks for a certificate.
#[derive(Clone)]
pub enum Shown {
    /// Nothing: plain TCP.
    Nothing,
    /// A certificate to everybody, as websites do.
    ToAll(Arc<ServerConfig>),
    /// A certificate of the cluster, to those who show one of these roles.
    ToRoles(Arc<Keyring>, &'static [Role]),
    /// As [`Shown::ToRoles`]; callers that do not speak TLS are let in too, and have shown nothing.
    ToRolesOrPlain(Arc<Keyring>, &'static [Role]),
}

/// `certificate` holds the chain and `key` its private key, both PEM.
///
/// # Errors
/// `Invalid` when they cannot be read or do not fit together.
pub fn shown(certificate: &Path, key: &Path) -> Result<Shown> {
    let wrong = |what: &str, path: &Path, error: String| {
        Error::invalid(format!("{what} {}: {error}; give a PEM file", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| wrong("`api_certificate`", certificate, e.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong("`api_key`", key, e.to_string()))?;
    // Named, as more than one provider is compiled in.
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map(|config| Shown::ToAll(Arc::new(config)))
        .map_err(|e| wrong("`api_certificate` and `api_key` do not fit together:", certificate, e.to_string()))
}

/// Shows `keys`, and takes only certificates of `roles`.
fn config(keys: &Keys, roles: &'static [Role]) -> std::result::Result<ServerConfig, String> {
    let provider = Arc::new(default_provider());
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(&keys.roots), Arc::clone(&provider))
        .build()
        .map_err(|e| e.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(Arc::new(OfRole { inner, roles }))
                .with_single_cert(keys.chain.clone(), keys.key())
        })
        .map_err(|e| e.to_string())?;
    // Clients come to the API alone.
    config.alpn_protocols = match roles.contains(&Role::Client) {
        true => vec![HTTP1.to_vec()],
        false => vec![HTTP2.to_vec()],
    };
    Ok(config)
}

/// Signed by whom the cluster trusts, and of a role that has business here.
#[derive(Debug)]
struct OfRole {
    inner: Arc<dyn ClientCertVerifier>,
    roles: &'static [Role],
}

impl ClientCertVerifier for OfRole {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, tokio_rustls::rustls::Error> {
        let verified = self.inner.verify_client_cert(own, chain, now)?;
        let parsed = ParsedCertificate::try_from(own)?;
        let is_of = |role: &Role| role.server_name().is_some_and(|name| verify_server_name(&parsed, &name).is_ok());
        match self.roles.iter().any(is_of) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        self.inner.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        self.inner.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What takes one connection in.
enum Acceptor {
    Plain,
    Tls(Arc<ServerConfig>),
    Keys { ring: Arc<Keyring>, roles: &'static [Role], others: Others, last: Last },
}

type Last = Mutex<Option<(Arc<Keys>, Arc<ServerConfig>)>>;

/// What becomes of callers that do not speak TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Refused,
    LetIn,
}

impl Acceptor {
    fn of(shown: Shown) -> Self {
        match shown {
            Shown::Nothing => Self::Plain,
            Shown::ToAll(config) => Self::Tls(config),
            Shown::ToRoles(ring, roles) => Self::Keys { ring, roles, others: Others::Refused, last: Mutex::default() },
            Shown::ToRolesOrPlain(ring, roles) => {
                Self::Keys { ring, roles, others: Others::LetIn, last: Mutex::default() }
            }
        }
    }

    /// None without TLS.
    fn config(&self) -> std::result::Result<Option<Arc<ServerConfig>>, String> {
        let (ring, roles, last) = match self {
            Self::Plain => return Ok(None),
            Self::Tls(config) => return Ok(Some(Arc::clone(config))),
            Self::Keys { ring, roles, last, .. } => (ring, roles, last),
        };
        let keys = ring.keys();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = &*last
            && Arc::ptr_eq(of, &keys)
        {
            return Ok(Some(Arc::clone(config)));
        }
        let config = Arc::new(config(&keys, roles)?);
        *last = Some((keys, Arc::clone(&config)));
        Ok(Some(config))
    }

    async fn accept(&self, stream: TcpStream) -> std::result::Result<Wire, String> {
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        if matches!(self, Self::Keys { others: Others::LetIn, .. }) && !speaks_tls(&stream).await? {
            return Ok(Wire::Plain(stream));
        }
        match self.config()? {
            None => Ok(Wire::Plain(stream)),
            Some(config) => {
                let accepted = TlsAcceptor::from(config).accept(stream).await;
                accepted.map(|stream| Wire::Tls(Box::new(stream))).map_err(|e| e.to_string())
            }
        }
    }
}

/// Waits for its first byte, and leaves it where it is.
async fn speaks_tls(stream: &TcpStream) -> std::result::Result<bool, String> {
    let mut first = [0];
    let bytes = stream.peek(&mut first).await.map_err(|e| e.to_string())?;
    Ok(bytes > 0 && first == [HANDSHAKE])
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection. It counts as long as it lives.
pub struct Connection {
    wire: Wire,
    _counts: OwnedSemaphorePermit,
}

type Ready = (Connection, SocketAddr);

/// Connections with their handshakes done. Handshakes take place side by side, so that a slow client holds up nobody. The port is
/// free as soon as this is dropped.
pub struct Incoming {
    listener: TcpListener,
    acceptor: Arc<Acceptor>,
    handshakes: Pending,
    connections: Arc<Semaphore>,
    sender: mpsc::Sender<Ready>,
    ready: mpsc::Receiver<Ready>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Accepts from `listener` until it is dropped.
pub fn incoming(listener: TcpListener, shown: Shown) -> Incoming {
    let (sender, ready) = mpsc::channel(WAITING);
    Incoming {
        listener,
        acceptor: Arc::new(Acceptor::of(shown)),
        handshakes: Pending::new(HANDSHAKES),
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        sender,
        ready,
        pause: None,
    }
}

impl Incoming {
    pub async fn next(&mut self) -> Ready {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        self.accept_all(cx);
        match self.ready.poll_recv(cx) {
            Poll::Ready(Some(ready)) => Poll::Ready(ready),
            // A sender is kept here, so it has no end.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn accept_all(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.pause = None;
            }
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok((stream, address))) => self.begin(stream, address),
                Poll::Ready(Err(error)) => {
                    log::warn!("a connection was lost: {error}");
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                }
                Poll::Pending => return,
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, address: SocketAddr) {
        let acceptor = Arc::clone(&self.acceptor);
        let (sender, connections) = (self.sender.clone(), Arc::clone(&self.connections));
        let taking = async move {
            match acceptor.accept(stream).await {
                Ok(wire) => {
                    let Ok(counts) = connections.acquire_owned().await else { return };
                    // Nobody takes it any more when the server ends.
                    drop(sender.send((Connection { wire, _counts: counts }, address)).await);
                }
                Err(error) => log::info!("{address} was not let in: {error}"),
            }
        };
        let taken = tokio::spawn(async move {
            if tokio::time::timeout(HANDSHAKE_LIMIT, taking).await.is_err() {
                log::info!("{address} was not let in: it takes too long");
            }
        });
        self.handshakes.push(taken.abort_handle(), Known::default());
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|(connection, _)| Some(Ok(connection)))
    }
}

impl Connection {
    /// Whether the caller has shown a certificate of a role that is let in.
    pub fn is_certified(&self) -> bool {
        match &self.wire {
            Wire::Plain(_) => false,
            // A door that asks for one lets nobody in without.
            Wire::Tls(stream) => stream.get_ref().1.peer_certificates().is_some(),
        }
    }

    /// SHA-256 of the caller's certificate in DER, in hexadecimal digits as `openssl x509 -fingerprint -sha256` has them, without
    /// colons and in lower case; `None` for a caller without one.
    pub fn fingerprint(&self) -> Option<String> {
        let Wire::Tls(stream) = &self.wire else { return None };
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        let hash = digest(&SHA256, certificate);
        Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
