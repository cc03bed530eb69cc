//! Which jobs of the project write and read a table.

use std::collections::BTreeSet;

use pulse_core::Result;
use pulse_core::name::TableName;
use pulse_core::project::Parsed;

use crate::args::Global;
use crate::home::home;

/// The jobs of a project, also of those with a mistake.
pub(super) struct ProjectJobs(Parsed);

impl ProjectJobs {
    /// None where there is no project: a lake can be looked after without.
    ///
    /// # Errors
    /// `Invalid` with a mistake that is not of a single job.
    pub(super) fn of(global: &Global) -> Result<Option<Self>> {
        let home = home(global)?;
        if !home.has_project() {
            return Ok(None);
        }
        home.parsed().map(|parsed| Some(Self(parsed)))
    }

    /// Whether a job writes the table, or its rejected rows to it.
    pub(super) fn writes(&self, table: &TableName) -> bool {
        let job = table.quarantined().unwrap_or_else(|| table.clone());
        self.0.upstream.contains_key(&job)
    }

    pub(super) fn readers(&self, table: &TableName) -> BTreeSet<TableName> {
        let reads = |(_, upstream): &(&TableName, &BTreeSet<TableName>)| upstream.contains(table);
        self.0.upstream.iter().filter(reads).map(|(name, _)| name.clone()).collect()
    }
}
