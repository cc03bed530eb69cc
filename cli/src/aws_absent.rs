//! Stands for `aws/` in a build without the feature `aws`: every function returns an error that says how to get the feature.
//! Objects in S3 are read and written without it.

use std::process::ExitCode;
use std::sync::Arc;

use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::catalog::{Catalog, ForeignCatalog};
use pulse_scheduler::cluster::Cluster;
use pulse_scheduler::scaler::Scaler;

use crate::args::{ClusterAction, Global, SubmitOptions};
use crate::runnable::Runnable;

fn absent<T>(what: &str) -> Result<T> {
    Err(Error::invalid(format!(
        "{what} needs AWS's clients, and this build of pulse has none: build it with `cargo build --bin pulse`, or install a \
         release (`scripts/build-release`)"
    )))
}

pub(crate) async fn cluster(_: &Global, _: ClusterAction) -> Result<ExitCode> {
    absent("`pulse cluster`")
}

pub(crate) async fn step(_: &Global, _: &Settings, _: &str, _: &SubmitOptions, _: &Runnable) -> Result<ExitCode> {
    absent("`pulse submit --cluster`")
}

pub(crate) async fn scaler(_: &Settings, _: &Arc<Cluster>) -> Result<Scaler> {
    absent("`scaler = \"emr\"`")
}

pub(crate) async fn parameter(_: &str) -> Result<String> {
    absent("`api_token_source = \"ssm:..\"`")
}

pub(crate) fn glue_catalog(_: &Settings) -> Result<Arc<dyn Catalog>> {
    absent("`catalog = \"glue\"`")
}

pub(crate) fn foreign_tables() -> Option<Arc<dyn ForeignCatalog>> {
    None
}
