//! From options to a workbench: the composition of everything.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::interval::Interval;
use pulse_core::name::TableName;
use pulse_core::project::{Parsed, Project};
use pulse_core::settings::{Settings, SettingsLayers};
use pulse_core::{Error, Result};
use pulse_engine::catalog::{Catalog, LocalCatalog};
use pulse_engine::execute::InProcess;
use pulse_engine::job::{ExternalSchemas, JobOptions, Workbench, empty_sources, external_schemas};
use pulse_engine::landing::Databases;
use pulse_engine::machine;
use pulse_engine::session::{RuntimeOptions, runtime, session_config, session_state};
use pulse_engine::source::file::ReadOptions;
use pulse_engine::store::{StoreOptions, Stores, folder_url};
use pulse_engine::table::{CommitOptions, Lake};
use pulse_scheduler::api::Token;
use url::Url;

use crate::args::{Global, Selection};
use crate::aws;
use crate::home::{folder_of, home};

/// Settings of a person or a machine, beside those of a project.
const CONFIG: &str = "pulse.toml";

/// Config file, project, profile, environment, command line.
pub(crate) fn settings(global: &Global) -> Result<Settings> {
    let environment: BTreeMap<String, String> = std::env::vars().filter(|(key, _)| key.starts_with("PULSE_")).collect();
    let command_line = pairs(&global.settings, "--set")?;
    let config = config_file(global)?;
    Settings::parse(&SettingsLayers {
        config: config.as_ref().map(|(path, text)| (path.as_str(), text.as_str())),
        tables: &home(global)?.settings(),
        other_keys: &[],
        environment: Some(&environment),
        command_line: Some(&command_line),
    })
}

fn config_file(global: &Global) -> Result<Option<(String, String)>> {
    let (path, required) = match &global.config {
        Some(path) => (path.clone(), true),
        None => match nearest(&folder_of(global)?, &here()?)? {
            Some(path) => (path, true),
            None => return Ok(None),
        },
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path.display().to_string(), text))),
        Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::invalid(format!("config file {}: {error}", path.display()))),
    }
}

/// The `pulse.toml` at or above the project's folder, or else at or above the current one. Further up than these folders, only files of
/// this account and of root count: others could put one there, and it names secrets and folders.
///
/// # Errors
/// `Unavailable` where the own account is not known.
fn nearest(project: &Path, here: &Path) -> Result<Option<PathBuf>> {
    let own = std::fs::metadata("/proc/self")
        .map_err(|e| Error::unavailable("the own account is unknown").with_source(e))?
        .uid();
    let project = here.join(project);
    for start in [project.as_path(), here] {
        // Without `..`, behind which the folders above would be others.
        let Ok(start) = start.canonicalize() else { continue };
        for folder in start.ancestors() {
            let file = folder.join(CONFIG);
            let is_near = folder == start || folder == here;
            let is_trusted = |about: &std::fs::Metadata| is_near || [0, own].contains(&about.uid());
            match std::fs::symlink_metadata(&file) {
                Ok(about) if is_trusted(&about) => {
                    return Ok(Some(file.strip_prefix(here).map(Path::to_owned).unwrap_or(file)));
                }
                Ok(_) => eprintln!(
                    "warning: {} is not read, as it belongs to another account: name it with --config, or move it",
                    file.display()
                ),
                Err(_) => {}
            }
        }
    }
    Ok(None)
}

pub(crate) fn pairs(texts: &[String], option: &str) -> Result<BTreeMap<String, String>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Error::invalid(format!("{option} {text}: write NAME=VALUE"))),
        })
        .collect()
}

pub(crate) fn stores(settings: &Settings) -> Arc<Stores> {
    let stores = Stores::new(StoreOptions {
        retries: usize::try_from(settings.store_retries).unwrap_or(usize::MAX),
        timeout: settings.store_timeout(),
    });
    Arc::new(match aws::foreign_tables() {
        Some(catalog) => stores.with_catalog(catalog),
        None => stores,
    })
}

pub(crate) async fn lake(global: &Global, settings: &Settings) -> Result<Lake> {
    Lake::open(lake_root(global)?, stores(settings)).await
}

pub(crate) fn lake_root(global: &Global) -> Result<Url> {
    let root = folder_url(&home(global)?.lake, &here()?)?;
    // Without the last slash, behind which no file can be.
    match root.to_file_path().map(|path| path.components().collect::<PathBuf>()) {
        Ok(path) if path.is_file() => Err(Error::invalid(format!("lake {} is a file: name a folder", path.display()))),
        Ok(_) | Err(()) => Ok(root),
    }
}

pub(crate) fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::unavailable("there is no current folder").with_source(e))
}

