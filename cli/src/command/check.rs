//! `pulse check`

use std::process::ExitCode;

use datafusion::arrow::datatypes::SchemaRef;
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use pulse_engine::job::{check_each, check_tables, unproven_increments};

use crate::args::Global;
use crate::home::{Home, home};
use crate::runnable::{Looked, as_written, beside, distinct};
use crate::{output, setup, shape};

/// Keys of a line for programs.
const KEYS: [&str; 3] = ["job", "columns", "mistakes"];

/// Every mistake of every job, or of the named ones and those that they read; the exit code is that of the first.
pub(crate) async fn check(global: &Global, jobs: &[String]) -> Result<ExitCode> {
    let parsed = home(global).and_then(Home::parsed);
    let parsed = parsed.inspect_err(|error| drop(output::values(&KEYS, &[of_no_job(error)], global.output)))?;
    let settings = setup::settings(global)?;
    let mut looked = Looked::new(parsed, jobs)?;
    let project = &looked.whole;
    let stores = setup::stores(&settings);
    let state = setup::state(&settings, &stores)?;
    let external = setup::external(project, &stores).await?;
    let mut inferred = check_each(&state, project, &external, &looked.to_plan()).await?;
    as_written(global, &mut inferred)?;
    for (name, reasons) in unproven_increments(&state, project, &external, &inferred.schemas).await? {
        reasons.iter().for_each(|reason| eprintln!("warning: {name}: {reason}"));
    }
    let wrong = looked.mistakes(std::mem::take(&mut inferred.mistakes));
    // Those of sources that no job reads, and of files that belong to no job, too.
    let (sources, strays) = (looked.parsed.sources.take(), looked.parsed.strays.take());
    let mut of_none: Vec<Error> = beside(sources, strays).filter(|_| jobs.is_empty()).into_iter().collect();
    if global.names_lake {
        let lake = setup::lake(global, &settings).await?;
        of_none.extend(check_tables(&lake, project, &inferred.schemas).await?);
        setup::empty(project, &stores).await?.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    for (name, table) in &inferred.unknown {
        eprintln!(
            "not checked: {name} reads {table}, whose columns only the log of a table of others says; name the variables of \
             sources.toml with --var"
        );
    }
    let names = looked.names.iter().filter(|name| !wrong.contains_key(*name));
    let good: Vec<(&TableName, &SchemaRef)> = names.filter_map(|name| inferred.schemas.get_key_value(name)).collect();
    if wrong.is_empty() && of_none.is_empty() {
        return all_in_order(&good, global);
    }
    let lines = good.iter().map(in_order).chain(wrong.iter().map(of_job)).chain(of_none.iter().map(of_no_job));
    output::values(&KEYS, &lines.collect::<Vec<_>>(), global.output)?;
    let code = output::errors(&distinct(of_none.into_iter().chain(wrong.into_values())));
    for (name, upstream) in &inferred.blocked {
        eprintln!("not checked: {name} reads {upstream}, which cannot be planned");
    }
    Ok(code.unwrap_or(ExitCode::SUCCESS))
}

fn all_in_order(good: &[(&TableName, &SchemaRef)], global: &Global) -> Result<ExitCode> {
    let row = |(name, schema): &(&TableName, &SchemaRef)| {
        let columns = columns_of(schema);
        vec![name.to_string(), columns.len().to_string(), columns.join(", ")]
    };
    let rows: Vec<Vec<String>> = good.iter().map(row).collect();
    let values: Vec<shape::CheckedJob> = good.iter().map(in_order).collect();
    output::listing((&["job", "columns", ""], &KEYS), &rows, &values, global.output)?;
    let verb = if rows.len() == 1 { "is" } else { "are" };
    eprintln!("{} {verb} in order", output::plural(rows.len() as u64, "job"));
    Ok(ExitCode::SUCCESS)
}

fn columns_of(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn in_order((name, schema): &(&TableName, &SchemaRef)) -> shape::CheckedJob {
    shape::CheckedJob { job: Some(name.to_string()), columns: Some(columns_of(schema)), mistakes: Vec::new() }
}

fn of_job((name, error): (&TableName, &Error)) -> shape::CheckedJob {
    shape::CheckedJob { job: Some(name.to_string()), columns: None, mistakes: shape::Mistake::all(error) }
}

fn of_no_job(error: &Error) -> shape::CheckedJob {
    shape::CheckedJob { job: None, columns: None, mistakes: shape::Mistake::all(error) }
}
