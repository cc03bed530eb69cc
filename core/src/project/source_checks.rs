//! What `sources.toml` may not say although it parses.

mod databases;
mod partitions;
mod providers;
mod unknown;
mod values;

use std::collections::BTreeSet;

use super::json_checks;
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::name::is_identifier;
use crate::sources::{ColumnType, ExternalTable, Feed, FileSource, Format, Sources};

pub(super) fn check(sources: &Sources, document: &Document<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (name, source) in &sources.files {
        let place = [Step::Key("files"), Step::Key(name)];
        if !is_identifier(name) {
            let problem = document.at_key(&place, format!("`{name}` is not a name of a source of files"));
            problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
        }
        columns(source, document, &place, &mut problems);
        problems.extend(links(source, document, &place));
        problems.extend(share(source, document, &place));
        if source.feed.is_empty() {
            let problem = document.at_value(&join(&place, &["feed".into()]), format!("`{name}` has no feed"));
            problems.push(problem.with_help("describe at least one in `[files.<name>.feed.<feed>]`"));
        }
        for (feed_name, feed) in &source.feed {
            let place = join(&place, &["feed".into(), feed_name.as_str().into()]);
            problems.extend(check_feed(source, feed, document, &place));
        }
    }
    for (name, table) in &sources.tables {
        let place = ["tables".into(), name.as_str().into()];
        if !is_identifier(name) {
            let problem = document.at_key(&place, format!("`{name}` is not a name of a table"));
            problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
        }
        problems.extend(place_of_table(table, document, &place));
    }
    problems.extend(databases::check(sources, document));
    problems.extend(providers::check(sources, document));
    problems
}

fn share(source: &FileSource, document: &Document<'_>, place: &[Step<'_>]) -> Option<Diagnostic> {
    let share = source.max_rejected.filter(|share| !(0.0..=1.0).contains(share))?;
    let at = join(place, &["max_rejected".into()]);
    let problem = document.at_value(&at, format!("`max_rejected` is {share}"));
    Some(problem.with_help("use 0 to 1, such as 0.05 for five of a hundred rows"))
}

/// Object stores have no links.
fn links(source: &FileSource, document: &Document<'_>, place: &[Step<'_>]) -> Option<Diagnostic> {
    let is_object_store = source.root.split_once("://").is_some_and(|(scheme, _)| scheme != "file");
    (source.follow_links && is_object_store).then(|| {
        let at = join(place, &["follow_links".into()]);
        let problem = document.at_value(&at, "`follow_links` has no effect: an object store has no symbolic links");
        problem.with_help("take it out")
    })
}

fn place_of_table(table: &ExternalTable, document: &Document<'_>, place: &[Step<'_>]) -> Option<Diagnostic> {
    let glue = || join(place, &["glue".into()]);
    match (&table.glue, table.location.is_empty()) {
        (None, false) => None,
        (None, true) => Some(document.at_key(place, "nothing says where the table lies").with_help(
            "set `location` to the folder in which `_delta_log` lies, or `glue` to `database.table` of the Glue catalog",
        )),
        (Some(_), false) => {
            let problem = document.at_value(&glue(), "`location` and `glue` both say where the table lies");
            Some(problem.with_help("take one of them out"))
        }
        (Some(name), true) if table.glue_name().is_none() => {
            let problem = document.at_value(&glue(), format!("`{name}` is no table of Glue"));
            Some(problem.with_help("write `database.table`"))
        }
        (Some(_), true) => None,
    }
}

fn columns(source: &FileSource, document: &Document<'_>, place: &[Step<'_>], problems: &mut Vec<Diagnostic>) {
    if source.columns.is_empty() {
        problems
            .push(document.at_value(&join(place, &["columns".into()]), "a source of files needs at least one column"));
    }
    let mut seen = BTreeSet::new();
    for (index, column) in source.columns.iter().enumerate() {
        let at = join(place, &["columns".into(), index.into(), "name".into()]);
        if EVERY_SOURCE_HAS.contains(&column.name.as_str()) {
            let problem =
                document.at_value(&at, format!("every source of files has a column `{}` of its own", column.name));
            problems.push(problem.with_help("give this one another name; `rename` says what the file calls it"));
        }
        if !is_identifier(&column.name) {
            let problem = document.at_value(&at, format!("`{}` is not a column name", column.name));
            problems.push(problem.with_help(
                "use lower-case letters, digits and `_`, a letter first; `rename` says what the file calls it",
            ));
        }
        values::check_column(column, document, &join(place, &["columns".into(), index.into()]), problems);
        if !seen.insert(&column.name) {
            problems.push(document.at_value(&at, format!("the column `{}` is here twice", column.name)));
        }
    }
}

