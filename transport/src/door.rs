//! How this process meets the others of its cluster.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use tokio::net::TcpListener;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::authority::Authority;
use crate::keys::{Keyring, Keys};
use crate::own;
use crate::role::Role;
use crate::tls::{Incoming, Shown, incoming};

/// As Ballista has them: a machine that is gone answers nothing.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(20);

/// What protects the connections of a cluster.
#[derive(Debug, Clone)]
pub enum Door {
    /// Nothing, as somebody asked for in so many words.
    Open,
    /// Certificates of both sides, each of the role that is expected.
    Locked(Arc<Keyring>),
}

/// Where certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    Given,
    ThisAccount,
    Nothing,
}

impl Door {
    /// # Errors
    /// `Invalid` when others could reach the cluster and nothing would keep them out, or when certificates cannot be read.
    pub fn of(settings: &Settings, role: Role) -> Result<Self> {
        match protection(settings, is_this_machine(&settings.scheduler_host, settings.scheduler_port))? {
            Protection::Given | Protection::ThisAccount => Ok(Self::Locked(Arc::new(keyring(settings, role)?))),
            Protection::Nothing => {
                log::warn!(
                    "every client that reaches the ports of this cluster can run code on it and read and write all that it can \
                     (`insecure_cluster_anyone_can_run_code`)"
                );
                Ok(Self::Open)
            }
        }
    }

    /// Connections from `roles`.
    pub fn listen(&self, listener: TcpListener, roles: &'static [Role]) -> Incoming {
        let shown = match self {
            Self::Open => Shown::Nothing,
            Self::Locked(ring) => Shown::ToRoles(Arc::clone(ring), roles),
        };
        incoming(listener, shown)
    }

    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// The way to a server of `role` at the address of `endpoint`. With `limit` each call is answered within it, and the
    /// connection is watched.
    ///
    /// # Errors
    /// tonic's, for an address that is none.
    pub fn way(
        &self,
        endpoint: Endpoint,
        role: Role,
        limit: Option<Duration>,
    ) -> std::result::Result<Endpoint, tonic::transport::Error> {
        let Self::Locked(ring) = self else { return Ok(endpoint) };
        let keys = ring.keys();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(keys.trusted()))
            .identity(Identity::from_pem(keys.pem(), keys.pem()))
            .domain_name(role.host())
            .timeout(CONNECT_LIMIT);
        // A new one: the scheme of an endpoint cannot be changed, and without https there is no TLS.
        let authority = endpoint.uri().authority().map(ToString::to_string).unwrap_or_default();
        let secured = Endpoint::from_shared(format!("https://{authority}"))?
            .connect_timeout(CONNECT_LIMIT)
            .tcp_nodelay(true)
            .tls_config(tls)?;
        Ok(match limit {
            None => secured,
            Some(limit) => secured
                .timeout(limit)
                .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
                .keep_alive_timeout(KEEP_ALIVE_LIMIT)
                .keep_alive_while_idle(true),
        })
    }
}

/// Certificates of `cluster_certificates`, or of this account if none are given.
///
/// # Errors
/// `Invalid` when they cannot be read.
pub fn keyring(settings: &Settings, role: Role) -> Result<Keyring> {
    match settings.cluster_certificates.as_str() {
        "" => Ok(Keyring::fixed(own::keys(role)?)),
        folder => Keyring::in_folder(Path::new(folder), role),
    }
}

/// Certificates by which the API and its clients know each other where nothing else protects it: of all who know `token`, or of this account.
/// A listener that has neither the token nor the account's key cannot show one, and a caller who shows one sends no secret.
///
/// # Errors
/// `Invalid` when the account's own cannot be read.
pub fn callers(token: Option<&str>, role: Role) -> Result<Keyring> {
    let keys = match token {
        Some(token) => Keys::issued(&Authority::of_token(token, own::DAYS)?, role, own::PROCESS_DAYS)?,
        None => own::keys(role)?,
    };
    Ok(Keyring::fixed(keys))
}

fn protection(settings: &Settings, is_local: bool) -> Result<Protection> {
    match (settings.cluster_certificates.is_empty(), is_local) {
        (false, _) => Ok(Protection::Given),
        (true, true) => Ok(Protection::ThisAccount),
        (true, false) if settings.insecure_cluster_anyone_can_run_code == "true" => Ok(Protection::Nothing),
        (true, false) => Err(Error::invalid(format!(
            "`scheduler_host` is {}, which other machines reach, and there are no certificates: every client that connects could run code on \
             this cluster. Make certificates with `pulse certs init DIR` and name the folder in `cluster_certificates`; or, where \
             nobody else can reach these ports, set `insecure_cluster_anyone_can_run_code = \"true\"`",
            settings.scheduler_host
        ))),
    }
}

/// Whether only processes of this machine reach it. A name that is not known is somewhere else.
pub fn is_this_machine(host: &str, port: u16) -> bool {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().into_iter().flatten().collect();
    !addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback())
}

/// Whether a client that calls this host stays on this machine: also where it names all of the machine's addresses.
pub fn leads_to_this_machine(host: &str, port: u16) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().into_iter().flatten().collect();
    let stays = |address: &SocketAddr| address.ip().is_loopback() || address.ip().is_unspecified();
    !addresses.is_empty() && addresses.iter().all(stays)
}

#[cfg(test)]
mod between;
#[cfg(test)]
mod handshakes;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str, certificates: &str, insecure: &str) -> Settings {
        Settings {
            scheduler_host: host.to_owned(),
            cluster_certificates: certificates.to_owned(),
            insecure_cluster_anyone_can_run_code: insecure.to_owned(),
            ..Settings::default()
        }
    }

    #[test]
    fn without_certificates_only_this_machine_or_frightening_words_start() {
        let of = |settings: &Settings, local| protection(settings, local).ok();
        assert_eq!(of(&settings("127.0.0.1", "", "false"), true), Some(Protection::ThisAccount));
        assert_eq!(of(&settings("127.0.0.1", "", "true"), true), Some(Protection::ThisAccount));
        assert_eq!(of(&settings("10.0.0.1", "/c", "false"), false), Some(Protection::Given));
        assert_eq!(of(&settings("10.0.0.1", "", "true"), false), Some(Protection::Nothing));
        let error = protection(&settings("10.0.0.1", "", "false"), false).unwrap_err();
        for word in ["10.0.0.1", "pulse certs init", "cluster_certificates", "insecure_cluster_anyone_can_run_code"] {
            assert!(error.message().contains(word), "{}", error.message());
        }
    }

    #[test]
    fn only_loopback_is_local() {
        for (host, local) in
            [("127.0.0.1", true), ("127.0.0.9", true), ("::1", true), ("0.0.0.0", false), ("10.0.0.1", false)]
        {
            assert_eq!(is_this_machine(host, 1), local, "{host}");
        }
        assert!(!is_this_machine("no-such-host.invalid", 1));
        for (host, stays) in
            [("127.0.0.1", true), ("[::1]", true), ("0.0.0.0", true), ("::", true), ("[::]", true), ("10.0.0.1", false)]
        {
            assert_eq!(leads_to_this_machine(host, 1), stays, "{host}");
        }
    }
}
