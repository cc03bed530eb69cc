//! What each sink must read. Which rows of its table go is with the engine (`engine/src/job/replace`).

use crate::manifest::Sink;

/// What a sink without intervals must read when something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Rows that came, and files that changed: each row of the table follows from one of them.
    Changes,
    /// All rows of the changed groups. Files are no groups: rows of any file may belong to the same keys or partitions.
    Groups,
    /// All rows, because all rows of the table go.
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
