//! `pulse check`

use std::process::ExitCode;

use datafusion::arrow::datatypes::SchemaRef;
use pulse_core::Result;
use pulse_core::name::TableName;
use pulse_engine::job::{check_each, check_tables, unproven_increments};

use crate::args::Global;
use crate::home::home;
use crate::runnable::{Looked, as_written, beside, distinct};
use crate::{output, setup, shape};

/// Every mistake of every job, or of the named ones and those that they read; the exit code is that of the first.
pub(crate) async fn check(global: &Global, jobs: &[String]) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let mut looked = Looked::new(home(global)?.parsed()?, jobs)?;
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
    let of_none = beside(sources, strays).filter(|_| jobs.is_empty());
    let mut mistakes = distinct(of_none.into_iter().chain(wrong.into_values()));
    if global.names_lake {
        let lake = setup::lake(global, &settings).await?;
        mistakes.extend(check_tables(&lake, project, &inferred.schemas).await?);
        setup::empty(project, &stores).await?.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    for (name, table) in &inferred.unknown {
        eprintln!(
            "not checked: {name} reads {table}, whose columns only the log of a table of others says; name the variables of \
             sources.toml with --var"
        );
    }
    let Some(code) = output::errors(&mistakes) else {
        let good: Vec<(&TableName, &SchemaRef)> =
            looked.names.iter().filter_map(|name| inferred.schemas.get_key_value(name)).collect();
        return report(&good, global);
    };
    for (name, upstream) in &inferred.blocked {
        eprintln!("not checked: {name} reads {upstream}, which cannot be planned");
    }
    Ok(code)
}

fn report(good: &[(&TableName, &SchemaRef)], global: &Global) -> Result<ExitCode> {
    let names =
        |schema: &SchemaRef| -> Vec<String> { schema.fields().iter().map(|field| field.name().clone()).collect() };
    let row = |(name, schema): &(&TableName, &SchemaRef)| {
        let columns = names(schema);
        vec![name.to_string(), columns.len().to_string(), columns.join(", ")]
    };
    let value =
        |(name, schema): &(&TableName, &SchemaRef)| shape::CheckedJob { job: name.to_string(), columns: names(schema) };
    let rows: Vec<Vec<String>> = good.iter().map(row).collect();
    let values: Vec<shape::CheckedJob> = good.iter().map(value).collect();
    output::listing((&["job", "columns", ""], &["job", "columns"]), &rows, &values, global.output)?;
    let verb = if rows.len() == 1 { "is" } else { "are" };
    eprintln!("{} {verb} in order", output::plural(rows.len() as u64, "job"));
    Ok(ExitCode::SUCCESS)
}
