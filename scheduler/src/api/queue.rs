//! Which triggers a scheduler drives now, and which wait.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::run::TriggerId;

/// Triggers of a scheduler. Ids begin with the time of the submission, so their order is that of the submissions.
#[derive(Debug)]
pub(super) struct Queue<T> {
    most_driven: usize,
    most_waiting: usize,
    waiting: BTreeMap<TriggerId, T>,
    /// Taken out of `waiting`, and not driven yet.
    starting: BTreeSet<TriggerId>,
    driven: BTreeSet<TriggerId>,
}

impl<T> Queue<T> {
    pub(super) fn new(most_driven: usize, most_waiting: usize) -> Self {
        let (waiting, starting, driven) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { most_driven, most_waiting, waiting, starting, driven }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.most_waiting
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn driven(&self) -> usize {
        self.driven.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.starting.is_empty() && self.driven.is_empty()
    }

    pub(super) fn knows(&self, id: &TriggerId) -> bool {
        self.waiting.contains_key(id) || self.starting.contains(id) || self.driven.contains(id)
    }

    /// Adds a trigger, unless it is known or the queue is full.
    pub(super) fn wait(&mut self, id: TriggerId, ledger: T) {
        if !self.knows(&id) && !self.is_full() {
            self.waiting.insert(id, ledger);
        }
    }

    /// The oldest trigger that waits, if another one may be driven. The caller calls [`Self::started`] or [`Self::forget`].
    pub(super) fn next(&mut self) -> Option<(TriggerId, T)> {
        if self.driven.len() + self.starting.len() >= self.most_driven {
            return None;
        }
        let (id, ledger) = self.waiting.pop_first()?;
        self.starting.insert(id.clone());
        Some((id, ledger))
    }

    /// Takes a trigger that waits, whatever is driven.
    pub(super) fn at_once(&mut self, id: &TriggerId) -> Option<T> {
        let ledger = self.waiting.remove(id)?;
        self.starting.insert(id.clone());
        Some(ledger)
    }

    /// The trigger is driven from now on. False if it was before.
    pub(super) fn started(&mut self, id: &TriggerId) -> bool {
        self.waiting.remove(id);
        self.starting.remove(id);
        self.driven.insert(id.clone())
    }

    /// The trigger is not driven any more, or could not be started.
    pub(super) fn forget(&mut self, id: &TriggerId) {
        self.starting.remove(id);
        self.driven.remove(id);
    }
}
