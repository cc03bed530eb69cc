//! A folder of jobs: `project.toml`, `sources.toml` and `<layer>/<table>/{job.toml,query.sql,tests/*.toml}`.

mod alert_checks;
mod declared;
mod draft;
mod environment;
mod folders;
mod functions;
mod job_checks;
mod json_checks;
mod parsed;
mod schedule_checks;
mod source_checks;
mod variable;
mod variables;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::diagnostic::{self, Diagnostic};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::fixture::Fixture;
use crate::interval::Interval;
use crate::manifest::{Expectation, Manifest};
use crate::name::TableName;
use crate::schedule::Schedule;
use crate::sources::{ExternalTable, Sources};
use crate::sql::{EXTERNAL, Query, RAW};
use crate::trigger::RunLimits;

use declared::Declared;
pub use environment::{Environment, Place, Profile, Rendered};
use folders::{Folder, folders, misplaced};
pub(crate) use job_checks::referred_tables;
pub use job_checks::unknown_description;
pub use parsed::Parsed;
use schedule_checks::Known;
pub use variable::{RUN_DATE, Variable, VariableType};
pub use variables::variables_of;
pub use written::Written;

/// Path below the project's folder, with `/`, to the file's text. Files that are not a project's are ignored.
pub type ProjectFiles = BTreeMap<String, String>;

/// What holds for all jobs of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectManifest {
    /// What people call the project.
    pub name: String,
    /// What the tables are for.
    #[serde(default)]
    pub description: String,
    /// Values for jobs that do not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// Folder or URL of the tables; a folder is relative to this one. Without it, the folder `lake` beside this one.
    #[serde(default)]
    pub lake: Option<String>,
    /// Variables of queries, manifests and sources: `$name` stands for a value. `$run_date` is always there: the date in UTC at
    /// which the trigger began, or that of `--var run_date=2026-01-31`.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    /// Groups of expectations that a job takes with `expect_groups = ["name"]`.
    #[serde(default)]
    pub expect_group: BTreeMap<String, Vec<Expectation>>,
    /// Schedules by name (`[schedule.nightly]`): when jobs run by themselves. `pulse run-due` runs what is due.
    #[serde(default)]
    pub schedule: BTreeMap<String, Schedule>,
    /// Alerts by name (`[alert.team]`): where a message goes when a job fails. `pulse run-due` and a scheduler send them.
    #[serde(default)]
    pub alert: BTreeMap<String, Alert>,
    /// Settings, as in pulse.toml; stronger than those there.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub settings: toml::Table,
}

/// Values for jobs that do not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Who answers for a table.
    #[serde(default)]
    pub owner: Option<String>,
    /// Size that data files are cut at, in MiB.
    #[serde(default)]
    pub target_file_mib: Option<u32>,
}

/// A project whose files agree with each other; cycles are found by [`crate::graph::Graph::new`].
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub settings: ProjectManifest,
    pub sources: Sources,
    pub jobs: BTreeMap<TableName, Job>,
}

/// One query and its manifest; it writes the table of its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub name: TableName,
    pub manifest: Manifest,
    pub query: Query,
    /// In the order of their paths.
    pub tests: Vec<Fixture>,
    /// Its folder below the project's, `<layer>/<table>`.
    pub path: String,
    /// Columns that identify a row of each table that it reads, as the grain of that table's job says.
    pub keys_of_inputs: BTreeMap<TableName, Vec<String>>,
    /// Text of `job.toml`, for diagnostics.
    pub(crate) manifest_text: Arc<str>,
}

impl Job {
    pub fn manifest_path(&self) -> String {
        format!("{}/job.toml", self.path)
    }

    pub fn query_path(&self) -> String {
        format!("{}/query.sql", self.path)
    }
}

impl Project {
    /// # Errors
    /// `Invalid` with a diagnostic for each mistake in each file, all of them at once.
    pub fn parse(files: &ProjectFiles) -> Result<Self> {
        let parts = parse_parts(files, &BTreeMap::new())?;
        match parts.sources.is_empty() && parts.strays.is_empty() && parts.mistakes.is_empty() {
            true => Ok(parts.project),
            false => Err(all_of([parts.sources, parts.strays].into_iter().chain(parts.mistakes.into_values()))),
        }
    }

