//! `pulse docs`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use futures::StreamExt as _;
use pulse_core::name::TableName;
use pulse_core::project::Project;
use pulse_core::run::RunRecord;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::job::{Inferred, infer_each};
use pulse_engine::table::Lake;
use pulse_scheduler::ledger::RunStore;

use crate::args::Global;
use crate::graph::Lineage;
use crate::home::home;
use crate::site::{LakeState, SOURCES, Site, TABLES, TableState};
use crate::{output, setup};

/// Runs of the ledger that are looked at, of all jobs together.
const RUNS: usize = 300;
/// Logs of tables that are read at once.
const LOGS: usize = 8;
/// Names the pages of a folder, so that a later call removes those of jobs that are gone, and nothing else.
const LIST: &str = ".pulse-docs";

#[derive(Debug, Clone, Args)]
pub(crate) struct DocsOptions {
    /// Folder to write to. It must be empty, missing, or one that this command wrote.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Leave out what the lake knows: versions, sizes and runs.
    #[arg(long)]
    pub(crate) no_lake: bool,
}

/// Reads the project, logs of tables and the run ledger, and no data.
pub(crate) async fn docs(global: &Global, options: &DocsOptions) -> Result<ExitCode> {
    // Before anything is read.
    let earlier = earlier_pages(&options.out)?;
    let settings = setup::settings(global)?;
    let project = setup::readable(global)?.readable();
    let stores = setup::stores(&settings);
    let external = setup::external(&project, &stores).await?;
    let inferred = infer_each(&setup::state(&settings, &stores)?, &project, &external).await?;
    warn(&inferred);
    let (lake, runs) = lake(global, &settings, &project, options.no_lake).await?;
    let mut schemas = inferred.schemas;
    schemas.extend(external.into_iter().filter_map(|(name, schema)| Some((name, schema.ok()?))));
    let lineage = Lineage::of(&project);
    let site = Site { project, lineage, schemas, lake, runs, written: Utc::now() };
    let pages = site.pages();
    write(&options.out, &pages, &earlier)?;
    eprintln!(
        "{} written; open {}",
        output::plural(pages.len() as u64, "page"),
        options.out.join("index.html").display()
    );
    Ok(ExitCode::SUCCESS)
}

/// A page without columns is still of use.
fn warn(inferred: &Inferred) {
    for (name, mistake) in &inferred.mistakes {
        eprintln!("warning: the page of {name} shows no columns: {mistake}");
    }
    for (name, table) in inferred.blocked.iter().chain(&inferred.unknown) {
        eprintln!("warning: the page of {name} shows no columns: those of {table} are not known");
    }
}

type Runs = BTreeMap<TableName, Vec<RunRecord>>;

async fn lake(global: &Global, settings: &Settings, project: &Project, leave_out: bool) -> Result<(LakeState, Runs)> {
    let root = &home(global)?.lake;
    let absent = |why: String| Ok((LakeState::Absent(why), Runs::new()));
    if leave_out {
        return absent("Sizes and runs were left out.".to_owned());
    }
    if setup::lake_root(global)?.to_file_path().is_ok_and(|folder| !folder.exists()) {
        return absent(format!("There is no lake at {root} yet, so that neither sizes nor runs are shown."));
    }
    let lake = setup::lake(global, settings).await?;
    let names: Vec<TableName> = project.jobs.keys().cloned().collect();
    let states = futures::stream::iter(names).map(|name| {
        let lake = &lake;
        async move {
            let state = table(lake, &name).await;
            (name, state)
        }
    });
    let mut tables = BTreeMap::new();
    let mut states = states.buffered(LOGS);
    while let Some((name, state)) = states.next().await {
        match state {
            Ok(Some(state)) => drop(tables.insert(name, state)),
            Ok(None) => {}
            Err(error) => {
                eprintln!("warning: the log of {name} cannot be read: {error}");
                tables.insert(name, TableState::Unreadable(error.to_string()));
            }
        }
    }
    let mut runs = Runs::new();
    for record in RunStore::new(&lake)?.newest(RUNS, Utc::now(), settings.lease()).await? {
        runs.entry(record.job.clone()).or_default().push(record);
    }
    Ok((LakeState::Present { root: root.clone(), tables }, runs))
}

