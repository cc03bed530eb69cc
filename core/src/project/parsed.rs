//! A project some of whose jobs have mistakes: an error in one job stops only the jobs that need it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Project, ProjectFiles};
use crate::error::{Error, Result};
use crate::graph::{Graph, upstream_of};
use crate::name::TableName;

/// The jobs that are in order, and what is known of the others.
#[derive(Debug)]
pub struct Parsed {
    /// Without the jobs that have a mistake or need one that has.
    pub project: Project,
    /// Each job with its mistakes.
    pub mistakes: BTreeMap<TableName, Error>,
    /// Each job that reads the table of one with a mistake, or of another job here, and that one.
    pub blocked: BTreeMap<TableName, TableName>,
    /// Of each job, also of those that cannot run.
    pub upstream: BTreeMap<TableName, BTreeSet<TableName>>,
}

impl Parsed {
    /// # Errors
    /// `Invalid` with all mistakes in all files where one is not of a single job: in project.toml, sources.toml or a job's name.
    pub fn new(files: &ProjectFiles) -> Result<Self> {
        let (mut project, mistakes) = Project::parse_jobs(files)?;
        let mut upstream: BTreeMap<TableName, BTreeSet<TableName>> =
            project.jobs.values().map(|job| (job.name.clone(), upstream_of(job))).collect();
        upstream.extend(mistakes.keys().map(|name| (name.clone(), BTreeSet::new())));
        let blocked = blocked(&upstream, &mistakes);
        project.jobs.retain(|name, _| !blocked.contains_key(name));
        Ok(Self { project, mistakes, blocked, upstream })
    }

    /// All jobs, also those that cannot run.
    ///
    /// # Errors
    /// `Invalid` for jobs that read each other in a cycle.
    pub fn graph(&self) -> Result<Graph> {
        let explained = Graph::new(&self.project)?;
        Graph::from_upstream(self.upstream.clone()).or(Ok(explained))
    }

    /// The files without the jobs that `keep` leaves out.
    pub fn files(files: &ProjectFiles, keep: &BTreeSet<TableName>) -> ProjectFiles {
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
    fn files_of_jobs_that_do_not_run_are_left_out() {
        let all = files("silver/b");
        let kept = Parsed::files(&all, &[name("gold.d")].into());
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["gold/d/job.toml", "gold/d/query.sql", "project.toml"]);
    }
}
