//! `pulse graph`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use pulse_core::Result;
use serde_json::json;

use crate::args::{Global, Output};
use crate::graph::{Kind, Lineage, Use, dot, svg, text};
use crate::{output, setup};

#[derive(Debug, Clone, Args)]
pub(crate) struct GraphOptions {
    /// Tables or sources, such as `silver.bars` or `raw.bars`: only these, with all that they are computed from and all that is
    /// computed from them.
    pub(crate) names: Vec<String>,
    /// Words for a terminal, a graph for graphviz, or a picture for a browser.
    #[arg(long, default_value = "text")]
    pub(crate) format: GraphFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    Text,
    Dot,
    Svg,
}

/// Reads the project alone: neither its sources nor a lake.
pub(crate) fn graph(global: &Global, options: &GraphOptions) -> Result<ExitCode> {
    // Jobs of a cycle have no picture, nor have those whose queries do not parse.
    let project = setup::readable(global)?.whole();
    let whole = Lineage::of(&project);
    let lineage = if options.names.is_empty() { whole } else { whole.around(&options.names)? };
    match (options.format, global.output) {
        (GraphFormat::Text, Output::Json) => json_lines(&lineage),
        (GraphFormat::Text, Output::Table | Output::Csv) => output::data(&text(&lineage)),
        (GraphFormat::Dot, _) => output::data(&dot(&lineage)),
        (GraphFormat::Svg, _) => output::data(&svg(&lineage, &project.settings.name, &|_| None)),
    }
    Ok(ExitCode::SUCCESS)
}

/// One object for each table and source.
fn json_lines(lineage: &Lineage) {
    for (place, node) in lineage.nodes.iter().enumerate() {
        let used = |wanted: Use| -> Vec<&str> {
            let found = lineage.upstream(place).filter(|(_, how)| *how == wanted);
            found.map(|(node, _)| node.name.as_str()).collect()
        };
        let kind = match node.kind {
            Kind::Files { .. } => "files",
            Kind::Database => "database",
            Kind::External => "external",
            Kind::Job => "job",
        };
        let value = json!({"name": node.name, "kind": kind, "reads": used(Use::Reads), "refers": used(Use::Refers)});
        output::line(&value.to_string());
    }
}
