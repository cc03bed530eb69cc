//! `pulse serve`: the cluster's processes.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use pulse_core::project::Project;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::cluster::cluster_state;
use pulse_engine::execute::{Execute, InProcess};
use pulse_engine::job::Workbench;
use pulse_engine::session::runtime;
use pulse_engine::store::{Stores, folder_url};
use pulse_engine::table::Lake;
use pulse_scheduler::api::{Api, On, Places};
use pulse_scheduler::cluster::Cluster;
use pulse_scheduler::driver::Placement;

use super::run::interrupted;
use crate::args::{Global, Role};
use crate::setup;

pub(crate) async fn serve(global: &Global, role: Role) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    match role {
        Role::Scheduler => scheduler(global, &settings).await?,
        // It ends on the signals by itself, when nobody needs it any more.
        Role::Executor => pulse_executor::serve(&settings, std::future::pending()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn scheduler(global: &Global, settings: &Settings) -> Result<()> {
    let home = setup::lake(global, settings)?;
    let stores = Arc::clone(home.stores());
    let runtime = runtime(&setup::runtime_options(settings), &stores)?;
    let cluster = Arc::new(Cluster::start(settings, runtime).await?);
    let places = ClusterPlaces { settings: settings.clone(), cluster: Arc::clone(&cluster), stores };
    let api = Api::new(Arc::new(places), &home, settings.clone())?;
    let address = (settings.scheduler_host.as_str(), settings.api_port);
    let taken = |e: std::io::Error| {
        let (host, port) = address;
        Error::invalid(format!("api_port {port} on {host} cannot be used: {e}; set another")).with_source(e)
    };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(taken)?;
    let bound = listener.local_addr().map_err(taken)?;
    eprintln!("scheduler: executors at {}, submissions at http://{bound}", cluster.address());
    let taking_up = tokio::spawn(Arc::clone(&api).take_up_forever());
    let served = axum::serve(listener, api.router()).with_graceful_shutdown(interrupted()).await;
    taking_up.abort();
    api.leave().await;
    served.map_err(|e| Error::unavailable("the API stopped").with_source(e))
}

/// Places in this process and on its cluster.
struct ClusterPlaces {
    settings: Settings,
    cluster: Arc<Cluster>,
    stores: Arc<Stores>,
}

impl Places for ClusterPlaces {
    fn lake(&self, url: &str) -> Result<Lake> {
        Ok(Lake::new(folder_url(url, Path::new("/"))?, Arc::clone(&self.stores)))
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
        };
        let local = || -> Result<Workbench> {
            Ok(bench(Arc::new(InProcess { slots: setup::slots(settings) }), setup::state(settings, &self.stores)?))
        };
        let remote = || -> Result<Workbench> {
            let runtime = runtime(&setup::runtime_options(settings), &self.stores)?;
            // Two tasks a slot even out tasks of unlike length.
            let partitions = self.cluster.executors().max(1) * setup::vcores(settings) * 2;
            Ok(bench(Arc::new(self.cluster.on_cluster()), cluster_state(settings, partitions, runtime)))
        };
        Ok(match on {
            On::Local => Placement::Fixed(Box::new(local()?)),
            On::Cluster => Placement::Fixed(Box::new(remote()?)),
            On::Auto => Placement::BySize {
                local: Box::new(local()?),
                cluster: Box::new(remote()?),
                local_limit_bytes: settings.local_limit_mib << 20,
            },
        })
    }

    fn executors(&self) -> usize {
        self.cluster.executors()
    }
}
