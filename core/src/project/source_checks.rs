//! What `sources.toml` may not say although it parses.

mod values;

use std::collections::BTreeSet;

use super::json_checks;
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::name::is_identifier;
use crate::sources::{ColumnType, Feed, FileSource, Sources};

pub(super) fn check(sources: &Sources, document: &Document<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (name, source) in &sources.files {
        let place = [Step::Key("files"), Step::Key(name)];
        if !is_identifier(name) {
            let problem = document.at_key(&place, format!("`{name}` is not a name of a source of files"));
            problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
        }
        columns(source, document, &place, &mut problems);
        if source.feed.is_empty() {
            let problem = document.at_value(&join(&place, &["feed".into()]), format!("`{name}` has no feed"));
            problems.push(problem.with_help("describe at least one in `[files.<name>.feed.<feed>]`"));
        }
        for (feed_name, feed) in &source.feed {
            let place = join(&place, &["feed".into(), feed_name.as_str().into()]);
            problems.extend(check_feed(source, feed, document, &place));
        }
    }
    for name in sources.tables.keys().filter(|name| !is_identifier(name)) {
        let problem =
            document.at_key(&["tables".into(), name.as_str().into()], format!("`{name}` is not a name of a table"));
        problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
    }
    problems
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
        Ok(names) => problems.extend(names.into_iter().filter(|name| is_taken(source, name)).map(|name| {
            let problem =
                document.at_value(&path, format!("`{{{name}}}` is a column, and the source has one `{name}`"));
            problem.with_help("give the part of the path another name, or write `*`")
        })),
    }
    for misuse in feed.format.misuses(&source.columns, &feed.rename) {
        let at = join(place, &["format".into(), feed.format.key().into(), misuse.key.into()]);
        problems.push(document.at_value(&at, misuse.message).with_help(misuse.remedy));
    }
    problems.extend(json_checks::check(source, feed, document, place));
    problems.extend(values::check_feed(source, feed, document, place));
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

fn is_taken(source: &FileSource, name: &str) -> bool {
    EVERY_SOURCE_HAS.contains(&name) || source.columns.iter().any(|column| column.name == name)
}

fn join<'a>(place: &[Step<'a>], rest: &[Step<'a>]) -> Vec<Step<'a>> {
    [place, rest].concat()
}
