//! `pulse query`

use std::process::ExitCode;
use std::sync::Arc;

use pulse_core::project::{Project, ProjectFiles};
use pulse_core::{Error, Result};
use pulse_engine::error::from_datafusion;
use pulse_engine::job::{Named, ask};

use crate::args::Global;
use crate::{output, setup};

pub(crate) async fn query(global: &Global, sql: &str) -> Result<ExitCode> {
    pulse_core::sql::check_reading(sql).map_err(|problem| Error::from_diagnostics(vec![problem]))?;
    let settings = setup::settings(global)?;
    let lake = setup::lake(global, &settings).await?;
    let named = Named::of(&setup::state(&settings, lake.stores())?, sql)?;
    let bench = setup::workbench_of(project(global, &named)?, global, &settings).await?;
    let answer = ask(&bench, sql).await?;
    answer.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let schema = Arc::new(answer.rows.schema().as_arrow().clone());
    let mut batches = answer.rows.collect().await.map_err(|e| from_datafusion("query", e))?;
    if batches.is_empty() {
        batches.push(datafusion::arrow::array::RecordBatch::new_empty(schema));
    }
    output::batches(&batches, global.output)?;
    Ok(ExitCode::SUCCESS)
}

/// The project, where the query reads its sources: tables of the lake need none.
fn project(global: &Global, named: &Named) -> Result<Project> {
    if named.files().chain(named.external()).next().is_some() {
        return setup::project(global);
    }
    let nothing = ("project.toml".to_owned(), "name = \"query\"\n[defaults]\nowner = \"nobody\"\n".to_owned());
    Project::parse(&ProjectFiles::from([nothing]))
}
