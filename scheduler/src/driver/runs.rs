//! What a driver runs, and where.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use pulse_core::Result;
use pulse_core::decide::Asked;
use pulse_core::name::TableName;
use pulse_core::run::{Place, RunId};
use pulse_engine::job::{Report, RunOptions, Workbench, committed, pin, registered, run};

/// The jobs of a project, on tables. [`Placement`] runs real ones; a simulation brings its own.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Runs a job once. `placed` is called when its place is known.
    ///
    /// # Errors
    /// As [`run`].
    async fn run(&self, job: &TableName, placed: &(dyn Fn(Place) + Sync), options: RunOptions<'_>) -> Result<Report>;

    /// The report of a run that committed since `begun`; `None` if it has not committed.
    ///
    /// # Errors
    /// As [`committed`].
    async fn committed(&self, run: &RunId, begun: DateTime<Utc>) -> Result<Option<Report>>;

    /// Registers what a run committed in the catalog. A failure is a warning of the report.
    async fn registered(&self, report: Report) -> Report;
}

/// Where runs execute.
#[derive(Clone)]
pub enum Placement {
    /// All in the same place.
    Fixed(Box<Workbench>),
    /// In process up to this number of bytes to read, otherwise on the cluster.
    BySize { local: Box<Workbench>, cluster: Box<Workbench>, local_limit_bytes: u64 },
}

impl Placement {
    /// A driver's view of the runs that execute here.
    #[must_use]
    pub fn runs(self) -> Arc<dyn Runs> {
        Arc::new(self)
    }

    fn any(&self) -> &Workbench {
        match self {
            Self::Fixed(bench) | Self::BySize { local: bench, .. } => bench,
        }
    }

    async fn choose(&self, job: &TableName, asked: &Asked, now: DateTime<Utc>) -> Result<&Workbench> {
        match self {
            Self::Fixed(bench) => Ok(bench),
            Self::BySize { local, cluster, local_limit_bytes } => {
                let pinned = pin(local, local.project.job(job)?, asked, now).await?;
                Ok(if pinned.bytes() > *local_limit_bytes { cluster } else { local })
            }
        }
    }
}

#[async_trait]
impl Runs for Placement {
    async fn run(&self, job: &TableName, placed: &(dyn Fn(Place) + Sync), options: RunOptions<'_>) -> Result<Report> {
        let bench = self.choose(job, options.asked, options.now).await?;
        placed(bench.execute.place());
        run(bench, bench.project.job(job)?, options).await
    }

    async fn committed(&self, run: &RunId, begun: DateTime<Utc>) -> Result<Option<Report>> {
        let bench = self.any();
        committed(bench, bench.project.job(run.job())?, &run.to_string(), begun).await
    }

    async fn registered(&self, report: Report) -> Report {
        registered(self.any(), report).await
    }
}
