//! Performs the reads and writes of [`pulse_core::commit::pair`] on the logs of a table and its quarantine.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::Add;
use pulse_core::commit::pair::{Named, PairAction, PairEvent, PairOutcome, PairProtocol, QuarantineFiles, SETTLES_ID};
use pulse_core::{Error, Result};
use serde_json::json;

use super::Run;
use crate::job::pin::{named, named_version};
use crate::table::{Commit, CommitOutcome, Removal, Snapshot};

/// Sequence number of a job's commits. Two commits to one log with the same number conflict.
pub(in crate::job) const SEQUENCE_ID: &str = "pulse/sequence";

/// Sequence number of the table's last commit.
pub(in crate::job) fn sequence(target: Option<&Snapshot>) -> i64 {
    target.and_then(|target| target.transactions.get(SEQUENCE_ID)).copied().unwrap_or_default()
}

/// State of one protocol execution: the logs as last read.
pub(super) struct Pair<'a> {
    run: &'a Run<'a>,
    /// The newest version of the quarantine.
    now: Option<Snapshot>,
    /// The version from which files are restored.
    own: Option<Snapshot>,
    /// Sequence number of the quarantine's next commit.
    sequence: i64,
    /// The quarantine that the table named when last read.
    named: Named,
    /// The run's own columns and files; `None` if it only settles.
    staged: Option<(SchemaRef, Vec<Add>)>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(run: &'a Run<'a>, sequence: i64, staged: Option<(SchemaRef, Vec<Add>)>) -> Self {
        let (now, own) = (run.pinned.quarantine.clone(), run.pinned.own_quarantine.clone());
        Self { run, now, own, sequence, named: Named::Unknown, staged }
    }

    /// Performs every action except the table's commit and the end.
    pub(super) async fn carry_out(&mut self, action: &PairAction) -> Result<PairEvent> {
        match action {
            PairAction::ReadTable => {
                let table = self.run.pinned.table.snapshot(None).await?;
                let (last, named) = (sequence(table.as_ref()), named(table.as_ref()));
                self.named = named;
                if self.staged.is_none() {
                    (self.sequence, self.own) = (last, None);
                }
                Ok(PairEvent::Table { sequence: last, named })
            }
            PairAction::ReadQuarantine { named } => self.read(*named).await,
            PairAction::CommitQuarantine { removes, adds, .. } => self.commit(removes, adds).await,
            PairAction::LookBehind { names } => {
                let next = names.map_or(0, |version| version + 1);
                let entry = self.run.pinned.quarantine_table.entry(next).await?;
                Ok(PairEvent::Behind(entry.is_some()))
            }
            PairAction::CommitTable { .. } | PairAction::Done(_) => {
                Err(Error::internal(format!("job {}: {action:?} is not the quarantine's", self.run.job.name)))
            }
        }
    }

    /// Performs actions until the quarantine matches the version that the table names.
    pub(super) async fn settle(&mut self, protocol: &mut PairProtocol, mut action: PairAction) -> Result<PairOutcome> {
        self.staged = None;
        loop {
            if let PairAction::Done(outcome) = action {
                return Ok(outcome);
            }
            let event = self.carry_out(&action).await?;
            action = protocol.apply(event);
        }
    }

    async fn read(&mut self, named: Option<u64>) -> Result<PairEvent> {
        let table = &self.run.pinned.quarantine_table;
        self.now = table.snapshot(None).await?;
        let mut files = None;
        if let Some(version) = named {
            self.own = match &self.now {
                Some(now) => named_version(table, now, version).await?,
                None => None,
            };
            files = self.own.as_ref().map(paths);
        }
        Ok(PairEvent::Quarantine { now: files_of(self.now.as_ref()), named: files })
    }

    async fn commit(&self, removes: &BTreeSet<String>, adds: &BTreeSet<String>) -> Result<PairEvent> {
        let run = self.run;
        let of_now = self.now.iter().flat_map(|now| &now.files);
        let schema = match (&self.staged, &self.own, &self.now) {
            (Some((schema, _)), _, _) => schema,
            (None, Some(snapshot), _) | (None, None, Some(snapshot)) => &snapshot.schema,
            (None, None, None) => return Err(Error::internal("a quarantine that is not there cannot be settled")),
        };
        let mut transactions = vec![(SEQUENCE_ID.to_owned(), self.sequence)];
        if self.staged.is_none() {
            transactions.push((SETTLES_ID.to_owned(), self.named.to_number()));
        }
        let commit = Commit {
            run_id: run.run_id.to_owned(),
            adds: self.adds(adds).await?,
            removes: of_now.filter(|file| removes.contains(&file.path)).cloned().collect(),
            read_table: Removal::FromRows,
            transactions,
            details: BTreeMap::from([("pulse.job".to_owned(), json!(run.job.name.to_string()))]),
            schema: SchemaRef::clone(schema),
            partition_by: Vec::new(),
            whole: None,
            at: run.now.timestamp_millis(),
        };
        let table = &run.pinned.quarantine_table;
        Ok(match table.commit(self.now.as_ref(), &commit, &run.bench.options.commit).await? {
            CommitOutcome::Committed { version } | CommitOutcome::AlreadyCommitted { version } => {
                PairEvent::QuarantineCommitted { version }
            }
            CommitOutcome::CommittedByAnother { .. } | CommitOutcome::Conflict { .. } => PairEvent::QuarantineOvertaken,
        })
    }

    /// Files staged by this run, plus files another run removed that must be restored.
    async fn adds(&self, paths: &BTreeSet<String>) -> Result<Vec<Add>> {
        let staged = self.staged.iter().flat_map(|(_, adds)| adds);
        let mut adds: Vec<Add> = staged.filter(|add| paths.contains(&add.path)).cloned().collect();
        if adds.len() < paths.len()
            && let Some(own) = &self.own
        {
            let earlier = self.run.pinned.quarantine_table.adds(own.version).await?;
            let restored = earlier.into_iter().filter(|add| paths.contains(&add.path));
            adds.extend(restored.map(|add| Add { data_change: true, ..add }));
        }
        match adds.len() == paths.len() {
            true => Ok(adds),
            false => Err(Error::internal(format!("files of the quarantine of {} are unknown", self.run.job.name))),
        }
    }
}

pub(super) fn files_of(snapshot: Option<&Snapshot>) -> QuarantineFiles {
    QuarantineFiles {
        version: snapshot.map(|snapshot| snapshot.version),
        files: snapshot.map(paths).unwrap_or_default(),
    }
}

fn paths(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.files.iter().map(|file| file.path.clone()).collect()
}
