//! TLS as in the rest of the project: rustls with an explicit provider, since more than one is compiled in.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pulse_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::secret::small_file;

/// Verifies the server's certificate and host name.
#[derive(Clone)]
pub(crate) struct VerifiedTls {
    config: Arc<ClientConfig>,
}

impl VerifiedTls {
    /// Trusts the certificates of a PEM file, or those of the system.
    ///
    /// # Errors
    /// `Invalid` when there are none.
    pub(crate) fn new(database: &str, root_certificate: Option<&str>) -> Result<Self> {
        let invalid = |what: String| Error::invalid(format!("`databases.{database}`: {what}"));
        let roots = match root_certificate {
            Some(path) => {
                of_file(Path::new(path)).map_err(|why| invalid(format!("`root_certificate`: {path}: {why}")))?
            }
            None => of_machine(),
        };
        if roots.is_empty() {
            return Err(invalid(
                "no certificate is trusted on this machine: name one with `root_certificate` in sources.toml"
                    .to_owned(),
            ));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal("TLS has no protocol version").with_source(e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }
}

fn of_file(path: &Path) -> std::result::Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let bytes = small_file(path).map_err(|e| e.to_string())?;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(roots) }
}

fn of_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

impl MakeTlsConnect<Socket> for VerifiedTls {
    type Stream = Verified;
    type TlsConnect = VerifiedConnect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<VerifiedConnect> {
        let name = ServerName::try_from(host.to_owned()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        Ok(VerifiedConnect { connector: TlsConnector::from(Arc::clone(&self.config)), name })
    }
}

pub(crate) struct VerifiedConnect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for VerifiedConnect {
    type Stream = Verified;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Verified>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(Verified) })
    }
}

/// A connection to a verified server.
pub(crate) struct Verified(client::TlsStream<Socket>);

impl TlsStream for Verified {
    /// The certificate's name is verified, so the password exchange does not need channel binding.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Verified {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Verified {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
