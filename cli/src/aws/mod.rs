//! What needs AWS's clients, in one place: a build without the feature `aws` has `aws_absent.rs` instead, which offers the same
//! functions and returns an error from each.

mod cluster;
mod scaler;
mod step;

use std::sync::Arc;

use pulse_aws::clients::Clients;
use pulse_aws::glue::{GlueCatalog, GlueOptions};
use pulse_core::Result;
use pulse_core::settings::Settings;
use pulse_engine::catalog::{Catalog, ForeignCatalog};

pub(crate) use cluster::cluster;
pub(crate) use scaler::scaler;
pub(crate) use step::step;

/// A secret of the Parameter Store.
///
/// # Errors
/// Those of the Parameter Store; `Invalid` when there is no such parameter.
pub(crate) async fn parameter(name: &str) -> Result<String> {
    pulse_aws::parameter::parameter(&Clients::load().await?, name).await
}

/// The Glue Data Catalog. Does not connect before the first request. Fails only in a build without AWS.
pub(crate) fn glue_catalog(settings: &Settings) -> Result<Arc<dyn Catalog>> {
    Ok(Arc::new(GlueCatalog::new(GlueOptions {
        prefix: settings.catalog_prefix.clone(),
        create_databases: settings.catalog_databases == "create",
    })))
}

/// Tables that others keep in the Glue Data Catalog; `None` in a build without AWS. Does not connect before the first request.
#[expect(clippy::unnecessary_wraps, reason = "a build without AWS has none")]
pub(crate) fn foreign_tables() -> Option<Arc<dyn ForeignCatalog>> {
    Some(Arc::new(GlueCatalog::new(GlueOptions::default())))
}
