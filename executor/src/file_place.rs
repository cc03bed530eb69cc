//! Shuffle files are named by job, stage and task number. A restarted stage numbers its tasks from zero again, so a
//! cancelled task may still write to the file that a new one is about to write. This serializes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// A cancelled task ends within a batch; if it has not ended by then, it is stuck in a call that will not write either.
const LAST_BATCH: Duration = Duration::from_secs(10);

type Key = (String, usize, usize);
type Writers = Arc<Mutex<HashMap<Key, watch::Sender<bool>>>>;

/// The current writer of each file.
#[derive(Default)]
pub(crate) struct FilePlaces(Writers);

/// The file that one task writes.
pub(crate) struct FilePlace {
    key: Key,
    writers: Writers,
}

impl FilePlaces {
    pub(crate) fn of(&self, job: &str, stage: usize, task: usize) -> FilePlace {
        FilePlace { key: (job.to_owned(), stage, task), writers: Arc::clone(&self.0) }
    }
}

impl FilePlace {
    /// Cancels the current writer, waits for it to end, and takes its place.
    pub(crate) async fn take(&self, cancel: &watch::Sender<bool>) {
        let before = {
            let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
            writers.retain(|_, writer| writer.receiver_count() > 0);
            writers.insert(self.key.clone(), cancel.clone())
        };
        if let Some(before) = before {
            before.send_replace(true);
            if tokio::time::timeout(LAST_BATCH, before.closed()).await.is_err() {
                log::warn!("a cancelled task of job {}, stage {} does not end", self.key.0, self.key.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_task_waits_until_the_old_one_has_let_go() {
        let places = FilePlaces::default();
        let (old, held) = watch::channel(false);
        places.of("job", 2, 0).take(&old).await;
        let (other, _other_held) = watch::channel(false);
        places.of("job", 2, 1).take(&other).await;
        assert!(!*held.borrow(), "another file is another place");

        let (new, _new_held) = watch::channel(false);
        let place = places.of("job", 2, 0);
        let waiting = tokio::spawn(async move { place.take(&new).await });
        let mut held = held;
        held.wait_for(|cancelled| *cancelled).await.unwrap();
        assert!(!waiting.is_finished());
        drop(held);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }
}
