//! The commit protocol: an optimistic loop over a table's log as a state machine. Others write and read the log's entries.
//!
//! A version of the log can be written once. Whoever finds it taken reads what stands there: its own commit, one of
//! another attempt of its run, one that rules its own out, or a harmless one to commit after.

pub mod pair;

use std::collections::BTreeSet;

/// What one attempt of a run wants to commit, as far as others' commits matter to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitIntent {
    pub run: String,
    /// Names this attempt among all of all runs.
    pub attempt: String,
    /// Ids of the `txn` actions that it sets: bookmarks, and the number of the commit.
    pub transactions: BTreeSet<String>,
    /// Files that it removes.
    pub removes: BTreeSet<String>,
    pub removal: Removal,
}

/// How a commit depends on the rows that were in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Rows are added whatever is there.
    Independent,
    /// The rows that are there decide what is written or removed.
    FromRows,
    /// The same rows are written to other files; rows that others add are in files that are left alone.
    Moved,
}

/// What stands in one entry of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntrySummary {
    pub run: Option<String>,
    pub attempt: Option<String>,
    /// Schema, partitioning or protocol are set.
    pub redefines: bool,
    pub transactions: BTreeSet<String>,
    pub removes: BTreeSet<String>,
    /// Files with rows that were not in the table before.
    pub adds_rows: bool,
}

/// What the store said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitEvent {
    Written,
    AlreadyExists,
    /// An error after which the entry may be there or not, or come later.
    Doubtful,
    /// An error after which the entry is not there.
    Refused,
    Entry(EntrySummary),
    NothingThere,
}

/// What to ask of the store next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitAction {
    /// Write the entry of a version, after a backoff when it is not the first try.
    Write {
        version: u64,
        retry: u32,
    },
    Read {
        version: u64,
    },
    Done(CommitOutcome),
    /// Not committed: the last error of the store says why.
    GiveUp,
    /// Not committed: others came first at every try.
    Overtaken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed {
        version: u64,
    },
    /// An earlier try of this attempt had succeeded although its answer was lost.
    AlreadyCommitted {
        version: u64,
    },
    /// Another attempt of this run committed; ours must not.
    CommittedByAnother {
        version: u64,
    },
    /// Somebody else changed what we read; plan again.
    Conflict {
        version: u64,
        reason: String,
    },
}

/// A write that may have been done is done again this often: the second finds what became of the first.
const DOUBTFUL_WRITES: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Write,
    /// For the entry of `version`, after a write of `first` was answered so.
    Read {
        first: u64,
        doubtful: bool,
    },
    Nothing,
}

/// One commit. [`Self::start`] gives the first action, [`Self::apply`] each next one.
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

    /// The answer to one event. An event that nobody asked for ends the commit as not done.
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

    /// `unsure`: the last write may still arrive. At the same version it cannot do harm, as only one of both gets there.
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

/// Why a commit that came first rules ours out; none when both stand, in whichever order.
///
/// delta-rs' own checker lets two removals of one file pass when the winner only rearranged rows, and lets an overwrite
/// pass over a concurrent append; either would double or lose rows.
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