    /// Whether an interval that somebody asks for is of use: to each job that is named, or to one of all jobs when none is.
    ///
    /// # Errors
    /// `Invalid` with the job that has no interval.
    pub fn check_asked(&self, named: &[TableName], asked: Option<Interval>) -> Result<()> {
        if asked.is_none() {
            return Ok(());
        }
        let without = |job: &Job| job.manifest.interval.is_none();
        for name in named {
            let job = self.job(name)?;
            if without(job) {
                return Err(Error::invalid(format!(
                    "an interval is asked for, and job {name} has none: set `interval` in {}, or run the job without --from and --to",
                    job.manifest_path()
                )));
            }
        }
        if named.is_empty() && self.jobs.values().all(without) {
            return Err(Error::invalid(
                "an interval is asked for, and no job has one: run them without --from and --to",
            ));
        }
        Ok(())
    }

    /// The largest share of a job's rows that may be rejected, as the job or the sources that it reads say.
    pub fn max_rejected(&self, job: &Job) -> Option<f64> {
        let of_source = |name| self.sources.files.get(name).and_then(|source| source.max_rejected);
        job.manifest.max_rejected.or_else(|| job.query.files().into_iter().filter_map(of_source).reduce(f64::min))
    }

    /// Limits that jobs set in the place of settings.
    pub fn run_limits(&self, jobs: &[TableName]) -> BTreeMap<TableName, RunLimits> {
        jobs.iter().filter_map(|name| Some((name.clone(), self.jobs.get(name)?.manifest.run_limits()))).collect()
    }

    /// # Errors
    /// `Invalid` with the name that was probably meant.
    pub fn job(&self, name: &TableName) -> Result<&Job> {
        self.jobs.get(name).ok_or_else(|| unknown_job(name, self.jobs.keys()))
    }

    /// The table that others write under this name in SQL.
    pub fn external(&self, name: &TableName) -> Option<&ExternalTable> {
        self.sources.tables.get(name.table()).filter(|_| name.layer() == EXTERNAL)
    }
}

/// The jobs that parse, and what is known of the others.
struct Parts {
    /// Without jobs and sources that have a mistake.
    project: Project,
    /// Of each other job, those of the sources that it reads among them.
    mistakes: BTreeMap<TableName, Vec<Diagnostic>>,
    /// Jobs with a mistake whose query can be looked at all the same.
    drafts: BTreeMap<TableName, Job>,
    /// All mistakes of sources.toml.
    sources: Vec<Diagnostic>,
    /// Files of jobs that lie where no job is, or in a folder that no job can be called after.
    strays: Vec<Diagnostic>,
}

/// `unrendered` are files whose variables have no value: path and mistakes.
///
/// # Errors
/// `Invalid` with all mistakes in all files, where one is in project.toml.
fn parse_parts(files: &ProjectFiles, unrendered: &BTreeMap<String, Vec<Diagnostic>>) -> Result<Parts> {
    let mut problems = Vec::new();
    let folders = folders(files);
    let known: BTreeSet<TableName> =
        folders.values().filter_map(|folder| TableName::new(folder.layer, folder.table).ok()).collect();
    let manifests: Vec<&str> = folders.values().filter_map(|folder| folder.manifest).collect();
    let settings = parse_settings(files, &Known::new(known.clone(), &manifests), &mut problems);
    let declared = Declared::of(files);
    problems
        .extend(unrendered.iter().filter(|(path, _)| !path.contains('/')).flat_map(|(_, problems)| problems.clone()));
    let mut strays = misplaced(files);
    let (mut jobs, mut mistakes, mut drafts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (path, folder) in &folders {
        let of_folder = |at: &str| at.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let mut wrong: Vec<Diagnostic> =
            unrendered.iter().filter(|(at, _)| of_folder(at)).flat_map(|(_, problems)| problems.clone()).collect();
        let is_rendered = wrong.is_empty();
        let job = if is_rendered { parse_job(path, folder, settings.as_ref(), &mut wrong) } else { None };
        let mut unreadable = Vec::new();
        if let Some(job) = &job {
            unreadable.extend(in_layer_of_others(job, &declared));
            unreadable.extend(unknown_references(job, &declared, &known));
            unreadable.extend(declared.mistakes_of(&job.query));
        }
        let can_be_planned = unreadable.is_empty();
        wrong.extend(unreadable);
        match (job, job_name(folder)) {
            (Some(job), _) if wrong.is_empty() => drop(jobs.insert(job.name.clone(), job)),
            (draft, Ok(name)) if !wrong.is_empty() => {
                drafts.extend(draft.filter(|_| can_be_planned).map(|job| (name.clone(), job)));
                mistakes.insert(name, wrong);
            }
            _ => strays.extend(wrong),
        }
    }
    name_keys(jobs.values_mut().chain(drafts.values_mut()).collect());
    match settings {
        Some(settings) if problems.is_empty() => {
            let project = Project { settings, sources: declared.sources.clone(), jobs };
            Ok(Parts { project, mistakes, drafts, sources: declared.mistakes(), strays })
        }
        _ => {
            let others = [problems, declared.mistakes(), strays];
            Err(all_of(others.into_iter().chain(mistakes.into_values())))
        }
    }
}

/// Gives each job the keys of the tables that it reads.
fn name_keys(jobs: Vec<&mut Job>) {
    let grain = |job: &Job| (job.name.clone(), job.manifest.grain.clone());
    let keys: BTreeMap<TableName, Vec<String>> =
        jobs.iter().map(|job| grain(job)).filter(|(_, grain)| !grain.is_empty()).collect();
    for job in jobs {
        let tables = job.query.tables().into_iter();
        job.keys_of_inputs = tables.filter_map(|table| Some((table.clone(), keys.get(&table)?.clone()))).collect();
    }
}

/// One error with all of them, each once.
fn all_of(problems: impl Iterator<Item = Vec<Diagnostic>>) -> Error {
    let mut all: Vec<Diagnostic> = Vec::new();
    for problem in problems.flatten() {
        if !all.contains(&problem) {
            all.push(problem);
        }
    }
    Error::from_diagnostics(all)
}

pub(crate) fn unknown_job<'a>(name: &TableName, known: impl Iterator<Item = &'a TableName>) -> Error {
    let known: Vec<String> = known.map(TableName::to_string).collect();
    let name = name.to_string();
    match diagnostic::closest(&name, known.iter().map(String::as_str)) {
        Some(meant) => Error::invalid(format!("no job writes `{name}`: did you mean `{meant}`?")),
        None => Error::invalid(format!("no job writes `{name}`: the project has {}", listed(&known))),
    }
}

