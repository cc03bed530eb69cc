//! The graph of jobs, derived from the tables that their queries read.

mod select;

pub use select::is_like;
pub(crate) use select::{TAG, no_tag};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::name::TableName;
use crate::project::{self, Job, Project};

/// An acyclic graph of jobs. Equal projects have equal graphs, in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Topological order, ties by name.
    order: Vec<TableName>,
    upstream: BTreeMap<TableName, BTreeSet<TableName>>,
    downstream: BTreeMap<TableName, BTreeSet<TableName>>,
    /// Jobs by their tags; only patterns use them.
    tags: BTreeMap<String, BTreeSet<TableName>>,
}

/// The jobs that may start now, and those that never will.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// In the graph's order.
    pub ready: Vec<TableName>,
    /// Jobs with a failed job somewhere upstream, and that job.
    pub blocked: BTreeMap<TableName, TableName>,
}

/// Tables that a job depends on: those of its query, and those of its `refers` expectations.
pub(crate) fn upstream_of(job: &Job) -> BTreeSet<TableName> {
    let mut tables = job.query.tables();
    // A table may refer to itself: this reads its previous version and adds no dependency.
    let referred = project::referred_tables(job).into_iter().map(|(_, table)| table);
    tables.extend(referred.filter(|table| *table != job.name));
    tables
}

impl Graph {
    /// A job depends on the tables that its query reads and that its `refers` expectations check against.
    ///
    /// # Errors
    /// `Invalid` with the jobs of a cycle, at the place in the SQL that closes it.
    pub fn new(project: &Project) -> Result<Self> {
        let mut upstream = BTreeMap::new();
        for (name, job) in &project.jobs {
            upstream.insert(name.clone(), upstream_of(job));
        }
        let graph = Self::from_upstream(upstream)
            .map_err(|cycle| Error::from(explain(|name| project.jobs.get(name), &cycle)))?;
        Ok(graph.with_tags(project.jobs.values()))
    }

    /// With the tags of jobs, so that patterns may name them.
    #[must_use]
    pub(crate) fn with_tags<'a>(mut self, jobs: impl Iterator<Item = &'a Job>) -> Self {
        for job in jobs {
            for tag in &job.manifest.tags {
                self.tags.entry(tag.clone()).or_default().insert(job.name.clone());
            }
        }
        self
    }

    /// Builds a graph from its edges: each job with the tables it reads. Tables that no job writes are left out.
    ///
    /// # Errors
    /// The jobs of a cycle: each reads the next one, the last one reads the first.
    pub fn from_upstream(mut upstream: BTreeMap<TableName, BTreeSet<TableName>>) -> Result<Self, Vec<TableName>> {
        let jobs: BTreeSet<TableName> = upstream.keys().cloned().collect();
        for tables in upstream.values_mut() {
            tables.retain(|table| jobs.contains(table));
        }
        let mut downstream: BTreeMap<TableName, BTreeSet<TableName>> =
            jobs.iter().map(|job| (job.clone(), BTreeSet::new())).collect();
        for (job, tables) in &upstream {
            for table in tables {
                downstream.entry(table.clone()).or_default().insert(job.clone());
            }
        }
        let order = topological(&upstream, &downstream).map_err(|rest| cycle(&upstream, &rest))?;
        Ok(Self { order, upstream, downstream, tags: BTreeMap::new() })
    }

    /// All jobs, upstream before downstream.
    pub fn order(&self) -> &[TableName] {
        &self.order
    }

    /// Jobs that can run in parallel: each reads only tables of earlier levels.
    pub fn levels(&self) -> Vec<Vec<TableName>> {
        let mut level_of: BTreeMap<&TableName, usize> = BTreeMap::new();
        let mut levels: Vec<Vec<TableName>> = Vec::new();
        for job in &self.order {
            let above = self.upstream(job).filter_map(|table| level_of.get(table)).max();
            let level = above.map_or(0, |above| above + 1);
            level_of.insert(job, level);
            if levels.len() == level {
                levels.push(Vec::new());
            }
            levels[level].push(job.clone());
        }
        levels
    }

    pub fn contains(&self, job: &TableName) -> bool {
        self.upstream.contains_key(job)
    }

    /// Jobs that this one reads directly.
    pub fn upstream(&self, job: &TableName) -> impl Iterator<Item = &TableName> {
        self.upstream.get(job).into_iter().flatten()
    }

    /// Jobs that read this one directly.
    pub fn downstream(&self, job: &TableName) -> impl Iterator<Item = &TableName> {
        self.downstream.get(job).into_iter().flatten()
    }

    /// The subgraph of these jobs: a job waits for another only if it reads it directly.
    ///
    /// # Errors
    /// `Invalid` for a job that the graph does not have, with the most similar name.
    pub fn select(&self, jobs: &[TableName]) -> Result<Self> {
        if let Some(unknown) = jobs.iter().find(|job| !self.contains(job)) {
            return Err(project::unknown_job(unknown, self.upstream.keys()));
        }
        let within = |edges: &BTreeMap<TableName, BTreeSet<TableName>>| {
            let mut kept = BTreeMap::new();
            for job in jobs {
                let tables = edges.get(job).into_iter().flatten().filter(|table| jobs.contains(table));
                kept.insert(job.clone(), tables.cloned().collect());
            }
            kept
        };
        Ok(Self {
            order: self.order.iter().filter(|job| jobs.contains(job)).cloned().collect(),
            upstream: within(&self.upstream),
            downstream: within(&self.downstream),
            tags: self.tags.clone(),
        })
    }

    /// The jobs that may start after `done` succeeded and `failed` failed; both are left out of the result.
    pub fn ready(&self, done: &BTreeSet<TableName>, failed: &BTreeSet<TableName>) -> Readiness {
        let mut readiness = Readiness::default();
        for job in &self.order {
            if done.contains(job) || failed.contains(job) {
                continue;
            }
            let cause = self.upstream(job).find_map(|table| match failed.contains(table) {
                true => Some(table.clone()),
                false => readiness.blocked.get(table).cloned(),
            });
            match cause {
                Some(cause) => {
                    readiness.blocked.insert(job.clone(), cause);
                }
                None if self.upstream(job).all(|table| done.contains(table)) => readiness.ready.push(job.clone()),
                None => {}
            }
        }
        readiness
    }
}

