//! `overwrite_partitions`: deletes the partitions that occur in the new rows, or in the rows that the changed groups
//! yielded before.

use super::{Goes, Rest, SinkRules, With};

pub(super) struct OverwritePartitions<'a> {
    pub(super) by: &'a [String],
}

impl SinkRules for OverwritePartitions<'_> {
    /// All rows of a file are in one partition.
    fn goes(&self) -> Goes {
        Goes::Agreeing { columns: self.by.to_vec(), with: With::NewAndEarlierRows, rest: Rest::Goes }
    }
}
