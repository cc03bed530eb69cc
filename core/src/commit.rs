//! The commit protocol: an optimistic loop over a table's log as a state machine. The caller performs the reads and
//! writes.
//!
//! A version of the log can be written only once. A commit that finds its version taken reads the entry there: it is
//! its own commit, one of another attempt of its run, a conflicting one, or one to commit after.

pub mod pair;

use std::collections::BTreeSet;

/// The properties of a commit that decide whether it conflicts with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitIntent {
    pub run: String,
    /// Unique id of this attempt.
    pub attempt: String,
    /// Ids of the `txn` actions that it sets: bookmarks, and the commit's sequence number.
    pub transactions: BTreeSet<String>,
    /// Files that it removes.
    pub removes: BTreeSet<String>,
    pub removal: Removal,
}

/// How a commit depends on the existing rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Adds rows independently of the existing ones.
    Independent,
    /// The existing rows decide what is written or removed.
    FromRows,
    /// Rewrites the same rows to other files; files with rows added by others are not touched.
    Moved,
}

/// Summary of one log entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntrySummary {
    pub run: Option<String>,
    pub attempt: Option<String>,
    /// Changes schema, partitioning or protocol.
    pub redefines: bool,
    pub transactions: BTreeSet<String>,
    pub removes: BTreeSet<String>,
    /// Adds files with rows that were not in the table before.
    pub adds_rows: bool,
}

/// The store's answer to a write or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitEvent {
    Written,
    AlreadyExists,
    /// An error after which the entry may exist, not exist, or still appear.
    Doubtful,
    /// An error after which the entry certainly does not exist.
    Refused,
    Entry(EntrySummary),
    NothingThere,
}

/// The next request to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitAction {
    /// Write the entry of a version, after a backoff unless it is the first attempt.
    Write {
        version: u64,
        retry: u32,
    },
    Read {
        version: u64,
    },
    Done(CommitOutcome),
    /// Not committed: the store's last error says why.
    GiveUp,
    /// Not committed: every attempt lost against another commit.
    Overtaken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed {
        version: u64,
    },
    /// An earlier write of this attempt had succeeded, but its answer was lost.
    AlreadyCommitted {
        version: u64,
    },
    /// Another attempt of this run committed; this one must not.
    CommittedByAnother {
        version: u64,
    },
    /// A concurrent commit changed what this run read; plan again.
    Conflict {
        version: u64,
        reason: String,
    },
}

/// Attempts at a write with unknown outcome: the second one finds out whether the first succeeded.
const DOUBTFUL_WRITES: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Write,
    /// Waiting for the entry of `version`, after a write of `first` got this answer.
    Read {
        first: u64,
        doubtful: bool,
    },
    Nothing,
}

/// One commit. [`Self::start`] returns the first action, [`Self::apply`] each following one.
#[derive(Debug, Clone)]
pub struct CommitProtocol {
    intent: CommitIntent,
    version: u64,
    retry: u32,
    attempts: u32,
    doubtful: u32,
    waiting: Waiting,
}

impl CommitProtocol {
    /// `first` is the version after the one that was read; `attempts` limits the writes.
    pub fn new(intent: CommitIntent, first: u64, attempts: u32) -> Self {
        Self { intent, version: first, retry: 0, attempts, doubtful: 0, waiting: Waiting::Write }
    }

    pub fn start(&self) -> CommitAction {
        CommitAction::Write { version: self.version, retry: 0 }
    }

    /// The action after an event. An unexpected event ends the commit as not done.
    pub fn apply(&mut self, event: CommitEvent) -> CommitAction {
        match (self.waiting, event) {
            (Waiting::Write, CommitEvent::Written) => self.done(CommitOutcome::Committed { version: self.version }),
            (Waiting::Write, CommitEvent::AlreadyExists) => self.read(self.version, false),
            (Waiting::Write, CommitEvent::Doubtful) => self.read(self.version, true),
            (Waiting::Write, CommitEvent::Refused) => self.give_up(),
            (Waiting::Read { first, doubtful }, CommitEvent::Entry(entry)) => self.judge(&entry, first, doubtful),
            (Waiting::Read { first, doubtful }, CommitEvent::NothingThere) => {
                self.write_again(doubtful && self.version == first)
            }
            (Waiting::Write | Waiting::Read { .. } | Waiting::Nothing, _) => self.give_up(),
        }
    }

    fn read(&mut self, first: u64, doubtful: bool) -> CommitAction {
        self.waiting = Waiting::Read { first, doubtful };
        CommitAction::Read { version: self.version }
    }

    fn judge(&mut self, entry: &EntrySummary, first: u64, doubtful: bool) -> CommitAction {
        let version = self.version;
        if entry.run.as_ref() == Some(&self.intent.run) {
            return self.done(match entry.attempt.as_ref() == Some(&self.intent.attempt) {
                true => CommitOutcome::AlreadyCommitted { version },
                false => CommitOutcome::CommittedByAnother { version },
            });
        }
        if let Some(reason) = conflict(entry, &self.intent) {
            return self.done(CommitOutcome::Conflict { version, reason });
        }
        self.version += 1;
        self.read(first, doubtful)
    }

    /// `unsure`: the last write may still arrive. This is harmless, as only one write at a version can succeed.
    fn write_again(&mut self, unsure: bool) -> CommitAction {
        self.retry += 1;
        self.doubtful += u32::from(unsure);
        if self.doubtful >= DOUBTFUL_WRITES {
            return self.give_up();
        }
        if self.retry >= self.attempts {
            self.waiting = Waiting::Nothing;
            return if unsure { CommitAction::GiveUp } else { CommitAction::Overtaken };
        }
        self.waiting = Waiting::Write;
        CommitAction::Write { version: self.version, retry: self.retry }
    }

    fn done(&mut self, outcome: CommitOutcome) -> CommitAction {
        self.waiting = Waiting::Nothing;
        CommitAction::Done(outcome)
    }

    fn give_up(&mut self) -> CommitAction {
        self.waiting = Waiting::Nothing;
        CommitAction::GiveUp
    }
}

/// Why an earlier commit conflicts with ours; `None` if both are valid in either order.
///
/// delta-rs' own conflict checker allows two removals of one file when the winner only rearranged rows, and an
/// overwrite concurrent with an append; either would duplicate or lose rows.
fn conflict(winner: &EntrySummary, ours: &CommitIntent) -> Option<String> {
    if winner.redefines {
        return Some("the table's definition changed".to_owned());
    }
    if let Some(id) = winner.transactions.intersection(&ours.transactions).next() {
        return Some(format!("another run already moved `{id}`"));
    }
    if let Some(path) = winner.removes.intersection(&ours.removes).next() {
        return Some(format!("file {path} is already removed"));
    }
    (winner.adds_rows && ours.removal == Removal::FromRows).then(|| "rows were added to the table".to_owned())
}

#[cfg(test)]
mod tests;
