//! `pulse check`

use std::process::ExitCode;

use pulse_core::Result;
use pulse_engine::job::{infer_schemas, unproven_increments};

use crate::args::Global;
use crate::{output, setup};

pub(crate) async fn check(global: &Global) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let project = setup::project_without_variables(global)?;
    let state = setup::state(&settings, &setup::stores(&settings))?;
    let schemas = infer_schemas(&state, &project).await?;
    for (name, reasons) in unproven_increments(&state, &project, &schemas).await? {
        reasons.iter().for_each(|reason| eprintln!("warning: {name}: {reason}"));
    }
    let rows: Vec<Vec<String>> = schemas
        .iter()
        .map(|(name, schema)| {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            vec![name.to_string(), columns.len().to_string(), columns.join(", ")]
        })
        .collect();
    let values: Vec<_> = rows.iter().map(|row| serde_json::json!({"job": row[0], "columns": row[2]})).collect();
    output::table(&["job", "columns", ""], &rows, &values, global.output)?;
    eprintln!("{} jobs are in order", schemas.len());
    Ok(ExitCode::SUCCESS)
}
