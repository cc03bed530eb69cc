//! Which triggers a scheduler drives now, and which wait.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::queue::{QueueName, QueueState, Queues, Turns};
use pulse_core::run::TriggerId;

/// Triggers of a scheduler. Ids begin with the time of the submission, so their order is that of the submissions.
#[derive(Debug)]
pub(super) struct Queue<T> {
    most_waiting: usize,
    /// Those that hold a place are being started, or are driven.
    turns: Turns<TriggerId, T>,
    driven: BTreeSet<TriggerId>,
}

impl<T> Queue<T> {
    /// The limits of `queues` are those of runs: as many triggers are driven as of any other.
    pub(super) fn new(queues: &Queues, most_driven: usize, most_waiting: usize) -> Self {
        Self { most_waiting, turns: Turns::new(queues.without_limits(), most_driven), driven: BTreeSet::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.turns.waiting() >= self.most_waiting
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.turns.waiting() > 0
    }

    pub(super) fn driven(&self) -> usize {
        self.driven.len()
    }

    /// Those that are not driven yet.
    pub(super) fn waiting(&self) -> usize {
        self.turns.waiting() + self.turns.held().saturating_sub(self.driven.len())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.turns.waiting() == 0 && self.turns.held() == 0
    }

    pub(super) fn knows(&self, id: &TriggerId) -> bool {
        self.turns.is_waiting(id) || self.turns.holds(id)
    }

    pub(super) fn states(&self) -> BTreeMap<QueueName, QueueState<TriggerId>> {
        self.turns.states()
    }

    /// Adds a trigger, unless it is known or the queue is full.
    pub(super) fn wait(&mut self, queue: &QueueName, id: TriggerId, ledger: T) {
        if !self.knows(&id) && !self.is_full() {
            self.turns.wait(queue, id, ledger);
        }
    }

    /// The trigger whose turn it is, if another one may be driven. The caller calls [`Self::started`] or [`Self::forget`].
    pub(super) fn next(&mut self) -> Option<(TriggerId, T)> {
        self.turns.next_turn()
    }

    /// Takes a trigger that waits, whatever is driven.
    pub(super) fn at_once(&mut self, id: &TriggerId) -> Option<T> {
        self.turns.at_once(id)
    }

    /// The trigger is driven from now on. False if it was before.
    pub(super) fn started(&mut self, id: &TriggerId) -> bool {
        self.driven.insert(id.clone())
    }

    /// The trigger is not driven any more, or could not be started.
    pub(super) fn forget(&mut self, id: &TriggerId) {
        self.driven.remove(id);
        self.turns.release(id);
    }
}
