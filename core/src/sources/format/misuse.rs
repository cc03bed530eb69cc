//! What a format may not say although it parses.

use std::collections::BTreeMap;

use super::Format;
use crate::sources::Column;

/// A key of a format that contradicts another one or has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse {
    /// The key, within the format.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Misuse {
    pub(super) fn new(key: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key, message: message.into(), remedy: remedy.into() }
    }
}

impl Format {
    /// Its key in `sources.toml`.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Csv(_) => "csv",
            Self::FixedWidth(_) => "fixed_width",
            Self::JsonLines(_) => "json_lines",
            Self::Json(_) => "json",
            Self::Parquet {} => "parquet",
            Self::Avro {} => "avro",
        }
    }

    /// What is wrong with its keys for a source with these `columns`, each read from the field of its name or of `rename`.
    pub fn misuses(&self, columns: &[Column], rename: &BTreeMap<String, String>) -> Vec<Misuse> {
        match self {
            Self::Csv(csv) => csv.misuses(columns, rename),
            Self::FixedWidth(fixed) => fixed.misuses(columns, rename),
            Self::JsonLines(_) | Self::Json(_) | Self::Parquet {} | Self::Avro {} => Vec::new(),
        }
    }
}

/// A list of names for all fields of a file must serve the columns: no file has other fields.
pub(super) fn named_field_misuses(
    key: &'static str,
    names: &[&str],
    columns: &[Column],
    rename: &BTreeMap<String, String>,
) -> Vec<Misuse> {
    let mut misuses = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if names.get(..at).is_some_and(|before| before.contains(name)) {
            misuses.push(Misuse::new(key, format!("`{name}` is in `{key}` twice"), "give each field its own name"));
        }
    }
    let field = |column: &Column| rename.get(&column.name).unwrap_or(&column.name).clone();
    let fields: Vec<String> = columns.iter().map(field).collect();
    if !columns.is_empty() && !fields.iter().any(|field| names.contains(&field.as_str())) {
        misuses.push(Misuse::new(
            key,
            format!("no column is read from a field of `{key}`"),
            "name the columns, or their `rename`",
        ));
        return misuses;
    }
    for (column, field) in columns.iter().zip(&fields).filter(|(_, field)| !names.contains(&field.as_str())) {
        let alike = names.iter().find(|name| {
            plain(name) == plain(field) && !plain(name).is_empty() && !fields.iter().any(|field| field == *name)
        });
        let message = format!("the column `{}` is read from the field `{field}`, which is not in `{key}`", column.name);
        match alike {
            Some(alike) => misuses.push(Misuse::new(key, message, format!("did you mean `{alike}`?"))),
            None if column.required => {
                misuses.push(Misuse::new(key, message, "name it there, or do not require the column"))
            }
            None => {}
        }
    }
    misuses
}

pub(super) fn comment_misuse(comment: &str) -> Option<Misuse> {
    let mut characters = comment.chars();
    let is_wrong = match (characters.next(), characters.next()) {
        (None | Some(' '), None) => true,
        // Numbers, stamps and words begin with these.
        (Some(one), None) => one.is_alphanumeric() || "+-.".contains(one),
        _ => false,
    };
    let is_wrong = is_wrong || comment.contains(['\r', '\n', '\0', '\u{feff}', '\u{fffd}']);
    let message = format!("`{comment}` cannot begin a comment");
    is_wrong.then(|| Misuse::new("comment", message, "use a text within one line, such as `#`"))
}

/// Letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
