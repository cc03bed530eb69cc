//! Decides what happens to the rows of files that were read and deleted since.

use std::collections::BTreeMap;

use super::{Bookmarks, FileChanges, Observed, RunPlan};
use crate::interval_set::IntervalSet;
use crate::sources::OnMissing;
use crate::{Error, Result};

/// A plan that only removes the rows of these files, given as `source/path`, and reads nothing.
///
/// # Errors
/// `Invalid` when the table has no rows of a file, or the file still exists.
pub fn forget(known: &Bookmarks, observed: &Observed, files: &[String]) -> Result<RunPlan> {
    let gone = known.gone(observed);
    let mut changes: BTreeMap<String, FileChanges> = BTreeMap::new();
    for file in files {
        let Some((source, path)) = file.split_once('/').filter(|(source, path)| known.file(source, path).is_some())
        else {
            return Err(Error::invalid(format!(
                "the table has not read a file raw.{file}, or has forgotten it already"
            )));
        };
        if !gone.contains(file) {
            return Err(Error::invalid(format!(
                "file raw.{file} is still there, and would be read again: remove it first"
            )));
        }
        let removed = &mut changes.entry(source.to_owned()).or_default().removed;
        if !removed.iter().any(|other| other == path) {
            removed.push(path.to_owned());
        }
    }
    let none = IntervalSet::default;
    Ok(RunPlan::Changes { files: changes, intervals: none(), again: none() })
}

/// Deleted files that were read before, as `source/path`, by the configured treatment of their rows.
#[derive(Debug, Default)]
pub(super) struct Gone {
    files: Vec<(String, OnMissing)>,
}

impl Gone {
    pub(super) fn new(known: &Bookmarks, observed: &Observed) -> Self {
        let asked = |file: &String| {
            let source = file.split_once('/').map_or("", |(source, _)| source);
            observed.on_missing.get(source).copied().unwrap_or_default()
        };
        let files = known.gone(observed).into_iter().map(|file| {
            let asked = asked(&file);
            (file, asked)
        });
        Self { files: files.collect() }
    }

    /// All of them.
    pub(super) fn files(&self) -> Vec<String> {
        self.files.iter().map(|(file, _)| file.clone()).collect()
    }

    /// Describes those whose rows must stay.
    pub(super) fn kept(&self) -> Option<String> {
        let mut kept = self.files.iter().filter(|(_, on_missing)| *on_missing == OnMissing::Keep);
        let (first, _) = kept.next()?;
        Some(match kept.count() {
            0 => format!("1 file that it was made from is gone, such as raw.{first}"),
            others => format!("{} files that it was made from are gone, such as raw.{first}", others + 1),
        })
    }

    /// Paths of one source whose rows are removed.
    pub(super) fn removed_of(&self, source: &str) -> Vec<String> {
        let removed = self.files.iter().filter(|(_, on_missing)| *on_missing == OnMissing::Remove);
        removed.filter_map(|(file, _)| Some(file.strip_prefix(source)?.strip_prefix('/')?.to_owned())).collect()
    }

    pub(super) fn refuse_failing(&self) -> Result<()> {
        /// Files that the error names.
        const NAMED: usize = 3;
        let failing = self.files.iter().filter(|(_, on_missing)| *on_missing == OnMissing::Fail);
        let failing: Vec<String> = failing.map(|(file, _)| format!("raw.{file}")).collect();
        if failing.is_empty() {
            return Ok(());
        }
        let named = failing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = match failing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (files, them) = match failing.len() {
            1 => ("1 file that was read is".to_owned(), "it"),
            count => (format!("{count} files that were read are"), "them"),
        };
        Err(Error::data(format!(
            "{files} gone, and `on_missing` of the source is \"fail\": {named}{more}; put {them} back, or remove the rows with \
             `pulse table forget`"
        )))
    }
}
