//! What `sources.toml` declares: a mistake in one source stops only the jobs that read it.

use std::collections::BTreeMap;

use super::{ProjectFiles, source_checks};
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::sources::Sources;
use crate::sql::{EXTERNAL, Query, RAW};

pub(super) const PATH: &str = "sources.toml";

/// Sections of the file. A database may not take the name of one of `files`, and a landing asks a provider, so that they come later.
const SECTIONS: [&str; 5] = ["files", "tables", "databases", "providers", "landings"];

/// The sources that are in order, and what is known of the others.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) sources: Sources,
    /// By their name in SQL, with what is wrong.
    wrong: BTreeMap<String, Vec<Diagnostic>>,
    /// Mistakes of the file that are not of one source: nobody knows what else it meant to declare.
    general: Vec<Diagnostic>,
}

impl Declared {
    /// A project without sources.toml has no sources of files.
    pub(super) fn of(files: &ProjectFiles) -> Self {
        let Some(text) = files.get(PATH) else { return Self::default() };
        if let Ok((sources, document)) = Document::parse::<Sources>(PATH, text)
            && source_checks::check(&sources, &document).is_empty()
        {
            return Self { sources: sources.with_landed(), ..Self::default() };
        }
        match Document::new(PATH, text) {
            Ok(document) => Self::in_parts(&document),
            Err(problem) => Self { general: vec![problem], ..Self::default() },
        }
    }

    fn in_parts(document: &Document<'_>) -> Self {
        let mut declared = Self::default();
        for (section, value) in document.entries_of(&[]) {
            if !(SECTIONS.contains(&section) && value.is_table()) {
                declared.general.extend(document.only::<Sources>(section, None).err().unwrap_or_default());
            }
        }
        for section in SECTIONS {
            for (name, _) in document.entries_of(&[section]) {
                declared.take(document, section, name);
            }
        }
        declared.sources = declared.sources.with_landed();
        declared
    }

    fn take(&mut self, document: &Document<'_>, section: &str, name: &str) {
        let wrong = match document.only::<Sources>(section, Some(name)) {
            Err(wrong) => wrong,
            Ok(alone) => match section {
                "databases" | "providers" | "landings" => self.add(document, alone),
                _ => {
                    let wrong = source_checks::check(&alone, document);
                    if wrong.is_empty() {
                        self.sources.files.extend(alone.files);
                        self.sources.tables.extend(alone.tables);
                    }
                    wrong
                }
            },
        };
        if wrong.is_empty() {
            return;
        }
        let names: Vec<String> = match section {
            "files" => vec![format!("{RAW}.{name}")],
            "tables" => vec![format!("{EXTERNAL}.{name}")],
            "providers" | "landings" => vec![format!("{section}.{name}")],
            _ => {
                let path = [section, name, "tables"];
                let tables = document.entries_of(&path);
                // The database itself, so that its mistakes are kept where it has no table.
                tables.map(|(table, _)| format!("{RAW}.{table}")).chain([name.to_owned()]).collect()
            }
        };
        for name in names {
            self.wrong.entry(name).or_default().extend(wrong.iter().cloned());
        }
    }

    /// What is wrong with it beside the sources that are known; it is not added then.
    fn add(&mut self, document: &Document<'_>, alone: Sources) -> Vec<Diagnostic> {
        let mut with = self.sources.clone();
        with.databases.extend(alone.databases);
        with.providers.extend(alone.providers);
        with.landings.extend(alone.landings);
        let wrong = source_checks::check(&with, document);
        if wrong.is_empty() {
            self.sources = with;
        }
        wrong
    }

    /// All mistakes, in the order of the file.
    pub(super) fn mistakes(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = Vec::new();
        for problem in self.general.iter().chain(self.wrong.values().flatten()) {
            if !all.contains(problem) {
                all.push(problem.clone());
            }
        }
        all.sort_by_key(|problem| problem.line);
        all
    }

    /// Whether the file says something about a source of this name that is of no use.
    pub(super) fn is_wrong(&self, name: &str) -> bool {
        self.wrong.contains_key(name) || (!self.general.is_empty() && is_source(name))
    }

    /// Mistakes of the sources that a query reads.
    pub(super) fn mistakes_of(&self, query: &Query) -> Vec<Diagnostic> {
        let mut mistakes: Vec<Diagnostic> = Vec::new();
        for reference in &query.references {
            let own = self.wrong.get(&reference.name);
            let general = self.general.iter().filter(|_| own.is_none() && self.is_wrong(&reference.name));
            for problem in own.into_iter().flatten().chain(general) {
                if !mistakes.contains(problem) {
                    mistakes.push(problem.clone());
                }
            }
        }
        mistakes
    }

