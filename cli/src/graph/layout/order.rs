//! In which order items stand in their columns, so that few lines cross.

use std::collections::BTreeMap;

use super::{Item, Joints};

/// Sweeps over all columns, there and back. More have brought nothing for graphs of hundreds of jobs.
const SWEEPS: usize = 12;

/// The order with the fewest crossings that was met.
pub(super) fn ordered(mut columns: Vec<Vec<Item>>, joints: &Joints) -> Vec<Vec<Item>> {
    let neighbours = Neighbours::new(joints);
    let mut best = columns.clone();
    let mut fewest = crossings(&columns, &neighbours);
    for _ in 0..SWEEPS {
        for column in 1..columns.len() {
            sort(&mut columns, column, column - 1, &neighbours.before);
        }
        for column in (1..columns.len()).rev() {
            sort(&mut columns, column - 1, column, &neighbours.after);
        }
        exchange(&mut columns, &neighbours);
        let crossed = crossings(&columns, &neighbours);
        if crossed < fewest {
            fewest = crossed;
            best.clone_from(&columns);
        }
    }
    best
}

/// What each item is joined to in the column before it, and in the one after it.
pub(super) struct Neighbours {
    pub(super) before: BTreeMap<Item, Vec<Item>>,
    pub(super) after: BTreeMap<Item, Vec<Item>>,
}

impl Neighbours {
    pub(super) fn new(joints: &Joints) -> Self {
        let (mut before, mut after) = (BTreeMap::<Item, Vec<Item>>::new(), BTreeMap::<Item, Vec<Item>>::new());
        for &(from, to) in joints {
            before.entry(to).or_default().push(from);
            after.entry(from).or_default().push(to);
        }
        Self { before, after }
    }
}

type Places = BTreeMap<Item, usize>;

fn places(column: &[Item]) -> Places {
    column.iter().enumerate().map(|(place, item)| (*item, place)).collect()
}

/// Sorts a column by the mean place of what its items are joined to in another one; items without any stay where they are.
fn sort(columns: &mut [Vec<Item>], column: usize, other: usize, joined: &BTreeMap<Item, Vec<Item>>) {
    let places = places(&columns[other]);
    // Means are compared as fractions with one denominator, so that no rounding decides.
    const DENOMINATOR: usize = 720_720;
    let mean = |place: usize, item: &Item| {
        let met: Vec<usize> =
            joined.get(item).into_iter().flatten().filter_map(|item| places.get(item)).copied().collect();
        match met.len() {
            0 => place * DENOMINATOR,
            count => met.iter().sum::<usize>() * DENOMINATOR / count,
        }
    };
    let mut keyed: Vec<(usize, usize, Item)> =
        columns[column].iter().enumerate().map(|(place, item)| (mean(place, item), place, *item)).collect();
    keyed.sort_unstable();
    columns[column] = keyed.into_iter().map(|(_, _, item)| item).collect();
}

/// Exchanges neighbours of a column where fewer lines cross then.
fn exchange(columns: &mut [Vec<Item>], neighbours: &Neighbours) {
    for column in 0..columns.len() {
        let before = column.checked_sub(1).map(|other| places(&columns[other])).unwrap_or_default();
        let after = columns.get(column + 1).map(|other| places(other)).unwrap_or_default();
        let crossed = |upper: &Item, lower: &Item| {
            pair_crossings(upper, lower, &neighbours.before, &before)
                + pair_crossings(upper, lower, &neighbours.after, &after)
        };
        // Each exchange lessens the crossings; the bound keeps a large column cheap.
        for _ in 0..columns[column].len() {
            let mut moved = false;
            for place in 1..columns[column].len() {
                let (upper, lower) = (columns[column][place - 1], columns[column][place]);
                if crossed(&lower, &upper) < crossed(&upper, &lower) {
                    columns[column].swap(place - 1, place);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }
}

/// Lines of two items to one column that cross when the one stands above the other.
fn pair_crossings(upper: &Item, lower: &Item, joined: &BTreeMap<Item, Vec<Item>>, places: &Places) -> usize {
    let of = |item| joined.get(item).into_iter().flatten().filter_map(|item| places.get(item));
    of(upper).map(|above| of(lower).filter(|below| *below < above).count()).sum()
}

pub(super) fn crossings(columns: &[Vec<Item>], neighbours: &Neighbours) -> usize {
    let of_pair = |(left, right): (&Vec<Item>, &Vec<Item>)| -> usize {
        let places = places(right);
        let below = |place: usize| left.iter().skip(place + 1);
        let of_item = |(place, upper): (usize, &Item)| -> usize {
            below(place).map(|lower| pair_crossings(upper, lower, &neighbours.after, &places)).sum()
        };
        left.iter().enumerate().map(of_item).sum()
    };
    columns.iter().zip(columns.iter().skip(1)).map(of_pair).sum()
}
