//! Files of jobs, by their folders.

use std::collections::BTreeMap;

use super::ProjectFiles;
use crate::diagnostic::Diagnostic;

/// What lies in one job's folder.
pub(super) struct Folder<'a> {
    pub(super) layer: &'a str,
    pub(super) table: &'a str,
    pub(super) manifest: Option<&'a str>,
    pub(super) query: Option<&'a str>,
    /// Path and text.
    pub(super) tests: Vec<(&'a str, &'a str)>,
}

pub(super) fn folders(files: &ProjectFiles) -> BTreeMap<String, Folder<'_>> {
    let mut folders: BTreeMap<String, Folder<'_>> = BTreeMap::new();
    for (path, text) in files {
        let parts: Vec<&str> = path.split('/').collect();
        let (layer, table, rest) = match parts[..] {
            [layer, table, ref rest @ ..] => (layer, table, rest),
            _ => continue,
        };
        let is_test = matches!(rest, ["tests", file] if file.ends_with(".toml"));
        if !is_test && !matches!(rest, ["job.toml" | "query.sql"]) {
            continue;
        }
        let folder = folders.entry(format!("{layer}/{table}")).or_insert_with(|| Folder {
            layer,
            table,
            manifest: None,
            query: None,
            tests: Vec::new(),
        });
        match rest {
            ["job.toml"] => folder.manifest = Some(text),
            ["query.sql"] => folder.query = Some(text),
            _ => folder.tests.push((path, text)),
        }
    }
    folders
}

/// Files of jobs that do not lie in `<layer>/<table>/`, and further TOML files there, which may be tests that would never run.
pub(super) fn misplaced(files: &ProjectFiles) -> Vec<Diagnostic> {
    let is_misplaced = |path: &&String| {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts[..], [.., "job.toml" | "query.sql"]) && parts.len() != 3 && parts.get(2) != Some(&"tests")
    };
    let problem = |path: &String| {
        Diagnostic::of_file(path, "a job does not lie here").with_help(
            "its files are `<layer>/<table>/job.toml` and `<layer>/<table>/query.sql`: move or rename the file",
        )
    };
    let is_unread = |path: &&String| match path.split('/').collect::<Vec<_>>()[..] {
        [layer, table, .., file] if files.contains_key(&format!("{layer}/{table}/job.toml")) => {
            let read = [format!("{layer}/{table}/job.toml"), format!("{layer}/{table}/tests/{file}")];
            file.ends_with(".toml") && !read.contains(path) && file != "job.toml"
        }
        _ => false,
    };
    let unread = |path: &String| {
        Diagnostic::of_file(path, "nothing reads this file")
            .with_help("tests of a job lie in its folder `tests`: move the file there, or remove it")
    };
    let misplaced = files.keys().filter(is_misplaced).map(problem);
    misplaced.chain(files.keys().filter(is_unread).map(unread)).collect()
}
