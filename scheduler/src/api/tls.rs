//! The API over TLS, with a certificate that was given.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use pulse_core::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// Whoever does not shake hands in this time is not waited for.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Connections that have shaken hands and wait to be served.
const WAITING: usize = 64;
/// After an accept that failed, as when no more files can be opened.
const PAUSE: Duration = Duration::from_millis(200);

type Ready = (TlsStream<TcpStream>, SocketAddr);

/// Connections with their handshakes done. Handshakes take place side by side, so that a slow client holds up nobody.
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<Ready>,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    /// `certificate` holds the chain and `key` its private key, both PEM.
    ///
    /// # Errors
    /// `Invalid` when they cannot be read or do not fit together.
    pub fn new(listener: TcpListener, certificate: &Path, key: &Path) -> Result<Self> {
        let address =
            listener.local_addr().map_err(|e| Error::unavailable("the API's address is unknown").with_source(e))?;
        let acceptor = TlsAcceptor::from(Arc::new(config(certificate, key)?));
        let (sender, ready) = mpsc::channel(WAITING);
        let accepting = tokio::spawn(accept(listener, acceptor, sender));
        Ok(Self { address, ready, accepting })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Ready {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The loop that accepts never ends before this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<Ready>) {
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!("a connection to the API was lost: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                // Nobody takes it any more when the API ends.
                Ok(Ok(stream)) => drop(ready.send((stream, address)).await),
                Ok(Err(error)) => log::debug!("{address} does not speak TLS with the API: {error}"),
                Err(_) => log::debug!("{address} takes too long to speak TLS with the API"),
            }
        });
    }
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
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
        .map_err(|e| wrong("`api_certificate` and `api_key` do not fit together:", certificate, e.to_string()))
}