/// Where a row comes from.
const EVERY_SOURCE_HAS: [&str; 3] = ["feed", "source_file", "line"];

fn check_feed(source: &FileSource, feed: &Feed, document: &Document<'_>, place: &[Step<'_>]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let path = join(place, &["path".into()]);
    match feed.path_columns() {
        Err(message) => problems.push(document.at_value(&path, message)),
        Ok(names) => problems.extend(names.into_iter().filter(|name| is_taken(source, feed, name)).map(|name| {
            let problem =
                document.at_value(&path, format!("`{{{name}}}` is a column, and the source has one `{name}`"));
            problem.with_help("give the part of the path another name, or write `*`")
        })),
    }
    problems.extend(partitions::check(source, feed, document, place));
    let (columns, in_files) = partitions::of_files(source, feed);
    for misuse in in_files.format.misuses(&columns.columns, &in_files.rename) {
        let at = join(place, &["format".into(), feed.format.key().into(), misuse.key.into()]);
        problems.push(document.at_value(&at, misuse.message).with_help(misuse.remedy));
    }
    problems.extend(json_checks::check(&columns, &in_files, document, place));
    problems.extend(values::check_feed(source, feed, document, place));
    problems.extend(unknown::check(&columns, &in_files, document, place));
    problems.extend(pointers(feed, document, place));
    let names: Vec<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    let mut unknown = |diagnostic: Diagnostic, name: &str| {
        let meant = diagnostic::closest(name, names.iter().copied());
        let help = meant.map_or("`columns` lists them".to_owned(), |meant| format!("did you mean `{meant}`?"));
        problems.push(diagnostic.with_help(help));
    };
    for name in feed.rename.keys().filter(|name| !names.contains(&name.as_str())) {
        let at = join(place, &["rename".into(), name.as_str().into()]);
        unknown(document.at_key(&at, format!("`rename` of `{name}`, which is not a column")), name);
    }
    let Some(bar) = &feed.bar else { return problems };
    let at = join(place, &["bar".into(), "column".into()]);
    match source.columns.iter().find(|column| column.name == bar.column) {
        None => unknown(document.at_value(&at, format!("`{}` is not a column", bar.column)), &bar.column),
        Some(column) if column.data_type != ColumnType::Timestamp => {
            problems.push(document.at_value(&at, format!("`{}` is not a timestamp, so it labels no bar", bar.column)));
        }
        Some(_) => {}
    }
    if bar.seconds == 0 {
        let at = join(place, &["bar".into(), "seconds".into()]);
        problems.push(document.at_value(&at, "a bar must be longer than 0 seconds"));
    }
    problems
}

/// JSON and Avro are read by JSON pointers, too.
fn pointers(feed: &Feed, document: &Document<'_>, place: &[Step<'_>]) -> Vec<Diagnostic> {
    let is_pointer = |field: &str| matches!(feed.format, Format::Parquet {}) && field.starts_with('/');
    let renamed = feed.rename.iter().filter(|(name, field)| is_pointer(field) && !feed.has_from_path(name));
    let problem = |(name, field): (&String, &String)| {
        let at = join(place, &["rename".into(), name.as_str().into()]);
        let problem = document
            .at_value(&at, format!("`{field}` is a JSON pointer, and fields of Parquet are read by their names"));
        problem.with_help("name the outer field, declare it as a `struct`, and take its part in the query: `v.a`")
    };
    renamed.map(problem).collect()
}

/// Those that `partitions` names, too, have an error of their own.
fn is_taken(source: &FileSource, feed: &Feed, name: &str) -> bool {
    let is_column = || source.columns.iter().any(|column| column.name == name);
    EVERY_SOURCE_HAS.contains(&name) || (is_column() && !feed.has_from_path(name))
}

fn join<'a>(place: &[Step<'a>], rest: &[Step<'a>]) -> Vec<Step<'a>> {
    [place, rest].concat()
}
