//! Refuses tables that a run may not write to, before it writes a file.

use pulse_core::Result;

use super::Run;
use crate::job::pin::Mode;
use crate::table::RowChange;

impl Run<'_> {
    /// An incremental run knows whether it removes rows only once it has its rows: [`crate::job::replace::touched`]
    /// checks again then.
    pub(super) fn refuse_unwritable(&self) -> Result<()> {
        let pinned = self.pinned;
        let rebuilds = match pinned.mode {
            Mode::Unchanged => return Ok(()),
            Mode::Incremental => false,
            Mode::Full { .. } => true,
        };
        for (table, snapshot) in [(&pinned.table, &pinned.target), (&pinned.quarantine_table, &pinned.quarantine)] {
            let Some(snapshot) = snapshot else { continue };
            let change = if rebuilds && !snapshot.files.is_empty() { RowChange::Replaced } else { RowChange::Added };
            table.refuse_unwritable(snapshot, change)?;
        }
        Ok(())
    }
}
