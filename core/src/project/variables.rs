//! `$name` in the roots and locations of sources.toml, given by `--var name=value`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Project, listed};
use crate::diagnostic;
use crate::error::{Error, Result};
use crate::sources::Address;
use crate::sql::{EXTERNAL, RAW};

impl Project {
    /// Names of the variables that sources need, without the `$`.
    pub fn variables(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let roots = self.sources.files.values().map(|source| &source.root);
        let locations = self.sources.tables.values().map(|table| &table.location);
        let urls = self.sources.databases.values().map(|database| &database.url);
        for text in roots.chain(locations).chain(urls) {
            names.extend(variables_of(text).into_iter().map(str::to_owned));
        }
        names
    }

    /// The project with the values in place of the variables.
    ///
    /// # Errors
    /// `Invalid` when a variable has no value, or a value no variable.
    pub fn with_variables(&self, values: &BTreeMap<String, String>) -> Result<Self> {
        let known: Vec<String> = self.variables().into_iter().collect();
        if let Some(unknown) = values.keys().find(|name| !known.contains(name)) {
            let meant = diagnostic::closest(unknown, known.iter().map(String::as_str));
            let help =
                meant.map_or(format!("the project has {}", listed(&known)), |name| format!("did you mean `{name}`?"));
            return Err(Error::invalid(format!("no source uses the variable `{unknown}`: {help}")));
        }
        let mut project = self.clone();
        for (name, source) in &mut project.sources.files {
            let root = substitute(&format!("{RAW}.{name}"), &source.root, values)?;
            source.written_root = Some(std::mem::replace(&mut source.root, root));
        }
        for (name, table) in &mut project.sources.tables {
            let location = substitute(&format!("{EXTERNAL}.{name}"), &table.location, values)?;
            table.written_location = Some(std::mem::replace(&mut table.location, location));
        }
        for (name, database) in &mut project.sources.databases {
            let url = substitute(&format!("databases.{name}"), &database.url, values)?;
            Address::parse(&url).map_err(|why| Error::invalid(format!("`databases.{name}` of sources.toml: {why}")))?;
            database.url = url;
        }
        Ok(project)
    }
}

/// Names of the variables in a root, in its order.
pub fn variables_of(root: &str) -> Vec<&str> {
    let name = |piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Text(_) => None,
    };
    pieces(root).into_iter().filter_map(name).collect()
}

fn substitute(source: &str, root: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut text = String::new();
    for piece in pieces(root) {
        match piece {
            // `$raw/daily` with `s3://bucket/` is not `s3://bucket//daily`, which is another place.
            Piece::Text(piece) if text.ends_with('/') => text.push_str(piece.trim_start_matches('/')),
            Piece::Text(piece) => text.push_str(piece),
            Piece::Variable(name) => match values.get(name).filter(|value| !value.is_empty()) {
                Some(value) => text.push_str(value),
                None => {
                    return Err(Error::invalid(format!(
                        "`{source}` of sources.toml needs the variable `{name}`: pass `--var {name}=URL`"
                    )));
                }
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
