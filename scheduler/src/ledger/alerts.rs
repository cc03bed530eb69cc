//! What the ledger keeps of alerts: by alert and job, incidents and whether their messages were delivered.

use object_store::path::Path;
use pulse_core::Result;
use pulse_core::alert::Incidents;
use pulse_core::name::TableName;

use super::{RunStore, json};

impl RunStore {
    /// # Errors
    /// `Unavailable` when the lake cannot be read, `Data` for an object that cannot.
    pub async fn incidents(&self, alert: &str, job: &TableName) -> Result<Incidents> {
        Ok(self.read_json(&self.incidents_path(alert, job)).await?.unwrap_or_default())
    }

    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn put_incidents(&self, alert: &str, job: &TableName, incidents: &Incidents) -> Result<()> {
        let path = self.incidents_path(alert, job);
        match *incidents == Incidents::default() {
            true => self.delete(&path).await,
            false => self.overwrite(&path, json(incidents)?).await,
        }
    }

    fn incidents_path(&self, alert: &str, job: &TableName) -> Path {
        self.root.clone().join("alerts").join(alert).join(format!("{job}.json"))
    }
}