/// As far as its files are in order, for what needs no job: each mistake in them is a warning.
pub(crate) fn readable(global: &Global) -> Result<Parsed> {
    let parsed = home(global)?.parsed()?;
    let mut told: Vec<String> = Vec::new();
    let of_jobs = parsed.mistakes.values();
    for mistake in parsed.sources.iter().chain(&parsed.strays).chain(of_jobs).flat_map(Error::diagnostics) {
        let text = mistake.to_string();
        if !told.contains(&text) {
            eprintln!("warning: {text}");
            told.push(text);
        }
    }
    Ok(parsed)
}

pub(crate) fn slots(settings: &Settings) -> usize {
    match usize::try_from(settings.slots).unwrap_or(usize::MAX) {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        slots => slots,
    }
}

/// A session for queries in this process.
pub(crate) fn state(settings: &Settings, stores: &Arc<Stores>) -> Result<SessionState> {
    Ok(state_in(settings, runtime(&runtime_options(settings), stores)?))
}

/// A session that shares its memory and its folder for spilled rows with others.
pub(crate) fn state_in(settings: &Settings, runtime: Arc<RuntimeEnv>) -> SessionState {
    // Twice the slots: a little slack between partitions that end at different times.
    session_state(session_config(SessionConfig::new(), slots(settings) * 2, batch_rows(settings)), runtime)
}

pub(crate) fn runtime_options(settings: &Settings) -> RuntimeOptions {
    RuntimeOptions {
        memory_bytes: memory_bytes(settings),
        spill_dir: Some(&settings.spill_dir).filter(|folder| !folder.is_empty()).map(PathBuf::from),
        spill_limit_bytes: settings.spill_limit_mib << 20,
    }
}

/// Tasks at once on an executor.
pub(crate) fn vcores(settings: &Settings) -> usize {
    match usize::try_from(settings.vcores).unwrap_or(usize::MAX) {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        vcores => vcores,
    }
}

fn batch_rows(settings: &Settings) -> usize {
    usize::try_from(settings.batch_rows).unwrap_or(usize::MAX)
}

