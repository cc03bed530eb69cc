//! Lists the files of a source and decides, by bookmarks, which of them a run reads.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pulse_core::decide::{Bookmarks, FileChanges, RunPlan};
use pulse_core::{Error, Result};

use crate::job::Workbench;
use crate::job::roots::listed;
use crate::source::file::{Known, Listing, SourceFile, by_feed, digests, has_digest};
use crate::store::store_path;

/// One source of files.
#[derive(Debug, Clone)]
pub struct PinnedFiles {
    pub root: url::Url,
    /// Files that the run reads, in the order of feed and path.
    pub read: Vec<SourceFile>,
    /// Paths in `read` that were read before with different content.
    pub replaced: Vec<String>,
    /// Paths that were read before and no longer exist.
    pub gone: Vec<String>,
    /// Paths in `gone` whose rows the run removes.
    pub removed: Vec<String>,
    /// Number of files of the source.
    pub total: usize,
    pub warnings: Vec<String>,
    /// New bookmarks of files with a changed status but unchanged content, by path.
    renewed: Vec<(String, i64)>,
}

/// All files of a source, compared with the table's bookmarks.
pub(super) struct ListedFiles {
    pub(super) root: url::Url,
    files: Vec<SourceFile>,
    /// By path: the bookmark of an unchanged file; for other files a number that no bookmark of the file has.
    pub(super) marks: BTreeMap<String, i64>,
    renewed: Vec<(String, i64)>,
    warnings: Vec<String>,
}

/// Lists the source's files, and reads those whose status shows that they may have changed.
///
/// # Errors
/// `Invalid` when the root does not exist, otherwise as [`listed`] and [`digests`].
pub(super) async fn list_files(bench: &Workbench, name: &str, known: &Bookmarks) -> Result<ListedFiles> {
    let source = bench
        .project
        .sources
        .files
        .get(name)
        .ok_or_else(|| Error::internal(format!("source `raw.{name}` is referenced and not declared")))?;
    let (root, mut listing) = listed(bench, name, source).await?;
    let (store, folder) = (bench.lake.stores().client(&root)?, store_path(&root)?);
    listing.warnings.iter_mut().for_each(|warning| warning.insert_str(0, &format!("raw.{name}: ")));
    let marks = Marks::new(known, name, source.feed.keys().map(String::as_str));
    let unsure = listing.files.iter().filter(|file| marks.are_unsure(file)).cloned().collect();
    let digests = digests(store.as_ref(), &folder, unsure).await?;
    Ok(marks.compared(root, listing, &digests))
}

/// The bookmark of a file that is read now.
fn bookmark(file: &SourceFile, digest: u32) -> i64 {
    by_feed(&file.feed, file.fingerprint.bookmark(digest))
}

/// The bookmarks of one source's files.
struct Marks<'a> {
    known: &'a Bookmarks,
    source: &'a str,
    /// By which earlier builds have read files, whose bookmarks do not tell the feed.
    feeds: BTreeSet<&'a str>,
    /// One of these feeds is gone, and files that it read may belong to another feed now.
    one_is_gone: bool,
}

impl<'a> Marks<'a> {
    fn new(known: &'a Bookmarks, source: &'a str, feeds_now: impl Iterator<Item = &'a str>) -> Self {
        let (feeds, now) = (known.feeds(source), feeds_now.collect::<BTreeSet<_>>());
        Self { known, source, one_is_gone: !feeds.is_subset(&now), feeds }
    }

    /// What may be compared with the file's content as it is now: the bookmark by its feed, and one of an earlier build where no other
    /// feed can have read the file.
    fn of(&self, file: &SourceFile) -> Option<(i64, Vec<i64>)> {
        let stored = self.known.file(self.source, &file.path)?;
        let mut forms = vec![by_feed(&file.feed, stored)];
        if self.feeds.is_empty() || (self.feeds.contains(file.feed.as_str()) && !self.one_is_gone) {
            forms.push(stored);
        }
        Some((stored, forms))
    }

