use super::*;

const MEASURES: Measures = Measures { height: 40, row_gap: 16, line_gap: 12, column_gap: 60, margin: 20 };

/// Numbers that look random and are the same on every machine (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A graph without a cycle: an edge leads from a lesser rank to a greater one, and ranks are no places in the list.
fn random_shape(random: &mut Random) -> Shape {
    let nodes = 1 + random.below(30);
    let mut ranks: Vec<usize> = (0..nodes).collect();
    (1..nodes).for_each(|node| ranks.swap(node, random.below(node + 1)));
    let widths = (0..nodes).map(|_| 60 + i64::try_from(random.below(200)).unwrap()).collect();
    let mut edges = BTreeSet::new();
    for _ in 0..random.below(2 * nodes + 1) {
        let (a, b) = (random.below(nodes), random.below(nodes));
        match ranks[a].cmp(&ranks[b]) {
            std::cmp::Ordering::Less => edges.insert((a, b)),
            std::cmp::Ordering::Greater => edges.insert((b, a)),
            std::cmp::Ordering::Equal => false,
        };
    }
    Shape { widths, edges }
}

/// Points of a curve of Bézier as the drawing makes it: it leaves and arrives level, with its bends in the middle.
fn along(from: (i64, i64), to: (i64, i64)) -> Vec<(f64, f64)> {
    let float = |(x, y): (i64, i64)| (f64::from(i32::try_from(x).unwrap()), f64::from(i32::try_from(y).unwrap()));
    let ((x0, y0), (x3, y3)) = (float(from), float(to));
    let middle = f64::midpoint(x0, x3);
    (0..=32)
        .map(|step| {
            let t = f64::from(step) / 32.0;
            let (a, b, c, d) = ((1.0 - t).powi(3), 3.0 * t * (1.0 - t).powi(2), 3.0 * t * t * (1.0 - t), t.powi(3));
            (a * x0 + b * middle + c * middle + d * x3, a * y0 + b * y0 + c * y3 + d * y3)
        })
        .collect()
}

fn is_inside(rect: &Rect, (x, y): (f64, f64)) -> bool {
    let of = |value: i64| f64::from(i32::try_from(value).unwrap());
    x > of(rect.x) && x < of(rect.x + rect.width) && y > of(rect.y) && y < of(rect.y + rect.height)
}

/// All points of a line, those of its straight parts too.
fn points(line: &Line) -> Vec<(f64, f64)> {
    line.points.windows(2).flat_map(|pair| along(pair[0], pair[1])).collect()
}

#[test]
fn no_line_crosses_a_box_and_no_box_another_in_a_thousand_random_graphs() {
    let mut random = Random(7);
    for round in 0..1000 {
        let shape = random_shape(&mut random);
        let drawn = layout(&shape, MEASURES);
        assert_eq!(drawn, layout(&shape, MEASURES), "{round}");
        for (node, rect) in drawn.boxes.iter().enumerate() {
            assert!(rect.width >= shape.widths[node], "{round}: {node}");
            assert!(rect.x >= MEASURES.margin && rect.y >= MEASURES.margin, "{round}: {node}");
            assert!(rect.x + rect.width + MEASURES.margin <= drawn.width, "{round}: {node}");
            assert!(rect.y + rect.height + MEASURES.margin <= drawn.height, "{round}: {node}");
            for other in &drawn.boxes[..node] {
                let apart = other.y + other.height + MEASURES.row_gap <= rect.y
                    || rect.y + rect.height + MEASURES.row_gap <= other.y;
                assert!(other.x != rect.x || apart, "{round}: {rect:?} {other:?}");
            }
        }
        assert_eq!(drawn.lines.iter().map(|line| line.edge).collect::<BTreeSet<_>>(), shape.edges);
        for line in &drawn.lines {
            let (from, to) = (drawn.boxes[line.edge.0], drawn.boxes[line.edge.1]);
            assert!(from.x + from.width < to.x, "{round}: {line:?}");
            assert_eq!(line.points.first(), Some(&(from.x + from.width, from.y + from.height / 2)));
            assert_eq!(line.points.last(), Some(&(to.x, to.y + to.height / 2)));
            let crossed = drawn.boxes.iter().find(|rect| points(line).into_iter().any(|point| is_inside(rect, point)));
            assert_eq!(crossed, None, "{round}: {line:?}");
            assert!(
                points(line).iter().all(|(_, y)| *y >= 0.0 && *y <= f64::from(i32::try_from(drawn.height).unwrap()))
            );
        }
    }
}

#[test]
fn a_node_stands_behind_what_it_reads_and_a_source_just_before_its_first_reader() {
    // 0 -> 1 -> 2 -> 3, and 4 is read by 3 alone; 5 is alone.
    let shape = Shape { widths: vec![10; 6], edges: [(0, 1), (1, 2), (2, 3), (4, 3)].into() };
    assert_eq!(columns(&shape), [0, 1, 2, 3, 2, 0]);
    // Nodes that stand in the list before what they read.
    let backwards = Shape { widths: vec![10; 3], edges: [(2, 1), (1, 0)].into() };
    assert_eq!(columns(&backwards), [2, 1, 0]);
    assert_eq!(columns(&Shape::default()), Vec::<usize>::new());
}

#[test]
fn lines_that_need_not_cross_do_not() {
    // Two chains and a ladder whose nodes are named so that the order of names crosses.
    let shape = Shape { widths: vec![10; 6], edges: [(0, 5), (1, 4), (2, 3)].into() };
    let (found, joints) = items(&shape, &columns(&shape));
    let neighbours = order::Neighbours::new(&joints);
    assert_eq!(order::crossings(&found, &neighbours), 3);
    assert_eq!(order::crossings(&order::ordered(found, &joints), &neighbours), 0);
    let drawn = layout(&shape, MEASURES);
    // Each line is then level.
    assert!(drawn.lines.iter().all(|line| line.points[0].1 == line.points[1].1), "{drawn:?}");
}

#[test]
fn what_one_node_feeds_stands_around_its_height() {
    let shape = Shape { widths: vec![10; 4], edges: [(0, 1), (0, 2), (0, 3)].into() };
    let drawn = layout(&shape, MEASURES);
    assert_eq!(drawn.boxes[0].y, drawn.boxes[2].y);
    assert_eq!((drawn.width, drawn.height), (20 + 10 + 60 + 10 + 20, 20 + 3 * 40 + 2 * 16 + 20));
}

#[test]
fn lines_of_one_node_over_a_column_are_one() {
    // 0 feeds 1, 2 and 3 in columns of their own; its line passes over column 1 once and over column 2 once.
    let shape = Shape { widths: vec![10; 4], edges: [(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)].into() };
    let drawn = layout(&shape, MEASURES);
    let of = |edge| drawn.lines.iter().find(|line| line.edge == edge).unwrap().points.clone();
    assert_eq!(of((0, 2))[..3], of((0, 3))[..3]);
    assert_eq!(of((0, 3)).len(), 6);
}
