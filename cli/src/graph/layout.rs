//! Where boxes and lines of a graph stand: columns from left to right, each box to the right of what it reads.
//!
//! A line that passes over a column takes a place there as a box does, so that it crosses no box. Places are integers, so that equal
//! graphs are drawn equal on every machine.

mod order;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

/// What is drawn. Nodes are named by their place in `widths`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// Width of each node's box.
    pub(crate) widths: Vec<i64>,
    /// From what is read to what reads it; without a cycle.
    pub(crate) edges: BTreeSet<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measures {
    /// Height of a box.
    pub(crate) height: i64,
    /// Between two boxes of a column.
    pub(crate) row_gap: i64,
    /// Between a line and its neighbours in a column that it passes over.
    pub(crate) line_gap: i64,
    /// Between two columns.
    pub(crate) column_gap: i64,
    /// Around everything.
    pub(crate) margin: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// As the nodes of the shape.
    pub(crate) boxes: Vec<Rect>,
    /// In the order of their edges.
    pub(crate) lines: Vec<Line>,
    pub(crate) width: i64,
    pub(crate) height: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: i64,
    pub(crate) height: i64,
}

/// One edge: a curve in each gap between columns, and straight over each column between the two boxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) edge: (usize, usize),
    /// Points in pairs: each pair is the two ends of a curve.
    pub(crate) points: Vec<(i64, i64)>,
}

/// What stands in a column: a box, or the line from this node that passes over the column. All lines of a node share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Node(usize),
    Pass { from: usize, column: usize },
}

/// Which items are joined between neighbouring columns.
type Joints = BTreeSet<(Item, Item)>;

/// The columns of nodes, from 0: that of a node is greater than those of all it reads. A node that reads nothing stands just before
/// its first reader.
pub(crate) fn columns(shape: &Shape) -> Vec<usize> {
    let mut columns = vec![0; shape.widths.len()];
    // Each pass makes at least one more column right; without a cycle there are no more columns than nodes.
    for _ in 0..columns.len() {
        for &(from, to) in &shape.edges {
            columns[to] = columns[to].max(columns[from] + 1);
        }
    }
    let readers: BTreeSet<usize> = shape.edges.iter().map(|&(_, to)| to).collect();
    for node in (0..columns.len()).filter(|node| !readers.contains(node)) {
        let first = shape.edges.iter().filter(|&&(from, _)| from == node).map(|&(_, to)| columns[to]).min();
        columns[node] = first.map_or(0, |first| first - 1);
    }
    columns
}

pub(crate) fn layout(shape: &Shape, measures: Measures) -> Layout {
    let columns = columns(shape);
    let (items, joints) = items(shape, &columns);
    let ordered = order::ordered(items, &joints);
    let centers = rows::centers(&ordered, &joints, measures);
    let sides = sides(shape, &ordered, measures);
    let boxes = boxes(shape, &columns, &centers, &sides, measures);
    let lines = shape.edges.iter().map(|&edge| line(edge, &columns, &boxes, &centers, &sides)).collect();
    let right = sides.last().map_or(0, |&(_, right)| right);
    let bottom = boxes.iter().map(|rect| rect.y + rect.height).chain(centers.values().copied()).max().unwrap_or(0);
    Layout { boxes, lines, width: right + measures.margin, height: bottom + measures.margin }
}

fn items(shape: &Shape, columns: &[usize]) -> (Vec<Vec<Item>>, Joints) {
    let mut sets = vec![BTreeSet::new(); columns.iter().max().map_or(0, |last| last + 1)];
    for (node, &column) in columns.iter().enumerate() {
        sets[column].insert(Item::Node(node));
    }
    let mut joints = Joints::new();
    for &(from, to) in &shape.edges {
        let mut last = Item::Node(from);
        for (column, set) in sets.iter_mut().enumerate().take(columns[to]).skip(columns[from] + 1) {
            let pass = Item::Pass { from, column };
            set.insert(pass);
            joints.insert((last, pass));
            last = pass;
        }
        joints.insert((last, Item::Node(to)));
    }
    (sets.into_iter().map(|set| set.into_iter().collect()).collect(), joints)
}

/// Left and right of each column.
fn sides(shape: &Shape, ordered: &[Vec<Item>], measures: Measures) -> Vec<(i64, i64)> {
    let mut left = measures.margin;
    let mut sides = Vec::new();
    for column in ordered {
        let widths = column.iter().filter_map(|item| match item {
            Item::Node(node) => Some(shape.widths[*node]),
            Item::Pass { .. } => None,
        });
        let right = left + widths.max().unwrap_or(0);
        sides.push((left, right));
        left = right + measures.column_gap;
    }
    sides
}

/// Boxes of a column are as wide as the column.
fn boxes(
    shape: &Shape,
    columns: &[usize],
    centers: &BTreeMap<Item, i64>,
    sides: &[(i64, i64)],
    measures: Measures,
) -> Vec<Rect> {
    let rect = |node: usize| {
        let (left, right) = sides[columns[node]];
        let y = centers[&Item::Node(node)] - measures.height / 2;
        Rect { x: left, y, width: right - left, height: measures.height }
    };
    (0..shape.widths.len()).map(rect).collect()
}

fn line(
    edge: (usize, usize),
    columns: &[usize],
    boxes: &[Rect],
    centers: &BTreeMap<Item, i64>,
    sides: &[(i64, i64)],
) -> Line {
    let (from, to) = edge;
    let start = boxes[from];
    let mut points = vec![(start.x + start.width, centers[&Item::Node(from)])];
    for column in columns[from] + 1..columns[to] {
        let y = centers[&Item::Pass { from, column }];
        let (left, right) = sides[column];
        points.extend([(left, y), (right, y)]);
    }
    points.push((boxes[to].x, centers[&Item::Node(to)]));
    Line { edge, points }
}

#[cfg(test)]
mod tests;
