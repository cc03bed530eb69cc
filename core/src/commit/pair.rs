//! A table and its quarantine are two logs with one source of truth: the table's log names its version of the
//! quarantine.
//!
//! A run first commits to the quarantine the files it should hold after the run, then commits the table with that
//! version's number. A version of a log is immutable, so later or concurrent writes to the quarantine cannot change
//! what belongs to the table. They only hide it, until a run *settles* the quarantine: it restores the files of the
//! named version as the newest one. Every run that commits, conflicts or finds nothing to do checks whether this is
//! needed.

use std::collections::BTreeSet;

/// Id of the `txn` action of the table that names its quarantine, see [`Named`].
pub const NAMED_ID: &str = "pulse/quarantine";

/// Id of the `txn` action of a quarantine commit that settles it: the number of the version that it restores. Versions
/// after the named one that no run wrote, such as those of optimize, also belong to the table; so they do after
/// settling.
pub const SETTLES_ID: &str = "pulse/settles";

/// Which version of the quarantine belongs to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The table does not name one, or does not exist.
    Unknown,
    /// There was no quarantine.
    Nothing,
    Version(u64),
}

impl Named {
    /// From the number in the log: 0 for no quarantine, else the version plus one.
    pub fn from_number(number: Option<i64>) -> Self {
        match number.map(u64::try_from) {
            None | Some(Err(_)) => Self::Unknown,
            Some(Ok(0)) => Self::Nothing,
            Some(Ok(number)) => Self::Version(number - 1),
        }
    }

    /// The quarantine's version at the table's commit.
    pub fn at(version: Option<u64>) -> Self {
        version.map_or(Self::Nothing, Self::Version)
    }

    /// The number in the log; the one of [`Self::Nothing`] for [`Self::Unknown`].
    pub fn to_number(self) -> i64 {
        match self {
            Self::Unknown | Self::Nothing => 0,
            Self::Version(version) => i64::try_from(version).map_or(i64::MAX, |version| version.saturating_add(1)),
        }
    }
}

