//! A table and its quarantine are two logs and one decision: the table's log says which version of the quarantine is its own.
//!
//! A run first makes the quarantine hold what it should hold after the run, then commits the table and names the version it
//! made. What a version of a log holds never changes, so that nobody who writes to the quarantine later, or in between, can
//! change what belongs to the table: it only covers it, until somebody *settles* the quarantine, that is, makes its newest
//! version hold the same files as the named one. Whoever commits the table looks behind, whoever is overtaken or finds
//! nothing to do looks too.

use std::collections::BTreeSet;

/// Id of the `txn` action of the table that names its quarantine, see [`Named`].
pub const NAMED_ID: &str = "pulse/quarantine";

/// Id of the `txn` action of a commit to the quarantine that settles it: the number of what it makes it hold again. Versions
/// after the named one that no run wrote, such as an optimization's, belong to the table all the same; so they do after this.
pub const SETTLES_ID: &str = "pulse/settles";

/// Which version of the quarantine belongs to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The table does not say, or is not there.
    Unknown,
    /// None was there.
    Nothing,
    Version(u64),
}

impl Named {
    /// From the number in the log: 0 for none, else one more than the version.
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

    /// The number in the log; that of nothing when nothing is known.
    pub fn to_number(self) -> i64 {
        match self {
            Self::Unknown | Self::Nothing => 0,
            Self::Version(version) => i64::try_from(version).map_or(i64::MAX, |version| version.saturating_add(1)),
        }
    }
}

/// The quarantine at a version; no version when it does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineFiles {
    pub version: Option<u64>,
    pub files: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairEvent {
    /// What the newest version of the table says.
    Table {
        sequence: i64,
        named: Named,
    },
    /// The newest version of the quarantine, and the files of the version asked for; none when it cannot be read any more.
    Quarantine {
        now: QuarantineFiles,
        named: Option<BTreeSet<String>>,
    },
    QuarantineCommitted {
        version: u64,
    },
    /// Somebody else wrote to the quarantine first.
    QuarantineOvertaken,
    TableCommitted,
    /// Somebody else's commit rules the table's out.
    TableOvertaken,
    /// Whether the quarantine has a version after the one asked for.
    Behind(bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairAction {
    /// Read the table's newest version.
    ReadTable,
    /// Read the quarantine's newest version, and the files of another.
    ReadQuarantine {
        named: Option<u64>,
    },
    /// After this version; `adds` are files that were staged, or that an earlier version held.
    CommitQuarantine {
        after: Option<u64>,
        removes: BTreeSet<String>,
        adds: BTreeSet<String>,
    },
    /// With the name of this version.
    CommitTable {
        names: Option<u64>,
    },
    /// Ask whether the quarantine has a version after this one.
    LookBehind {
        names: Option<u64>,
    },
    Done(PairOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairOutcome {
    /// The quarantine holds what the table names, as far as anybody can see now.
    Settled,
    /// Others came first at every try; the next run settles it.
    Unsettled,
    /// The table was not committed: another run did; plan again.
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
    /// To commit a table that was read at this number of its commits.
    Commit {
        sequence: i64,
    },
    Settle,
}

/// The two commits of one attempt of a run, or a settling. [`Self::commit`] and [`Self::settle`] give the first action,
/// [`Self::apply`] each next one.
#[derive(Debug, Clone)]
pub struct PairProtocol {
    goal: Goal,
    wanted: BTreeSet<String>,
    names: Option<u64>,
    tries: u32,
    waiting: Waiting,
}

impl PairProtocol {
    /// `sequence` is the number of the table's commits at the version that was read, `wanted` are the files that the quarantine
    /// holds after the run: those of the version that the table names, without dead rows, and the run's own. `tries` limits
    /// the writes to the quarantine.
    pub fn commit(sequence: i64, now: &QuarantineFiles, wanted: BTreeSet<String>, tries: u32) -> (Self, PairAction) {
        let goal = Goal::Commit { sequence };
        let mut protocol = Self { goal, wanted, names: None, tries, waiting: Waiting::Nothing };
        let first = protocol.approach(now);
        (protocol, first)
    }

    /// Makes the quarantine hold what the table names.
    pub fn settle(tries: u32) -> (Self, PairAction) {
        let (goal, waiting) = (Goal::Settle, Waiting::Table);
        (Self { goal, wanted: BTreeSet::new(), names: None, tries, waiting }, PairAction::ReadTable)
    }

    /// The answer to one event. An event that nobody asked for ends it.
    pub fn apply(&mut self, event: PairEvent) -> PairAction {
        match (self.waiting, event) {
            (Waiting::Table, PairEvent::Table { sequence, named }) => self.told(sequence, named),
            (Waiting::Quarantine { named }, PairEvent::Quarantine { now, named: files }) => {
                if self.goal == Goal::Settle {
                    self.wanted = match (named, files) {
                        (Named::Version(_), Some(files)) => files,
                        // Somebody removed the quarantine, or its log is gone: nothing is left to go by.
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
            // What the run was computed from is no longer the table; its commit would be refused.
            (Goal::Commit { sequence: read }, _) if read != sequence => return self.done(PairOutcome::Overtaken),
            (Goal::Settle, Named::Unknown) => return self.done(PairOutcome::Settled),
            (Goal::Settle, Named::Version(version)) => Some(version),
            // What the quarantine should hold is known, whoever wrote to it.
            (Goal::Commit { .. }, _) | (Goal::Settle, Named::Nothing) => None,
        };
        self.waiting = Waiting::Quarantine { named };
        PairAction::ReadQuarantine { named: asked }
    }

    /// From what the quarantine holds to what it should hold, whoever wrote what it holds.
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