/// The setting, or 60 % of the memory of the machine or of the process's control group.
pub(crate) fn memory_bytes(settings: &Settings) -> usize {
    let bytes = match settings.memory_mib {
        0 => machine::memory_bytes() / 10 * 6,
        mib => mib << 20,
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Columns of the tables that others write, where the variables say where they lie.
pub(crate) async fn external(project: &Project, stores: &Stores) -> Result<ExternalSchemas> {
    let jobs: Vec<TableName> = project.jobs.keys().cloned().collect();
    external_schemas(stores, project, &jobs).await
}

/// What is missing or empty of what jobs read from outside, where the variables say where it lies.
pub(crate) async fn empty(project: &Project, stores: &Stores) -> Result<Vec<String>> {
    let jobs: Vec<TableName> = project.jobs.keys().cloned().collect();
    empty_sources(stores, project, &jobs).await
}

/// Everything that runs in this process share.
pub(crate) async fn workbench_of(project: Project, global: &Global, settings: &Settings) -> Result<Workbench> {
    let lake = lake(global, settings).await?;
    Ok(Workbench {
        project: Arc::new(project),
        state: state(settings, lake.stores())?,
        lake,
        execute: Arc::new(InProcess { slots: slots(settings) }),
        options: job_options(settings),
        catalog: catalog(settings)?,
        databases: databases(),
    })
}

/// The token that `api_token_source` leads to.
pub(crate) async fn api_token(settings: &Settings) -> Result<Option<Token>> {
    match settings.api_token_source.as_str() {
        "" => Ok(None),
        place => Token::new(&secret("the API's token", "api_token_source", place).await?).map(Some),
    }
}

/// The text that a place leads to: `env:NAME`, `file:/path` or `ssm:/path`.
///
/// # Errors
/// `Invalid` when there is none, and those of the Parameter Store. A secret that stands in place of its place is not shown.
pub(crate) async fn secret(what: &str, key: &str, place: &str) -> Result<String> {
    let unreadable = |why: &str| Error::invalid(format!("{what}: {why} (`{key}`)"));
    match place.split_once(':') {
        Some(("env", name)) => {
            std::env::var(name).map_err(|e| unreadable(&format!("variable {}: {e}", name_only(name))))
        }
        Some(("file", path)) => std::fs::read_to_string(path).map_err(|e| unreadable(&format!("file {path}: {e}"))),
        Some(("ssm", name)) => aws::parameter(name).await,
        _ => Err(unreadable("write where it is, env:NAME, file:/path or ssm:/path, and not the secret itself")),
    }
}

/// Whether the API asks callers for certificates instead of a token.
pub(crate) fn asks_for_certificates(settings: &Settings) -> bool {
    settings.api_clients == "certificate"
}

/// A name of a variable; what cannot be one is not shown.
fn name_only(name: &str) -> &str {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if is_name { name } else { "that is named there" }
}

/// Does not connect before the first request.
pub(crate) fn catalog(settings: &Settings) -> Result<Arc<dyn Catalog>> {
    match settings.catalog.as_str() {
        "glue" => aws::glue_catalog(settings),
        _ => Ok(Arc::new(LocalCatalog)),
    }
}

/// Does not connect before the first request.
#[cfg(feature = "postgres")]
pub(crate) fn databases() -> Databases {
    Databases::new(Arc::new(pulse_postgres::Postgres))
}

#[cfg(not(feature = "postgres"))]
pub(crate) fn databases() -> Databases {
    Databases::default()
}

pub(crate) fn job_options(settings: &Settings) -> JobOptions {
    let as_size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    JobOptions {
        target_partition_bytes: settings.target_partition_mib << 20,
        read: ReadOptions {
            batch_rows: as_size(settings.batch_rows),
            max_line_bytes: as_size(settings.max_line_bytes),
            max_raw_bytes: as_size(settings.raw_text_bytes),
            max_object_bytes: as_size(settings.max_object_mib << 20),
            notes: false,
        },
        commit: CommitOptions {
            attempts: u32::try_from(settings.commit_attempts).unwrap_or(u32::MAX),
            backoff: settings.commit_backoff(),
            checkpoint_every: settings.checkpoint_every,
        },
        attempts: 3,
        optimize_files: as_size(settings.optimize_files),
    }
}

/// What to do in a new project.
const NO_JOBS: &str = "the project has no jobs yet: describe files with `pulse source infer FILE >> sources.toml`, and write a job's \
                       `<layer>/<table>/job.toml` and `query.sql` (docs/guide/first-job.md); `pulse init FOLDER --from FILE` writes both for a file";

/// The selected part of all jobs.
pub(crate) fn graph(graph: &Graph, selection: &Selection) -> Result<Graph> {
    match (selection.all, selection.jobs.as_slice()) {
        (true, _) => {
            if graph.order().is_empty() {
                eprintln!("{NO_JOBS}");
            }
            Ok(graph.clone())
        }
        (false, _) if graph.order().is_empty() => Err(Error::invalid(NO_JOBS)),
        (false, []) => Err(Error::invalid(format!(
            "no job is named: name jobs, or run all of them with --all. The project has {}",
            graph.order().iter().map(TableName::to_string).collect::<Vec<_>>().join(", ")
        ))),
        (false, patterns) => graph.select(&graph.matching(patterns)?),
    }
}

pub(crate) fn asked(selection: &Selection) -> Result<Asked> {
    let interval = match (&selection.from, &selection.to) {
        (Some(from), Some(to)) => Some(Interval::parse_bounds(from, to)?),
        _ => None,
    };
    Ok(Asked { interval, missing_only: false, rebuild: selection.rebuild, allow_loss: selection.allow_loss })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_config_file_of_the_project_counts_then_that_of_the_current_folder() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        let [project, here] = ["repository/jobs", "elsewhere/below"].map(|path| top.join(path));
        for folder in [&project, &here] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let found = || nearest(&project, &here).unwrap();
        let put = |path: &str| std::fs::write(top.join(path), "").unwrap();
        assert_eq!(found(), None);
        put("elsewhere/pulse.toml");
        assert_eq!(found(), Some(top.join("elsewhere/pulse.toml")));
        put("elsewhere/below/pulse.toml");
        assert_eq!(found(), Some("pulse.toml".into()));
        put("repository/pulse.toml");
        assert_eq!(found(), Some(top.join("repository/pulse.toml")));
        assert_eq!(nearest(Path::new("../../repository/jobs"), &here).unwrap(), found());
        put("repository/jobs/pulse.toml");
        assert_eq!(found(), Some(project.join("pulse.toml")));
        assert_eq!(nearest(Path::new("no/such/folder"), &here).unwrap(), Some("pulse.toml".into()));
        // Of another account, which only root can make.
        let foreign = top.join("repository/pulse.toml");
        std::fs::remove_file(project.join("pulse.toml")).unwrap();
        if std::os::unix::fs::lchown(&foreign, Some(65_534), None).is_ok() {
            assert_eq!(found(), Some("pulse.toml".into()));
        }
    }

    #[tokio::test]
    async fn a_token_in_the_wrong_place_is_not_shown() {
        for source in ["CANARY0123456789abcdef", "CANARY0123:456789abcdef", "env:CANARY0123456789", "token:CANARY"] {
            let settings = Settings { api_token_source: source.to_owned(), ..Settings::default() };
            let error = api_token(&settings).await.unwrap_err();
            assert!(!error.render().contains("CANARY"), "{}", error.render());
            assert!(error.message().contains("api_token_source"), "{}", error.message());
        }
    }
}
