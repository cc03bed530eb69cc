//! Records of runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, Utc};
use object_store::path::Path;
use pulse_core::lease::LeaseOptions;
use pulse_core::name::TableName;
use pulse_core::run::{RunRecord, RunState, TriggerId};
use pulse_core::{ErrorKind, Result};

use super::RunStore;

/// How far back the newest runs are looked for, step by step, before all are.
const LOOK_BACK_DAYS: [u64; 3] = [1, 10, 100];

impl RunStore {
    /// Replaces the record of a run. Only the driver of the epoch writes it, so no earlier driver overwrites a later one's.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be written.
    pub async fn put(&self, record: &RunRecord, epoch: u64) -> Result<()> {
        self.put_again(record, epoch).await?;
        if let Some(metrics) = &self.metrics {
            metrics.observe(record);
        }
        Ok(())
    }

    /// As [`Self::put`], for a record that an earlier driver has written: it counts no second time.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_again(&self, record: &RunRecord, epoch: u64) -> Result<()> {
        let folder = self.of(&record.trigger).join("records").join(format!("{epoch:08}"));
        self.overwrite(&folder.join(format!("{}.json", record.job)), record.to_json()?).await
    }

    /// Records of one trigger, in the order in which they started.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be listed, `Data` for a record that cannot be read.
    pub async fn records(&self, trigger: &TriggerId) -> Result<Vec<RunRecord>> {
        let mut newest: BTreeMap<TableName, Path> = BTreeMap::new();
        let mut objects = self.list_below(&self.of(trigger).join("records")).await?;
        // Epochs are padded with zeros: the newest is the last.
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        for object in objects {
            let job = object.location.filename().and_then(|name| name.strip_suffix(".json"));
            if let Some(job) = job.and_then(|job| job.parse().ok()) {
                newest.insert(job, object.location);
            }
        }
        let mut records = Vec::new();
        for path in newest.values() {
            if let Some(text) = self.read(path).await? {
                records.push(RunRecord::from_json(&text)?);
            }
        }
        records.sort_by(|a, b| (a.started.is_none(), a.started, &a.job).cmp(&(b.started.is_none(), b.started, &b.job)));
        Ok(records)
    }

    /// As [`Self::records`]; what no driver drives any more is [`RunState::Lost`].
    ///
    /// # Errors
    /// As [`Self::records`].
    pub async fn records_at(
        &self,
        trigger: &TriggerId,
        now: DateTime<Utc>,
        options: LeaseOptions,
    ) -> Result<Vec<RunRecord>> {
        let mut records = self.records(trigger).await?;
        if records.iter().all(|record| record.state.is_final()) {
            return Ok(records);
        }
        if self.is_driven(trigger, now, options).await? {
            return Ok(records);
        }
        let resumed = self.is_open(trigger).await?;
        for record in records.iter_mut().filter(|record| !record.state.is_final()) {
            record.state = RunState::Lost;
            record.reason = Some(match resumed {
                true => "its driver is gone; a scheduler of this lake takes it up".to_owned(),
                false => "its process is gone; what it did not commit is done by the next run".to_owned(),
            });
        }
        Ok(records)
    }

    /// Records of the triggers that were submitted and have not ended, newest first. Nothing else is looked at: one listing while
    /// there are none, however many have ended.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub async fn of_open(&self, now: DateTime<Utc>, options: LeaseOptions) -> Result<Vec<RunRecord>> {
        let mut records = Vec::new();
        for trigger in self.open().await?.into_iter().rev() {
            records.extend(self.records_at(&trigger, now, options).await?.into_iter().rev());
        }
        Ok(records)
    }

    /// The newest `limit` records of all triggers, newest first. Older triggers are not even listed.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub async fn newest(&self, limit: usize, now: DateTime<Utc>, options: LeaseOptions) -> Result<Vec<RunRecord>> {
        let mut newest = Vec::new();
        let mut listed_from = None;
        let starts = LOOK_BACK_DAYS.iter().map(|days| now.checked_sub_days(Days::new(*days)));
        for from in starts.chain([None]) {
            let mut triggers = self.triggers(from, listed_from).await?;
            triggers.sort_unstable_by(|a, b| b.cmp(a));
            // An id says the second; of those of one second, the records say which was first.
            for of_second in triggers.chunk_by(|a, b| a.time() == b.time()) {
                if newest.len() >= limit {
                    break;
                }
                newest.extend(self.records_of_second(of_second, now, options).await?);
            }
            if newest.len() >= limit {
                break;
            }
            listed_from = from;
        }
        newest.truncate(limit);
        Ok(newest)
    }

    /// Records of triggers that began in one second, newest first.
    async fn records_of_second(
        &self,
        triggers: &[TriggerId],
        now: DateTime<Utc>,
        options: LeaseOptions,
    ) -> Result<Vec<RunRecord>> {
        let mut of_triggers = Vec::new();
        for trigger in triggers {
            match self.records_at(trigger, now, options).await {
                Ok(records) => of_triggers.push(records),
                // One object does not hide all others.
                Err(error) if error.kind() == ErrorKind::Data => log::warn!("{trigger}: {error}"),
                Err(error) => return Err(error),
            }
        }
        let begun =
            |records: &Vec<RunRecord>| records.iter().filter_map(|record| record.started.or(record.ended)).min();
        of_triggers.sort_by_key(|records| std::cmp::Reverse(begun(records)));
        Ok(of_triggers.into_iter().flat_map(|records| records.into_iter().rev()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;
    use object_store::memory::InMemory;
    use pulse_core::run::RunId;
    use pulse_core::settings::Settings;
    use pulse_engine::store::Stores;
    use pulse_engine::table::Lake;
    use pulse_metrics::Process;
    use pulse_metrics::text::Scraped;
    use url::Url;

    use super::*;
    use crate::metrics::{Metrics, Scene};

    fn trigger(minute: u32) -> TriggerId {
        format!("20260101T00{minute:02}00-0000000a").parse().unwrap()
    }

    #[tokio::test]
    async fn a_run_and_a_trigger_count_once_when_they_end() {
        let metrics = Metrics::new(&Settings::default(), Process::new("b".to_owned(), 1)).unwrap();
        let metrics = Arc::new(metrics);
        let ledger = RunStore::over(Arc::new(InMemory::new()), &Path::from("lake")).measured(Arc::clone(&metrics));
        let queued = RunRecord::queued(RunId::new(trigger(0), "silver.bars".parse().unwrap()));
        let skipped = RunRecord { state: RunState::Skipped, ..queued.clone() };
        let counted = || {
            let shown = Scraped::parse(&metrics.encode(&Scene::default()).unwrap()).unwrap();
            let run = shown.value("pulse_runs_total", &[("table", "silver.bars"), ("outcome", "skipped")]);
            (run, shown.value("pulse_triggers_ended_total", &[("outcome", "run_failed")]))
        };
        ledger.put(&queued, 1).await.unwrap();
        assert_eq!(counted(), (Some(0.0), Some(0.0)));
        ledger.put(&skipped, 1).await.unwrap();
        ledger.put_again(&skipped, 2).await.unwrap();
        assert_eq!(counted(), (Some(1.0), Some(0.0)));
        assert_eq!(ledger.records(&trigger(0)).await.unwrap(), [skipped]);
        // Again after a lost answer of the store.
        for _ in 0..2 {
            ledger.end(&trigger(0), 2, 1, Utc::now()).await.unwrap();
        }
        assert_eq!(counted(), (Some(1.0), Some(1.0)));
    }

    /// A ledger grows forever: polling for what is open must not read all of it.
    #[tokio::test]
    async fn what_is_open_is_found_without_a_look_at_what_has_ended() {
        let folder = std::env::temp_dir().join(format!("pulse-open-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let lake = Lake::new(Url::from_directory_path(&folder).unwrap(), Arc::new(Stores::default()));
        let ledger = RunStore::new(&lake).unwrap();
        for minute in 0..3 {
            let record = RunRecord::queued(RunId::new(trigger(minute), "silver.bars".parse().unwrap()));
            ledger.put(&record, 1).await.unwrap();
        }
        ledger.mark_open(&trigger(0), 0).await.unwrap();
        ledger.mark_open(&trigger(2), 0).await.unwrap();
        // This one cannot be read.
        let broken = ledger.of(&trigger(1)).join("records").join("00000001").join("silver.bars.json");
        ledger.overwrite(&broken, "{".to_owned()).await.unwrap();
        let options = LeaseOptions { length: TimeDelta::seconds(60), clock_margin: TimeDelta::seconds(5) };
        let open = ledger.of_open(Utc::now(), options).await.unwrap();
        assert_eq!(open.iter().map(|record| record.trigger.clone()).collect::<Vec<_>>(), [trigger(2), trigger(0)]);
        let newest = ledger.newest(10, Utc::now(), options).await.unwrap();
        assert_eq!(newest.iter().map(|record| record.trigger.clone()).collect::<Vec<_>>(), [trigger(2), trigger(0)]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
