//! `pulse test`

use std::collections::BTreeMap;
use std::process::ExitCode;

use datafusion::execution::SessionState;
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::{Error, Result};
use pulse_engine::job::{Inferred, check_each, run_fixture};

use crate::args::{Global, Output};
use crate::home::home;
use crate::runnable::{Looked, as_written, distinct};
use crate::{output, setup, shape};

/// Exit code of a test that does not hold.
const FAILED: u8 = 1;

/// A mistake stops only the tests of its own job. The exit code is that of a mistake, where there is one.
pub(crate) async fn test(global: &Global, jobs: &[String]) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let looked = Looked::new(home(global)?.parsed()?, jobs)?;
    let stores = setup::stores(&settings);
    let state = setup::state(&settings, &stores)?;
    let external = setup::external(&looked.whole, &stores).await?;
    let mut inferred = check_each(&state, &looked.whole, &external, &looked.to_plan()).await?;
    as_written(global, &mut inferred)?;
    inferred.schemas.extend(external.into_iter().filter_map(|(name, schema)| Some((name, schema.ok()?))));
    let mistakes = looked.mistakes(std::mem::take(&mut inferred.mistakes));
    let (mut tested, mut code) = (Vec::new(), None);
    for name in &looked.names {
        for one in test_job(&state, &looked, &inferred, &mistakes, name).await {
            if global.output == Output::Table {
                show(&one.shape);
            }
            code = code.or(one.error.as_ref().map(output::exit_code));
            tested.push(one.shape);
        }
    }
    // Also a mistake of a job that has no tests, and of one that these read.
    code = code.or(mistakes.values().next().map(output::exit_code));
    let failed = tested.iter().filter(|one| !one.passed).count();
    output::errors(&distinct(mistakes.into_values()));
    match global.output {
        Output::Table => output::line(&format!("{} passed, {failed} failed", tested.len() - failed)),
        Output::Json | Output::Csv => {
            output::values(&["job", "test", "passed", "differences"], &tested, global.output)?
        }
    }
    Ok(ExitCode::from(code.unwrap_or(if failed == 0 { 0 } else { FAILED })))
}

struct Tested {
    shape: shape::Tested,
    /// Why the test says nothing.
    error: Option<Error>,
}

impl Tested {
    fn not(job: &TableName, test: Option<&str>, error: Error, why: String) -> Self {
        let (job, test) = (job.to_string(), test.map(str::to_owned));
        Self { shape: shape::Tested { job, test, passed: false, differences: vec![why] }, error: Some(error) }
    }
}

async fn test_job(
    state: &SessionState,
    looked: &Looked,
    inferred: &Inferred,
    mistakes: &BTreeMap<TableName, Error>,
    name: &TableName,
) -> Vec<Tested> {
    let job = looked.whole.jobs.get(name);
    // A job without tests has nothing that could be stopped.
    if job.is_some_and(|job| job.tests.is_empty()) {
        return Vec::new();
    }
    if let Some(mistake) = mistakes.get(name) {
        let why = format!("not tested, the job has a mistake: {}", first_line(mistake));
        return vec![Tested::not(name, None, Error::new(mistake.kind(), ""), why)];
    }
    // A job whose upstream has a mistake is tested where the columns of its table are known all the same.
    match (job, inferred.blocked.get(name)) {
        (Some(job), None) => test_all(state, looked, inferred, job).await,
        (_, upstream) => {
            let upstream = upstream.map_or_else(|| "a table".to_owned(), ToString::to_string);
            let why = format!("not tested, it reads {upstream}, which cannot be planned");
            vec![Tested::not(name, None, Error::invalid(""), why)]
        }
    }
}

async fn test_all(state: &SessionState, looked: &Looked, inferred: &Inferred, job: &Job) -> Vec<Tested> {
    let mut tested = Vec::new();
    for fixture in &job.tests {
        let outcome = run_fixture(state, &looked.whole, job, fixture, &inferred.schemas).await;
        tested.push(match outcome {
            Ok(differences) => Tested {
                shape: shape::Tested {
                    job: job.name.to_string(),
                    test: Some(fixture.name.clone()),
                    passed: differences.is_empty(),
                    differences,
                },
                error: None,
            },
            Err(error) => {
                let mut why = format!("error: {error}");
                if let Some(cause) = std::error::Error::source(&error) {
                    why = format!("{why}: {cause}");
                }
                Tested::not(&job.name, Some(&fixture.name), error, why)
            }
        });
    }
    tested
}

fn first_line(error: &Error) -> &str {
    error.message().lines().next().unwrap_or_default()
}

fn show(tested: &shape::Tested) {
    let verdict = if tested.passed { "ok" } else { "FAILED" };
    output::line(format!("{verdict:<7} {} {}", tested.job, tested.test.as_deref().unwrap_or_default()).trim_end());
    for difference in &tested.differences {
        output::line(&format!("        {difference}"));
    }
}
