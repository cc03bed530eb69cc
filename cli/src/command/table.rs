//! `pulse table`

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::interval::{Interval, parse_stamp};
use pulse_core::interval_set::IntervalSet;
use pulse_core::name::TableName;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::job::{
    Outcome, Workbench, computed_intervals, forget as forget_files, forgettable, optimize as optimize_table, unneeded,
};
use pulse_engine::table::{Lake, Snapshot, Table};
use serde_json::json;

use crate::agree::agree;
use crate::args::{Global, Output, TableAction, WEEK_HOURS};
use crate::home::home;
use crate::{output, setup};

pub(crate) async fn table(global: &Global, action: TableAction) -> Result<ExitCode> {
    let settings = setup::settings(global)?;
    let lake = setup::lake(global, &settings).await?;
    match action {
        TableAction::List => list(&lake, global.output).await?,
        TableAction::Show { name } => show(global, &lake, &name).await?,
        TableAction::History { name, limit } => history(&lake, &name, limit, global.output).await?,
        TableAction::Optimize { name, target_mib } => optimize(global, &settings, &name, target_mib).await?,
        TableAction::Forget { name, files, yes } => forget(global, &settings, &name, &files, yes).await?,
        TableAction::Vacuum { name, retain, dry_run, force } => {
            let since = since(retain, force, &settings)?;
            let (table, _) = open(&lake, &name).await?;
            vacuum(&lake, &table, since, dry_run, global.output).await?;
        }
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

async fn show(global: &Global, lake: &Lake, name: &str) -> Result<()> {
    let (table, snapshot) = open(lake, name).await?;
    let rows: Vec<Vec<String>> = snapshot
        .schema
        .fields()
        .iter()
        .map(|field| vec![field.name().clone(), field.data_type().to_string()])
        .collect();
    let values: Vec<_> = rows.iter().map(|row| json!({"column": row[0], "type": row[1]})).collect();
    output::table(&["column", "type"], &rows, &values, global.output)?;
    eprintln!(
        "{} version {}: {} rows in {} files, {}; at {}",
        table.name(),
        snapshot.version,
        snapshot.rows().map_or_else(|| "unknown".to_owned(), output::count),
        snapshot.files.len(),
        output::size(snapshot.bytes()),
        table.url()
    );
    intervals(global, table.name(), &snapshot)
}

/// Intervals of the job that writes the table, if the project has it.
fn intervals(global: &Global, name: &TableName, snapshot: &Snapshot) -> Result<()> {
    // A lake can be looked after where its project is not, or is not in order.
    let project = setup::project(global).ok();
    let manifest = project.as_ref().and_then(|project| project.jobs.get(name)).map(|job| &job.manifest);
    let start = manifest.and_then(|manifest| manifest.start.as_deref()).map(parse_stamp).transpose()?;
    let computed = computed_intervals(snapshot, start);
    let or_none = |set: &IntervalSet| if set.is_empty() { "none".to_owned() } else { set.to_string() };
    match manifest.and_then(|manifest| manifest.interval).zip(start) {
        Some((unit, start)) => {
            let due = Interval::new(unit.floor(start), unit.floor(Utc::now())).ok();
            let missing = IntervalSet::from(due).without(&computed);
            eprintln!("intervals computed: {}\nintervals missing: {}", or_none(&computed), or_none(&missing));
        }
        None if computed.is_empty() => {}
        None => eprintln!("intervals computed: {}; which are missing, its job tells (--project)", or_none(&computed)),
    }
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

async fn optimize(global: &Global, settings: &Settings, name: &str, target_mib: Option<u32>) -> Result<()> {
    /// As a manifest's `target_file_mib` when it says nothing.
    const TARGET_MIB: u32 = 128;
    let name: TableName = name.parse()?;
    // A lake can be looked after where its project is not: only the size of files would come from it.
    let project = match home(global)?.has_project() {
        true => setup::project(global)?,
        false => Project::parse(&ProjectFiles::from([("project.toml".to_owned(), "name = \"none\"\n".to_owned())]))?,
    };
    let job = project.jobs.get(&name);
    let target_mib = target_mib.or(job.map(|job| job.manifest.target_file_mib)).unwrap_or(TARGET_MIB);
    let bench: Workbench = setup::workbench_of(project, global, settings).await?;
    let done = optimize_table(&bench, &name, u64::from(target_mib) << 20, Utc::now()).await?;
    match done.version {
        Some(version) => eprintln!(
            "{name} version {version}: {} files of {} became {} of {}",
            done.files_removed,
            output::size(done.bytes_removed),
            done.files_added,
            output::size(done.bytes_added)
        ),
        None => eprintln!("{name}: no files can become fewer; nothing was committed"),
    }
    Ok(())
}

async fn forget(global: &Global, settings: &Settings, name: &str, files: &[String], yes: bool) -> Result<()> {
    let name: TableName = name.parse()?;
    let bench = setup::workbench(global, settings).await?;
    let job = bench.project.job(&name)?;
    let found = forgettable(&bench, job, files, Utc::now()).await?;
    found.files.iter().for_each(|file| eprintln!("{file}"));
    eprintln!("{name}: the {} rows of these files will be removed", output::count(found.rows));
    agree(yes)?;
    match forget_files(&bench, job, files, Utc::now()).await?.outcome {
        Outcome::Committed { version } => {
            eprintln!("{name} version {version}: {} rows removed", output::count(found.rows))
        }
        Outcome::Unchanged | Outcome::ExpectationFailed { .. } => eprintln!("{name}: nothing was removed"),
    }
    Ok(())
}

/// The oldest moment whose version must stay readable.
fn since(retain: u32, force: bool, settings: &Settings) -> Result<DateTime<Utc>> {
    if retain < WEEK_HOURS && !force {
        return Err(Error::invalid(format!(
            "--retain {retain}: less than {WEEK_HOURS} hours also takes what jobs may want to compare with; add --force"
        )));
    }
    let hours = TimeDelta::hours(i64::from(retain));
    // As the driver: a limit that follows earlier runs ends there.
    let longest_run = match settings.run_timeout_s {
        0 => settings.shuffle_ttl_s,
        seconds => seconds,
    };
    if hours < TimeDelta::seconds(i64::try_from(longest_run).unwrap_or(i64::MAX)) {
        return Err(Error::invalid(format!(
            "--retain {retain}: a run may take {longest_run} s, and its files must not be deleted before they are \
             committed; retain longer, or set a shorter `run_timeout_s` everywhere"
        )));
    }
    Ok(Utc::now() - hours)
}

async fn vacuum(lake: &Lake, table: &Table, since: DateTime<Utc>, dry_run: bool, output: Output) -> Result<()> {
    let files = unneeded(lake, table, since).await?;
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| {
            vec![file.path.clone(), output::size(file.bytes), file.modified.format("%Y-%m-%d %H:%M:%S").to_string()]
        })
        .collect();
    if !files.is_empty() {
        output::table(&["file", "size", "written (UTC)"], &rows, &files, output)?;
    }
    if !dry_run {
        table.delete(&files).await?;
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    let what = if dry_run { "would be deleted" } else { "deleted" };
    eprintln!("{}: {} files, {} {what}", table.name(), files.len(), output::size(bytes));
    Ok(())
}
