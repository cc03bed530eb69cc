//! Lists the files of a source and decides, by bookmarks, which of them a run reads.

use std::collections::{BTreeMap, HashMap, HashSet};

use pulse_core::decide::{Bookmarks, FileChanges, RunPlan};
use pulse_core::{Error, Result};

use crate::job::Workbench;
use crate::job::roots::listed;
use crate::source::file::{Known, Listing, SourceFile, digests, has_digest};
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
    let unsure = listing.files.iter().filter(|file| is_unsure(file, known.file(name, &file.path))).cloned().collect();
    let digests = digests(store.as_ref(), &folder, unsure).await?;
    Ok(compared(root, listing, |path| known.file(name, path), &digests))
}

fn is_unsure(file: &SourceFile, bookmark: Option<i64>) -> bool {
    bookmark.is_some_and(|bookmark| file.fingerprint.compared_with(bookmark) == Known::Unsure)
}

/// `digests` are those of files whose status differs.
fn compared(
    root: url::Url,
    listing: Listing,
    bookmark_of: impl Fn(&str) -> Option<i64>,
    digests: &HashMap<String, u32>,
) -> ListedFiles {
    let (mut marks, mut renewed) = (BTreeMap::new(), Vec::new());
    for file in &listing.files {
        let digest = digests.get(&file.path).copied();
        let now = file.fingerprint.bookmark(digest.unwrap_or_default());
        let mark = match bookmark_of(&file.path).map(|known| (known, file.fingerprint.compared_with(known))) {
            Some((known, Known::Same)) => known,
            Some((known, Known::Unsure)) if digest.is_some_and(|digest| has_digest(known, digest)) => {
                renewed.push((file.path.clone(), now));
                known
            }
            Some((_, Known::Unsure | Known::Changed)) | None => now,
        };
        marks.insert(file.path.clone(), mark);
    }
    ListedFiles { root, files: listing.files, marks, renewed, warnings: listing.warnings }
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
        let bookmark =
            |file: &SourceFile| file.fingerprint.bookmark(digests.get(&file.path).copied().unwrap_or_default());
        let renewed = self.renewed.iter().map(|(path, bookmark)| (Bookmarks::file_id(name, path), *bookmark));
        let read = self.read.iter().map(|file| (Bookmarks::file_id(name, &file.path), bookmark(file)));
        renewed.chain(read).collect()
    }
}

#[cfg(test)]
mod tests;
