//! Which jobs of a selection can run: an error in one job stops only the jobs that need it.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::graph::Graph;
use pulse_core::name::TableName;
use pulse_core::project::{Parsed, Project, ProjectFiles};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
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
    pub(crate) fn new(parsed: Parsed, selection: &Selection) -> Result<Self> {
        let graph = setup::graph(&parsed.graph()?, selection)?;
        let is_good = |name: &&TableName| parsed.project.jobs.contains_key(*name);
        let good: Vec<TableName> = graph.order().iter().filter(is_good).cloned().collect();
        // A pattern names no job: of its jobs, those without an interval run as usual.
        let named: Vec<TableName> = selection.jobs.iter().filter_map(|name| name.parse().ok()).collect();
        let named: Vec<TableName> = named.into_iter().filter(|name| is_good(&name)).collect();
        parsed.project.check_asked(&named, setup::asked(selection)?.interval)?;
        Ok(Self { parsed, graph, good })
    }

    /// What can run, as planning found it.
    fn runnable(self, checked: Inferred) -> Result<Runnable> {
        let Self { parsed, graph: selected, good } = self;
        let mut blocked = checked.blocked;
        blocked.extend(parsed.blocked.into_iter().filter(|(name, _)| selected.contains(name)));
        let wrong: BTreeSet<TableName> = checked.mistakes.iter().map(|(name, _)| name.clone()).collect();
        // A mistake upstream of the selection is the reason why a selected job is blocked.
        let is_reason = |name: &TableName| selected.contains(name) || blocked.values().any(|up| up == name);
        let mistakes = parsed.mistakes.into_iter().filter(|(name, _)| is_reason(name)).map(|(_, mistake)| mistake);
        let mistakes = mistakes.chain(checked.mistakes.into_iter().map(|(_, mistake)| mistake)).collect();
        let can_run = |name: &&TableName| !wrong.contains(*name) && !blocked.contains_key(*name);
        let runs: Vec<TableName> = good.iter().filter(can_run).cloned().collect();
        let good = parsed.project.jobs.keys().filter(can_run).cloned().collect();
        Ok(Runnable { graph: selected.select(&runs)?, project: parsed.project, mistakes, blocked, good })
    }
}

/// What of a selection can run, and why the rest cannot.
pub(crate) struct Runnable {
    /// Without the jobs that cannot run.
    pub(crate) project: Project,
    pub(crate) graph: Graph,
    pub(crate) mistakes: Vec<Error>,
    /// Jobs that need the table of one with a mistake, and that one.
    blocked: BTreeMap<TableName, TableName>,
    /// All jobs without a mistake that need none with one, also those that are not selected.
    good: BTreeSet<TableName>,
}

impl Runnable {
    /// # Errors
    /// `Invalid` with a mistake that is not of a single job, or of what was asked for.
    pub(crate) async fn new(global: &Global, settings: &Settings, selection: &Selection) -> Result<Self> {
        let selected = Selected::new(home(global)?.parsed()?, selection)?;
        let state = setup::state(settings, &setup::stores(settings))?;
        let checked = check_each(&state, &selected.parsed.project, &ExternalSchemas::new(), &selected.good).await?;
        selected.runnable(checked)
    }

    /// The project's files without the jobs that cannot run.
    pub(crate) fn files(&self, all: &ProjectFiles) -> ProjectFiles {
        match self.mistakes.is_empty() {
            true => all.clone(),
            false => Parsed::files(all, &self.good),
        }
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
        for (name, upstream) in &self.blocked {
            eprintln!("not run: {name} reads {upstream}, which has a mistake");
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
        let blocked = words(&mut runnable.blocked.keys());
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