/// None when the lake does not have it.
async fn table(lake: &Lake, name: &TableName) -> Result<Option<TableState>> {
    let table = lake.table(name)?;
    let Some(snapshot) = table.snapshot(None).await? else { return Ok(None) };
    let newest = table.history(1).await?;
    let at = newest.first().and_then(|commit| commit.timestamp).and_then(DateTime::from_timestamp_millis);
    Ok(Some(TableState::Known {
        version: snapshot.version,
        rows: snapshot.rows(),
        bytes: snapshot.bytes(),
        files: snapshot.files.len(),
        at,
    }))
}

/// Pages that an earlier call wrote to the folder.
///
/// # Errors
/// `Invalid` for a folder with files of others.
fn earlier_pages(folder: &Path) -> Result<BTreeSet<String>> {
    let unreadable = |e: std::io::Error| Error::invalid(format!("--out {}: {e}", folder.display()));
    if !folder.exists() {
        return Ok(BTreeSet::new());
    }
    let mut entries = std::fs::read_dir(folder).map_err(unreadable)?;
    match std::fs::read_to_string(folder.join(LIST)) {
        Ok(list) => Ok(list.lines().filter(|page| is_page(page)).map(str::to_owned).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && entries.next().is_none() => Ok(BTreeSet::new()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::invalid(format!(
            "--out {}: the folder holds other files; name an empty one, or one that `pulse docs` wrote",
            folder.display()
        ))),
        Err(e) => Err(unreadable(e)),
    }
}

/// Whether a line of the list can be one that we wrote: nothing else is removed, whatever stands in the list.
fn is_page(path: &str) -> bool {
    let name = match path.split_once('/') {
        None => return path == "index.html",
        Some((folder, name)) if folder == TABLES || folder == SOURCES => name,
        Some(_) => return false,
    };
    name.strip_suffix(".html").is_some_and(|name| name.parse::<TableName>().is_ok())
}

/// The list comes first, so that a call that was cut off leaves nothing that the next one does not know.
fn write(folder: &Path, pages: &BTreeMap<String, String>, earlier: &BTreeSet<String>) -> Result<()> {
    let put = |path: &str, text: &str| {
        let path = folder.join(path);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        written.map_err(|e| Error::unavailable(format!("write {}", path.display())).with_source(e))
    };
    let list = |names: &BTreeSet<&String>| names.iter().map(|name| format!("{name}\n")).collect::<String>();
    put(LIST, &list(&pages.keys().chain(earlier).collect()))?;
    for (path, text) in pages {
        put(path, text)?;
    }
    for gone in earlier.iter().filter(|page| !pages.contains_key(*page)) {
        match std::fs::remove_file(folder.join(gone)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::unavailable(format!("remove {}", folder.join(gone).display())).with_source(e));
            }
            Ok(()) | Err(_) => {}
        }
    }
    put(LIST, &list(&pages.keys().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|name| ((*name).to_owned(), format!("page {name}"))).collect()
    }

    #[test]
    fn pages_of_jobs_that_are_gone_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("site");
        assert_eq!(earlier_pages(&out).unwrap(), BTreeSet::new());
        write(&out, &pages(&["index.html", "tables/a.b.html", "tables/a.c.html"]), &BTreeSet::new()).unwrap();
        std::fs::write(out.join("CNAME"), "docs").unwrap();
        let earlier = earlier_pages(&out).unwrap();
        assert_eq!(earlier.len(), 3);
        write(&out, &pages(&["index.html", "tables/a.c.html"]), &earlier).unwrap();
        assert!(!out.join("tables/a.b.html").exists());
        assert!(out.join("CNAME").exists() && out.join("tables/a.c.html").exists());
        assert_eq!(std::fs::read_to_string(out.join(LIST)).unwrap(), "index.html\ntables/a.c.html\n");
    }

    #[test]
    fn a_folder_with_other_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.html"), "mine").unwrap();
        let error = earlier_pages(folder.path()).unwrap_err().to_string();
        assert!(error.contains("the folder holds other files"), "{error}");
        let file = folder.path().join("index.html");
        assert!(earlier_pages(&file).is_err());
    }

    #[test]
    fn a_list_names_no_file_that_is_no_page() {
        for page in ["index.html", "tables/gold.daily.html", "sources/raw.a_1.html"] {
            assert!(is_page(page), "{page}");
        }
        for other in
            ["../x.html", "tables/../../a.b.html", "/etc/a.b.html", "tables/a.b", "tables/..html", "a/b/c.d.html", ""]
        {
            assert!(!is_page(other), "{other}");
        }
    }
}
