//! `pulse table optimize` and `pulse table vacuum`

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::name::TableName;
use pulse_core::project::{Project, ProjectFiles};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::job::{Workbench, optimize as optimize_table, unneeded};
use pulse_engine::table::{Lake, Unneeded};

use super::{missing, selected};
use crate::args::{Global, Output, Tables, WEEK_HOURS};
use crate::home::home;
use crate::shape;
use crate::{output, setup};

/// MiB of a file where neither the option nor a manifest says it; a manifest's `target_file_mib` when it says nothing.
const TARGET_MIB: u32 = 128;

/// Errors of some tables, in the order of the tables: one keeps no other from being looked after.
#[derive(Default)]
struct Refused(Vec<Error>);

impl Refused {
    fn take<T>(&mut self, done: Result<T>) -> Option<T> {
        done.map_err(|error| {
            output::error(&error);
            self.0.push(error);
        })
        .ok()
    }

    fn exit_code(&self) -> ExitCode {
        self.0.first().map_or(ExitCode::SUCCESS, |error| ExitCode::from(output::exit_code(error)))
    }

    /// ``, or `, 2 refused`.
    fn words(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!(", {} refused", self.0.len()) }
    }
}

pub(super) async fn optimize(
    global: &Global,
    settings: &Settings,
    lake: &Lake,
    tables: &Tables,
    target_mib: Option<u32>,
) -> Result<ExitCode> {
    let mut names = selected(lake, tables).await?;
    // Of a selection, those that can be.
    if tables.all || tables.names.iter().any(|name| name.contains('*')) {
        names.retain(|name| name.quarantined().is_none() || tables.names.contains(&name.to_string()));
    }
    // A lake can be looked after where its project is not: only the size of files would come from it.
    let project = match home(global)?.has_project() {
        true => setup::readable(global)?.readable(),
        false => Project::parse(&ProjectFiles::from([("project.toml".to_owned(), "name = \"none\"\n".to_owned())]))?,
    };
    let bench: Workbench = setup::workbench_of(project, global, settings).await?;
    let mut refused = Refused::default();
    let mut values = Vec::new();
    for name in &names {
        let job = bench.project.jobs.get(name);
        let mib = target_mib.or(job.map(|job| job.manifest.target_file_mib)).unwrap_or(TARGET_MIB);
        let done = optimize_table(&bench, name, u64::from(mib) << 20, Utc::now()).await;
        let Some(done) = refused.take(done) else { continue };
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
        values.push(shape::Optimized {
            table: name.to_string(),
            version: done.version,
            files_removed: done.files_removed as u64,
            bytes_removed: done.bytes_removed,
            files_added: done.files_added as u64,
            bytes_added: done.bytes_added,
        });
    }
    if names.len() > 1 {
        let optimized = values.iter().filter(|done| done.version.is_some()).count();
        let all = output::plural(names.len() as u64, "table");
        eprintln!("{all}: {optimized} optimized, {} as they were{}", values.len() - optimized, refused.words());
    }
    let keys = ["table", "version", "files_removed", "bytes_removed", "files_added", "bytes_added"];
    output::values(&keys, &values, global.output)?;
    Ok(refused.exit_code())
}

/// The oldest moment whose version must stay readable.
pub(super) fn since(retain: u32, force: bool, settings: &Settings) -> Result<DateTime<Utc>> {
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

#[derive(Clone, Copy)]
pub(super) struct VacuumOptions {
    pub(super) since: DateTime<Utc>,
    pub(super) dry_run: bool,
}

pub(super) async fn vacuum(global: &Global, lake: &Lake, tables: &Tables, options: VacuumOptions) -> Result<ExitCode> {
    let names = selected(lake, tables).await?;
    let what = if options.dry_run { "would be deleted" } else { "deleted" };
    let line = |name: &str, files: usize, bytes| {
        eprintln!("{name}: {}, {} {what}", output::plural(files as u64, "file"), output::size(bytes));
    };
    let mut refused = Refused::default();
    let mut all: Vec<(String, Unneeded)> = Vec::new();
    for name in &names {
        let Some(files) = refused.take(vacuum_one(lake, name, options).await) else { continue };
        line(&name.to_string(), files.len(), files.iter().map(|file| file.bytes).sum());
        all.extend(files.into_iter().map(|file| (name.to_string(), file)));
    }
    if names.len() > 1 {
        let tables = output::plural(names.len() as u64, "table");
        line(&format!("{tables}{}", refused.words()), all.len(), all.iter().map(|(_, file)| file.bytes).sum());
    }
    list(&all, global.output)?;
    Ok(refused.exit_code())
}

async fn vacuum_one(lake: &Lake, name: &TableName, options: VacuumOptions) -> Result<Vec<Unneeded>> {
    let table = lake.table(name)?;
    if table.snapshot(None).await?.is_none() {
        return Err(missing(name, lake).await);
    }
    let files = unneeded(lake, &table, options.since).await?;
    if !options.dry_run {
        table.delete(&files).await?;
    }
    Ok(files)
}

/// Files of all tables in one listing. For people nothing is printed where there are none.
fn list(files: &[(String, Unneeded)], output: Output) -> Result<()> {
    if files.is_empty() && output == Output::Table {
        return Ok(());
    }
    let value = |(table, file): &(String, Unneeded)| shape::UnneededFile {
        table: table.clone(),
        path: file.path.clone(),
        bytes: file.bytes,
        modified: shape::stamp(file.modified),
    };
    let cells = |(table, file): &(String, Unneeded)| {
        let at = file.modified.format("%Y-%m-%d %H:%M:%S").to_string();
        vec![table.clone(), file.path.clone(), output::size(file.bytes), at]
    };
    let values: Vec<_> = files.iter().map(value).collect();
    let rows: Vec<_> = files.iter().map(cells).collect();
    let keys = ["table", "path", "bytes", "modified"];
    output::listing((&["table", "file", "size", "written (UTC)"], &keys), &rows, &values, output)
}
