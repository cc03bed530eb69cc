//! Which jobs of a selection can run: an error in one job stops only the jobs that need it.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::graph::Graph;
use pulse_core::name::TableName;
use pulse_core::project::{Parsed, Project, ProjectFiles};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::job::{ExternalSchemas, check_each};

use crate::args::{Global, Selection};
use crate::home::home;
use crate::{output, setup};

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
        let parsed = home(global)?.parsed()?;
        let selected = setup::graph(&parsed.graph()?, selection)?;
        let good: Vec<TableName> =
            selected.order().iter().filter(|name| parsed.project.jobs.contains_key(*name)).cloned().collect();
        let named: Vec<TableName> = selection.jobs.iter().filter_map(|name| name.parse().ok()).collect();
        let named: Vec<TableName> = named.into_iter().filter(|name| good.contains(name)).collect();
        parsed.project.check_asked(&named, setup::asked(selection)?.interval)?;
        let checked = check_each(
            &setup::state(settings, &setup::stores(settings))?,
            &parsed.project,
            &ExternalSchemas::new(),
            &good,
        )
        .await?;
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
        Ok(Self { graph: selected.select(&runs)?, project: parsed.project, mistakes, blocked, good })
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
