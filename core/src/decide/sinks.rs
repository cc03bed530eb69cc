//! What each sink must read. The engine decides which rows of the table it deletes (`engine/src/job/replace`).

use crate::manifest::Sink;

/// What a sink without intervals must read when something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// New rows and changed files: each row of the table derives from one of them.
    Changes,
    /// All rows of the changed groups. Files are not groups: any file may have rows of the same keys or partitions.
    Groups,
    /// All rows, because the whole table is replaced.
    Everything,
    /// All rows, to compare them with those of the table.
    Comparison,
}

pub(super) fn reads(sink: &Sink) -> Reads {
    match sink {
        Sink::Append {} => Reads::Changes,
        Sink::Overwrite {} => Reads::Everything,
        Sink::Merge { .. } | Sink::OverwritePartitions { .. } => Reads::Groups,
        Sink::Scd2(_) | Sink::Bitemporal(_) if sink.remembers() => Reads::Comparison,
        Sink::Scd2(_) | Sink::Bitemporal(_) => Reads::Groups,
    }
}
