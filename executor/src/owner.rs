//! Tracks which scheduler requested the tasks: when another one takes over, the work of the previous one is dropped.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use pulse_engine::cluster::scheduler_of;
use tokio::sync::watch;

use crate::place::wipe;

/// A cancelled task ends within a batch; then its files may be deleted.
const LATE_TASKS: Duration = Duration::from_secs(1);
/// A task that has not ended by then is stuck in a call that will not write either.
const LAST_BATCH: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Owner(Mutex<Owned>);

#[derive(Default)]
struct Owned {
    scheduler: String,
    tasks: Vec<watch::Sender<bool>>,
}

impl Owner {
    /// Registers a task of `job`. If it is the first of another scheduler, cancels the tasks of the previous one and
    /// deletes the files of its jobs in `folder`.
    pub(crate) fn take(&self, job: &str, cancel: &watch::Sender<bool>, folder: &Path) {
        let mut owned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let scheduler = scheduler_of(job);
        if owned.scheduler != scheduler {
            let last = std::mem::replace(&mut owned.scheduler, scheduler.to_owned());
            for task in owned.tasks.drain(..) {
                task.send_replace(true);
            }
            if !last.is_empty() {
                log::warn!("another scheduler hands out tasks: those of the last one are dropped");
                tokio::spawn(remove(folder.to_owned(), last));
            }
        }
        owned.tasks.retain(|task| task.receiver_count() > 0);
        owned.tasks.push(cancel.clone());
    }

    /// Cancels all tasks and waits until they no longer write.
    pub(crate) async fn end(&self) {
        let tasks = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).tasks);
        let ends = tasks.iter().map(|task| {
            task.send_replace(true);
            task.closed()
        });
        if tokio::time::timeout(LAST_BATCH, join_all(ends)).await.is_err() {
            log::warn!("not every cancelled task ends");
        }
    }
}

async fn remove(folder: PathBuf, scheduler: String) {
    tokio::time::sleep(LATE_TASKS).await;
    let Ok(jobs) = std::fs::read_dir(&folder) else { return };
    for job in jobs.filter_map(Result::ok) {
        let is_theirs = job.file_name().to_str().is_some_and(|name| scheduler_of(name) == scheduler);
        if is_theirs && let Err(error) = wipe(&job.path()) {
            log::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_scheduler_ends_what_the_last_one_asked_for() {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path();
        std::fs::create_dir_all(folder.join("s1-1/2")).unwrap();
        std::fs::create_dir_all(folder.join("s2-1/1")).unwrap();
        let owner = Owner::default();
        let (first, second, third) = (watch::channel(false), watch::channel(false), watch::channel(false));
        owner.take("s1-1", &first.0, folder);
        owner.take("s1-2", &second.0, folder);
        assert!(!*first.1.borrow() && !*second.1.borrow());
        owner.take("s2-1", &third.0, folder);
        assert!(*first.1.borrow() && *second.1.borrow() && !*third.1.borrow());
        tokio::time::sleep(LATE_TASKS + Duration::from_millis(500)).await;
        assert!(!folder.join("s1-1").exists());
        assert!(folder.join("s2-1").exists());
    }

    #[tokio::test]
    async fn it_is_over_when_the_last_task_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner::default();
        let (running, mut cancelled) = watch::channel(false);
        owner.take("s1-1", &watch::channel(false).0, folder.path());
        owner.take("s1-1", &running, folder.path());
        let end = owner.end();
        tokio::pin!(end);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut end).await.is_err());
        cancelled.wait_for(|cancelled| *cancelled).await.unwrap();
        drop(cancelled);
        tokio::time::timeout(Duration::from_secs(5), end).await.unwrap();
    }
}
