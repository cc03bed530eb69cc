//! The meaning of a job: its query without layout, and the fields of the manifest and of the contracts it reads that
//! decide rows. A table's log stores it as numbers; if they differ, the table is computed from all inputs.
//!
//! Each part of a job has two numbers. The *exact* one, which builds before this scheme also stored, covers the text of
//! the query and every field. The *meaning* number covers [`canonical::job`] or [`canonical::feed`] and the exact
//! number stored with it: when an older build commits, it changes only the exact number, which invalidates the stored
//! meaning.
//!
//! A release may change what a function of the query returns. Such a function is a part with one number, which only
//! tables have whose queries call it. It covers the function's version and the job's exact number stored with it.

mod canonical;
mod exact;

use std::collections::HashMap;

use crate::Result;
use crate::fnv::hash_of;
use crate::project::{Job, Project};

/// Version of the canonical form. If it changes, numbers of the former form must still be computed and compared.
const SCHEME: u32 = 1;

/// The meaning of all parts of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: PartName,
    exact: i64,
    /// Canonical form of everything that decides rows.
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PartName {
    Job,
    /// `source/feed`
    Feed(String),
    Function(Function),
}

/// A function of a query that returned something else in earlier builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    /// Counts such changes, from 1.
    pub version: i64,
    /// Why a table with results of an earlier version is computed from all inputs.
    pub reason: &'static str,
}

impl Meaning {
    /// Covers the job and the contract of each feed that it reads, but not the location of files: a folder may move,
    /// and its files are identified by content.
    ///
    /// # Errors
    /// `Internal` when a manifest is not JSON.
    pub fn of(project: &Project, job: &Job) -> Result<Self> {
        let mut parts = vec![Part { name: PartName::Job, exact: exact::job(job)?, text: canonical::job(job) }];
        for name in job.query.files() {
            let Some(source) = project.sources.files.get(name) else { continue };
            for (feed, contract) in &source.feed {
                parts.push(Part {
                    name: PartName::Feed(format!("{name}/{feed}")),
                    exact: exact::feed(source, contract)?,
                    text: canonical::feed(source, contract),
                });
            }
        }
        Ok(Self(parts))
    }

    /// Adds the functions that the job's query calls.
    #[must_use]
    pub fn calling(mut self, functions: impl IntoIterator<Item = Function>) -> Self {
        self.0.extend(functions.into_iter().map(|function| Part {
            name: PartName::Function(function),
            exact: 0,
            text: function.version.to_string(),
        }));
        self
    }

    /// Why the table's contents do not match the job's current meaning.
    pub(crate) fn change(&self, stored: &HashMap<String, i64>) -> Option<&'static str> {
        let part = self.0.iter().find(|part| part.differs(stored))?;
        Some(match part.name {
            PartName::Job => "the job changed",
            PartName::Feed(_) => "sources.toml changed",
            PartName::Function(function) => function.reason,
        })
    }

    /// The numbers that a commit stores, by id.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (String, i64)> {
        let job = self.0.iter().find(|part| part.name == PartName::Job).map_or(0, |part| part.exact);
        self.0.iter().flat_map(move |part| match part.name.id() {
            Some(id) => vec![(part.name.exact_id(), part.exact), (id, part.number(part.exact))],
            None => vec![(part.name.exact_id(), part.number(job))],
        })
    }

    /// A job of one part.
    #[cfg(test)]
    pub(crate) fn test(exact: i64, text: &str) -> Self {
        Self(vec![Part { name: PartName::Job, exact, text: text.to_owned() }])
    }
}

impl Part {
    fn differs(&self, stored: &HashMap<String, i64>) -> bool {
        if matches!(self.name, PartName::Function(_)) {
            let job = stored.get(&PartName::Job.exact_id()).copied().unwrap_or_default();
            return stored.get(&self.name.exact_id()).copied() != Some(self.number(job));
        }
        // A number that a restored version did not have is negative.
        match (stored.get(&self.name.exact_id()).filter(|exact| **exact >= 0), &self.name) {
            (Some(exact), _) => {
                let meaning = self.name.id().and_then(|id| stored.get(&id));
                *exact != self.exact && meaning.copied() != Some(self.number(*exact))
            }
            (None, PartName::Job) => true,
            // Files that a new feed takes over are noticed by their bookmarks, which tell the feed.
            (None, PartName::Feed(_) | PartName::Function(_)) => false,
        }
    }

    /// The meaning number for this exact number.
    fn number(&self, exact: i64) -> i64 {
        hash_of(&[&self.text, &exact.to_string()])
    }
}

impl PartName {
    fn exact_id(&self) -> String {
        match self {
            Self::Job => "pulse/job".to_owned(),
            Self::Feed(feed) => format!("pulse/feed/{feed}"),
            Self::Function(function) => format!("pulse/function/{}", function.name),
        }
    }

    fn id(&self) -> Option<String> {
        match self {
            Self::Job => Some(format!("pulse/meaning/{SCHEME}")),
            Self::Feed(feed) => Some(format!("pulse/meaning/{SCHEME}/{feed}")),
            Self::Function(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
