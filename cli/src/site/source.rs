//! Pages of sources: files with their feeds, and tables that others write.

use std::collections::BTreeSet;

use pulse_core::name::TableName;
use pulse_core::sources::{ExternalTable, FileSource, OnMissing};

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
    let rows: Vec<Vec<Html>> = source
        .columns
        .iter()
        .map(|column| {
            let options = [(column.required, "required"), (column.round, "rounded")];
            let options: Vec<&str> = options.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
            let types = Html::code(&column.data_type.to_string());
            vec![Html::code(&column.name), types, Html::text(&options.join(", "))]
        })
        .collect();
    body.push(&section("Columns", &table(&COLUMNS, &rows)));
    for (feed, contract) in &source.feed {
        // As sources.toml has it, with defaults that are not written there.
        let text = toml::to_string(contract).unwrap_or_else(|error| format!("# cannot be shown: {error}"));
        body.push(&section(&format!("Feed {feed}"), &preformatted(&text)));
    }
    body.push(&section("Graph", &parts::neighbourhood(site, &name, UP)));
    page(site, &name, "source of files", body)
}

pub(super) fn external(site: &Site, name: &str, declared: &ExternalTable) -> String {
    let name = format!("external.{name}");
    let location = declared.written_location.as_ref().unwrap_or(&declared.location);
    let mut body = facts(&[("location", Html::code(location)), ("read by", readers(site, &name))]);
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
