//! Which jobs of a selection can run: an error in one job stops only the jobs that need it.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::graph::Graph;
use pulse_core::name::TableName;
use pulse_core::project::{Job, Parsed, Project, ProjectFiles};
use pulse_core::run::{NotRun, NotRunJobs, RunError};
use pulse_core::settings::Settings;
use pulse_core::{Diagnostic, Error, Result};
use pulse_engine::job::{ExternalSchemas, Inferred, check_each};

use crate::args::{Global, Selection};
use crate::home::home;
use crate::{output, setup};

/// The jobs that a person named, before anything is planned.
pub(crate) struct Selected {
    pub(crate) parsed: Parsed,
    /// Also the named jobs that have a mistake.
    pub(crate) graph: Graph,
    /// Those of them that parse, and read no table of a job that does not.
    pub(crate) good: Vec<TableName>,
}

impl Selected {
    /// # Errors
    /// `Invalid` for a name that no job has, or an interval that a named job does not take.
    pub(crate) fn new(mut parsed: Parsed, selection: &Selection) -> Result<Self> {
        let graph = setup::graph(&parsed.graph()?, selection)?;
        // No job reports the mistakes of its sources.
        if graph.order().is_empty()
            && let Some(mistakes) = beside(parsed.sources.take(), parsed.strays.take())
        {
            return Err(mistakes);
        }
        if !selection.all {
            // None of them was asked for.
            parsed.strays = None;
        }
        let is_good = |name: &&TableName| parsed.project.jobs.contains_key(*name);
        let good: Vec<TableName> = graph.order().iter().filter(is_good).cloned().collect();
        // A pattern names no job: of its jobs, those without an interval run as usual.
        let named: Vec<TableName> = selection.jobs.iter().filter_map(|name| name.parse().ok()).collect();
        let named: Vec<TableName> = named.into_iter().filter(|name| is_good(&name)).collect();
        parsed.project.check_asked(&named, setup::asked(selection)?.interval)?;
        Ok(Self { parsed, graph, good })
    }

    /// A source whose place has no value stops the jobs that read it, and those that need them.
    fn add_missing_values(&self, checked: &mut Inferred) {
        let project = &self.parsed.project;
        let mut wrong: BTreeSet<TableName> = checked.mistakes.iter().map(|(name, _)| name.clone()).collect();
        for name in self.graph.order().iter().filter(|name| self.good.contains(name)) {
            if let (false, Err(error)) = (wrong.contains(name), project.check_values(std::slice::from_ref(name))) {
                wrong.insert(name.clone());
                checked.mistakes.push((name.clone(), error));
            }
            let upstream = project.jobs.get(name).map(|job| job.query.tables()).unwrap_or_default();
            let cause = upstream.into_iter().find(|table| wrong.contains(table) || checked.blocked.contains_key(table));
            if let (false, Some(cause)) = (wrong.contains(name), cause) {
                checked.blocked.entry(name.clone()).or_insert(cause);
            }
        }
    }

    /// What can run, as planning found it.
    fn runnable(self, checked: Inferred) -> Result<Runnable> {
        let Self { mut parsed, graph: selected, good } = self;
        let mut blocked = checked.blocked;
        blocked.extend(std::mem::take(&mut parsed.blocked));
        let mut wrong: BTreeMap<TableName, Error> = std::mem::take(&mut parsed.mistakes);
        wrong.extend(checked.mistakes);
        let can_run = |name: &&TableName| !wrong.contains_key(*name) && !blocked.contains_key(*name);
        let runs: Vec<TableName> = good.iter().filter(can_run).cloned().collect();
        let good = parsed.project.jobs.keys().filter(can_run).cloned().collect();
        let not_run = selected.order().iter().filter(|name| !can_run(name));
        let why = |name: &TableName| match (wrong.get(name), blocked.get(name)) {
            (Some(error), _) => Some(NotRun::Mistake(RunError::from(error))),
            (None, upstream) => Some(NotRun::Needs(upstream?.clone())),
        };
        let not_run: NotRunJobs = not_run.filter_map(|name| Some((name.clone(), why(name)?))).collect();
        // A mistake upstream of the selection is the reason why a selected job is blocked.
        let mut reasons: BTreeSet<TableName> = BTreeSet::new();
        for name in not_run.keys() {
            let mut name = Some(name);
            while let Some(next) = name.filter(|next| reasons.insert((*next).clone())) {
                name = blocked.get(next);
            }
        }
        let of_jobs = wrong.into_iter().filter(|(name, _)| reasons.contains(name)).map(|(_, error)| error);
        let strays = parsed.strays.as_ref().map(|strays| Error::from_diagnostics(strays.diagnostics().to_vec()));
        let mistakes = distinct(strays.into_iter().chain(of_jobs));
        let graph = selected.select(&runs)?;
        Ok(Runnable { graph, parsed, mistakes, not_run, good })
    }
}

