//! Pools connections to other executors between fetches: otherwise a shuffle opens one per partition and runs out of
//! ports. Ballista's own pool is not public.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use pulse_transport::{Door, Role};

/// A connection that was idle for longer is closed at the next fetch.
const IDLE: Duration = Duration::from_secs(30);

type Key = (String, u16, GrpcClientConfig);
type Idle = HashMap<Key, Vec<(BallistaClient, Instant)>>;

#[derive(Clone)]
pub(crate) struct Connections {
    idle: Arc<Mutex<Idle>>,
    /// Every connection shows this executor's certificate, and asks for another's.
    way: Arc<BallistaConfigGrpcEndpoint>,
}

impl Connections {
    pub(crate) fn through(door: Door) -> Self {
        let way = BallistaConfigGrpcEndpoint::new(Arc::new(move |endpoint| {
            door.way(endpoint, Role::Executor, None).map_err(Into::into)
        }));
        Self { idle: Arc::default(), way: Arc::new(way) }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_idle(&self) {
        self.idle().retain(|_, clients| {
            clients.retain(|(_, since)| since.elapsed() < IDLE);
            !clients.is_empty()
        });
    }

    /// Takes the most recently used one, so that the others can expire.
    fn take(&self, key: &Key) -> Option<BallistaClient> {
        self.idle().get_mut(key)?.pop().map(|(client, _)| client)
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        _: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        self.close_idle();
        let key = (host.to_owned(), port, config.clone());
        let client = match self.take(&key) {
            Some(client) => client,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    // The way itself has TLS.
                    false,
                    Some(Arc::clone(&self.way)),
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let back_to = self.clone();
        let give_back = move |client| back_to.idle().entry(key).or_default().push((client, Instant::now()));
        Ok(PooledClient::new(client, Box::new(give_back)))
    }

    async fn evict_idle(&self) {
        self.close_idle();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