type Edges = BTreeMap<TableName, BTreeSet<TableName>>;

/// # Errors
/// A set of jobs that all read another job of the set.
fn topological(upstream: &Edges, downstream: &Edges) -> Result<Vec<TableName>, BTreeSet<TableName>> {
    let mut waits_for: BTreeMap<&TableName, usize> = upstream.iter().map(|(job, tables)| (job, tables.len())).collect();
    let mut ready: BTreeSet<&TableName> =
        waits_for.iter().filter(|(_, count)| **count == 0).map(|(job, _)| *job).collect();
    let mut order = Vec::with_capacity(upstream.len());
    while let Some(job) = ready.pop_first() {
        waits_for.remove(job);
        order.push(job.clone());
        for reader in downstream.get(job).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(reader) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(reader);
                }
            }
        }
    }
    match waits_for.is_empty() {
        true => Ok(order),
        false => Err(waits_for.into_keys().cloned().collect()),
    }
}

/// Follows the edges among `rest`, each of which reads another one of them, until a job repeats.
fn cycle(upstream: &Edges, rest: &BTreeSet<TableName>) -> Vec<TableName> {
    let mut path: Vec<TableName> = rest.first().cloned().into_iter().collect();
    while let Some(last) = path.last() {
        let Some(next) = upstream.get(last).into_iter().flatten().find(|table| rest.contains(table)) else { break };
        if let Some(start) = path.iter().position(|job| job == next) {
            path.drain(..start);
            break;
        }
        path.push(next.clone());
    }
    // Start with the smallest name, so that the message does not depend on where the search began.
    let least = path.iter().enumerate().min_by_key(|(_, job)| *job).map_or(0, |(index, _)| index);
    path.rotate_left(least);
    path
}

/// What is wrong with a cycle, at the place in the SQL that closes it.
pub(crate) fn explain<'a>(job: impl Fn(&TableName) -> Option<&'a Job>, cycle: &[TableName]) -> Diagnostic {
    let names: Vec<String> = cycle.iter().chain(cycle.first()).map(|job| format!("`{job}`")).collect();
    let message = match names.as_slice() {
        [name, _] => format!("{name} reads itself"),
        _ => format!("jobs wait for each other: {}", names.join(" reads ")),
    };
    let last = cycle.last().and_then(job);
    let place = cycle.first().zip(last).and_then(|(first, last)| place(last, first));
    let mut problem = place.unwrap_or_else(|| Diagnostic::of_file("project.toml", ""));
    problem.message = message;
    problem.with_help("a table is built from others: move what both need to a job of its own")
}

