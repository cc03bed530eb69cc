//! `pulse table drop`

use chrono::Utc;
use pulse_core::name::TableName;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::table::{Deleted, Lake, Table};
use pulse_scheduler::ledger::RunStore;

use super::missing;
use super::project_jobs::ProjectJobs;
use crate::agree::agree;
use crate::args::Global;
use crate::shape;
use crate::{output, setup};

/// Records of the ledger in which runs are looked for that go on.
const LOOKED_AT: usize = 500;

pub(super) struct Wanted {
    pub(super) names: Vec<TableName>,
    pub(super) quarantine: bool,
    pub(super) yes: bool,
}

/// Nothing goes before all of it was agreed to.
pub(super) async fn drop_tables(global: &Global, settings: &Settings, lake: &Lake, wanted: &Wanted) -> Result<()> {
    let mut there = Vec::new();
    for name in &wanted.names {
        let before = there.len();
        let quarantine = lake.table(&name.quarantine())?;
        let has_quarantine = quarantine.exists().await?;
        let goes_too = Some(quarantine).filter(|_| wanted.quarantine && has_quarantine);
        for table in [lake.table(name)?].into_iter().chain(goes_too) {
            if describe(&table).await? {
                there.push((name, table));
            }
        }
        if there.len() == before {
            return Err(missing(name, lake).await);
        }
        refuse_running(lake, settings, &[name], "drop it").await?;
        consequences(global, name, has_quarantine && !wanted.quarantine)?;
    }
    if there.len() > 1 {
        eprintln!("{} will be deleted", output::plural(there.len() as u64, "table"));
    }
    agree(wanted.yes)?;
    let options = setup::job_options(settings).commit;
    let mut values = Vec::new();
    for (owner, table) in &there {
        table.mark_dropped(&options, Utc::now()).await?;
        // One that began before the mark may still write files; none can begin after it.
        refuse_running(lake, settings, &[*owner], "its rows are gone already; delete its files").await?;
        let Deleted { files, bytes } = table.delete_dropped().await?;
        forget_entry(settings, table.name()).await;
        let name = table.name();
        eprintln!("{name}: dropped; {} of {} deleted", output::plural(files as u64, "file"), output::size(bytes));
        values.push(shape::Dropped { table: name.to_string(), files: files as u64, bytes });
    }
    output::values(&["table", "files", "bytes"], &values, global.output)
}

/// Says what will go; false when nothing is there.
async fn describe(table: &Table) -> Result<bool> {
    let name = table.name();
    if table.dropped().await?.is_some() {
        eprintln!("{name} was dropped before; the rest of its files will be deleted");
        return Ok(true);
    }
    let Some(snapshot) = table.snapshot(None).await? else { return Ok(false) };
    eprintln!(
        "{name} version {}: {} in {}, {}, and all earlier versions will be deleted, at {}",
        snapshot.version,
        snapshot.rows().map_or_else(|| "an unknown number of rows".to_owned(), |rows| output::plural(rows, "row")),
        output::plural(snapshot.files.len() as u64, "file"),
        output::size(snapshot.bytes()),
        table.url()
    );
    Ok(true)
}

fn consequences(global: &Global, name: &TableName, keeps_quarantine: bool) -> Result<()> {
    if let Some(owner) = name.quarantined() {
        eprintln!("rejected rows are not read again: `pulse run {owner} --rebuild` rejects them again");
        return Ok(());
    }
    if keeps_quarantine {
        eprintln!("its rejected rows stay in {}; --quarantine deletes them too", name.quarantine());
    }
    let Some(jobs) = ProjectJobs::of(global)? else { return Ok(()) };
    if jobs.writes(name) {
        eprintln!("a job of the project writes it: the next run of {name} builds it again, from all of its inputs");
    }
    let readers: Vec<String> = jobs.readers(name).iter().map(ToString::to_string).collect();
    if !readers.is_empty() {
        eprintln!(
            "read by {}: their runs fail while it is missing, and notice when it is another table",
            readers.join(", ")
        );
    }
    Ok(())
}

/// # Errors
/// `Conflict` while a run of one of the jobs is not over.
pub(super) async fn refuse_running(lake: &Lake, settings: &Settings, names: &[&TableName], then: &str) -> Result<()> {
    let ledger = RunStore::new(lake)?;
    let records = ledger.newest(LOOKED_AT, Utc::now(), settings.lease()).await?;
    let writes = |name: &&&TableName, table: &TableName| table == **name || name.quarantined().as_ref() == Some(table);
    let goes_on = |state: pulse_core::run::RunState| !state.is_final() && state != pulse_core::run::RunState::Lost;
    let running =
        records.iter().find(|record| goes_on(record.state) && names.iter().any(|name| writes(&name, &record.table)));
    match running {
        None => Ok(()),
        Some(record) => Err(Error::conflict(format!(
            "run {} writes table {} ({}): wait until it ends, or `pulse runs cancel {}`, then {then}",
            record.run, record.table, record.state, record.trigger
        ))),
    }
}

/// A catalog that cannot be reached is no reason to keep half a table.
pub(super) async fn forget_entry(settings: &Settings, name: &TableName) {
    let removed = async {
        let catalog = setup::catalog(settings)?;
        if catalog.keeps_entries() { catalog.remove(name).await } else { Ok(()) }
    };
    if let Err(error) = removed.await {
        eprintln!("warning: {name} is still in the catalog ({error}); `pulse catalog sync --prune` removes it");
    }
}
