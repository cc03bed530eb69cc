//! The graph for graphviz.

use super::{Kind, Lineage, Node, Use};

/// A digraph from left to right.
pub(crate) fn dot(lineage: &Lineage) -> String {
    let mut text = String::from(
        "digraph pulse {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"monospace\"];\n  edge [color=\"gray50\"];\n",
    );
    for node in &lineage.nodes {
        text.push_str(&format!("  {}{};\n", quoted(&node.name), attributes(node)));
    }
    for (&(from, to), how) in &lineage.edges {
        let (Some(from), Some(to)) = (lineage.nodes.get(from), lineage.nodes.get(to)) else { continue };
        let style = match how {
            Use::Reads => "",
            Use::Refers => " [style=dashed]",
        };
        text.push_str(&format!("  {} -> {}{style};\n", quoted(&from.name), quoted(&to.name)));
    }
    text.push_str("}\n");
    text
}

fn attributes(node: &Node) -> &'static str {
    match node.kind {
        Kind::Files { .. } => " [shape=folder, style=solid]",
        Kind::External | Kind::Database => " [shape=cylinder, style=solid]",
        Kind::Job => "",
    }
}

/// A string of DOT: within it, only a quote and what would escape it mean something.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
