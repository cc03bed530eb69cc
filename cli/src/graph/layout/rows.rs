//! How far down items stand, in the order of their columns: near to what they are joined to, and none too close to another.

use std::collections::BTreeMap;

use super::order::Neighbours;
use super::{Item, Joints, Measures};

/// Passes over all columns, there and back; the last ones move nothing by more than a few pixels.
const PASSES: usize = 10;

/// The middle of each item.
pub(super) fn centers(columns: &[Vec<Item>], joints: &Joints, measures: Measures) -> BTreeMap<Item, i64> {
    let neighbours = Neighbours::new(joints);
    let mut centers = BTreeMap::new();
    for column in columns {
        let stacked = spread(&vec![0; column.len()], &distances(column, measures));
        centers.extend(column.iter().copied().zip(stacked));
    }
    for _ in 0..PASSES {
        for column in columns {
            settle(column, &neighbours.before, &mut centers, measures);
        }
        for column in columns.iter().rev() {
            settle(column, &neighbours.after, &mut centers, measures);
        }
    }
    let top = |item: &Item, center: &i64| center - half(item, measures);
    let highest = centers.iter().map(|(item, center)| top(item, center)).min().unwrap_or(0);
    centers.values_mut().for_each(|center| *center += measures.margin - highest);
    centers
}

fn half(item: &Item, measures: Measures) -> i64 {
    match item {
        Item::Node(_) => measures.height / 2,
        Item::Pass { .. } => 0,
    }
}

/// From the middle of each item to that of the one before it, at least; 0 for the first.
fn distances(column: &[Item], measures: Measures) -> Vec<i64> {
    let gap = |item: &Item| match item {
        Item::Node(_) => measures.row_gap,
        Item::Pass { .. } => measures.line_gap,
    };
    let of_pair = |pair: (&Item, &Item)| half(pair.0, measures) + half(pair.1, measures) + gap(pair.0).max(gap(pair.1));
    std::iter::once(0).chain(column.iter().zip(column.iter().skip(1)).map(of_pair)).take(column.len()).collect()
}

/// Moves a column's items to the mean of what they are joined to, as near as their distances allow.
fn settle(column: &[Item], joined: &BTreeMap<Item, Vec<Item>>, centers: &mut BTreeMap<Item, i64>, measures: Measures) {
    let wish = |item: &Item| {
        let met: Vec<i64> =
            joined.get(item).into_iter().flatten().filter_map(|item| centers.get(item)).copied().collect();
        mean(&met).unwrap_or_else(|| centers.get(item).copied().unwrap_or_default())
    };
    let wishes: Vec<i64> = column.iter().map(wish).collect();
    centers.extend(column.iter().copied().zip(spread(&wishes, &distances(column, measures))));
}

/// The places next to the wishes, by the sum of squares, that keep the distances: pools of items that would come too close move as
/// one to the mean of what their items wish.
fn spread(wishes: &[i64], distances: &[i64]) -> Vec<i64> {
    let mut offset = 0;
    let offsets: Vec<i64> = distances
        .iter()
        .map(|distance| {
            offset += distance;
            offset
        })
        .collect();
    let mut pools: Vec<Vec<i64>> = Vec::new();
    for (wish, offset) in wishes.iter().zip(&offsets) {
        let mut pool = vec![wish - offset];
        while let Some(last) = pools.pop_if(|last| mean(last) > mean(&pool)) {
            pool = [last, pool].concat();
        }
        pools.push(pool);
    }
    let starts = pools.iter().flat_map(|pool| std::iter::repeat_n(mean(pool).unwrap_or_default(), pool.len()));
    starts.zip(&offsets).map(|(start, offset)| start + offset).collect()
}

/// Rounded down, so that a greater mean is never a lesser number.
fn mean(values: &[i64]) -> Option<i64> {
    let count = i64::try_from(values.len()).ok()?;
    values.iter().sum::<i64>().checked_div_euclid(count)
}
