//! `pulse test`

use std::process::ExitCode;

use pulse_core::Result;
use pulse_core::name::TableName;
use pulse_engine::job::{infer_schemas, run_fixture};

use crate::args::Global;
use crate::{output, setup};

pub(crate) async fn test(global: &Global, jobs: &[String]) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let project = setup::project(global)?;
    let stores = setup::stores(&settings);
    let state = setup::state(&settings, &stores)?;
    let external = setup::external(&project, &stores).await?;
    let mut schemas = infer_schemas(&state, &project, &external).await?;
    schemas.extend(external.into_iter().filter_map(|(name, schema)| Some((name, schema.ok()?))));
    let named = jobs.iter().map(|name| name.parse()).collect::<Result<Vec<TableName>>>()?;
    for name in &named {
        project.job(name)?;
    }
    let (mut passed, mut failed) = (0, 0);
    for job in project.jobs.values().filter(|job| named.is_empty() || named.contains(&job.name)) {
        for fixture in &job.tests {
            let differences = run_fixture(&state, &project, job, fixture, &schemas).await?;
            let verdict = if differences.is_empty() { "ok" } else { "FAILED" };
            output::line(&format!("{verdict:<7} {} {}", job.name, fixture.name));
            for difference in &differences {
                output::line(&format!("        {difference}"));
            }
            if differences.is_empty() { passed += 1 } else { failed += 1 }
        }
    }
    output::line(&format!("{passed} passed, {failed} failed"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
