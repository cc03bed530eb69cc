//! `pulse catalog`

use std::process::ExitCode;

use pulse_core::{Error, Result};
use pulse_engine::catalog::{Catalog, Finding, Gone, findings, mend};
use pulse_engine::table::Lake;
use serde::Serialize;

use crate::args::{CatalogAction, Global, Output};
use crate::{output, setup, shape};

/// Where entries may be left over although the lake has no table of the layer any more.
const LAYERS: [&str; 3] = ["bronze", "silver", "gold"];

pub(crate) async fn catalog(global: &Global, action: CatalogAction) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let lake = setup::lake(global, &settings).await?;
    let catalog = setup::catalog(&settings)?;
    if !catalog.keeps_entries() {
        return Err(Error::invalid(
            "the lake is its own catalog (`catalog = \"local\"`): set `catalog = \"glue\"` to compare or register its tables",
        ));
    }
    match action {
        CatalogAction::Check => check(catalog.as_ref(), &lake, global.output).await,
        CatalogAction::Sync { prune } => {
            let gone = if prune { Gone::Remove } else { Gone::Keep };
            sync(catalog.as_ref(), &lake, gone, global.output).await
        }
    }
}

async fn check(catalog: &dyn Catalog, lake: &Lake, output: Output) -> Result<ExitCode> {
    let findings = findings(catalog, lake, &LAYERS).await?;
    let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.misleads()).collect();
    let behind =
        findings.iter().filter(|finding| matches!(finding, Finding::Different { .. }) && !finding.misleads()).count();
    let rows: Vec<Vec<String>> =
        wrong.iter().map(|finding| vec![finding.name().to_string(), finding.to_string()]).collect();
    let value = |row: &Vec<String>| shape::CatalogDifference { table: row[0].clone(), difference: row[1].clone() };
    print(&["table", "difference"], &rows, value, output)?;
    if behind > 0 {
        eprintln!("{behind} entries tell an earlier version than the table's; readers do not go by it");
    }
    eprintln!("{} tables and entries, {} differ", findings.len(), wrong.len());
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("`pulse catalog sync` registers tables, with --prune it also removes entries whose table is gone");
    Ok(ExitCode::FAILURE)
}

/// One table that is refused keeps no other from being registered.
async fn sync(catalog: &dyn Catalog, lake: &Lake, gone: Gone, output: Output) -> Result<ExitCode> {
    let findings = findings(catalog, lake, &LAYERS).await?;
    let mut rows = Vec::new();
    let mut refused = 0;
    for finding in &findings {
        match mend(catalog, finding, gone).await {
            Ok(Some(done)) => rows.push(vec![finding.name().to_string(), done.to_owned()]),
            Ok(None) if matches!(finding, Finding::Gone { .. }) => {
                rows.push(vec![finding.name().to_string(), format!("{finding}; --prune removes it")]);
            }
            Ok(None) => {}
            Err(error) => {
                refused += 1;
                output::error(&error);
            }
        }
    }
    let value = |row: &Vec<String>| shape::CatalogChange { table: row[0].clone(), done: row[1].clone() };
    print(&["table", "done"], &rows, value, output)?;
    eprintln!("{} tables and entries, {} changed or left over, {refused} refused", findings.len(), rows.len());
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print<T: Serialize>(
    head: &[&str],
    rows: &[Vec<String>],
    value: impl Fn(&Vec<String>) -> T,
    output: Output,
) -> Result<()> {
    if rows.is_empty() && output == Output::Table {
        return Ok(());
    }
    let values: Vec<T> = rows.iter().map(value).collect();
    output::table(head, rows, &values, output)
}