/// Places of mistakes that planning found become those in the files as they are written.
pub(crate) fn as_written(global: &Global, inferred: &mut Inferred) -> Result<()> {
    let home = home(global)?;
    for (_, error) in &mut inferred.mistakes {
        *error = home.as_written(std::mem::replace(error, Error::invalid("")));
    }
    Ok(())
}

/// Mistakes of no single job as one error.
pub(crate) fn beside(sources: Option<Error>, strays: Option<Error>) -> Option<Error> {
    let all: Vec<Diagnostic> =
        sources.iter().chain(&strays).flat_map(|error| error.diagnostics().iter().cloned()).collect();
    (!all.is_empty()).then(|| Error::from_diagnostics(all))
}

/// Jobs to look at, of which some may have mistakes: those that patterns name, or all.
pub(crate) struct Looked {
    pub(crate) parsed: Parsed,
    /// In the order of their dependencies.
    pub(crate) names: Vec<TableName>,
    /// All jobs whose queries can be planned.
    pub(crate) whole: Project,
}

impl Looked {
    /// # Errors
    /// `Invalid` with a mistake in project.toml, or for a pattern that names no job.
    pub(crate) fn new(parsed: Parsed, patterns: &[String]) -> Result<Self> {
        let graph = parsed.graph()?;
        let names = match patterns {
            [] => graph.order().to_vec(),
            patterns => graph.matching(patterns)?,
        };
        Ok(Self { whole: parsed.whole(), parsed, names })
    }

    /// Those of the jobs that can be planned.
    pub(crate) fn to_plan(&self) -> Vec<TableName> {
        self.names.iter().filter(|name| self.whole.jobs.contains_key(*name)).cloned().collect()
    }

    /// Each job with its mistakes: of the named jobs and of those that they need.
    pub(crate) fn mistakes(&self, planned: Vec<(TableName, Error)>) -> BTreeMap<TableName, Error> {
        let mut needed: BTreeSet<TableName> = BTreeSet::new();
        let mut open = self.names.clone();
        while let Some(name) = open.pop() {
            if needed.insert(name.clone()) {
                open.extend(self.parsed.upstream.get(&name).into_iter().flatten().cloned());
            }
        }
        let parsed = self.parsed.mistakes.iter().filter(|(name, _)| needed.contains(*name));
        let mut mistakes: BTreeMap<TableName, Error> =
            parsed.map(|(name, error)| (name.clone(), Error::from_diagnostics(error.diagnostics().to_vec()))).collect();
        for (name, error) in planned {
            let error = match (mistakes.remove(&name), self.whole.jobs.get(&name)) {
                (Some(known), Some(job)) => with_planned(known, &error, job),
                (Some(known), None) => known,
                (None, _) => error,
            };
            mistakes.insert(name, error);
        }
        mistakes
    }
}

/// The mistakes of a job, and those that planning found besides: of its query, and of what the manifest says about columns. What else it found may
/// follow from the first ones.
fn with_planned(known: Error, planned: &Error, job: &Job) -> Error {
    let known = known.diagnostics().to_vec();
    let is_known = |one: &Diagnostic| known.iter().any(|other| (&other.path, &other.span) == (&one.path, &one.span));
    let is_of_query = |one: &Diagnostic| one.path == job.query_path() && !is_known(one);
    let is_of_columns =
        |one: &Diagnostic| one.path == job.manifest_path() && one.message.contains(" names the column ");
    let is_new = |one: &&Diagnostic| is_of_query(one) || is_of_columns(one);
    let new: Vec<Diagnostic> = planned.diagnostics().iter().filter(is_new).cloned().collect();
    Error::from_diagnostics(known.into_iter().chain(new).collect())
}

