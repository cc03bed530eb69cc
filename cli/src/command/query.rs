//! `pulse query`

use std::process::ExitCode;
use std::sync::Arc;

use pulse_core::Result;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::sources::Sources;
use pulse_engine::error::from_datafusion;
use pulse_engine::job::{Named, ask};

use crate::args::Global;
use crate::{output, setup};

pub(crate) async fn query(global: &Global, sql: &str) -> Result<ExitCode> {
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

/// The project, as far as the query reads its sources: others need no variables, and tables of the lake need no project.
fn project(global: &Global, named: &Named) -> Result<Project> {
    if named.files().chain(named.external()).next().is_none() {
        let nothing = ("project.toml".to_owned(), "name = \"query\"\n[defaults]\nowner = \"nobody\"\n".to_owned());
        return Project::parse(&ProjectFiles::from([nothing]));
    }
    let project = setup::project_without_variables(global)?;
    let mut values = setup::variables(global)?;
    let mut wanted = project.clone();
    wanted.sources.files.retain(|name, _| named.files().any(|wanted| wanted == name));
    wanted.sources.tables.retain(|name, _| named.external().any(|wanted| wanted == name));
    let variables = wanted.variables();
    values.retain(|name, _| variables.contains(name));
    let located = wanted.with_variables(&values)?.sources;
    // Names that an error lists.
    let Sources { files, tables } = project.sources.clone();
    let files = files.into_iter().chain(located.files).collect();
    let tables = tables.into_iter().chain(located.tables).collect();
    Ok(Project { sources: Sources { files, tables }, ..project })
}
