//! `pulse table restore` and `pulse table rename`

use chrono::Utc;
use pulse_core::Result;
use pulse_core::name::TableName;
use pulse_core::settings::Settings;
use pulse_engine::catalog::describe;
use pulse_engine::job::restore as restore_table;
use pulse_engine::table::Lake;

use super::drop::{forget_entry, refuse_running};
use super::project_jobs::ProjectJobs;
use crate::args::Global;
use crate::shape;
use crate::{output, setup};

pub(super) async fn restore(global: &Global, settings: &Settings, lake: &Lake, name: &str, version: u64) -> Result<()> {
    let name: TableName = name.parse()?;
    let options = setup::job_options(settings).commit;
    let done = restore_table(lake, &options, &name, version, Utc::now()).await?;
    done.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    match done.version {
        None => eprintln!("{name} is what it was at version {version}; nothing was committed"),
        Some(now) => {
            let rows = done.rows.map_or_else(|| "unknown".to_owned(), output::count);
            eprintln!(
                "{name} version {now} is what it was at version {version}: +{} -{} files, {rows} rows",
                done.files_added, done.files_removed
            );
            register(settings, lake, &name).await;
            if ProjectJobs::of(global)?.is_some_and(|jobs| jobs.writes(&name)) {
                eprintln!(
                    "its job goes on from there: the next run computes again what has come since, so mend the job or its inputs first"
                );
            }
        }
    }
    let value = shape::Restored {
        table: name.to_string(),
        restored: version,
        version: done.version,
        files_added: done.files_added as u64,
        files_removed: done.files_removed as u64,
        rows: done.rows,
    };
    let keys = ["table", "restored", "version", "files_added", "files_removed", "rows"];
    output::values(&keys, &[value], global.output)
}

pub(super) async fn rename(global: &Global, settings: &Settings, lake: &Lake, old: &str, new: &str) -> Result<()> {
    let (old, new): (TableName, TableName) = (old.parse()?, new.parse()?);
    refuse_running(lake, settings, &[&old, &new], "rename it").await?;
    let done = lake.rename(&old, &new).await?;
    let mut moved = vec![(old.clone(), new.clone())];
    if done.quarantine {
        moved.push((old.quarantine(), new.quarantine()));
    }
    for (old, new) in &moved {
        forget_entry(settings, old).await;
        register(settings, lake, new).await;
        eprintln!("{old} is {new} now");
    }
    if let Some(jobs) = ProjectJobs::of(global)? {
        if jobs.writes(&old) {
            eprintln!(
                "the project has the job {old}: rename its folder to {}, or its next run builds {old} again",
                new.path()
            );
        }
        let readers: Vec<String> = jobs.readers(&old).iter().map(ToString::to_string).collect();
        if !readers.is_empty() {
            eprintln!("read by {}: write the new name in their queries", readers.join(", "));
        }
    }
    let value = shape::Renamed { old: old.to_string(), new: new.to_string(), quarantine: done.quarantine };
    output::values(&["old", "new", "quarantine"], &[value], global.output)
}

async fn register(settings: &Settings, lake: &Lake, name: &TableName) {
    let registered = async {
        let catalog = setup::catalog(settings)?;
        match describe(&lake.table(name)?).await? {
            Some(table) if catalog.keeps_entries() => catalog.register(&table).await.map(|_| ()),
            Some(_) | None => Ok(()),
        }
    };
    if let Err(error) = registered.await {
        eprintln!("warning: {name} is not registered in the catalog ({error}); `pulse catalog sync` registers it");
    }
}