/// Mistakes without those that stand in one before: jobs that read the same source share its mistakes.
pub(crate) fn distinct(errors: impl IntoIterator<Item = Error>) -> Vec<Error> {
    let mut seen: Vec<Diagnostic> = Vec::new();
    let mut kept = Vec::new();
    for error in errors {
        let new: Vec<Diagnostic> = error.diagnostics().iter().filter(|one| !seen.contains(one)).cloned().collect();
        match (error.diagnostics().len(), new.len()) {
            (0, _) => kept.push(error),
            (_, 0) => {}
            (all, some) if all == some => kept.push(error),
            _ => kept.push(Error::from_diagnostics(new.clone())),
        }
        seen.extend(new);
    }
    kept
}

/// Jobs of one trigger.
pub(crate) struct Planned {
    pub(crate) graph: Graph,
    pub(crate) not_run: NotRunJobs,
}

/// Who knows the values of the variables in sources.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Places {
    /// This process.
    Known,
    /// The cluster that gets the project.
    OfCluster,
}

/// What of a selection can run, and why the rest cannot.
pub(crate) struct Runnable {
    /// Without the jobs that cannot run.
    pub(crate) graph: Graph,
    /// The project's jobs that cannot run may be among its own.
    parsed: Parsed,
    pub(crate) mistakes: Vec<Error>,
    /// Selected jobs that cannot run.
    pub(crate) not_run: NotRunJobs,
    /// All jobs without a mistake that need none with one, also those that are not selected.
    good: BTreeSet<TableName>,
}

impl Runnable {
    /// # Errors
    /// `Invalid` with a mistake that is not of a single job, or of what was asked for.
    pub(crate) async fn new(
        global: &Global,
        settings: &Settings,
        selection: &Selection,
        places: Places,
    ) -> Result<Self> {
        let selected = Selected::new(home(global)?.parsed()?, selection)?;
        let state = setup::state(settings, &setup::stores(settings))?;
        let mut checked = check_each(&state, &selected.parsed.project, &ExternalSchemas::new(), &selected.good).await?;
        as_written(global, &mut checked)?;
        if places == Places::Known {
            selected.add_missing_values(&mut checked);
        }
        selected.runnable(checked)
    }

    /// Selects jobs by patterns and requires that all of them can run.
    ///
    /// # Errors
    /// As [`Self::new`], and with the mistakes of these jobs and of those that they need.
    pub(crate) async fn all_of(global: &Global, settings: &Settings, jobs: Vec<String>) -> Result<Self> {
        let selection = Selection { jobs, all: false, from: None, to: None, rebuild: false, allow_loss: false };
        let runnable = Self::new(global, settings, &selection, Places::Known).await?;
        let diagnostics = runnable.mistakes.iter().flat_map(|error| error.diagnostics().iter().cloned()).collect();
        let plain = runnable.mistakes.iter().position(|error| error.diagnostics().is_empty());
        let mut mistakes = runnable.mistakes;
        match (mistakes.is_empty(), plain) {
            (true, _) => Ok(Self { mistakes, ..runnable }),
            (false, Some(place)) => Err(mistakes.swap_remove(place)),
            (false, None) => Err(Error::from_diagnostics(diagnostics)),
        }
    }

    /// The project without the jobs that do not parse.
    pub(crate) fn project(&self) -> Project {
        self.parsed.project.clone()
    }

    /// The project's files without the jobs that cannot run, and without sources that have a mistake.
    pub(crate) fn files(&self, all: &ProjectFiles) -> Result<ProjectFiles> {
        self.parsed.good_files(all, &self.good)
    }

    pub(crate) fn planned(&self) -> Planned {
        Planned { graph: self.graph.clone(), not_run: self.not_run.clone() }
    }

