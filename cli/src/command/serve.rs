//! `pulse serve`: the cluster's processes.

mod provider;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnv;
use pulse_core::project::Project;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::catalog::Catalog;
use pulse_engine::cluster::cluster_state;
use pulse_engine::execute::{Execute, InProcess};
use pulse_engine::job::Workbench;
use pulse_engine::session::runtime;
use pulse_engine::store::{Stores, folder_url};
use pulse_engine::table::Lake;
use pulse_scheduler::api::{Api, Asks, Audit, On, Places, Token, audited, measured, protect};
use pulse_scheduler::busy::touch_while_busy;
use pulse_scheduler::cluster::Cluster;
use pulse_scheduler::driver::Placement;
use pulse_scheduler::scaler::{Load, Workload as _};
use pulse_transport::{Role as CertificateRole, Shown, callers, incoming, is_this_machine, keyring, shown};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::args::{Global, Role};
use crate::interrupt::interrupted;
use crate::{aws, setup};

pub(crate) async fn serve(global: &Global, role: Role) -> Result<ExitCode> {
    match role {
        Role::Scheduler => scheduler(global, &setup::settings(global)?).await?,
        // It ends on the signals by itself, when nobody needs it any more.
        Role::Executor => pulse_executor::serve(&setup::settings(global)?, std::future::pending()).await?,
        Role::Provider(options) => provider::serve(&options).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn scheduler(global: &Global, settings: &Settings) -> Result<()> {
    let token = setup::api_token(settings).await?;
    let home = setup::lake(global, settings).await?;
    let stores = Arc::clone(home.stores());
    let runtime = runtime(&setup::runtime_options(settings), &stores)?;
    let cluster = Arc::new(Cluster::start(settings, Arc::clone(&runtime)).await?);
    let places = ClusterPlaces {
        settings: settings.clone(),
        cluster: Arc::clone(&cluster),
        stores,
        runtime,
        catalog: setup::catalog(settings)?,
    };
    let api = Api::new(Arc::new(places), &home, settings.clone(), token.as_ref())?;
    let (shows, asks) = gate(settings, token)?;
    let listener = listen(settings, &asks).await?;
    let bound = listener.local_addr().map_err(|e| Error::unavailable("the API's address is unknown").with_source(e))?;
    let scheme = if matches!(shows, Shown::Nothing) { "http" } else { "https" };
    eprintln!("scheduler: executors at {}, submissions at {scheme}://{bound}", cluster.address());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&api).take_up_forever());
    if !settings.busy_file.is_empty() {
        let api = Arc::clone(&api);
        tasks.spawn(touch_while_busy(settings.busy_file.clone().into(), move || api.was_busy()));
    }
    if settings.scaler == "emr" {
        tasks.spawn(aws::scaler(settings, &cluster).await?.run());
    }
    let audit = match settings.audit_log.as_str() {
        "" => None,
        file => Some(Audit::to(Path::new(file))?),
    };
    let per_minute = u32::try_from(settings.api_calls_per_minute).unwrap_or(u32::MAX);
    let router = measured(audited(protect(api.router(), asks, per_minute), audit), &api);
    pulse_scheduler::api::serve(incoming(listener, shows), router, interrupted()).await;
    tasks.abort_all();
    api.leave().await;
    Ok(())
}

fn api_host(settings: &Settings) -> &str {
    match settings.api_host.as_str() {
        "" => settings.scheduler_host.as_str(),
        host => host,
    }
}

/// What the API shows to callers, and asks of them.
fn gate(settings: &Settings, token: Option<Token>) -> Result<(Shown, Asks)> {
    if setup::asks_for_certificates(settings) {
        if !settings.api_certificate.is_empty() {
            return Err(Error::invalid(
                "with `api_clients = \"certificate\"` the API shows the scheduler's certificate of `cluster_certificates`: leave \
                 `api_certificate` empty",
            ));
        }
        let ring = Arc::new(keyring(settings, CertificateRole::Scheduler)?);
        return Ok((Shown::ToRoles(ring, &[CertificateRole::Client]), Asks::Certificate));
    }
    let is_local = is_this_machine(api_host(settings), settings.api_port);
    if !settings.api_certificate.is_empty() {
        let shows = shown(Path::new(&settings.api_certificate), Path::new(&settings.api_key))?;
        return match token {
            None if is_local => Err(Error::invalid(
                "`api_certificate` shows who the scheduler is, and nothing says who may call: set `api_token_source`, or leave \
                 `api_certificate` out, so that callers of this account alone are let in",
            )),
            token => Ok((shows, token.map_or(Asks::Nothing, Asks::Token))),
        };
    }
    // Clients of this machine ask for a proof before they say anything. Others, such as curl, may speak plain HTTP.
    let ring = callers(token.as_ref().map(Token::reveal), CertificateRole::Scheduler);
    let shows = |ring| Shown::ToRolesOrPlain(Arc::new(ring), &[CertificateRole::Client]);
    Ok(match token {
        Some(token) => (shows(ring?), Asks::Token(token)),
        None if is_local => (shows(ring?), Asks::Certificate),
        // Others reach it; an account may have no folder for its secrets.
        None => (ring.map_or(Shown::Nothing, shows), Asks::Nothing),
    })
}

