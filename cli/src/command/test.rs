//! `pulse test`

use std::process::ExitCode;

use pulse_core::Result;
use pulse_core::name::TableName;
use pulse_engine::job::{infer_schemas, run_fixture};

use crate::args::{Global, Output};
use crate::{output, setup, shape};

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
    let mut tested = Vec::new();
    for job in project.jobs.values().filter(|job| named.is_empty() || named.contains(&job.name)) {
        for fixture in &job.tests {
            let differences = run_fixture(&state, &project, job, fixture, &schemas).await?;
            let one = shape::Tested {
                job: job.name.to_string(),
                test: fixture.name.clone(),
                passed: differences.is_empty(),
                differences,
            };
            if global.output == Output::Table {
                show(&one);
            }
            tested.push(one);
        }
    }
    let failed = tested.iter().filter(|one| !one.passed).count();
    match global.output {
        Output::Table => output::line(&format!("{} passed, {failed} failed", tested.len() - failed)),
        Output::Json | Output::Csv => {
            output::values(&["job", "test", "passed", "differences"], &tested, global.output)?
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show(tested: &shape::Tested) {
    let verdict = if tested.passed { "ok" } else { "FAILED" };
    output::line(&format!("{verdict:<7} {} {}", tested.job, tested.test));
    for difference in &tested.differences {
        output::line(&format!("        {difference}"));
    }
}