fn listed(names: &[String]) -> String {
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn parse_settings(files: &ProjectFiles, known: &Known, problems: &mut Vec<Diagnostic>) -> Option<ProjectManifest> {
    let path = "project.toml";
    let Some(text) = files.get(path) else {
        let help =
            "a project's folder holds project.toml, at least `name = \"..\"`; `--project` says which folder it is";
        problems.push(Diagnostic::of_file(path, "the file is missing").with_help(help));
        return None;
    };
    match Document::parse::<ProjectManifest>(path, text) {
        Ok((settings, document)) => {
            problems.extend(schedule_checks::check(&settings.schedule, &document, known));
            problems.extend(alert_checks::check(&settings.alert, &document, known));
            Some(settings)
        }
        Err(wrong) => {
            problems.extend(wrong);
            None
        }
    }
}

fn parse_job(
    path: &str,
    folder: &Folder<'_>,
    settings: Option<&ProjectManifest>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Job> {
    let (manifest_path, query_path) = (format!("{path}/job.toml"), format!("{path}/query.sql"));
    let name = match job_name(folder) {
        Ok(name) => Some(name),
        Err(message) => {
            problems.push(Diagnostic::of_file(path, message));
            None
        }
    };
    let query = match folder.query.map(|text| Query::parse(&query_path, text)) {
        Some(Ok(query)) => Some(query),
        Some(Err(wrong)) => {
            problems.extend(wrong);
            None
        }
        None => {
            problems.push(missing(&query_path, "one `select` statement that yields the table's rows"));
            None
        }
    };
    let Some(text) = folder.manifest else {
        problems.push(missing(&manifest_path, "`owner`, `grain` and a `[sink.*]`"));
        return None;
    };
    let manifest = match Document::parse::<Manifest>(&manifest_path, text) {
        Ok((mut manifest, document)) => {
            match settings {
                Some(settings) => {
                    apply_defaults(&mut manifest, &document, &settings.defaults);
                    problems.extend(take_groups(&mut manifest, &document, &settings.expect_group));
                }
                // project.toml is wrong and may name the owner: one mistake, one diagnostic.
                None => "unknown".clone_into(&mut manifest.owner),
            }
            let checked = query.as_ref().map(|query| job_checks::check(&manifest, &document, query, &query_path));
            problems.extend(checked.unwrap_or_default());
            manifest
        }
        Err(wrong) => {
            problems.extend(wrong);
            draft::manifest()
        }
    };
    let query = query?;
    let mut tests = Vec::new();
    for (path, text) in &folder.tests {
        match Fixture::parse(path, text, &query) {
            Ok(fixture) => tests.push(fixture),
            Err(wrong) => problems.extend(wrong),
        }
    }
    Some(Job {
        name: name?,
        manifest,
        query,
        tests,
        path: path.to_owned(),
        keys_of_inputs: BTreeMap::new(),
        manifest_text: Arc::from(text),
    })
}

fn job_name(folder: &Folder<'_>) -> std::result::Result<TableName, String> {
    if folder.layer == RAW {
        return Err("`raw` is the layer of sources of files: move the job to another layer".to_owned());
    }
    if folder.table.ends_with("__quarantine") {
        return Err("tables of rejected rows end in `__quarantine`: give the job another name".to_owned());
    }
    TableName::new(folder.layer, folder.table).map_err(|error| error.message().to_owned())
}

fn missing(path: &str, content: &str) -> Diagnostic {
    Diagnostic::of_file(path, "the file is missing").with_help(format!("a job's folder holds it; write {content}"))
}

fn apply_defaults(manifest: &mut Manifest, document: &Document<'_>, defaults: &Defaults) {
    if let (false, Some(owner)) = (document.holds("owner"), &defaults.owner) {
        manifest.owner.clone_from(owner);
    }
    if let (false, Some(mib)) = (document.holds("target_file_mib"), defaults.target_file_mib) {
        manifest.target_file_mib = mib;
    }
}

/// Adds the expectations of the groups that the job names.
fn take_groups(
    manifest: &mut Manifest,
    document: &Document<'_>,
    groups: &BTreeMap<String, Vec<Expectation>>,
) -> Vec<Diagnostic> {
    let mut taken = Vec::new();
    let mut problems = Vec::new();
    for (index, name) in std::mem::take(&mut manifest.expect_groups).iter().enumerate() {
        let Some(group) = groups.get(name) else {
            let problem = document.at_value(
                &["expect_groups".into(), index.into()],
                format!("project.toml has no `[[expect_group.{name}]]`"),
            );
            let known: Vec<String> = groups.keys().cloned().collect();
            let meant = diagnostic::closest(name, known.iter().map(String::as_str));
            let help = meant.map_or(format!("it has {}", listed(&known)), |meant| format!("did you mean `{meant}`?"));
            problems.push(problem.with_help(help));
            continue;
        };
        taken.extend(group.iter().cloned());
    }
    // Behind the job's own, so that the index of one of those is its index in the file.
    manifest.expect.append(&mut taken);
    problems
}

/// A table has one name in SQL. Projects without tables of others may have a layer of that name.
fn in_layer_of_others(job: &Job, declared: &Declared) -> Option<Diagnostic> {
    let message = format!("`{EXTERNAL}` is the layer of the tables in sources.toml: move the job to another layer");
    (job.name.layer() == EXTERNAL && has_others(declared)).then(|| Diagnostic::of_file(&job.path, message))
}

/// Tables and sources of files that the job names and that nobody writes.
fn unknown_references(job: &Job, declared: &Declared, known: &BTreeSet<TableName>) -> Vec<Diagnostic> {
    let sources = &declared.sources;
    let external = sources.tables.keys().map(|name| format!("{EXTERNAL}.{name}"));
    let external: Vec<String> = external.chain(declared.wrong_names(EXTERNAL)).collect();
    let tables: Vec<String> = known.iter().map(TableName::to_string).chain(external.iter().cloned()).collect();
    let files = sources.files.keys().map(|name| format!("{RAW}.{name}"));
    let files: Vec<String> = files.chain(declared.wrong_names(RAW)).collect();
    let text: Arc<str> = Arc::from(job.query.text.as_str());
    let mut problems = Vec::new();
    for reference in &job.query.references {
        let (names, what) = match reference.files() {
            Some(_) => (&files, "sources.toml has no"),
            None if is_of_others(&reference.name, declared) => (&external, "sources.toml has no"),
            None => (&tables, "no job writes"),
        };
        if !names.contains(&reference.name) && !declared.is_wrong(&reference.name) {
            let message = format!("{what} `{}`", reference.name);
            let problem = Diagnostic::new(&job.query_path(), &text, reference.span.clone(), message);
            problems.push(problem.with_help(suggestion(&reference.name, names)));
        }
    }
    for (mut problem, target) in referred_tables(job) {
        if !tables.contains(&target.to_string()) {
            problem.message = format!("no job writes `{target}`");
            problems.push(problem.with_help(suggestion(&target.to_string(), &tables)));
        }
    }
    problems
}

/// Whether only sources.toml can declare a table of this name.
fn is_of_others(name: &str, declared: &Declared) -> bool {
    has_others(declared) && name.split_once('.').is_some_and(|(layer, _)| layer == EXTERNAL)
}

fn has_others(declared: &Declared) -> bool {
    !declared.sources.tables.is_empty() || declared.wrong_names(EXTERNAL).next().is_some()
}

fn suggestion(wrong: &str, names: &[String]) -> String {
    match diagnostic::closest(wrong, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there is {}", listed(names)),
    }
}

#[cfg(test)]
mod tests;