/// The quarantine at a version; no version if it does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineFiles {
    pub version: Option<u64>,
    pub files: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairEvent {
    /// The newest version of the table names this.
    Table {
        sequence: i64,
        named: Named,
    },
    /// The newest version of the quarantine, and the files of the requested version; `None` if that can no longer be
    /// read.
    Quarantine {
        now: QuarantineFiles,
        named: Option<BTreeSet<String>>,
    },
    QuarantineCommitted {
        version: u64,
    },
    /// Another writer committed to the quarantine first.
    QuarantineOvertaken,
    TableCommitted,
    /// Another commit conflicts with the table's.
    TableOvertaken,
    /// Whether the quarantine has a version after the requested one.
    Behind(bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairAction {
    /// Read the table's newest version.
    ReadTable,
    /// Read the quarantine's newest version, and the files of the named one.
    ReadQuarantine {
        named: Option<u64>,
    },
    /// Commit after this version; `adds` are staged files, or files of an earlier version.
    CommitQuarantine {
        after: Option<u64>,
        removes: BTreeSet<String>,
        adds: BTreeSet<String>,
    },
    /// Commit the table; it names this version.
    CommitTable {
        names: Option<u64>,
    },
    /// Check whether the quarantine has a version after this one.
    LookBehind {
        names: Option<u64>,
    },
    Done(PairOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairOutcome {
    /// The quarantine held the files of the named version at the last look.
    Settled,
    /// Every attempt lost against another writer; the next run settles it.
    Unsettled,
    /// The table was not committed, because another run committed first; plan again.
    Overtaken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Table,
    Quarantine { named: Named },
    QuarantineCommit,
    TableCommit,
    Behind,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Commit a table that was read at this commit number.
    Commit {
        sequence: i64,
    },
    Settle,
}

/// The two commits of one attempt of a run, or a settle. [`Self::commit`] and [`Self::settle`] return the first action,
/// [`Self::apply`] each following one.
#[derive(Debug, Clone)]
pub struct PairProtocol {
    goal: Goal,
    wanted: BTreeSet<String>,
    names: Option<u64>,
    tries: u32,
    waiting: Waiting,
}

impl PairProtocol {
    /// `sequence` is the table's commit number at the version that was read. `wanted` are the files of the quarantine
    /// after the run: those of the named version without dead rows, and the run's own. `tries` limits the writes to the
    /// quarantine.
    pub fn commit(sequence: i64, now: &QuarantineFiles, wanted: BTreeSet<String>, tries: u32) -> (Self, PairAction) {
        let goal = Goal::Commit { sequence };
        let mut protocol = Self { goal, wanted, names: None, tries, waiting: Waiting::Nothing };
        let first = protocol.approach(now);
        (protocol, first)
    }

    /// Restores the files that the table names.
    pub fn settle(tries: u32) -> (Self, PairAction) {
        let (goal, waiting) = (Goal::Settle, Waiting::Table);
        (Self { goal, wanted: BTreeSet::new(), names: None, tries, waiting }, PairAction::ReadTable)
    }

    /// The action after an event. An unexpected event ends the protocol.
    pub fn apply(&mut self, event: PairEvent) -> PairAction {
        match (self.waiting, event) {
            (Waiting::Table, PairEvent::Table { sequence, named }) => self.told(sequence, named),
            (Waiting::Quarantine { named }, PairEvent::Quarantine { now, named: files }) => {
                if self.goal == Goal::Settle {
                    self.wanted = match (named, files) {
                        (Named::Version(_), Some(files)) => files,
                        // The quarantine was deleted, or its log is gone: there is nothing to restore from.
                        (Named::Version(_), None) => return self.done(PairOutcome::Settled),
                        (Named::Nothing | Named::Unknown, _) => BTreeSet::new(),
                    };
                }
                self.approach(&now)
            }
            (Waiting::QuarantineCommit, PairEvent::QuarantineCommitted { version }) => match self.goal {
                Goal::Commit { .. } => self.commit_table(Some(version)),
                // The table may name another version by now.
                Goal::Settle => self.read_table(),
            },
            (Waiting::QuarantineCommit, PairEvent::QuarantineOvertaken) => self.read_table(),
            (Waiting::TableCommit, PairEvent::TableCommitted) => {
                self.goal = Goal::Settle;
                self.waiting = Waiting::Behind;
                PairAction::LookBehind { names: self.names }
            }
            (Waiting::Behind, PairEvent::Behind(true)) => self.read_table(),
            (Waiting::Behind, PairEvent::Behind(false)) => self.done(PairOutcome::Settled),
            _ => self.give_up(),
        }
    }

    fn read_table(&mut self) -> PairAction {
        self.waiting = Waiting::Table;
        PairAction::ReadTable
    }

    fn told(&mut self, sequence: i64, named: Named) -> PairAction {
        let asked = match (self.goal, named) {
            // The table has changed since the run was computed; its commit would be refused.
            (Goal::Commit { sequence: read }, _) if read != sequence => return self.done(PairOutcome::Overtaken),
            (Goal::Settle, Named::Unknown) => return self.done(PairOutcome::Settled),
            (Goal::Settle, Named::Version(version)) => Some(version),
            // The wanted files are known, whatever the named version holds.
            (Goal::Commit { .. }, _) | (Goal::Settle, Named::Nothing) => None,
        };
        self.waiting = Waiting::Quarantine { named };
        PairAction::ReadQuarantine { named: asked }
    }

    /// The next step from the quarantine's current files to the wanted ones.
    fn approach(&mut self, now: &QuarantineFiles) -> PairAction {
        let removes: BTreeSet<String> = now.files.difference(&self.wanted).cloned().collect();
        let adds: BTreeSet<String> = self.wanted.difference(&now.files).cloned().collect();
        if removes.is_empty() && adds.is_empty() {
            return match self.goal {
                Goal::Commit { .. } => self.commit_table(now.version),
                Goal::Settle => self.done(PairOutcome::Settled),
            };
        }
        let Some(tries) = self.tries.checked_sub(1) else { return self.give_up() };
        self.tries = tries;
        self.waiting = Waiting::QuarantineCommit;
        PairAction::CommitQuarantine { after: now.version, removes, adds }
    }

    fn commit_table(&mut self, names: Option<u64>) -> PairAction {
        self.names = names;
        self.waiting = Waiting::TableCommit;
        PairAction::CommitTable { names }
    }

    fn done(&mut self, outcome: PairOutcome) -> PairAction {
        self.waiting = Waiting::Nothing;
        PairAction::Done(outcome)
    }

    fn give_up(&mut self) -> PairAction {
        self.done(match self.goal {
            Goal::Commit { .. } => PairOutcome::Overtaken,
            Goal::Settle => PairOutcome::Unsettled,
        })
    }
}

#[cfg(test)]
mod tests;