    /// The exit code where what could run ended with another one.
    pub(crate) fn exit_code(&self, code: u8) -> u8 {
        match self.mistakes.first() {
            Some(mistake) if code == 0 => output::exit_code(mistake),
            _ => code,
        }
    }

    /// Reports what cannot run.
    pub(crate) fn report(&self) {
        output::errors(&self.mistakes);
        for (name, why) in &self.not_run {
            if let NotRun::Needs(upstream) = why {
                eprintln!("not run: {name} reads {upstream}, which has a mistake or needs a job that has one");
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.graph.order().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `silver.a` feeds `silver.b`, which feeds `gold.c`; `gold.d` reads nothing. `broken` does not parse.
    fn parsed(broken: &str) -> Parsed {
        let mut files = ProjectFiles::from([("project.toml".to_owned(), "name = \"p\"".to_owned())]);
        for (job, query) in [
            ("silver/a", "select 1 as x"),
            ("silver/b", "select x from silver.a"),
            ("gold/c", "select x from silver.b"),
            ("gold/d", "select 1 as x"),
        ] {
            let query = if job == broken { "selec 1" } else { query };
            files.insert(format!("{job}/query.sql"), query.to_owned());
            files.insert(format!("{job}/job.toml"), "owner = \"o\"\ngrain = [\"x\"]\n[sink.overwrite]\n".to_owned());
        }
        Parsed::new(&files).unwrap()
    }

    fn selection(jobs: &[&str]) -> Selection {
        Selection {
            jobs: jobs.iter().map(|&job| job.to_owned()).collect(),
            all: jobs.is_empty(),
            from: None,
            to: None,
            rebuild: false,
            allow_loss: false,
        }
    }

    /// Jobs that run, how many mistakes are reported, and jobs that are blocked.
    fn outcome(broken: &str, jobs: &[&str], checked: Inferred) -> (String, usize, String) {
        let runnable = Selected::new(parsed(broken), &selection(jobs)).unwrap().runnable(checked).unwrap();
        let words =
            |names: &mut dyn Iterator<Item = &TableName>| names.map(TableName::to_string).collect::<Vec<_>>().join(" ");
        let needs = |(name, why): (&TableName, &NotRun)| matches!(why, NotRun::Needs(_)).then_some(name.clone());
        let blocked: Vec<TableName> = runnable.not_run.iter().filter_map(needs).collect();
        let blocked = words(&mut blocked.iter());
        (words(&mut runnable.graph.order().iter()), runnable.mistakes.len(), blocked)
    }

    #[test]
    fn a_mistake_stops_the_jobs_that_need_it_and_is_reported_where_it_matters() {
        let said = |runs: &str, mistakes, blocked: &str| (runs.to_owned(), mistakes, blocked.to_owned());
        let none = Inferred::default;
        assert_eq!(outcome("", &[], none()), said("gold.d silver.a silver.b gold.c", 0, ""));
        assert_eq!(outcome("silver/b", &[], none()), said("gold.d silver.a", 1, "gold.c"));
        assert_eq!(outcome("silver/b", &["gold.c"], none()), said("", 1, "gold.c"));
        assert_eq!(outcome("silver/b", &["gold.d"], none()), said("gold.d", 0, ""));
        // The same mistakes, found by planning.
        let planned = || Inferred {
            mistakes: vec![("silver.b".parse().unwrap(), Error::invalid("no column y"))],
            blocked: [("gold.c".parse().unwrap(), "silver.b".parse().unwrap())].into(),
            ..Inferred::default()
        };
        assert_eq!(outcome("", &[], planned()), said("gold.d silver.a", 1, "gold.c"));
        assert_eq!(outcome("", &["gold.c"], planned()), said("", 1, "gold.c"));
    }

    #[test]
    fn an_interval_is_refused_for_a_named_job_without_one() {
        let asked = |jobs: &[&str]| {
            let days = (Some("2024-01-01".to_owned()), Some("2024-01-02".to_owned()));
            Selected::new(parsed(""), &Selection { from: days.0, to: days.1, ..selection(jobs) }).map(|_| ())
        };
        assert!(asked(&["gold.d"]).unwrap_err().to_string().contains("job gold.d has none"));
        assert!(asked(&["nothing.x"]).is_err());
    }
}
