//! Connections that have not shown who they are yet. Their number is limited: the oldest gives way to the newest, so that
//! silent connections keep nobody out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// Whether somebody has shown who he is.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Those that wait, the oldest first.
pub struct Pending {
    most: usize,
    tasks: VecDeque<(AbortHandle, Known)>,
}

impl Pending {
    pub fn new(most: usize) -> Self {
        Self { most, tasks: VecDeque::new() }
    }

    /// A known caller does not count.
    pub fn push(&mut self, task: AbortHandle, known: Known) {
        if self.tasks.len() >= self.most {
            self.tasks.retain(|(task, known)| !task.is_finished() && !known.is());
        }
        if self.tasks.len() >= self.most
            && let Some((oldest, _)) = self.tasks.pop_front()
        {
            oldest.abort();
        }
        self.tasks.push_back((task, known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_gives_way_and_who_has_ended_or_is_known_takes_no_place() {
        let mut pending = Pending::new(3);
        let ended = tokio::spawn(async {});
        let handle = ended.abort_handle();
        ended.await.unwrap();
        let stays: Vec<_> = (0..4).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        let known = Known::default();
        pending.push(stays[0].abort_handle(), known.clone());
        pending.push(handle, Known::default());
        pending.push(stays[1].abort_handle(), Known::default());
        known.note();
        pending.push(stays[2].abort_handle(), Known::default());
        pending.push(stays[3].abort_handle(), Known::default());
        tokio::task::yield_now().await;
        assert!(stays.iter().all(|task| !task.is_finished()));
        let more = tokio::spawn(std::future::pending::<()>());
        pending.push(more.abort_handle(), Known::default());
        let [first, oldest, second, newest] = <[_; 4]>::try_from(stays).unwrap();
        assert!(oldest.await.unwrap_err().is_cancelled());
        assert!(!first.is_finished() && !second.is_finished() && !newest.is_finished() && !more.is_finished());
    }
}
