//! A project some of whose jobs have mistakes: an error in one job stops only the jobs that need it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Job, Project, ProjectFiles, declared, parse_parts};
use crate::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::graph::{Graph, explain, upstream_of};
use crate::name::TableName;

type Edges = BTreeMap<TableName, BTreeSet<TableName>>;

/// The jobs that are in order, and what is known of the others.
#[derive(Debug)]
pub struct Parsed {
    /// Without the jobs that have a mistake or need one that has, and without the sources that have one.
    pub project: Project,
    /// Each job with its mistakes and those of the sources that it reads.
    pub mistakes: BTreeMap<TableName, Error>,
    /// Mistakes of sources.toml, also of sources that no job reads; none when it has none.
    pub sources: Option<Error>,
    /// Files of jobs that lie where no job is, or in a folder that no job can be called after; none when there are none.
    pub strays: Option<Error>,
    /// Each job that reads the table of one with a mistake, or of another job here, and that one.
    pub blocked: BTreeMap<TableName, TableName>,
    /// Jobs with a mistake and jobs that are blocked, as far as their queries can be planned: planning may find more mistakes.
    pub drafts: BTreeMap<TableName, Job>,
    /// Of each job, also of those that cannot run. Jobs of a cycle have none.
    pub upstream: BTreeMap<TableName, BTreeSet<TableName>>,
}

impl Parsed {
    /// # Errors
    /// `Invalid` with all mistakes in all files where one is in project.toml.
    pub fn new(files: &ProjectFiles) -> Result<Self> {
        Self::with_unrendered(files, &BTreeMap::new())
    }

    /// `unrendered` are files whose variables have no value: path and mistakes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_unrendered(files: &ProjectFiles, unrendered: &BTreeMap<String, Vec<Diagnostic>>) -> Result<Self> {
        let parts = parse_parts(files, unrendered)?;
        let (mut project, mut mistakes, mut drafts) = (parts.project, parts.mistakes, parts.drafts);
        let jobs = project.jobs.values().chain(drafts.values());
        let mut upstream: Edges = jobs.map(|job| (job.name.clone(), upstream_of(job))).collect();
        for name in mistakes.keys() {
            upstream.entry(name.clone()).or_default();
        }
        while let Err(cycle) = Graph::from_upstream(upstream.clone()) {
            let problem = explain(|name| project.jobs.get(name).or_else(|| drafts.get(name)), &cycle);
            for name in &cycle {
                mistakes.entry(name.clone()).or_default().push(problem.clone());
                upstream.insert(name.clone(), BTreeSet::new());
            }
            project.jobs.retain(|name, _| !cycle.contains(name));
            drafts.retain(|name, _| !cycle.contains(name));
        }
        let blocked = blocked(&upstream, &mistakes);
        for name in blocked.keys() {
            drafts.extend(project.jobs.remove_entry(name));
        }
        let mistakes = mistakes.into_iter().map(|(name, wrong)| (name, Error::from_diagnostics(wrong))).collect();
        let of_all = |problems: Vec<Diagnostic>| (!problems.is_empty()).then(|| Error::from_diagnostics(problems));
        let (sources, strays) = (of_all(parts.sources), of_all(parts.strays));
        Ok(Self { project, mistakes, sources, strays, blocked, drafts, upstream })
    }

    /// All jobs, also those that cannot run.
    ///
    /// # Errors
    /// `Internal`: the edges hold no cycle.
    pub fn graph(&self) -> Result<Graph> {
        Graph::from_upstream(self.upstream.clone())
            .map(|graph| graph.with_tags(self.project.jobs.values().chain(self.drafts.values())))
            .map_err(|cycle| Error::internal(format!("jobs of a cycle have no upstream: {cycle:?}")))
    }

    /// What is planned to find all mistakes: also the jobs that cannot run.
    pub fn whole(&self) -> Project {
        let mut whole = self.project.clone();
        whole.jobs.extend(self.drafts.clone());
        whole
    }

    /// What can be looked at where nothing runs: the jobs that are in order, also those that read the table of one that is not.
    pub fn readable(&self) -> Project {
        let mut readable = self.project.clone();
        let drafts = self.drafts.iter().filter(|(name, _)| !self.mistakes.contains_key(*name));
        readable.jobs.extend(drafts.map(|(name, job)| (name.clone(), job.clone())));
        readable
    }

    /// The files of a project that is in order: `files` without the jobs that cannot run, without files of jobs that lie elsewhere, and
    /// without the sources that have a mistake.
    ///
    /// # Errors
    /// `Internal`, when sources have no TOML.
    pub fn good_files(&self, files: &ProjectFiles, keep: &BTreeSet<TableName>) -> Result<ProjectFiles> {
        let mut files = Self::files(files, keep);
        let strays = self.strays.iter().flat_map(Error::diagnostics).map(|stray| stray.path.as_str());
        strays.for_each(|path| drop(files.remove(path)));
        if self.sources.is_some()
            && let Some(text) = files.get_mut(declared::PATH)
        {
            *text = declared::without_mistakes(text, &self.project.sources)?;
        }
        Ok(files)
    }

    /// The files without the jobs that `keep` leaves out.
    fn files(files: &ProjectFiles, keep: &BTreeSet<TableName>) -> ProjectFiles {
        let is_kept = |path: &str| {
            let mut parts = path.split('/');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(layer), Some(table), Some(_)) => {
                    TableName::new(layer, table).is_ok_and(|name| keep.contains(&name))
                }
                _ => true,
            }
        };
        files.iter().filter(|(path, _)| is_kept(path)).map(|(path, text)| (path.clone(), text.clone())).collect()
    }
}