async fn listen(settings: &Settings, asks: &Asks) -> Result<TcpListener> {
    let host = api_host(settings);
    let port = settings.api_port;
    let taken = |e: std::io::Error| {
        Error::invalid(format!("api_port {port} on {host} cannot be used: {e}; set another")).with_source(e)
    };
    let listener = TcpListener::bind((host, port)).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    if address.ip().is_loopback() {
        return Ok(listener);
    }
    let is_set = |word: &str| word == "true";
    match asks {
        Asks::Nothing if !is_set(&settings.insecure_cluster_anyone_can_run_code) => Err(Error::invalid(format!(
            "every client that reaches {address} could submit jobs: set `api_token_source` or `api_clients = \"certificate\"`, or let \
             the API listen on this machine only (`api_host = \"127.0.0.1\"`)"
        ))),
        Asks::Token(_) if settings.api_certificate.is_empty() && !is_set(&settings.insecure_api_token_in_the_clear) => {
            Err(Error::invalid(format!(
                "clients would send the token to {address} over plain HTTP, where the network reads it: set `api_certificate` and \
                 `api_key`, or `api_clients = \"certificate\"`, or let the API listen on this machine only (`api_host = \"127.0.0.1\"`)"
            )))
        }
        Asks::Nothing => {
            log::warn!(
                "every client that reaches {address} can submit jobs, which read and write all that this scheduler can \
                 (`insecure_cluster_anyone_can_run_code`)"
            );
            Ok(listener)
        }
        Asks::Token(_) if settings.api_certificate.is_empty() => {
            log::warn!(
                "clients send the token to {address} over plain HTTP, where the network reads it (`insecure_api_token_in_the_clear`)"
            );
            Ok(listener)
        }
        Asks::Token(_) | Asks::Certificate => Ok(listener),
    }
}

/// Places in this process and on its cluster.
struct ClusterPlaces {
    settings: Settings,
    cluster: Arc<Cluster>,
    stores: Arc<Stores>,
    /// Memory and spilled rows of all runs.
    runtime: Arc<RuntimeEnv>,
    catalog: Arc<dyn Catalog>,
}

#[async_trait]
impl Places for ClusterPlaces {
    async fn lake(&self, url: &str) -> Result<Lake> {
        Lake::open(folder_url(url, Path::new("/"))?, Arc::clone(&self.stores)).await
    }

    fn placement(&self, project: Project, lake: &Lake, on: On) -> Result<Placement> {
        let settings = &self.settings;
        let project = Arc::new(project);
        let bench = |execute: Arc<dyn Execute>, state| Workbench {
            project: Arc::clone(&project),
            lake: lake.clone(),
            state,
            execute,
            options: setup::job_options(settings),
            catalog: Arc::clone(&self.catalog),
            databases: setup::databases(),
        };
        let runtime = || Arc::clone(&self.runtime);
        let local =
            || bench(Arc::new(InProcess { slots: setup::slots(settings) }), setup::state_in(settings, runtime()));
        let remote = || {
            // Two tasks a slot even out tasks of unlike length.
            let partitions = self.cluster.executors().max(1) * setup::vcores(settings) * 2;
            bench(Arc::new(self.cluster.on_cluster()), cluster_state(settings, partitions, runtime()))
        };
        Ok(match on {
            On::Local => Placement::Fixed(Box::new(local())),
            On::Cluster => Placement::Fixed(Box::new(remote())),
            On::Auto => Placement::BySize {
                local: Box::new(local()),
                cluster: Box::new(remote()),
                local_limit_bytes: settings.local_limit_mib << 20,
            },
        })
    }

    fn executors(&self) -> usize {
        self.cluster.executors()
    }

    async fn load(&self) -> Load {
        self.cluster.load().await
    }
}
