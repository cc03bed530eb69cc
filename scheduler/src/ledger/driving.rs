//! Drivers that died. A trigger whose planning ends the process would end every scheduler that takes it up.

use object_store::path::Path;
use pulse_core::Result;
use pulse_core::run::TriggerId;

use super::RunStore;

impl RunStore {
    fn driving_path(&self, trigger: &TriggerId, epoch: u64) -> Path {
        self.of(trigger).join("driving").join(format!("{epoch:08}"))
    }

    /// Drivers of the trigger that neither ended it nor let go of it, without the one that drives it now.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be read.
    pub async fn deaths(&self, trigger: &TriggerId) -> Result<usize> {
        Ok(self.list_below(&self.of(trigger).join("driving")).await?.len())
    }

    /// Says that a driver begins.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn begin_driving(&self, trigger: &TriggerId, epoch: u64) -> Result<()> {
        self.overwrite(&self.driving_path(trigger, epoch), String::new()).await
    }

    /// Says that the driver of the epoch is well, and drives the trigger no more.
    pub async fn stop_driving(&self, trigger: &TriggerId, epoch: u64) {
        if let Err(error) = self.delete(&self.driving_path(trigger, epoch)).await {
            log::warn!("{trigger}: its driver counts as dead: {error}");
        }
    }
}
