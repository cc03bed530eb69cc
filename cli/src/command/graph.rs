//! `pulse graph`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use pulse_core::Result;

use crate::args::{Global, Output};
use crate::graph::{Kind, Lineage, Node, Use, dot, svg, text};
use crate::{output, setup, shape};

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
        (GraphFormat::Text, Output::Table) => output::data(&text(&lineage)),
        (GraphFormat::Text, output) => output::values(&["name", "kind", "reads", "refers"], &nodes(&lineage), output)?,
        (GraphFormat::Dot, _) => output::data(&dot(&lineage)),
        (GraphFormat::Svg, _) => output::data(&svg(&lineage, &project.settings.name, &|_| None)),
    }
    Ok(ExitCode::SUCCESS)
}

fn nodes(lineage: &Lineage) -> Vec<shape::Node> {
    let node = |(place, node): (usize, &Node)| {
        let used = |wanted: Use| -> Vec<String> {
            let found = lineage.upstream(place).filter(|(_, how)| *how == wanted);
            found.map(|(node, _)| node.name.clone()).collect()
        };
        let kind = match node.kind {
            Kind::Files { .. } => "files",
            Kind::Database => "database",
            Kind::External => "external",
            Kind::Job => "job",
        };
        shape::Node { name: node.name.clone(), kind, reads: used(Use::Reads), refers: used(Use::Refers) }
    };
    lineage.nodes.iter().enumerate().map(node).collect()
}