    fn are_unsure(&self, file: &SourceFile) -> bool {
        self.of(file).is_some_and(|(_, forms)| known_as(file, &forms) == Known::Unsure)
    }

    /// `digests` are those of files whose status differs.
    fn compared(&self, root: url::Url, listing: Listing, digests: &HashMap<String, u32>) -> ListedFiles {
        let (mut marks, mut renewed) = (BTreeMap::new(), Vec::new());
        for file in &listing.files {
            let digest = digests.get(&file.path).copied();
            let now = bookmark(file, digest.unwrap_or_default());
            let is_same =
                |forms: &[i64]| digest.is_some_and(|digest| forms.iter().any(|form| has_digest(*form, digest)));
            let mark = match self.of(file).map(|(stored, forms)| (stored, known_as(file, &forms), forms)) {
                Some((stored, Known::Same, _)) => stored,
                Some((stored, Known::Unsure, forms)) if is_same(&forms) => {
                    renewed.push((file.path.clone(), now));
                    stored
                }
                Some((_, Known::Unsure | Known::Changed, _)) | None => now,
            };
            marks.insert(file.path.clone(), mark);
        }
        ListedFiles { root, files: listing.files, marks, renewed, warnings: listing.warnings }
    }
}

fn known_as(file: &SourceFile, forms: &[i64]) -> Known {
    let known: Vec<Known> = forms.iter().map(|form| file.fingerprint.compared_with(*form)).collect();
    match known.iter().find(|known| **known != Known::Changed) {
        Some(_) if known.contains(&Known::Same) => Known::Same,
        Some(unsure) => *unsure,
        None => Known::Changed,
    }
}

impl ListedFiles {
    /// `gone` are all files that were read and no longer exist, as `source/path`.
    pub(super) fn read_by(self, name: &str, plan: &RunPlan, gone: &[String]) -> PinnedFiles {
        let total = self.files.len();
        let FileChanges { read, replaced, removed } = match plan {
            RunPlan::Nothing => FileChanges::default(),
            RunPlan::Changes { files, .. } => files.get(name).cloned().unwrap_or_default(),
            RunPlan::Rebuild { inputs, .. } | RunPlan::Observe { inputs, .. } => {
                FileChanges { read: inputs.files(name).to_vec(), ..FileChanges::default() }
            }
        };
        let wanted: HashSet<&str> = read.iter().map(String::as_str).collect();
        let read = self.files.into_iter().filter(|file| wanted.contains(file.path.as_str())).collect();
        let of_source = |file: &String| Some(file.strip_prefix(name)?.strip_prefix('/')?.to_owned());
        let gone: Vec<String> = gone.iter().filter_map(of_source).collect();
        PinnedFiles {
            root: self.root,
            read,
            replaced,
            gone,
            removed,
            total,
            warnings: self.warnings,
            renewed: self.renewed,
        }
    }
}

impl PinnedFiles {
    /// Bookmarks that a commit sets, by id; reads the files in `read`.
    ///
    /// # Errors
    /// As [`digests`].
    pub(super) async fn bookmarks(&self, bench: &Workbench, name: &str) -> Result<BTreeMap<String, i64>> {
        let (store, folder) = (bench.lake.stores().client(&self.root)?, store_path(&self.root)?);
        let files = self.read.iter().filter(|file| file.fingerprint.needs_digest()).cloned().collect();
        Ok(self.with_digests(name, &digests(store.as_ref(), &folder, files).await?))
    }

    fn with_digests(&self, name: &str, digests: &HashMap<String, u32>) -> BTreeMap<String, i64> {
        let bookmark = |file: &SourceFile| bookmark(file, digests.get(&file.path).copied().unwrap_or_default());
        let renewed = self.renewed.iter().map(|(path, bookmark)| (Bookmarks::file_id(name, path), *bookmark));
        let read = self.read.iter().map(|file| (Bookmarks::file_id(name, &file.path), bookmark(file)));
        renewed.chain(read).collect()
    }
}

#[cfg(test)]
mod tests;
