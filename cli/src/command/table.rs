//! `pulse table`

mod care;
mod drop;
mod project_jobs;
mod restore;
mod show;

use std::process::ExitCode;

use chrono::Utc;
use pulse_core::diagnostic::closest;
use pulse_core::graph::is_like;
use pulse_core::name::TableName;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::job::{Outcome, forget as forget_files, forgettable};
use pulse_engine::table::{Lake, Snapshot, Table};

use crate::agree::agree;
use crate::args::{Global, TableAction, Tables};
use crate::runnable::Runnable;
use crate::shape;
use crate::{output, setup};
use project_jobs::ProjectJobs;

pub(crate) async fn table(global: &Global, action: TableAction) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let lake = setup::lake(global, &settings).await?;
    match action {
        TableAction::List => list(global, &lake).await?,
        TableAction::Show { name, files } => show::show(global, &lake, &name, files).await?,
        TableAction::History { name, limit } => history(global, &lake, &name, limit).await?,
        TableAction::Optimize { tables, target_mib } => {
            return care::optimize(global, &settings, &lake, &tables, target_mib).await;
        }
        TableAction::Vacuum { tables, retain, dry_run, force } => {
            let options = care::VacuumOptions { since: care::since(retain, force, &settings)?, dry_run };
            return care::vacuum(global, &lake, &tables, options).await;
        }
        TableAction::Forget { name, files, yes } => forget(global, &settings, &name, &files, yes).await?,
        TableAction::Restore { name, version } => restore::restore(global, &settings, &lake, &name, version).await?,
        TableAction::Rename { old, new } => restore::rename(global, &settings, &lake, &old, &new).await?,
        TableAction::Drop { names, quarantine, yes } => {
            let mut chosen = selected(&lake, &Tables { names: names.clone(), all: false }).await?;
            // Of a pattern, rejected rows go with --quarantine alone.
            chosen.retain(|name| name.quarantined().is_none() || names.contains(&name.to_string()));
            drop::drop_tables(global, &settings, &lake, &drop::Wanted { names: chosen, quarantine, yes }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn missing(name: &TableName, lake: &Lake) -> Error {
    // Where the lake cannot be listed, there is nothing to suggest.
    let known: Vec<String> = lake.tables().await.unwrap_or_default().iter().map(TableName::to_string).collect();
    let help = match closest(&name.to_string(), known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`pulse table list` shows what does".to_owned(),
    };
    Error::invalid(format!("table {name} does not exist in {}; {help}", lake.root()))
}

async fn open(lake: &Lake, name: &str) -> Result<(Table, Snapshot)> {
    let name: TableName = name.parse()?;
    let table = lake.table(&name)?;
    match table.snapshot(None).await? {
        Some(snapshot) => Ok((table, snapshot)),
        None => Err(missing(&name, lake).await),
    }
}

/// The tables that are named; those of a pattern or of all are there, others need not be.
async fn selected(lake: &Lake, tables: &Tables) -> Result<Vec<TableName>> {
    if tables.names.is_empty() && !tables.all {
        return Err(Error::invalid("no table is named: name tables, or take all of them with --all"));
    }
    let is_pattern = |name: &String| name.contains('*');
    let there = match tables.all || tables.names.iter().any(is_pattern) {
        true => lake.tables().await?,
        false => Vec::new(),
    };
    if tables.all {
        return Ok(there);
    }
    let mut chosen = Vec::new();
    for name in &tables.names {
        if !is_pattern(name) {
            chosen.push(name.parse()?);
            continue;
        }
        let before = chosen.len();
        chosen.extend(there.iter().filter(|table| is_like(&table.to_string(), name)).cloned());
        if chosen.len() == before {
            return Err(Error::invalid(format!(
                "no table of {} is like `{name}`: `pulse table list` shows what is there",
                lake.root()
            )));
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

async fn list(global: &Global, lake: &Lake) -> Result<()> {
    let jobs = ProjectJobs::of(global)?;
    let mut values = Vec::new();
    for name in lake.tables().await? {
        let Some(snapshot) = lake.table(&name)?.snapshot(None).await? else {
            eprintln!("{name} was dropped, and files of it are left: `pulse table drop {name}` goes on with it");
            continue;
        };
        values.push(shape::Table {
            table: name.to_string(),
            version: snapshot.version,
            rows: snapshot.rows(),
            files: snapshot.files.len() as u64,
            bytes: snapshot.bytes(),
            job: jobs.as_ref().map(|jobs| jobs.writes(&name)),
        });
    }
    let rows: Vec<Vec<String>> = values
        .iter()
        .map(|table| {
            vec![
                table.table.clone(),
                table.version.to_string(),
                table.rows.map(output::count).unwrap_or_default(),
                table.files.to_string(),
                output::size(table.bytes),
                match table.job {
                    Some(true) => "yes".to_owned(),
                    Some(false) => "none".to_owned(),
                    None => String::new(),
                },
            ]
        })
        .collect();
    let head = ["table", "version", "rows", "files", "size", "job"];
    let keys = ["table", "version", "rows", "files", "bytes", "job"];
    output::listing((&head, &keys), &rows, &values, global.output)?;
    let without = values.iter().filter(|table| table.job == Some(false)).count() as u64;
    match jobs {
        None => eprintln!("there is no project here (--project), so nobody knows which tables have a job"),
        Some(_) if without > 0 => eprintln!("{} without a job of the project", output::plural(without, "table")),
        Some(_) => {}
    }
    Ok(())
}

async fn history(global: &Global, lake: &Lake, name: &str, limit: usize) -> Result<()> {
    let (table, _) = open(lake, name).await?;
    let values: Vec<shape::Commit> = table.history(limit).await?.into_iter().map(shape::Commit::from).collect();
    let at = |commit: &shape::Commit| commit.timestamp.as_deref().map(output::short_stamp).unwrap_or_default();
    let rows: Vec<Vec<String>> = values
        .iter()
        .map(|commit| {
            vec![
                commit.version.to_string(),
                at(commit),
                format!("+{} -{}", commit.files_added, commit.files_removed),
                commit.mode.clone().unwrap_or_default(),
                commit.run_id.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["version", "at (UTC)", "files", "mode", "run"];
    let keys = ["version", "timestamp", "files_added", "files_removed", "mode", "run_id"];
    output::listing((&head, &keys), &rows, &values, global.output)
}

async fn forget(global: &Global, settings: &Settings, name: &str, files: &[String], yes: bool) -> Result<()> {
    let name: TableName = name.parse()?;
    let runnable = Runnable::all_of(global, settings, vec![name.to_string()]).await?;
    let bench = setup::workbench_of(runnable.project(), global, settings).await?;
    let job = bench.project.job(&name)?;
    let found = forgettable(&bench, job, files, Utc::now()).await?;
    found.files.iter().for_each(|file| eprintln!("{file}"));
    let count = found.files.len() as u64;
    let rows = output::plural(found.rows, "row");
    eprintln!("{name}: {rows} of {} will be removed", output::plural(count, "file"));
    agree(yes)?;
    let version = match forget_files(&bench, job, files, Utc::now()).await?.outcome {
        Outcome::Committed { version } => {
            eprintln!("{name} version {version}: {rows} removed");
            Some(version)
        }
        Outcome::Unchanged | Outcome::ExpectationFailed { .. } => {
            eprintln!("{name}: nothing was removed");
            None
        }
    };
    let value = shape::Forgotten { table: name.to_string(), version, files: found.files, rows: found.rows };
    output::values(&["table", "version", "files", "rows"], &[value], global.output)
}
