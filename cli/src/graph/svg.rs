//! The graph as a picture.

use std::collections::BTreeMap;

use super::layout::{Layout, Line, Measures, Rect, Shape, layout};
use super::{Kind, Lineage, Node, Use};
use crate::markup::escape;

/// Where the page of a node lies, if it has one.
type Links<'a> = &'a dyn Fn(&Node) -> Option<String>;

/// In pixels.
const MEASURES: Measures = Measures { height: 44, row_gap: 14, line_gap: 12, column_gap: 64, margin: 16 };
/// Of one letter: no common font of fixed width has wider ones at these sizes (0.602 of 13 and 11 pixels).
const NAME_LETTER: i64 = 8;
const NOTE_LETTER: i64 = 7;
/// Beside the words of a box.
const PADDING: i64 = 14;
const LEAST_WIDTH: i64 = 96;
/// Colours of layers; more layers begin again.
const COLOURS: usize = 6;

const STYLE: &str = "\
.pulse-graph{--paper:#fff;--box:#f6f8fa;--edge:#d0d7de;--ink:#1f2328;--quiet:#59636e;--line:#818b98;\
--c0:#a8642f;--c1:#6e7f95;--c2:#b8860b;--c3:#1a7f72;--c4:#7a4fb5;--c5:#2f6fb0;\
font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace}\
@media (prefers-color-scheme:dark){.pulse-graph{--paper:#0d1117;--box:#161b22;--edge:#3d444d;--ink:#e6edf3;--quiet:#9198a1;\
--line:#656c76;--c0:#d08a52;--c1:#9fb0c6;--c2:#d9ad3c;--c3:#3fb8a7;--c4:#b18ae8;--c5:#6cacea}}\
.pulse-graph .paper{fill:var(--paper)}\
.pulse-graph .box{fill:var(--box);stroke:var(--edge)}\
.pulse-graph .source .box{stroke-dasharray:4 3}\
.pulse-graph .name{fill:var(--ink);font-size:13px}\
.pulse-graph .note{fill:var(--quiet);font-size:11px}\
.pulse-graph .line{fill:none;stroke:var(--line);stroke-width:1.25}\
.pulse-graph .refers{stroke-dasharray:5 4}\
.pulse-graph .tip{fill:var(--line)}\
.pulse-graph a:hover .box,.pulse-graph a:focus .box{stroke:var(--ink)}\
.pulse-graph .mark{fill:var(--quiet)}\
.pulse-graph .c0 .mark{fill:var(--c0)}.pulse-graph .c1 .mark{fill:var(--c1)}.pulse-graph .c2 .mark{fill:var(--c2)}\
.pulse-graph .c3 .mark{fill:var(--c3)}.pulse-graph .c4 .mark{fill:var(--c4)}.pulse-graph .c5 .mark{fill:var(--c5)}";

/// From left to right; it follows the reader's setting of light or dark.
pub(crate) fn svg(lineage: &Lineage, title: &str, links: Links<'_>) -> String {
    let drawn = layout(&shape(lineage), MEASURES);
    let classes = classes(lineage);
    let Layout { width, height, .. } = drawn;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"pulse-graph\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\">\n<title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n",
        escape(title)
    );
    drawn.lines.iter().for_each(|line| text.push_str(&path(lineage, line)));
    for (node, rect) in lineage.nodes.iter().zip(&drawn.boxes) {
        text.push_str(&group(node, rect, classes.get(node.layer()).map_or("", String::as_str), links));
    }
    text.push_str("</svg>\n");
    text
}

fn shape(lineage: &Lineage) -> Shape {
    lineage.shape(|node| {
        let letters = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX / 64);
        let words = (letters(node.table()) * NAME_LETTER).max(letters(&note(node)) * NOTE_LETTER);
        (words + 2 * PADDING).max(LEAST_WIDTH)
    })
}

/// What stands above the name.
fn note(node: &Node) -> String {
    match node.kind {
        Kind::Files { feeds: 1 } => format!("{}, 1 feed", node.layer()),
        Kind::Files { feeds } => format!("{}, {feeds} feeds", node.layer()),
        Kind::Database | Kind::External | Kind::Job => node.layer().to_owned(),
    }
}

/// Class of each layer of jobs, which gives it its colour.
fn classes(lineage: &Lineage) -> BTreeMap<&str, String> {
    let of_jobs =
        |places: &Vec<usize>| places.iter().filter_map(|place| lineage.nodes.get(*place)).any(|node| !node.is_source());
    let layers = lineage.layers().into_iter().filter(|(_, places)| of_jobs(places));
    layers.enumerate().map(|(place, (layer, _))| (layer, format!("c{}", place % COLOURS))).collect()
}

fn path(lineage: &Lineage, line: &Line) -> String {
    let mut curves = String::new();
    let mut last = None;
    for &(x, y) in &line.points {
        match last {
            None => curves.push_str(&format!("M{x} {y}")),
            Some((_, above)) if above == y => curves.push_str(&format!("H{x}")),
            Some((left, above)) => {
                let middle = i64::midpoint(left, x);
                curves.push_str(&format!("C{middle} {above} {middle} {y} {x} {y}"));
            }
        }
        last = Some((x, y));
    }
    let (x, y) = last.unwrap_or_default();
    let class = match lineage.edges.get(&line.edge) {
        Some(Use::Refers) => "line refers",
        Some(Use::Reads) | None => "line",
    };
    let tip = format!("M{} {}L{x} {y}L{} {}z", x - 7, y - 4, x - 7, y + 4);
    format!("<path class=\"{class}\" d=\"{curves}\"/><path class=\"tip\" d=\"{tip}\"/>\n")
}

fn group(node: &Node, rect: &Rect, class: &str, links: Links<'_>) -> String {
    let Rect { x, y, width, height } = *rect;
    let class = if node.is_source() { "source" } else { class };
    let words = format!(
        "<g class=\"{class}\"><rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/><rect \
         class=\"mark\" x=\"{x}\" y=\"{}\" width=\"4\" height=\"{}\" rx=\"2\"/><text class=\"note\" x=\"{}\" y=\"{}\">{}</text><text \
         class=\"name\" x=\"{}\" y=\"{}\">{}</text></g>",
        y + 6,
        height - 12,
        x + PADDING,
        y + 17,
        escape(&note(node)),
        x + PADDING,
        y + 34,
        escape(node.table()),
    );
    match links(node) {
        Some(link) => format!("<a href=\"{}\">{words}</a>\n", escape(&link)),
        None => format!("{words}\n"),
    }
}
