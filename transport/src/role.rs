//! What a process of a cluster is to the others.

use tokio_rustls::rustls::pki_types::{DnsName, ServerName};

/// A certificate names exactly one of these, as a host name that no network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Scheduler,
    Executor,
    Client,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Scheduler, Self::Executor, Self::Client];

    /// As it is written on the command line, and in the names of files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Executor => "executor",
            Self::Client => "client",
        }
    }

    /// The name in the certificate.
    pub const fn host(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler.pulse",
            Self::Executor => "executor.pulse",
            Self::Client => "client.pulse",
        }
    }

    pub(crate) fn server_name(self) -> Option<ServerName<'static>> {
        DnsName::try_from(self.host()).ok().map(ServerName::DnsName)
    }
}