/// Where `job` names the table, without a message.
fn place(job: &Job, table: &TableName) -> Option<Diagnostic> {
    let text: Arc<str> = Arc::from(job.query.text.as_str());
    let reference = job.query.references.iter().find(|reference| reference.table().as_ref() == Some(table));
    match reference {
        Some(reference) => Some(Diagnostic::new(&job.query_path(), &text, reference.span.clone(), "")),
        None => project::referred_tables(job).into_iter().find(|(_, name)| name == table).map(|(place, _)| place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::ProjectFiles;

    fn table(text: &str) -> TableName {
        text.parse().unwrap()
    }

    fn project(jobs: &[(&str, &str)]) -> Project {
        let mut files: ProjectFiles = [("project.toml".to_owned(), "name = \"p\"".to_owned())].into();
        for (path, query) in jobs {
            files.insert(format!("{path}/job.toml"), "owner = \"o\"\ngrain = [\"x\"]\n[sink.overwrite]\n".to_owned());
            files.insert(format!("{path}/query.sql"), (*query).to_owned());
        }
        Project::parse(&files).unwrap_or_else(|error| panic!("{}", error.render()))
    }

    fn market() -> Graph {
        let jobs = [
            ("bronze/bars", "select 1 as x"),
            ("gold/daily", "select b.x from silver.bars b join silver.sessions s on b.x = s.x"),
            ("gold/trends", "select x from gold.daily"),
            ("silver/bars", "select x from bronze.bars"),
            ("silver/sessions", "select 1 as x"),
        ];
        Graph::new(&project(&jobs)).unwrap()
    }

    fn names(jobs: &[TableName]) -> String {
        jobs.iter().map(TableName::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn upstream_comes_first_and_names_decide_the_rest() {
        let graph = market();
        assert_eq!(names(graph.order()), "bronze.bars silver.bars silver.sessions gold.daily gold.trends");
        let levels: Vec<String> = graph.levels().iter().map(|level| names(level)).collect();
        assert_eq!(levels, ["bronze.bars silver.sessions", "silver.bars", "gold.daily", "gold.trends"]);
        let daily = table("gold.daily");
        assert_eq!(
            graph.upstream(&daily).cloned().collect::<Vec<_>>(),
            [table("silver.bars"), table("silver.sessions")]
        );
        assert_eq!(graph.downstream(&daily).cloned().collect::<Vec<_>>(), [table("gold.trends")]);
    }

    #[test]
    fn a_selection_keeps_the_order_and_the_edges_within() {
        let graph = market().select(&[table("gold.trends"), table("gold.daily"), table("bronze.bars")]).unwrap();
        assert_eq!(names(graph.order()), "bronze.bars gold.daily gold.trends");
        assert_eq!(graph.upstream(&table("gold.daily")).count(), 0);
        assert_eq!(graph.upstream(&table("gold.trends")).count(), 1);
        let unknown = market().select(&[table("gold.dayly")]).unwrap_err();
        insta::assert_snapshot!(unknown, @"no job writes `gold.dayly`: did you mean `gold.daily`?");
    }

    #[test]
    fn a_cycle_is_shown_where_the_sql_closes_it() {
        let jobs = [
            ("silver/a", "select x from silver.c"),
            ("silver/b", "select x\nfrom silver.a"),
            ("silver/c", "select x from silver.b"),
            ("silver/d", "select x from silver.a"),
        ];
        insta::assert_snapshot!(Graph::new(&project(&jobs)).unwrap_err().render(), @r"
        error: jobs wait for each other: `silver.a` reads `silver.c` reads `silver.b` reads `silver.a`
         --> silver/b/query.sql:2:6
          |
        2 | from silver.a
          |      ^^^^^^^^
          |
          = help: a table is built from others: move what both need to a job of its own
        ");
        let own = [("silver/a", "select x\nfrom silver.a")];
        insta::assert_snapshot!(Graph::new(&project(&own)).unwrap_err().render(), @r"
        error: `silver.a` reads itself
         --> silver/a/query.sql:2:6
          |
        2 | from silver.a
          |      ^^^^^^^^
          |
          = help: a table is built from others: move what both need to a job of its own
        ");
    }

    #[test]
    fn a_referred_table_comes_first() {
        let mut files: ProjectFiles = [("project.toml".to_owned(), "name = \"p\"".to_owned())].into();
        let refers = "[[expect]]\nname = \"n\"\non_fail = \"fail\"\nrefers = { column = \"x\", to = \"silver.z.x\" }\n";
        for name in ["a", "z"] {
            let job = format!("owner = \"o\"\ngrain = [\"x\"]\n[sink.overwrite]\n{refers}");
            files.insert(format!("silver/{name}/job.toml"), job);
            files.insert(format!("silver/{name}/query.sql"), "select 1 as x".to_owned());
        }
        let graph = Graph::new(&Project::parse(&files).unwrap()).unwrap();
        assert_eq!(names(graph.order()), "silver.z silver.a");
    }

    #[test]
    fn a_failure_blocks_everything_downstream_and_nothing_else() {
        let graph = market();
        let set = |names: &[&str]| names.iter().map(|name| table(name)).collect::<BTreeSet<_>>();
        assert_eq!(names(&graph.ready(&set(&[]), &set(&[])).ready), "bronze.bars silver.sessions");
        let readiness = graph.ready(&set(&["bronze.bars"]), &set(&["silver.sessions"]));
        assert_eq!(names(&readiness.ready), "silver.bars");
        let blocked = [("gold.daily", "silver.sessions"), ("gold.trends", "silver.sessions")];
        assert_eq!(readiness.blocked, blocked.map(|(job, cause)| (table(job), table(cause))).into());
    }
}
