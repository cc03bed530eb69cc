//! `pulse check`

use std::process::ExitCode;

use datafusion::arrow::datatypes::SchemaRef;
use pulse_core::name::TableName;
use pulse_core::project::Parsed;
use pulse_core::{Error, Result};
use pulse_engine::job::{check_tables, infer_each, unproven_increments};

use crate::args::Global;
use crate::home::home;
use crate::{output, setup, shape};

/// Every mistake of every job; the exit code is that of the first.
pub(crate) async fn check(global: &Global) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let Parsed { project, mistakes: unparsed, blocked, .. } = home(global)?.parsed()?;
    let stores = setup::stores(&settings);
    let state = setup::state(&settings, &stores)?;
    let external = setup::external(&project, &stores).await?;
    let inferred = infer_each(&state, &project, &external).await?;
    for (name, reasons) in unproven_increments(&state, &project, &external, &inferred.schemas).await? {
        reasons.iter().for_each(|reason| eprintln!("warning: {name}: {reason}"));
    }
    let rows: Vec<Vec<String>> = inferred
        .schemas
        .iter()
        .map(|(name, schema)| {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            vec![name.to_string(), columns.len().to_string(), columns.join(", ")]
        })
        .collect();
    let value = |(name, schema): (&TableName, &SchemaRef)| shape::CheckedJob {
        job: name.to_string(),
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
    };
    let values: Vec<shape::CheckedJob> = inferred.schemas.iter().map(value).collect();
    let planned = inferred.mistakes.into_iter().map(|(_, mistake)| mistake);
    let mut mistakes: Vec<Error> = unparsed.into_values().chain(planned).collect();
    if global.names_lake {
        let lake = setup::lake(global, &settings).await?;
        mistakes.extend(check_tables(&lake, &project, &inferred.schemas).await?);
        setup::empty(&project, &stores).await?.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    for (name, table) in &inferred.unknown {
        eprintln!(
            "not checked: {name} reads {table}, whose columns only the log of a table of others says; name the variables of \
             sources.toml with --var"
        );
    }
    let Some(code) = output::errors(&mistakes) else {
        output::table(&["job", "columns", ""], &rows, &values, global.output)?;
        let verb = if rows.len() == 1 { "is" } else { "are" };
        eprintln!("{} {verb} in order", output::plural(rows.len() as u64, "job"));
        return Ok(ExitCode::SUCCESS);
    };
    for (name, upstream) in blocked.iter().chain(&inferred.blocked) {
        eprintln!("not checked: {name} reads {upstream}, which cannot be planned");
    }
    Ok(code)
}
