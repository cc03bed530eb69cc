//! Which files a source has now.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pulse_core::sources::FileSource;
use pulse_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::pattern::Pattern;
use super::table_folder::TableFolders;
use crate::error::from_store;
use crate::store::{LEDGER, LEFT_LINK, UNSHOWN};

/// One file of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    pub feed: String,
    /// Path below the source's root, as the store spells it.
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub fingerprint: Fingerprint,
    /// Values of the path's placeholders, without nulls.
    pub captures: BTreeMap<String, String>,
    /// Why the file is not read; one rejected row stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Files of a source, in the order of feed and path, and what a person should know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub files: Vec<SourceFile>,
    /// Feeds without files, and folders that are links.
    pub warnings: Vec<String>,
}

/// Finds the files of all feeds below `root`. A file that several feeds match belongs to the one whose path says most.
///
/// # Errors
/// `Invalid` when a path is not a pattern, a file belongs to two feeds alike or is one of a table, `Unavailable` when the store does not
/// answer.
pub async fn list(store: &dyn ObjectStore, root: &Path, source: &FileSource) -> Result<Listing> {
    let mut feeds = Vec::new();
    for (name, feed) in &source.feed {
        feeds.push((name.as_str(), Pattern::of(feed)?));
    }
    let mut files = Vec::new();
    let mut linked = Vec::new();
    let mut tables = TableFolders::of(source);
    for folder in folders(&feeds) {
        let prefix = below(root, &folder)?;
        let found: Vec<ObjectMeta> = store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|error| from_store(&format!("list `{folder}` below `{}`", source.root), &error))?;
        for meta in found {
            if meta.e_tag.as_deref() == Some(LEFT_LINK) && leads_to_folder(&meta) {
                linked.push(meta.location);
                continue;
            }
            files.extend(source_file(&meta, root, &feeds)?);
            tables.iter_mut().for_each(|tables| tables.note(&meta));
        }
        if let Some(tables) = tables.as_mut().filter(|_| !files.is_empty()) {
            tables.look_above(store, root, &prefix).await?;
        }
    }
    if let Some(tables) = tables {
        tables.refuse(source, root, &files)?;
    }
    tell_apart(&mut files);
    files.sort_by(|a, b| (&a.feed, &a.path).cmp(&(&b.feed, &b.path)));
    let mut warnings: Vec<String> = feeds
        .iter()
        .filter(|(name, _)| !files.iter().any(|file| file.feed == *name))
        .map(|(name, pattern)| match files.iter().find(|file| pattern.captures(&file.path).is_some()) {
            Some(file) => format!(
                "feed `{name}` has no files: what matches `{pattern}` belongs to feeds whose `path` says more, such as `{}` to `{}`",
                file.path, file.feed
            ),
            None => format!("feed `{name}` has no files: nothing below `{}` matches `{pattern}`", source.root),
        })
        .collect();
    warnings.extend(linked.iter().min().map(|first| {
        format!(
            "folders below `{}` are symbolic links and not looked into ({}, `/{first}` the first): set `follow_links = true` of the \
             source if they may be",
            source.root,
            linked.len()
        )
    }));
    Ok(Listing { files, warnings })
}

/// A path below `root`; the store's own spelling of both is kept.
pub(super) fn below(root: &Path, path: &str) -> Result<Path> {
    let joined = [root.as_ref(), path].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    Path::parse(&joined).map_err(|error| Error::invalid(format!("`{joined}` is not a path")).with_source(error))
}

fn source_file(meta: &ObjectMeta, root: &Path, feeds: &[(&str, Pattern)]) -> Result<Option<SourceFile>> {
    let Some(path) = meta.location.as_ref().strip_prefix(root.as_ref()).map(|path| path.trim_start_matches('/')) else {
        return Ok(None);
    };
    // The ledger of a lake that lies below the root holds what others have submitted.
    if path.split('/').any(|part| part == LEDGER) {
        return Ok(None);
    }
    let mut matching: Vec<_> = feeds
        .iter()
        .filter_map(|(name, pattern)| Some((pattern.literal_characters(), *name, pattern.captures(path)?)))
        .collect();
    matching.sort_by_key(|(characters, ..)| std::cmp::Reverse(*characters));
    let mut matching = matching.into_iter();
    let Some((characters, feed, captures)) = matching.next() else { return Ok(None) };
    if let Some((others, other, _)) = matching.next()
        && others == characters
    {
        return Err(Error::invalid(format!(
            "file `{path}` belongs to the feeds `{feed}` and `{other}`: make their paths differ"
        )));
    }
    let (feed, path) = (feed.to_owned(), path.to_owned());
    let fault = match meta.e_tag.as_deref() {
        Some(LEFT_LINK) => Some("the file is a symbolic link, which `follow_links` of the source does not allow"),
        Some(UNSHOWN) => Some("the file's name has characters that cannot be shown, and is escaped here: rename it"),
        _ => None,
    };
    let fingerprint = match fault {
        Some(_) => Fingerprint::of(&ObjectMeta { version: None, ..meta.clone() }),
        None => Fingerprint::of(meta),
    };
    let fault = fault.map(|fault| format!("{fault}; the file is not read"));
    Ok(Some(SourceFile { feed, path, size: meta.size, fingerprint, captures, fault }))
}

/// Of a link on this machine.
fn leads_to_folder(link: &ObjectMeta) -> bool {
    std::fs::metadata(std::path::Path::new("/").join(link.location.as_ref())).is_ok_and(|facts| facts.is_dir())
}

/// An escaped name may be that of another file. Two files of one path would be one file to a bookmark.
fn tell_apart(files: &mut [SourceFile]) {
    let mut taken: HashSet<(String, String)> =
        files.iter().filter(|file| file.fault.is_none()).map(|file| (file.feed.clone(), file.path.clone())).collect();
    for file in files.iter_mut().filter(|file| file.fault.is_some()) {
        while !taken.insert((file.feed.clone(), file.path.clone())) {
            file.path.push('\\');
        }
    }
}

/// The folders to search, none within another.
fn folders(feeds: &[(&str, Pattern)]) -> Vec<String> {
    let all: Vec<String> = feeds.iter().map(|(_, pattern)| pattern.folder()).collect();
    let is_within = |inner: &str, outer: &str| {
        outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
    };
    let mut folders: Vec<String> = Vec::new();
    for folder in &all {
        if !folders.contains(folder) && !all.iter().any(|outer| outer != folder && is_within(folder, outer)) {
            folders.push(folder.clone());
        }
    }
    folders
}
