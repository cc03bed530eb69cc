//! Pages about a project and its lake, as texts: no I/O, no clock. Pages need neither a network nor scripts.

mod html;
mod index;
mod parts;
mod source;
mod table;

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use pulse_core::name::TableName;
use pulse_core::project::Project;
use pulse_core::run::RunRecord;

use crate::graph::{Lineage, Node};

pub(crate) const TABLES: &str = "tables";
pub(crate) const SOURCES: &str = "sources";

/// What is known when the pages are written.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) project: Project,
    pub(crate) lineage: Lineage,
    /// Columns of jobs as their queries say, and of tables of others as their logs say; not of those that could not be planned.
    pub(crate) schemas: BTreeMap<TableName, SchemaRef>,
    pub(crate) lake: LakeState,
    /// Newest first.
    pub(crate) runs: BTreeMap<TableName, Vec<RunRecord>>,
    pub(crate) written: DateTime<Utc>,
}

#[derive(Debug)]
pub(crate) enum LakeState {
    /// Why nothing of it is shown, as a sentence.
    Absent(String),
    Present {
        /// As it was given.
        root: String,
        /// Those of the project's jobs that it has.
        tables: BTreeMap<TableName, TableState>,
    },
}

/// A table's newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TableState {
    Known {
        version: u64,
        /// None when a file of the table does not say how many it has.
        rows: Option<u64>,
        bytes: u64,
        files: usize,
        /// Of the commit.
        at: Option<DateTime<Utc>>,
    },
    /// Why its log could not be read.
    Unreadable(String),
}

impl Site {
    /// Path below the site's folder, with `/`, to the page.
    pub(crate) fn pages(&self) -> BTreeMap<String, String> {
        let mut pages = BTreeMap::from([("index.html".to_owned(), index::page(self))]);
        for job in self.project.jobs.values() {
            pages.insert(format!("{TABLES}/{}.html", job.name), table::page(self, job));
        }
        for (name, source) in &self.project.sources.files {
            let page = match self.project.sources.database_of(name) {
                Some((database, declared, table)) => source::database(self, (database, declared), name, table),
                None => source::files(self, name, source),
            };
            pages.insert(format!("{SOURCES}/raw.{name}.html"), page);
        }
        for (name, table) in &self.project.sources.tables {
            pages.insert(format!("{SOURCES}/external.{name}.html"), source::external(self, name, table));
        }
        pages
    }

    fn state(&self, table: &TableName) -> Option<&TableState> {
        match &self.lake {
            LakeState::Absent(_) => None,
            LakeState::Present { tables, .. } => tables.get(table),
        }
    }

    fn last_run(&self, table: &TableName) -> Option<&RunRecord> {
        self.runs.get(table)?.first()
    }
}

/// Where a node's page lies below the site's folder.
fn path(node: &Node) -> String {
    let folder = if node.is_source() { SOURCES } else { TABLES };
    format!("{folder}/{}.html", node.name)
}

#[cfg(test)]
mod tests;