fn blocked<E>(
    upstream: &BTreeMap<TableName, BTreeSet<TableName>>,
    mistakes: &BTreeMap<TableName, E>,
) -> BTreeMap<TableName, TableName> {
    let mut blocked: BTreeMap<TableName, TableName> = BTreeMap::new();
    loop {
        let stops = |table: &&TableName| mistakes.contains_key(*table) || blocked.contains_key(*table);
        let next: Vec<(TableName, TableName)> = upstream
            .iter()
            .filter(|(job, _)| !mistakes.contains_key(*job) && !blocked.contains_key(*job))
            .filter_map(|(job, tables)| Some((job.clone(), tables.iter().find(stops)?.clone())))
            .collect();
        if next.is_empty() {
            return blocked;
        }
        blocked.extend(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        text.parse().unwrap()
    }

    fn files(broken: &str) -> ProjectFiles {
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
        files
    }

    #[test]
    fn a_mistake_stops_the_jobs_that_need_it() {
        let parsed = Parsed::new(&files("silver/b")).unwrap();
        assert_eq!(parsed.mistakes.keys().collect::<Vec<_>>(), [&name("silver.b")]);
        assert_eq!(parsed.blocked, [(name("gold.c"), name("silver.b"))].into());
        assert_eq!(parsed.project.jobs.keys().collect::<Vec<_>>(), [&name("gold.d"), &name("silver.a")]);
        assert_eq!(parsed.graph().unwrap().order().len(), 4);
        assert_eq!(
            parsed.readable().jobs.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["gold.c", "gold.d", "silver.a"]
        );
        let parsed = Parsed::new(&files("silver/a")).unwrap();
        assert_eq!(parsed.blocked.len(), 2);
        assert_eq!(Parsed::new(&files("")).unwrap().project.jobs.len(), 4);
    }

    #[test]
    fn a_mistake_of_the_project_stops_all() {
        let mut files = files("silver/b");
        files.insert("project.toml".to_owned(), "nam = 1".to_owned());
        let error = Parsed::new(&files).unwrap_err();
        assert!(error.to_string().contains("project.toml") && error.to_string().contains("silver/b"), "{error}");
    }

    #[test]
    fn a_mistake_of_a_source_stops_the_jobs_that_read_it() {
        let mut files = files("");
        let source = "columns = [{ name = \"x\", type = \"int\" }]\n";
        let feed = |name: &str| format!("[files.{name}.feed.f]\npath = \"{name}.csv\"\nformat.csv = {{}}\n");
        let good = format!("[files.good]\nroot = \"/r\"\n{source}{}", feed("good"));
        let wrong = format!("[files.wrong]\nrot = \"/r\"\n{source}{}", feed("wrong"));
        files.insert("sources.toml".to_owned(), format!("{good}{wrong}"));
        files.insert("silver/a/query.sql".to_owned(), "select x from raw.wrong".to_owned());
        files.insert("gold/d/query.sql".to_owned(), "select x from raw.good".to_owned());
        let parsed = Parsed::new(&files).unwrap();
        let words = |names: &mut dyn Iterator<Item = &TableName>| names.map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(&mut parsed.project.jobs.keys()), ["gold.d"]);
        assert_eq!(words(&mut parsed.mistakes.keys()), ["silver.a"]);
        assert_eq!(words(&mut parsed.blocked.keys()), ["gold.c", "silver.b"]);
        assert!(parsed.mistakes[&name("silver.a")].to_string().starts_with("sources.toml:8:1: unknown key `rot`"));
        // What a scheduler gets parses there, and means the same.
        let kept = parsed.good_files(&files, &[name("gold.d")].into()).unwrap();
        assert_eq!(Project::parse(&kept).unwrap(), parsed.project);
        assert!(Project::parse(&files).unwrap_err().to_string().contains("rot"));
    }

    #[test]
    fn a_job_that_lies_elsewhere_stops_no_other_and_hides_no_mistake() {
        let mut files = files("silver/b");
        let job = "owner = \"o\"\ngrain = [\"x\"]\n[sink.overwrite]\n".to_owned();
        let strays = ["job.toml", "silver/query.sql", "gold/d/deeper/job.toml", "gold/no name/job.toml"];
        files.extend(strays.map(|path| (path.to_owned(), job.clone())));
        let parsed = Parsed::new(&files).unwrap();
        let words = |names: &mut dyn Iterator<Item = &TableName>| names.map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(&mut parsed.project.jobs.keys()), ["gold.d", "silver.a"]);
        assert_eq!(words(&mut parsed.mistakes.keys()), ["silver.b"]);
        let said = parsed.strays.as_ref().unwrap().to_string();
        assert!(strays.iter().all(|path| said.contains(path.trim_end_matches("/job.toml"))), "{said}");
        // What a scheduler gets parses there, and means the same.
        let kept = parsed.good_files(&files, &[name("gold.d"), name("silver.a")].into()).unwrap();
        assert_eq!(Project::parse(&kept).unwrap(), parsed.project);
        let all = Project::parse(&files).unwrap_err().to_string();
        assert!(all.contains("silver/b") && all.contains("does not lie here"), "{all}");
    }

    #[test]
    fn a_cycle_stops_its_jobs_and_those_that_need_them() {
        let mut files = files("");
        files.insert("silver/a/query.sql".to_owned(), "select x from silver.b".to_owned());
        let parsed = Parsed::new(&files).unwrap();
        assert_eq!(parsed.mistakes.keys().collect::<Vec<_>>(), [&name("silver.a"), &name("silver.b")]);
        assert!(parsed.mistakes.values().all(|error| error.to_string().contains("wait for each other")));
        assert_eq!(parsed.blocked, [(name("gold.c"), name("silver.b"))].into());
        assert_eq!(parsed.project.jobs.keys().collect::<Vec<_>>(), [&name("gold.d")]);
        assert_eq!(parsed.graph().unwrap().order().len(), 4);
    }

    #[test]
    fn a_variable_without_a_value_stops_its_job() {
        let problem = Diagnostic::of_file("silver/b/query.sql", "`$x` has no value");
        let parsed =
            Parsed::with_unrendered(&files(""), &[("silver/b/query.sql".to_owned(), vec![problem.clone()])].into())
                .unwrap();
        assert_eq!(parsed.mistakes.keys().collect::<Vec<_>>(), [&name("silver.b")]);
        assert_eq!(parsed.blocked, [(name("gold.c"), name("silver.b"))].into());
        let of_all = Parsed::with_unrendered(&files(""), &[("project.toml".to_owned(), vec![problem])].into());
        assert!(of_all.unwrap_err().to_string().contains("has no value"));
    }

    #[test]
    fn a_query_is_planned_although_its_manifest_has_a_mistake() {
        let mut files = files("");
        files.insert("silver/b/job.toml".to_owned(), "onwer = 1".to_owned());
        let parsed = Parsed::new(&files).unwrap();
        assert_eq!(parsed.whole().jobs.len(), 4);
        assert_eq!(parsed.project.jobs.len(), 2);
        // A query that is none cannot be planned.
        files.insert("silver/b/query.sql".to_owned(), "selec".to_owned());
        assert_eq!(Parsed::new(&files).unwrap().whole().jobs.len(), 3);
    }

    #[test]
    fn files_of_jobs_that_do_not_run_are_left_out() {
        let all = files("silver/b");
        let kept = Parsed::files(&all, &[name("gold.d")].into());
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["gold/d/job.toml", "gold/d/query.sql", "project.toml"]);
    }
}
