//! Columns that the paths of a feed's files say.

use std::borrow::Cow;

use super::join;
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::sources::{Column, ColumnType, Feed, FileSource};

pub(super) fn check(source: &FileSource, feed: &Feed, document: &Document<'_>, place: &[Step<'_>]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let list = join(place, &["partitions".into()]);
    let placeholders = feed.path_columns().unwrap_or_default();
    for (at, name) in feed.partitions.iter().enumerate() {
        let item = join(&list, &[at.into()]);
        let mut problem = |message: String, help: &str| {
            problems.push(document.at_value(&item, message).with_help(help));
        };
        if feed.partitions.iter().take(at).any(|other| other == name) {
            problem(format!("`{name}` is in `partitions` twice"), "take one out");
        }
        if placeholders.contains(&name.as_str()) {
            problem(
                format!("`{{{name}}}` is in `path`, and `{name}` in `partitions`"),
                "write the path without the folders that `partitions` names",
            );
        }
        let Some(column) = source.columns.iter().find(|column| column.name == *name) else {
            let meant = diagnostic::closest(name, source.columns.iter().map(|column| column.name.as_str()));
            let help = meant.map_or("declare it in `columns`".to_owned(), |meant| format!("did you mean `{meant}`?"));
            problem(format!("`partitions` names `{name}`, which is not a column"), &help);
            continue;
        };
        if !is_of_a_path(&column.data_type) {
            problem(
                format!("`{name}` is a `{}`, which no folder's name says", column.data_type),
                "a column of `partitions` is a string, a number, a boolean, a date or a timestamp",
            );
        }
        if feed.bar.as_ref().is_some_and(|bar| bar.column == *name) {
            problem(
                format!("`{name}` is the stamp of bars, and one stamp of a folder is none"),
                "take it out here or in `bar`",
            );
        }
        if let Some(folder) = feed.rename.get(name).filter(|folder| folder.is_empty() || folder.contains(['/', '='])) {
            let at = join(place, &["rename".into(), name.as_str().into()]);
            problems
                .push(document.at_value(&at, format!("`{folder}` is not what stands before `=` in a folder's name")));
        }
    }
    if !feed.partitions.is_empty() && source.columns.iter().all(|column| feed.has_from_path(&column.name)) {
        let problem = document.at_value(&list, "all columns are in `partitions`, and none is read from the files");
        problems.push(problem.with_help("declare at least one column that the files have"));
    }
    problems
}

/// The source and the feed without what the paths of files say: what must hold of the files themselves.
pub(super) fn of_files<'a>(source: &'a FileSource, feed: &'a Feed) -> (Cow<'a, FileSource>, Cow<'a, Feed>) {
    if feed.partitions.is_empty() {
        return (Cow::Borrowed(source), Cow::Borrowed(feed));
    }
    let is_in_files = |column: &&Column| !feed.has_from_path(&column.name);
    let columns = source.columns.iter().filter(is_in_files).cloned().collect();
    let rename = feed.rename.iter().filter(|(column, _)| !feed.has_from_path(column));
    let rename = rename.map(|(column, field)| (column.clone(), field.clone())).collect();
    let feed = Feed { rename, ..feed.clone() };
    (Cow::Owned(FileSource { columns, ..source.clone() }), Cow::Owned(feed))
}

fn is_of_a_path(data_type: &ColumnType) -> bool {
    match data_type {
        ColumnType::String
        | ColumnType::Boolean
        | ColumnType::Tinyint
        | ColumnType::Smallint
        | ColumnType::Int
        | ColumnType::Bigint
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. }
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::TimestampNtz => true,
        ColumnType::Json | ColumnType::Binary | ColumnType::Array(_) | ColumnType::Map(_) | ColumnType::Struct(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Sources;

    const COLUMNS: &str = "[{ name = \"x\", type = \"bigint\" }, { name = \"day\", type = \"date\" }, \
                           { name = \"t\", type = \"timestamp\" }, { name = \"j\", type = \"json\" }]";

    fn problems(columns: &str, feed: &str) -> Vec<String> {
        let text = format!("[files.a]\nroot = \"raw\"\ncolumns = {columns}\n[files.a.feed.f]\n{feed}\n");
        let (sources, document) = Document::parse::<Sources>("sources.toml", &text).unwrap();
        super::super::check(&sources, &document).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn columns_of_folders_are_no_fields_of_the_files() {
        for feed in [
            "path = \"a/*.parquet\"\nformat = { parquet = {} }\npartitions = [\"day\"]",
            "path = \"a/{s}/*.csv\"\nformat = { csv = {} }\npartitions = [\"day\", \"t\"]\nrename = { day = \"Day\" }",
            // Otherwise `day` would be a required field, or one that is not there.
            "path = \"a/*.json\"\nformat = { json_lines = { fields = [\"x\", \"t\", \"j\"] } }\npartitions = [\"day\"]\n\
             rename = { day = \"d\" }",
        ] {
            assert_eq!(problems(COLUMNS, feed), Vec::<String>::new(), "{feed}");
        }
        let header =
            "path = \"a/*.csv\"\nformat = { csv = { header = false, fields = [\"x\"] } }\npartitions = [\"day\"]";
        let columns = "[{ name = \"x\", type = \"bigint\" }, { name = \"day\", type = \"date\", required = true }]";
        assert_eq!(problems(columns, header), Vec::<String>::new());
    }

    #[test]
    fn a_json_pointer_into_parquet_is_refused() {
        let feed =
            |format: &str| format!("path = \"a/*\"\nformat = {{ {format} = {{}} }}\nrename = {{ x = \"/v/a\" }}");
        let found = problems(COLUMNS, &feed("parquet"));
        assert_eq!(found, ["`/v/a` is a JSON pointer, and fields of Parquet are read by their names"]);
        for format in ["json", "json_lines", "avro"] {
            assert_eq!(problems(COLUMNS, &feed(format)), Vec::<String>::new(), "{format}");
        }
    }

    #[test]
    fn what_no_folder_says_is_refused() {
        for (partitions, rest, expected) in [
            ("[\"dya\"]", "", "`partitions` names `dya`, which is not a column"),
            ("[\"day\", \"day\"]", "", "`day` is in `partitions` twice"),
            ("[\"j\"]", "", "`j` is a `json`, which no folder's name says"),
            ("[\"t\"]", "bar = { column = \"t\", label = \"end\", seconds = 60 }", "`t` is the stamp of bars"),
            ("[\"day\"]", "rename = { day = \"a=b\" }", "`a=b` is not what stands before `=`"),
        ] {
            let feed =
                format!("path = \"a/*.parquet\"\nformat = {{ parquet = {{}} }}\npartitions = {partitions}\n{rest}");
            let found = problems(COLUMNS, &feed);
            assert!(found.len() == 1 && found[0].contains(expected), "{feed}: {found:?}");
        }
        let all = "path = \"a/*.parquet\"\nformat = { parquet = {} }\npartitions = [\"x\"]";
        let found = problems("[{ name = \"x\", type = \"bigint\" }]", all);
        assert!(found.len() == 1 && found[0].contains("none is read from the files"), "{found:?}");
        let twice = "path = \"a/day={day}/*.parquet\"\nformat = { parquet = {} }\npartitions = [\"day\"]";
        assert!(problems(COLUMNS, twice).iter().any(|message| message.contains("is in `path`, and")));
    }
}
