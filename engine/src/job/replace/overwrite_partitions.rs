//! `overwrite_partitions`: those of the partitions that occur in the new rows, or did in the rows that the changed groups yielded.

use super::{Goes, Rest, SinkRules, With};

pub(super) struct OverwritePartitions<'a> {
    pub(super) by: &'a [String],
}

impl SinkRules for OverwritePartitions<'_> {
    /// A file holds rows of one partition.
    fn goes(&self) -> Goes {
        Goes::Agreeing { columns: self.by.to_vec(), with: With::NewAndEarlierRows, rest: Rest::Goes }
    }
}
