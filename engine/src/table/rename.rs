//! Renames a table by moving its folder. Only folders of this machine can be moved.

use std::path::{Path, PathBuf};

use pulse_core::commit::pair::{NAMED_ID, Named};
use pulse_core::name::TableName;
use pulse_core::sql::{EXTERNAL, RAW};
use pulse_core::{Error, Result};

use super::{Lake, Table};
use crate::error::from_io;

/// Result of a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renamed {
    /// Whether the table's quarantine was renamed, too.
    pub quarantine: bool,
}

impl Lake {
    /// Moves a table and its quarantine to another name. Ids, versions and bookmarks stay as they are.
    ///
    /// The quarantine is moved first, so that a second call completes an interrupted one.
    ///
    /// # Errors
    /// `Invalid` if the table does not exist, the target exists, or the store has no folders.
    pub async fn rename(&self, from: &TableName, to: &TableName) -> Result<Renamed> {
        let (table, target) = (self.table(from)?, self.table(to)?);
        if from.quarantined().is_some() || to.quarantined().is_some() {
            return Err(Error::invalid(format!("{from}: a quarantine goes by the name of its table; rename that")));
        }
        if [RAW, EXTERNAL].contains(&to.layer()) {
            return Err(Error::invalid(format!(
                "{to}: queries find sources of sources.toml below `{RAW}` and `{EXTERNAL}`, and would not see a table there; choose another \
                 layer"
            )));
        }
        let Some(snapshot) = table.snapshot(None).await? else {
            return Err(Error::invalid(format!(
                "table {from} does not exist in {}; `pulse table list` shows what does",
                self.root()
            )));
        };
        let (place, new_place) = folders(&table, &target)?;
        refuse_taken(&new_place, to)?;
        let (rejects, new_rejects) = folders(&self.table(&from.quarantine())?, &self.table(&to.quarantine())?)?;
        let named = Named::from_number(snapshot.transactions.get(NAMED_ID).copied());
        let quarantine = match (rejects.exists(), new_rejects.exists(), named) {
            (true, false, _) => {
                move_folder(&rejects, &new_rejects, &from.quarantine())?;
                true
            }
            // An interrupted rename moved it.
            (false, true, Named::Version(_)) => true,
            (_, true, _) => {
                let quarantine = to.quarantine();
                return Err(Error::invalid(format!(
                    "table {quarantine} exists: drop it first, `pulse table drop {quarantine}`"
                )));
            }
            (false, false, _) => false,
        };
        move_folder(&place, &new_place, from)?;
        Ok(Renamed { quarantine })
    }
}

fn folders(from: &Table, to: &Table) -> Result<(PathBuf, PathBuf)> {
    match (from.folder(), to.folder()) {
        (Some(from), Some(to)) => Ok((from, to)),
        _ => Err(Error::invalid(format!(
            "table {} lies at {}, a store that cannot move a folder as a whole, and half a table must never be seen; instead rename \
             the folder of its job, run the job, and then `pulse table drop {}`",
            from.name(),
            from.url(),
            from.name()
        ))),
    }
}

/// An empty folder is not refused.
fn refuse_taken(place: &Path, name: &TableName) -> Result<()> {
    let is_empty = place.read_dir().map_or(true, |mut entries| entries.next().is_none());
    match is_empty {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "table {name} exists, or other files lie at {}: drop it first, `pulse table drop {name}`",
            place.display()
        ))),
    }
}

fn move_folder(from: &Path, to: &Path, name: &TableName) -> Result<()> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::CrossesDevices => Error::invalid(format!(
            "table {name}: {} and {} are different file systems, and half a table must never be seen; choose a name in the same layer",
            from.display(),
            to.display()
        )),
        _ => from_io(&format!("rename table {name}"), &e),
    };
    if let Some(layer) = to.parent() {
        std::fs::create_dir_all(layer).map_err(failed)?;
    }
    std::fs::rename(from, to).map_err(failed)
}
