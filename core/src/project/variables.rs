//! `$name` in the roots and locations of sources.toml.

use std::collections::{BTreeMap, BTreeSet};

use super::{Project, listed};
use crate::diagnostic;
use crate::error::{Error, Result};
use crate::name::TableName;
use crate::sources::{Address, Database, ExternalTable, FileSource, Provider};
use crate::sql::RAW;

impl Project {
    /// Names of the variables that sources need, without the `$`.
    pub fn variables(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let roots = self.sources.files.values().map(|source| &source.root);
        let locations = self.sources.tables.values().map(|table| &table.location);
        let urls = self.sources.databases.values().map(|database| &database.url);
        let of_providers = self.sources.providers.values().flat_map(|provider| [&provider.url, &provider.root]);
        for text in roots.chain(locations).chain(urls).chain(of_providers) {
            names.extend(variables_of(text).into_iter().map(str::to_owned));
        }
        names
    }

    /// Those of [`Self::variables`] whose values are parts of the URL of a database or a provider, and no folders.
    pub fn variables_of_urls(&self) -> BTreeSet<String> {
        let databases = self.sources.databases.values().map(|database| &database.url);
        let providers = self.sources.providers.values().map(|provider| &provider.url);
        databases.chain(providers).flat_map(|url| variables_of(url)).map(str::to_owned).collect()
    }

    /// The project with the values in place of the variables. A source keeps a variable that has no value: only jobs that read it
    /// need one, see [`check_values`](Self::check_values).
    #[must_use]
    pub fn with_variables(&self, values: &BTreeMap<String, String>) -> Self {
        let mut project = self.clone();
        for source in project.sources.files.values_mut() {
            if let Ok(root) = substitute(&source.root, values) {
                source.written_root = Some(std::mem::replace(&mut source.root, root));
            }
        }
        for table in project.sources.tables.values_mut() {
            if let Ok(location) = substitute(&table.location, values) {
                table.written_location = Some(std::mem::replace(&mut table.location, location));
            }
        }
        for database in project.sources.databases.values_mut() {
            if let Ok(url) = substitute(&database.url, values) {
                database.written_url = Some(std::mem::replace(&mut database.url, url));
            }
        }
        for provider in project.sources.providers.values_mut() {
            if let Ok(url) = substitute(&provider.url, values) {
                provider.written_url = Some(std::mem::replace(&mut provider.url, url));
            }
            if let Ok(root) = substitute(&provider.root, values) {
                provider.written_root = Some(std::mem::replace(&mut provider.root, root));
            }
        }
        project
    }

    /// # Errors
    /// `Invalid` with a value that is of no use to any source.
    pub fn check_names(&self, values: &BTreeMap<String, String>) -> Result<()> {
        let known = self.variables();
        match values.keys().find(|name| !known.contains(*name)) {
            Some(unknown) => {
                Err(Error::invalid(format!("no source uses the variable `{unknown}`: {}", meant(unknown, &known))))
            }
            None => Ok(()),
        }
    }

    /// # Errors
    /// `Invalid` with the first source of the jobs that needs a variable without a value.
    pub fn check_values(&self, jobs: &[TableName]) -> Result<()> {
        for job in jobs {
            let query = &self.job(job)?.query;
            let files = query.files().into_iter().filter_map(|name| Some((name, self.sources.files.get(name)?)));
            for (name, source) in files {
                match self.sources.database_of(name) {
                    Some((database, declared, _)) => drop(declared.address(database)?),
                    None => source.check_root(name)?,
                }
            }
            for (name, table) in query.tables().iter().filter_map(|name| Some((name, self.external(name)?))) {
                table.check_location(name)?;
            }
        }
        Ok(())
    }
}

impl FileSource {
    /// # Errors
    /// `Invalid` when a variable of the root has no value.
    pub fn check_root(&self, name: &str) -> Result<()> {
        check_place(&format!("{RAW}.{name}"), &self.root, self.written_root.is_some())
    }
}

impl ExternalTable {
    /// # Errors
    /// `Invalid` when a variable of the location has no value.
    pub fn check_location(&self, name: &TableName) -> Result<()> {
        check_place(&name.to_string(), &self.location, self.written_location.is_some())
    }
}

impl Database {
    /// # Errors
    /// `Invalid` when a variable of the URL has no value, or the URL is none.
    pub fn address(&self, name: &str) -> Result<Address> {
        let source = format!("databases.{name}");
        if let Some(name) = unset(&self.url, self.written_url.is_some()) {
            return Err(needs(&source, name, &format!("`--var {name}=VALUE`")));
        }
        Address::parse(&self.url).map_err(|why| Error::invalid(format!("`{source}` of sources.toml: {why}")))
    }
}

impl Provider {
    /// # Errors
    /// `Invalid` when a variable of the URL or the root has no value.
    pub fn check_places(&self, name: &str) -> Result<()> {
        let source = format!("providers.{name}");
        if let Some(name) = unset(&self.url, self.written_url.is_some()) {
            return Err(needs(&source, name, &format!("`--var {name}=VALUE`")));
        }
        check_place(&source, &self.root, self.written_root.is_some())
    }
}

/// What was probably meant, or all there are.
pub(super) fn meant(unknown: &str, known: &BTreeSet<String>) -> String {
    match diagnostic::closest(unknown, known.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the project has {}", listed(&known.iter().cloned().collect::<Vec<_>>())),
    }
}

fn check_place(source: &str, text: &str, is_final: bool) -> Result<()> {
    match unset(text, is_final) {
        Some(name) => Err(needs(source, name, &format!("`--var {name}=FOLDER` (or a URL)"))),
        None => Ok(()),
    }
}

/// The first variable that still stands in a text.
fn unset(text: &str, is_final: bool) -> Option<&str> {
    if is_final { None } else { variables_of(text).into_iter().next() }
}

fn needs(source: &str, name: &str, option: &str) -> Error {
    Error::invalid(format!(
        "`{source}` of sources.toml needs the variable `{name}`: pass {option}, or set it in project.toml"
    ))
}

/// Names of the variables in a root, in its order.
pub fn variables_of(root: &str) -> Vec<&str> {
    let name = |piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Text(_) => None,
    };
    pieces(root).into_iter().filter_map(name).collect()
}

/// # Errors
/// The first variable without a value.
fn substitute<'a>(root: &'a str, values: &BTreeMap<String, String>) -> std::result::Result<String, &'a str> {
    let mut text = String::new();
    for piece in pieces(root) {
        match piece {
            // `$raw/daily` with `s3://bucket/` is not `s3://bucket//daily`, which is another place.
            Piece::Text(piece) if text.ends_with('/') => text.push_str(piece.trim_start_matches('/')),
            Piece::Text(piece) => text.push_str(piece),
            Piece::Variable(name) => match values.get(name).filter(|value| !value.is_empty()) {
                Some(value) => text.push_str(value),
                None => return Err(name),
            },
        }
    }
    Ok(text)
}

enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// A `$` without a name after it is text.
fn pieces(root: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = root;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let end = dollar + 1 + length;
        if length == 0 {
            pieces.push(Piece::Text(&rest[..end]));
        } else {
            pieces.push(Piece::Text(&rest[..dollar]));
            pieces.push(Piece::Variable(&rest[dollar + 1..end]));
        }
        rest = &rest[end..];
    }
    pieces.push(Piece::Text(rest));
    pieces
}
