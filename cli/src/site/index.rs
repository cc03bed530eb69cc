//! The first page: the graph, and all tables by layer.

use pulse_core::name::TableName;

use super::html::{Align, Head, Html, Page, framed, note, paragraph, section, table};
use super::{LakeState, Site, TableState, parts, path};
use crate::graph::{Kind, Node, Use, svg};
use crate::output;

const JOBS: [Head; 5] = [
    ("table", Align::Whole),
    ("description", Align::Left),
    ("owner", Align::Whole),
    ("rows", Align::Right),
    ("last run", Align::Whole),
];
const SOURCES: [Head; 3] = [("source", Align::Whole), ("what", Align::Whole), ("read by", Align::Left)];

pub(super) fn page(site: &Site) -> String {
    let settings = &site.project.settings;
    let mut body = paragraph(&Html::text(&settings.description));
    body.push(&paragraph(&Html::text(&summary(site))));
    body.push(&match &site.lake {
        LakeState::Absent(why) => note(why),
        LakeState::Present { root, .. } => note(&format!("Sizes and runs are those of the lake {root}.")),
    });
    if !site.lineage.nodes.is_empty() {
        let picture = svg(&site.lineage, &format!("Graph of {}", settings.name), &|node: &Node| Some(path(node)));
        let mut graph = framed(&picture);
        if site.lineage.edges.values().any(|how| *how == Use::Refers) {
            graph.push(&note("A dashed line leads from a table in which an expectation looks up values."));
        }
        body.push(&section("Graph", &graph));
    }
    for (layer, places) in site.lineage.layers() {
        let is_source = places.iter().filter_map(|place| site.lineage.nodes.get(*place)).any(|node| node.is_source());
        let rows: Vec<Vec<Html>> = places
            .iter()
            .filter_map(|place| if is_source { source(site, *place) } else { job(site, *place) })
            .collect();
        body.push(&section(layer, &if is_source { table(&SOURCES, &rows) } else { table(&JOBS, &rows) }));
    }
    let (title, project) = (settings.name.as_str(), settings.name.as_str());
    Page { title, project, index: "index.html", kind: "project", written: site.written, body }.render()
}

fn summary(site: &Site) -> String {
    let sources = &site.project.sources;
    let counted = |count: usize, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {more}")),
    };
    let of_databases = sources.files.keys().filter(|name| sources.database_of(name).is_some()).count();
    let parts = [
        counted(site.project.jobs.len(), "table", "tables"),
        counted(sources.files.len() - of_databases, "source of files", "sources of files"),
        counted(of_databases, "table of a database", "tables of databases"),
        counted(sources.tables.len(), "table of others", "tables of others"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "The project has no jobs yet.".to_owned() } else { format!("{}.", parts.join(", ")) }
}

fn source(site: &Site, place: usize) -> Option<Vec<Html>> {
    let node = site.lineage.nodes.get(place)?;
    let what = match node.kind {
        Kind::Files { feeds: 1 } => "files, 1 feed".to_owned(),
        Kind::Files { feeds } => format!("files, {feeds} feeds"),
        Kind::Database => "table of a database".to_owned(),
        Kind::External => "table that others write".to_owned(),
        Kind::Job => return None,
    };
    Some(vec![Html::link(&path(node), &node.name), Html::text(&what), parts::read_by(site, place, "")])
}

fn job(site: &Site, place: usize) -> Option<Vec<Html>> {
    let node = site.lineage.nodes.get(place)?;
    let name: TableName = node.name.parse().ok()?;
    let job = site.project.jobs.get(&name)?;
    let rows = match site.state(&name) {
        Some(TableState::Known { rows, .. }) => rows.map_or_else(|| "unknown".to_owned(), output::count),
        Some(TableState::Unreadable(_)) => "unreadable".to_owned(),
        None => String::new(),
    };
    Some(vec![
        Html::link(&path(node), &node.name),
        Html::text(&job.manifest.description),
        Html::text(&job.manifest.owner),
        Html::text(&rows),
        site.last_run(&name).map(parts::run_state).unwrap_or_default(),
    ])
}
