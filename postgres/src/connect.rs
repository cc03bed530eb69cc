//! Connections whose queries are cancelled when the connection is dropped.

use std::ops::Deref;
use std::time::Duration;

use pulse_core::Result;
use pulse_engine::landing::ReadRequest;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Config, NoTls, Socket};

use crate::error::from_postgres;
use crate::secret::password;
use crate::tls::VerifiedTls;

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// A server that acknowledges nothing for this long counts as gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Dates, timestamps and numbers in the format of the file reader; no transaction timeout while others read; and equal
/// rows in equal order, so that unchanged data is recognized. `local`, so that a connection pool keeps none of it.
const SETTINGS: &str = "set local time zone 'UTC'; set local datestyle = 'ISO, MDY'; set local extra_float_digits = 3; \
                        set local idle_in_transaction_session_timeout = 0; set local lock_timeout = '60s'; \
                        set local synchronize_seqscans = off; set local max_parallel_workers_per_gather = 0";
/// From this version on, the server checks during a query whether its client is still connected.
const NOTICES_CLIENTS: i32 = 140_000;

/// How to reach a database.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: Option<VerifiedTls>,
    doing: String,
}

impl Connector {
    /// # Errors
    /// `Invalid` when the password or the certificates cannot be read.
    pub(crate) fn new(request: &ReadRequest) -> Result<Self> {
        let (database, address) = (&request.database, &request.address);
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(&address.user)
            .dbname(&address.database)
            .application_name("pulse")
            .connect_timeout(CONNECT_LIMIT)
            .tcp_user_timeout(SILENCE_LIMIT)
            .keepalives_idle(SILENCE_LIMIT / 2);
        if let Some(place) = &database.password {
            config.password(password(&request.name, place)?);
        }
        let tls = match database.is_verified(address) {
            true => Some(VerifiedTls::new(&request.name, database.root_certificate.as_deref())?),
            false => None,
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(Self { config, tls, doing: format!("connect to `databases.{}` ({address})", request.name) })
    }

    pub(crate) async fn connect(&self) -> Result<Session> {
        match self.tls.clone() {
            Some(tls) => self.connect_with(tls).await,
            None => self.connect_with(NoTls).await,
        }
    }

    async fn connect_with<T>(&self, tls: T) -> Result<Session>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let failed = |e| from_postgres(&self.doing, &e);
        let (client, connection) = self.config.connect(tls).await.map_err(failed)?;
        let carrying = tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection to a database ended: {error}");
            }
        });
        let cancel = client.cancel_token();
        let mut session = Session { client, carrying, cancel, tls: self.tls.clone(), version: 0 };
        let row = session.query_one("select current_setting('server_version_num')::int", &[]).await.map_err(failed)?;
        session.version = row.get(0);
        Ok(session)
    }
}

/// One connection.
pub(crate) struct Session {
    client: Client,
    carrying: JoinHandle<()>,
    cancel: CancelToken,
    tls: Option<VerifiedTls>,
    /// 150018 is 15.18.
    pub(crate) version: i32,
}

impl Session {
    /// Begins a transaction with one snapshot, which the first query takes.
    pub(crate) async fn begin(&self) -> std::result::Result<(), tokio_postgres::Error> {
        self.client.batch_execute("begin isolation level repeatable read read only").await
    }

    pub(crate) async fn settle(&self) -> std::result::Result<(), tokio_postgres::Error> {
        self.client.batch_execute(SETTINGS).await?;
        if self.version >= NOTICES_CLIENTS {
            self.client.batch_execute("set local client_connection_check_interval = '5s'").await?;
        }
        Ok(())
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Session {
    /// Closing the connection cancels its queries, at the latest when the server checks for its client.
    fn drop(&mut self) {
        self.carrying.abort();
        let (cancel, tls) = (self.cancel.clone(), self.tls.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let asked = match tls {
                    Some(tls) => cancel.cancel_query(tls).await,
                    None => cancel.cancel_query(NoTls).await,
                };
                if let Err(error) = asked {
                    log::debug!("a query of a database was not cancelled: {error}");
                }
            });
        }
    }
}
