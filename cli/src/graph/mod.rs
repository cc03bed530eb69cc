//! Sources, jobs and tables of others as one graph, and its forms for people and programs.

mod dot;
mod layout;
mod svg;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::name::TableName;
use pulse_core::project::{Job, Project};
use pulse_core::sql::{EXTERNAL, RAW};
use pulse_core::{Error, Result};

pub(crate) use dot::dot;
pub(crate) use svg::svg;
pub(crate) use text::text;

/// What feeds what. Nodes are in the order of their names, sources before jobs; edges name nodes by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) nodes: Vec<Node>,
    /// From what is read to the job that reads it.
    pub(crate) edges: BTreeMap<(usize, usize), Use>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// `<layer>.<table>`
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Files {
        feeds: usize,
    },
    /// A table or a query of a database.
    Database,
    /// A table that others write.
    External,
    Job,
}

/// What a job wants of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// Its query reads it.
    Reads,
    /// Only an expectation looks up values in it.
    Refers,
}

impl Node {
    pub(crate) fn layer(&self) -> &str {
        self.name.split_once('.').map_or("", |(layer, _)| layer)
    }

    pub(crate) fn table(&self) -> &str {
        self.name.split_once('.').map_or(self.name.as_str(), |(_, table)| table)
    }

    pub(crate) fn is_source(&self) -> bool {
        self.kind != Kind::Job
    }
}

impl Lineage {
    /// All of a project, also sources that nothing reads.
    pub(crate) fn of(project: &Project) -> Self {
        let files = project.sources.files.iter().map(|(name, source)| {
            let kind = match project.sources.database_of(name) {
                Some(_) => Kind::Database,
                None => Kind::Files { feeds: source.feed.len() },
            };
            (format!("{RAW}.{name}"), kind)
        });
        let external = project.sources.tables.keys().map(|name| (format!("{EXTERNAL}.{name}"), Kind::External));
        let jobs = project.jobs.keys().map(|name| (name.to_string(), Kind::Job));
        let nodes: Vec<Node> = files.chain(external).chain(jobs).map(|(name, kind)| Node { name, kind }).collect();
        let places: BTreeMap<&str, usize> =
            nodes.iter().enumerate().map(|(place, node)| (node.name.as_str(), place)).collect();
        let mut edges = BTreeMap::new();
        for (name, job) in &project.jobs {
            let Some(&to) = places.get(name.to_string().as_str()) else { continue };
            for (source, how) in uses(job) {
                if let Some(&from) = places.get(source.as_str()).filter(|from| **from != to) {
                    edges.insert((from, to), how);
                }
            }
        }
        Self { nodes, edges }
    }

    /// These jobs, with all that they are computed from and all that is computed from them.
    ///
    /// # Errors
    /// `Invalid` for a name that the project does not have.
    pub(crate) fn around(&self, names: &[String]) -> Result<Self> {
        let mut kept = BTreeSet::new();
        for name in names {
            let place = self.nodes.iter().position(|node| node.name == *name).ok_or_else(|| self.unknown(name))?;
            kept.extend(self.reached(place, |&(from, to)| (from, to)));
            kept.extend(self.reached(place, |&(from, to)| (to, from)));
        }
        let places: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let edge = |(&(from, to), how): (&(usize, usize), &Use)| Some(((*places.get(&from)?, *places.get(&to)?), *how));
        Ok(Self {
            nodes: kept.iter().filter_map(|place| self.nodes.get(*place)).cloned().collect(),
            edges: self.edges.iter().filter_map(edge).collect(),
        })
    }

    /// Names of what a node reads.
    pub(crate) fn upstream(&self, node: usize) -> impl Iterator<Item = (&Node, Use)> {
        let edges = self.edges.iter().filter(move |((_, to), _)| *to == node);
        edges.filter_map(|((from, _), how)| Some((self.nodes.get(*from)?, *how)))
    }

    /// Names of what reads a node.
    pub(crate) fn downstream(&self, node: usize) -> impl Iterator<Item = (&Node, Use)> {
        let edges = self.edges.iter().filter(move |((from, _), _)| *from == node);
        edges.filter_map(|((_, to), how)| Some((self.nodes.get(*to)?, *how)))
    }

    /// Layers with their nodes, in the order in which data passes them; sources come first.
    pub(crate) fn layers(&self) -> Vec<(&str, Vec<usize>)> {
        let columns = layout::columns(&self.shape(|_| 0));
        let mut layers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, node) in self.nodes.iter().enumerate() {
            layers.entry(node.layer()).or_default().push(place);
        }
        let mut layers: Vec<_> = layers.into_iter().collect();
        for (_, places) in &mut layers {
            places.sort_by_key(|place| (columns.get(*place), *place));
        }
        // By the mean column as a fraction: a layer may hold a job that reads nothing and stands far to the left.
        let key = |places: &[usize]| {
            let sum: usize = places.iter().filter_map(|place| columns.get(*place)).sum();
            let is_job = places.iter().filter_map(|place| self.nodes.get(*place)).any(|node| !node.is_source());
            (is_job, sum * 1000 / places.len().max(1))
        };
        layers.sort_by(|a, b| (key(&a.1), a.0).cmp(&(key(&b.1), b.0)));
        layers
    }

    fn shape(&self, width: impl Fn(&Node) -> i64) -> layout::Shape {
        layout::Shape { widths: self.nodes.iter().map(width).collect(), edges: self.edges.keys().copied().collect() }
    }

    fn reached(&self, start: usize, along: impl Fn(&(usize, usize)) -> (usize, usize)) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([start]);
        let mut next = vec![start];
        while let Some(node) = next.pop() {
            for (_, to) in self.edges.keys().map(&along).filter(|(from, _)| *from == node) {
                if reached.insert(to) {
                    next.push(to);
                }
            }
        }
        reached
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        match pulse_core::diagnostic::closest(name, known.iter().copied()) {
            Some(meant) => Error::invalid(format!("the project has no `{name}`: did you mean `{meant}`?")),
            None => Error::invalid(format!("the project has no `{name}`: it has {}", known.join(", "))),
        }
    }
}

/// What a job needs, by name; a table that is read and referred to is read.
fn uses(job: &Job) -> BTreeMap<String, Use> {
    let referred = job.manifest.expect.iter().filter_map(|expectation| expectation.refers.as_ref()?.target().ok());
    let mut uses: BTreeMap<String, Use> = referred.map(|(table, _)| (table.to_string(), Use::Refers)).collect();
    uses.extend(job.query.tables().iter().map(TableName::to_string).map(|table| (table, Use::Reads)));
    uses.extend(job.query.files().into_iter().map(|name| (format!("{RAW}.{name}"), Use::Reads)));
    uses
}

#[cfg(test)]
mod tests;
