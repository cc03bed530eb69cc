//! Pages of sources: files with their feeds, and tables that others write.

use std::collections::BTreeSet;

use pulse_core::name::TableName;
use pulse_core::sources::{Column, Database, DatabaseTable, ExternalTable, FileSource, OnMissing};

use super::html::{Align, Head, Html, Page, facts, note, preformatted, section, table};
use super::{Site, parts};

const UP: &str = "../";
const COLUMNS: [Head; 3] = [("column", Align::Left), ("type", Align::Left), ("", Align::Left)];

pub(super) fn files(site: &Site, name: &str, source: &FileSource) -> String {
    let name = format!("raw.{name}");
    let root = source.written_root.as_ref().unwrap_or(&source.root);
    let gone = match source.on_missing {
        OnMissing::Keep => "their rows stay",
        OnMissing::Remove => "the next run removes their rows",
        OnMissing::Fail => "the next run fails",
    };
    let of_paths: BTreeSet<&str> = source.feed.values().filter_map(|feed| feed.path_columns().ok()).flatten().collect();
    let mut body = facts(&[
        ("root", Html::code(root)),
        ("columns of the paths", Html::joined(of_paths.into_iter().map(Html::code), ", ")),
        ("files that are gone", Html::text(gone)),
        ("read by", readers(site, &name)),
    ]);
    body.push(&declared_columns(&source.columns));
    for (feed, contract) in &source.feed {
        // As sources.toml has it, with defaults that are not written there.
        let text = toml::to_string(contract).unwrap_or_else(|error| format!("# cannot be shown: {error}"));
        body.push(&section(&format!("Feed {feed}"), &preformatted(&text)));
    }
    body.push(&section("Graph", &parts::neighbourhood(site, &name, UP)));
    page(site, &name, "source of files", body)
}

/// As sources.toml has it: neither values of variables nor secrets.
pub(super) fn database(
    site: &Site,
    (database, declared): (&str, &Database),
    name: &str,
    table: &DatabaseTable,
) -> String {
    let read = match &table.query {
        Some(_) => Html::text("the rows of its query"),
        None => Html::code(table.table_name(name)),
    };
    let rows = match (&table.bookmark, table.margin) {
        (Some(column), Some(margin)) => Html::text(&format!("from the greatest `{column}`, less {margin}")),
        _ => Html::text("all"),
    };
    let name = format!("raw.{name}");
    let mut body = facts(&[
        ("database", Html::code(database)),
        ("URL", Html::code(declared.written_url.as_ref().unwrap_or(&declared.url))),
        ("what is read", read),
        ("rows of each run", rows),
        ("read by", readers(site, &name)),
    ]);
    body.push(&declared_columns(&table.columns));
    if let Some(query) = &table.query {
        body.push(&section("Query", &preformatted(query)));
    }
    body.push(&section("Graph", &parts::neighbourhood(site, &name, UP)));
    page(site, &name, "table of a database", body)
}

fn declared_columns(columns: &[Column]) -> Html {
    let row = |column: &Column| {
        let options = [(column.required, "required"), (column.round, "rounded")];
        let options: Vec<&str> = options.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        let types = Html::code(&column.data_type.to_string());
        vec![Html::code(&column.name), types, Html::text(&options.join(", "))]
    };
    section("Columns", &table(&COLUMNS, &columns.iter().map(row).collect::<Vec<_>>()))
}

pub(super) fn external(site: &Site, name: &str, declared: &ExternalTable) -> String {
    let name = format!("external.{name}");
    let location = declared.written_location.as_ref().unwrap_or(&declared.location);
    let place = match &declared.glue {
        Some(table) => ("table of Glue", Html::code(table)),
        None => ("location", Html::code(location)),
    };
    let mut body = facts(&[place, ("read by", readers(site, &name))]);
    let columns =
        name.parse::<TableName>().ok().and_then(|name| site.schemas.get(&name)).map(|schema| parts::columns(schema));
    body.push(&section(
        "Columns",
        &match columns {
            Some(columns) => {
                let rows: Vec<Vec<Html>> =
                    columns.iter().map(|(name, kind)| vec![Html::code(name), Html::code(kind)]).collect();
                table(&COLUMNS[..2], &rows)
            }
            None => note("Only the table's log says which columns it has, and it was not read."),
        },
    ));
    body.push(&section("Graph", &parts::neighbourhood(site, &name, UP)));
    page(site, &name, "table that others write", body)
}

fn readers(site: &Site, name: &str) -> Html {
    let place = site.lineage.nodes.iter().position(|node| node.name == name);
    match place.map(|place| parts::read_by(site, place, UP)) {
        Some(readers) if !readers.is_empty() => readers,
        Some(_) | None => Html::text("no job"),
    }
}

fn page(site: &Site, title: &str, kind: &str, body: Html) -> String {
    let project = site.project.settings.name.as_str();
    Page { title, project, index: "../index.html", kind, written: site.written, body }.render()
}
