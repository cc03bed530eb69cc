//! Which triggers a ledger has, by time, and those that are too old to be kept.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::path::Path;
use pulse_core::lease::LeaseOptions;
use pulse_core::run::TriggerId;
use pulse_core::{ErrorKind, Result};
use pulse_engine::error::from_store;
use pulse_engine::store::remove_empty_folders;

use super::{READ, RunStore, WRITE};

/// Triggers that are looked at or deleted at once.
const AT_ONCE: usize = 16;

impl RunStore {
    /// The triggers from a time on and before another one. Ids begin with their time and stores list by name, so that earlier triggers
    /// cost nothing.
    ///
    /// # Errors
    /// `Unavailable` when the lake cannot be listed.
    pub(super) async fn triggers(
        &self,
        from: Option<DateTime<Utc>>,
        before: Option<DateTime<Utc>>,
    ) -> Result<Vec<TriggerId>> {
        let runs = self.root.clone().join("runs");
        let found: BTreeSet<TriggerId> = match from {
            None => {
                let listed = self.store.list_with_delimiter(Some(&runs)).await.map_err(|e| from_store(READ, &e))?;
                listed.common_prefixes.iter().filter_map(|folder| folder.filename()?.parse().ok()).collect()
            }
            Some(from) => {
                let trigger = |path: &Path| path.prefix_match(&runs)?.next()?.as_ref().parse::<TriggerId>().ok();
                let offset = runs.clone().join(TriggerId::first_of(from));
                let listed = self.store.list_with_offset(Some(&runs), &offset);
                listed
                    .try_filter_map(|object| std::future::ready(Ok(trigger(&object.location))))
                    .try_collect()
                    .await
                    .map_err(|e| from_store(READ, &e))?
            }
        };
        let is_meant = |trigger: &TriggerId| {
            let at_most = before.is_none_or(|before| trigger.as_str() < TriggerId::first_of(before).as_str());
            at_most && from.is_none_or(|from| trigger.as_str() >= TriggerId::first_of(from).as_str())
        };
        Ok(found.into_iter().filter(is_meant).collect())
    }

