//! The graph for people at a terminal.

use super::{Kind, Lineage, Node, Use};

/// Columns of a narrow terminal.
const WIDTH: usize = 80;
/// Names that are longer have what they read on the next line.
const LONGEST_NAME: usize = 34;
const INDENT: &str = "  ";

/// Layers in the order in which data passes them; below each its tables with what they read.
pub(crate) fn text(lineage: &Lineage) -> String {
    let names = lineage.nodes.iter().map(|node| node.name.chars().count());
    let width = names.filter(|length| *length <= LONGEST_NAME).max().unwrap_or(0);
    let mut text = String::new();
    for (layer, places) in lineage.layers() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{layer}\n"));
        for place in places {
            let Some(node) = lineage.nodes.get(place) else { continue };
            text.push_str(&entry(&node.name, width, &words(lineage, place, node)));
        }
    }
    text
}

/// What stands beside a name, in pieces that are not cut.
fn words(lineage: &Lineage, place: usize, node: &Node) -> Vec<String> {
    match node.kind {
        Kind::Files { feeds: 1 } => vec!["files of 1 feed".to_owned()],
        Kind::Files { feeds } => vec![format!("files of {feeds} feeds")],
        Kind::Database => vec!["table of a database".to_owned()],
        Kind::External => vec!["table of others".to_owned()],
        Kind::Job => {
            let mut words = listed("reads", lineage.upstream(place).filter(|(_, how)| *how == Use::Reads));
            let referred = listed("refers to", lineage.upstream(place).filter(|(_, how)| *how == Use::Refers));
            if !words.is_empty() && !referred.is_empty() {
                words.last_mut().into_iter().for_each(|last| last.push(';'));
            }
            words.extend(referred);
            if words.is_empty() { vec!["reads nothing".to_owned()] } else { words }
        }
    }
}

fn listed<'a>(verb: &str, nodes: impl Iterator<Item = (&'a Node, Use)>) -> Vec<String> {
    let mut names: Vec<String> = nodes.map(|(node, _)| format!("{},", node.name)).collect();
    if let Some(last) = names.last_mut() {
        last.pop();
    }
    if let Some(first) = names.first_mut() {
        *first = format!("{verb} {first}");
    }
    names
}

/// One name, and words beside it that go on below each other where the line is full. Long names and long words have lines of their own.
fn entry(name: &str, width: usize, words: &[String]) -> String {
    let column = INDENT.len() + width + 2;
    let longest = words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let is_apart = name.chars().count() > width || column + INDENT.len() + longest > WIDTH;
    let indent = if is_apart { 2 * INDENT.len() } else { column };
    let mut lines = Vec::new();
    let mut line = format!("{INDENT}{name:<width$}  ");
    if is_apart {
        lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
    }
    for (place, word) in words.iter().enumerate() {
        if place > 0 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent + INDENT.len())));
        } else if place > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}
