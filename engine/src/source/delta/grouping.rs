//! Which files one partition of a scan reads: pure, from sizes and bounds.

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use crate::table::DataFile;

/// Bounds of one file's values in the leading column of its order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Extent {
    pub(super) min: ScalarValue,
    pub(super) max: ScalarValue,
}

impl Extent {
    /// None when a bound is unknown or nulls lie outside the bounds.
    pub(super) fn of(file: &DataFile, column: &str, data_type: &DataType) -> Option<Self> {
        if file.null_count(column)? > 0 {
            return None;
        }
        Some(Self { min: file.min(column, data_type)?, max: file.max(column, data_type)? })
    }
}

/// Groups of file indexes.
#[derive(Debug, PartialEq)]
pub(super) struct Grouping {
    pub(super) groups: Vec<Vec<usize>>,
    /// First value of each group but the first: no value of the leading column lies in two groups. Only for several groups.
    pub(super) splits: Option<Vec<ScalarValue>>,
    /// Whether the files of every group, read one after another, are in order.
    pub(super) sorted: bool,
}

impl Grouping {
    /// Cuts at `target` bytes, and with bounds only where no value of the leading column straddles the cut, so that windows
    /// and aggregations by that column need no shuffle.
    pub(super) fn new(bytes: &[u64], extents: Option<&[Extent]>, target: u64) -> Self {
        match extents.and_then(|extents| Self::disjoint(bytes, extents, target)) {
            Some(grouping) => grouping,
            None => Self::by_size(bytes, target),
        }
    }

    fn by_size(bytes: &[u64], target: u64) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut filled = 0;
        for (index, size) in bytes.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if filled + size <= target => group.push(index),
                _ => {
                    groups.push(vec![index]);
                    filled = 0;
                }
            }
            filled += size;
        }
        let sorted = groups.iter().all(|group| group.len() == 1);
        Self { groups, splits: None, sorted }
    }

    /// None when the bounds do not compare, or overlap so much that one group would hold nearly everything.
    fn disjoint(bytes: &[u64], extents: &[Extent], target: u64) -> Option<Self> {
        let clusters = in_order(extents)?;
        let largest = clusters.iter().map(|cluster| size(cluster, bytes)).max()?;
        let total: u64 = bytes.iter().sum();
        if largest > target && largest > total / 2 && bytes.len() > 1 {
            return None;
        }
        let sorted = clusters.iter().all(|cluster| cluster.len() == 1);
        let groups = pack(clusters, bytes, target);
        let splits = groups.iter().skip(1).map(|group| extents[group[0]].min.clone()).collect();
        Some(Self { splits: (groups.len() > 1).then_some(splits), groups, sorted })
    }
}

/// Clusters in ascending order; none when the bounds do not compare.
pub(super) fn in_order(extents: &[Extent]) -> Option<Vec<Vec<usize>>> {
    let mut by_min: Vec<usize> = (0..extents.len()).collect();
    if extents.iter().any(|extent| extents[0].min.partial_cmp(&extent.min).is_none()) {
        return None;
    }
    by_min.sort_by(|&a, &b| {
        extents[a].min.partial_cmp(&extents[b].min).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(&b))
    });
    Some(clusters(&by_min, extents))
}

/// Runs of files whose extents touch or overlap.
fn clusters(by_min: &[usize], extents: &[Extent]) -> Vec<Vec<usize>> {
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    let mut reach: Option<&ScalarValue> = None;
    for &index in by_min {
        let extent = &extents[index];
        match (clusters.last_mut(), reach) {
            (Some(cluster), Some(max)) if extent.min <= *max => cluster.push(index),
            _ => clusters.push(vec![index]),
        }
        reach = match reach {
            Some(max) if *max >= extent.max => Some(max),
            _ => Some(&extent.max),
        };
    }
    clusters
}

fn pack(clusters: Vec<Vec<usize>>, bytes: &[u64], target: u64) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for cluster in clusters {
        let cluster_bytes = size(&cluster, bytes);
        match groups.last_mut() {
            Some(group) if filled + cluster_bytes <= target => group.extend(cluster),
            _ => {
                groups.push(cluster);
                filled = 0;
            }
        }
        filled += cluster_bytes;
    }
    groups
}

fn size(files: &[usize], bytes: &[u64]) -> u64 {
    files.iter().map(|&index| bytes[index]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(min: &str, max: &str) -> Extent {
        Extent { min: ScalarValue::from(min), max: ScalarValue::from(max) }
    }

    #[test]
    fn disjoint_files_are_cut_between_values() {
        let extents = [extent("M", "R"), extent("A", "C"), extent("D", "L"), extent("S", "Z")];
        let grouping = Grouping::new(&[10, 10, 10, 10], Some(&extents), 20);
        assert_eq!(grouping.groups, [vec![1, 2], vec![0, 3]]);
        assert_eq!(grouping.splits, Some(vec![ScalarValue::from("M")]));
        assert!(grouping.sorted);
    }

    #[test]
    fn files_that_share_a_value_stay_together_and_are_not_sorted() {
        let extents = [extent("A", "C"), extent("C", "F"), extent("G", "H"), extent("I", "J")];
        let grouping = Grouping::new(&[10, 10, 10, 10], Some(&extents), 10);
        assert_eq!(grouping.groups, [vec![0, 1], vec![2], vec![3]]);
        assert_eq!(grouping.splits, Some(vec![ScalarValue::from("G"), ScalarValue::from("I")]));
        assert!(!grouping.sorted);
    }

    #[test]
    fn overlap_everywhere_falls_back_to_sizes() {
        let extents = [extent("A", "Z"), extent("A", "Z"), extent("A", "Z")];
        let grouping = Grouping::new(&[10, 10, 10], Some(&extents), 20);
        assert_eq!(grouping.groups, [vec![0, 1], vec![2]]);
        assert_eq!(grouping.splits, None);
    }

    #[test]
    fn no_files_no_groups() {
        assert_eq!(Grouping::new(&[], None, 1).groups, Vec::<Vec<usize>>::new());
        assert_eq!(Grouping::new(&[], Some(&[]), 1).groups, Vec::<Vec<usize>>::new());
    }
}