    /// Triggers that began before a time and have ended, oldest first. One that may still be driven is not among them.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub async fn ended_before(
        &self,
        time: DateTime<Utc>,
        now: DateTime<Utc>,
        options: LeaseOptions,
    ) -> Result<Vec<TriggerId>> {
        let open: BTreeSet<TriggerId> = self.open().await?.into_iter().collect();
        let closed = self.triggers(None, Some(time)).await?.into_iter().filter(|trigger| !open.contains(trigger));
        let ended = |trigger: TriggerId| async move {
            let driven = self.is_driven(&trigger, now, options).await?;
            Ok((!driven).then_some(trigger))
        };
        stream::iter(closed)
            .map(ended)
            .buffered(AT_ONCE)
            .try_filter_map(|ended| std::future::ready(Ok(ended)))
            .try_collect()
            .await
    }

    /// Deletes all that the ledger has of triggers, and the keys of their submissions: such a key is then that of a new submission.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be listed, read or written.
    pub async fn forget(&self, triggers: &[TriggerId]) -> Result<()> {
        // Keys first: without its trigger, a key could not be found again.
        self.forget_keys(&triggers.iter().collect()).await?;
        let deletions = stream::iter(triggers).map(|trigger| self.forget_trigger(trigger));
        deletions.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn forget_trigger(&self, trigger: &TriggerId) -> Result<()> {
        let objects = self.list_below(&self.of(trigger)).await?;
        let paths = stream::iter(objects).map(|object| object_store::Result::Ok(object.location)).boxed();
        let absent = |deleted: object_store::Result<Path>| match deleted {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_store(WRITE, &error)),
        };
        self.store.delete_stream(paths).map(absent).try_for_each(|()| std::future::ready(Ok(()))).await?;
        if let Some(ledger) = &self.folder {
            remove_empty_folders(&ledger.join("runs").join(trigger.as_str()));
        }
        Ok(())
    }

    async fn forget_keys(&self, triggers: &BTreeSet<&TriggerId>) -> Result<()> {
        for object in self.list_below(&self.root.clone().join("keys")).await? {
            let trigger = match self.read(&object.location).await {
                Ok(text) => text.and_then(|text| text.trim().parse().ok()),
                Err(error) if error.kind() == ErrorKind::Data => None,
                Err(error) => return Err(error),
            };
            if trigger.is_some_and(|trigger: TriggerId| triggers.contains(&trigger)) {
                self.delete(&object.location).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;
    use object_store::memory::InMemory;
    use proptest::prelude::*;
    use pulse_core::run::{RunId, RunRecord, RunState};

    use super::*;
    use crate::ledger::Key;

    fn options() -> LeaseOptions {
        LeaseOptions { length: TimeDelta::seconds(60), clock_margin: TimeDelta::seconds(5) }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    /// A ledger with one ended run for each trigger, which began so many minutes before now.
    async fn ledger(minutes_ago: &[i64]) -> (RunStore, Vec<TriggerId>) {
        let ledger = RunStore::over(Arc::new(InMemory::new()), &Path::from("lake"));
        let mut triggers = Vec::new();
        for (number, minutes) in minutes_ago.iter().enumerate() {
            let trigger = TriggerId::new(now() - TimeDelta::minutes(*minutes), number as u32);
            let mut record = RunRecord::queued(RunId::new(trigger.clone(), "silver.bars".parse().unwrap()));
            record.state = RunState::Succeeded;
            record.started = Some(trigger.time().timestamp_millis() + number as i64);
            ledger.put(&record, 1).await.unwrap();
            triggers.push(trigger);
        }
        (ledger, triggers)
    }

    fn run<T>(task: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_newest_are_found_step_by_step(
            minutes_ago in prop::collection::vec(prop_oneof![-5_i64..3_000, 0_i64..400_000], 0..30),
            limit in 0_usize..40,
        ) {
            let (ledger, mut triggers) = run(ledger(&minutes_ago));
            triggers.sort_by_key(|trigger| (trigger.time(), trigger.as_str().to_owned()));
            let newest = run(ledger.newest(limit, now(), options())).unwrap();
            let found: Vec<&TriggerId> = newest.iter().map(|record| &record.trigger).collect();
            prop_assert_eq!(found, triggers.iter().rev().take(limit).collect::<Vec<_>>());
        }

        #[test]
        fn what_is_too_old_goes_with_its_keys_and_nothing_else(
            minutes_ago in prop::collection::vec(0_i64..10_000, 0..20),
            open in any::<prop::sample::Index>(),
            keep in 0_i64..10_000,
        ) {
            let (ledger, triggers) = run(ledger(&minutes_ago));
            let open = (!triggers.is_empty()).then(|| triggers[open.index(triggers.len())].clone());
            let before = now() - TimeDelta::minutes(keep);
            run(async {
                for trigger in &triggers {
                    let key: Key = format!("key-{trigger}").parse().unwrap();
                    assert_eq!(ledger.trigger_of(&key, trigger.clone()).await.unwrap(), *trigger);
                }
                if let Some(open) = &open {
                    ledger.mark_open(open, 0).await.unwrap();
                }
                let old = ledger.ended_before(before, now(), options()).await.unwrap();
                ledger.forget(&old).await.unwrap();
            });
            for (trigger, minutes) in triggers.iter().zip(&minutes_ago) {
                let stays = *minutes <= keep || Some(trigger) == open.as_ref();
                prop_assert_eq!(run(ledger.records(trigger)).unwrap().len(), usize::from(stays), "{}", trigger);
                let other = TriggerId::new(now(), u32::MAX);
                let of_key = run(ledger.trigger_of(&format!("key-{trigger}").parse().unwrap(), other.clone())).unwrap();
                prop_assert_eq!(&of_key, if stays { trigger } else { &other });
            }
        }
    }

    /// A trigger that is driven has no open mark where it was not submitted.
    #[test]
    fn a_trigger_that_is_driven_stays() {
        run(async {
            let (ledger, triggers) = ledger(&[5_000]).await;
            let kept = crate::ledger::LeaseKeeper::claim(&ledger, &triggers[0], crate::ledger::Origin::Here, options());
            let kept = kept.await.unwrap();
            assert!(kept.is_some());
            let old = ledger.ended_before(now(), Utc::now(), options()).await.unwrap();
            assert!(old.is_empty(), "{old:?}");
        });
    }
}
