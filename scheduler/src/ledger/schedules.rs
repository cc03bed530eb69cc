//! What the ledger keeps of schedules.

use object_store::path::Path;
use pulse_core::Result;
use pulse_core::schedule::Remembered;

use super::{RunStore, json};

impl RunStore {
    /// What the last look at a schedule left; `None` before the first one.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be read, `Data` for an object that cannot.
    pub async fn schedule(&self, name: &str) -> Result<Option<Remembered>> {
        self.read_json(&self.schedule_path(name)).await
    }

    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn put_schedule(&self, name: &str, remembered: &Remembered) -> Result<()> {
        self.overwrite(&self.schedule_path(name), json(remembered)?).await
    }

    fn schedule_path(&self, name: &str) -> Path {
        self.root.clone().join("schedules").join(format!("{name}.json"))
    }
}
