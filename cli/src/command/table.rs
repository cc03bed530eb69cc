//! `pulse table`

use std::process::ExitCode;

use chrono::DateTime;
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use pulse_engine::table::{Lake, Snapshot, Table};
use serde_json::json;

use crate::args::{Global, Output, TableAction};
use crate::{output, setup};

pub(crate) async fn table(global: &Global, action: TableAction) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let lake = setup::lake(global, &settings)?;
    match action {
        TableAction::List => list(&lake, global.output).await?,
        TableAction::Show { name } => show(&lake, &name, global.output).await?,
        TableAction::History { name, limit } => history(&lake, &name, limit, global.output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(lake: &Lake, name: &str) -> Result<(Table, Snapshot)> {
    let name: TableName = name.parse()?;
    let table = lake.table(&name)?;
    let snapshot = table.snapshot(None).await?.ok_or_else(|| {
        Error::invalid(format!("table {name} does not exist in {}; `pulse table list` shows what does", lake.root()))
    })?;
    Ok((table, snapshot))
}

async fn list(lake: &Lake, output: Output) -> Result<()> {
    let mut rows = Vec::new();
    for name in lake.tables().await? {
        let Some(snapshot) = lake.table(&name)?.snapshot(None).await? else { continue };
        rows.push(vec![
            name.to_string(),
            snapshot.version.to_string(),
            snapshot.rows().map(output::count).unwrap_or_default(),
            snapshot.files.len().to_string(),
            output::size(snapshot.bytes()),
        ]);
    }
    let values: Vec<_> = rows
        .iter()
        .map(|row| json!({"table": row[0], "version": row[1], "rows": row[2], "files": row[3], "size": row[4]}))
        .collect();
    output::table(&["table", "version", "rows", "files", "size"], &rows, &values, output)
}

async fn show(lake: &Lake, name: &str, output: Output) -> Result<()> {
    let (table, snapshot) = open(lake, name).await?;
    let rows: Vec<Vec<String>> = snapshot
        .schema
        .fields()
        .iter()
        .map(|field| vec![field.name().clone(), field.data_type().to_string()])
        .collect();
    let values: Vec<_> = rows.iter().map(|row| json!({"column": row[0], "type": row[1]})).collect();
    output::table(&["column", "type"], &rows, &values, output)?;
    eprintln!(
        "{} version {}: {} rows in {} files, {}; at {}",
        table.name(),
        snapshot.version,
        snapshot.rows().map_or_else(|| "unknown".to_owned(), output::count),
        snapshot.files.len(),
        output::size(snapshot.bytes()),
        table.url()
    );
    Ok(())
}

async fn history(lake: &Lake, name: &str, limit: usize, output: Output) -> Result<()> {
    let (table, _) = open(lake, name).await?;
    let entries = table.history(limit).await?;
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let at = entry.timestamp.and_then(DateTime::from_timestamp_millis);
            let mode = entry.details.get("pulse.mode").and_then(|mode| mode.as_str()).unwrap_or_default();
            vec![
                entry.version.to_string(),
                at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default(),
                format!("+{} -{}", entry.files_added, entry.files_removed),
                mode.to_owned(),
                entry.run_id.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["version", "at (UTC)", "files", "mode", "run"], &rows, &entries, output)
}