    /// Names in SQL of a layer's sources that have a mistake.
    pub(super) fn wrong_names<'a>(&'a self, layer: &'a str) -> impl Iterator<Item = String> + 'a {
        let is_of_layer = move |name: &&String| name.split_once('.').is_some_and(|(first, _)| first == layer);
        self.wrong.keys().filter(is_of_layer).cloned()
    }
}

/// The text with only those sources, whose values are as they were.
///
/// # Errors
/// `Internal`, when they have no TOML.
pub(super) fn without_mistakes(text: &str, good: &Sources) -> Result<String> {
    let mut table: toml::Table = toml::from_str(text).unwrap_or_default();
    table.retain(|section, value| {
        let toml::Value::Table(entries) = value else { return false };
        match section {
            "files" => entries.retain(|name, _| good.files.contains_key(name)),
            "tables" => entries.retain(|name, _| good.tables.contains_key(name)),
            "databases" => entries.retain(|name, _| good.databases.contains_key(name)),
            "providers" => entries.retain(|name, _| good.providers.contains_key(name)),
            "landings" => entries.retain(|name, _| good.landings.contains_key(name)),
            _ => return false,
        }
        true
    });
    toml::to_string(&table).map_err(|error| Error::internal("sources have no TOML").with_source(error))
}

fn is_source(name: &str) -> bool {
    name.split_once('.').is_some_and(|(layer, _)| layer == RAW || layer == EXTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[files.a]\nroot = \"$raw\"\ncolumns = [{ name = \"x\", type = \"int\" }]\n\
                        [files.a.feed.f]\npath = \"a.csv\"\nformat.csv = {}\n";

    fn declared(more: &str) -> Declared {
        Declared::of(&[(PATH.to_owned(), format!("{GOOD}{more}"))].into())
    }

    /// Sources that are in order, names of the others, and lines of all mistakes.
    fn outcome(more: &str) -> (String, String, Vec<usize>) {
        let declared = declared(more);
        let names = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<_>>().join(" ");
        let good = names(&mut declared.sources.files.keys());
        let lines = declared.mistakes().iter().map(|problem| problem.line).collect();
        (good, names(&mut declared.wrong.keys()), lines)
    }

    #[test]
    fn one_source_with_a_mistake_leaves_the_others() {
        let said = |good: &str, wrong: &str, lines: &[usize]| (good.to_owned(), wrong.to_owned(), lines.to_vec());
        assert_eq!(outcome(""), said("a", "", &[]));
        // What serde refuses, what our rules refuse, and both at once.
        assert_eq!(outcome("[files.b]\nrot = \"x\"\ncolumns = []\n"), said("a", "raw.b", &[7, 8]));
        assert_eq!(outcome("[files.b]\nroot = \"x\"\ncolumns = []\n").0, "a");
        assert_eq!(
            outcome("[files.b]\nroot = 1\n[files.c]\nroot = 2\n"),
            said("a", "raw.b raw.c", &[7, 7, 8, 9, 9, 10])
        );
        let (good, wrong, lines) = outcome("[tables.t]\n[files.B]\nroot = 3\n");
        assert_eq!((good.as_str(), wrong.as_str(), lines), ("a", "external.t raw.B", vec![7, 8, 8, 9]));
    }

    #[test]
    fn a_source_of_a_database_does_not_take_another_ones_name() {
        let database = "[databases.d]\nurl = \"postgresql://h/d\"\n[databases.d.tables.a]\n\
                        columns = [{ name = \"x\", type = \"int\" }]\n";
        let (good, wrong, lines) = outcome(database);
        assert_eq!((good.as_str(), wrong.as_str()), ("a", "d raw.a"));
        assert!(lines.contains(&9), "{lines:?}");
    }

    #[test]
    fn a_mistake_of_no_source_concerns_all_that_read_one() {
        for more in ["[filez.b]\nroot = \"x\"\n", "tables = 7 7\n"] {
            let declared = declared(more);
            assert_eq!(declared.mistakes().len(), 1, "{more}");
            assert!(declared.is_wrong("raw.z") && declared.is_wrong("external.z") && !declared.is_wrong("silver.a"));
        }
    }
}
