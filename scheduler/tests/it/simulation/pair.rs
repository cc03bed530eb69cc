//! The two commits of a run, to its table and to its quarantine, and the look after the quarantine.

use std::collections::BTreeSet;

use pulse_core::commit::pair::{Named, PairAction, PairEvent, PairOutcome, PairProtocol};
use pulse_core::commit::{
    CommitAction, CommitEvent, CommitIntent, CommitOutcome, CommitProtocol, EntrySummary, Removal,
};
use pulse_core::{Error, Result};

use super::Bug;
use super::quarantine::QuarantineCommit;
use super::runs::{Attempt, Model, Pins, no_answer, transactions};
use super::tables::{Entry, JobNo, Written};

/// Writes to the quarantine.
const TRIES: u32 = 16;

/// Which log is written to.
#[derive(Debug, Clone)]
enum Writing {
    Table(Entry),
    Quarantine(QuarantineCommit),
}

impl Writing {
    fn summary(&self) -> &EntrySummary {
        match self {
            Self::Table(entry) => &entry.summary,
            Self::Quarantine(commit) => &commit.summary,
        }
    }
}

impl Model {
    /// Commits; `None` if another run's commit came first.
    pub(super) async fn commit(&self, attempt: &mut Attempt, pins: &Pins) -> Result<Option<u64>> {
        let wanted = attempt.wanted.keys().cloned().collect();
        let (mut pair, mut action) = PairProtocol::commit(attempt.sequence, &pins.quarantine.now(), wanted, TRIES);
        let mut committed = None;
        loop {
            let event = match action {
                PairAction::Done(PairOutcome::Overtaken) => return Ok(None),
                PairAction::Done(PairOutcome::Settled | PairOutcome::Unsettled) => return Ok(committed),
                action => self.follow(action, attempt, &mut committed).await,
            };
            // What is committed is reported as such, whatever becomes of the quarantine.
            match event {
                Ok(Some(event)) => action = pair.apply(event),
                // The planted mistakes: a reader looks no further, or plans again.
                Ok(None) => return Ok(committed),
                Err(_) if committed.is_some() => return Ok(committed),
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks whether the quarantine is what the table names, and mends it.
    pub(super) async fn settle(&self, attempt: &mut Attempt) -> Result<()> {
        if !self.reads_quarantine_by_name() || self.has(Bug::QuarantineLeft) {
            return Ok(());
        }
        let (mut pair, mut action) = PairProtocol::settle(TRIES);
        loop {
            if let PairAction::Done(_) = action {
                return Ok(());
            }
            match self.follow(action, attempt, &mut None).await? {
                Some(event) => action = pair.apply(event),
                None => return Ok(()),
            }
        }
    }

    async fn follow(
        &self,
        action: PairAction,
        attempt: &mut Attempt,
        committed: &mut Option<u64>,
    ) -> Result<Option<PairEvent>> {
        let job = attempt.job;
        Ok(Some(match action {
            PairAction::ReadTable => {
                let table = self.read(move |tables| tables.table(job)).await?;
                PairEvent::Table { sequence: table.sequence, named: table.named }
            }
            PairAction::ReadQuarantine { named } => {
                let quarantine = self.read(move |tables| tables.quarantine(job, named)).await?;
                let names = quarantine.named.as_ref().map(|files| files.keys().cloned().collect());
                let event = PairEvent::Quarantine { now: quarantine.now(), named: names };
                if attempt.entry.is_none() || committed.is_some() {
                    attempt.wanted = quarantine.named.unwrap_or_default();
                }
                event
            }
            PairAction::LookBehind { .. } if self.has(Bug::QuarantineLeft) => PairEvent::Behind(false),
            PairAction::LookBehind { names } => {
                let version = names.map_or(0, |version| version + 1);
                PairEvent::Behind(self.read(move |tables| tables.quarantine_entry(job, version)).await?.is_some())
            }
            PairAction::CommitQuarantine { after, removes, adds } => {
                match self.commit_quarantine(attempt, after, removes, &adds).await? {
                    Some(version) => PairEvent::QuarantineCommitted { version },
                    None if !self.reads_quarantine_by_name() => return Ok(None),
                    None => PairEvent::QuarantineOvertaken,
                }
            }
            PairAction::CommitTable { names } => {
                let Some(mut entry) = attempt.entry.clone() else { return Err(Error::internal("nothing to commit")) };
                entry.named = if self.reads_quarantine_by_name() { Named::at(names) } else { Named::Unknown };
                *committed = self.write_log(attempt, attempt.next, Writing::Table(entry)).await?;
                match committed {
                    Some(_) if !self.reads_quarantine_by_name() => return Ok(None),
                    Some(_) => PairEvent::TableCommitted,
                    None => PairEvent::TableOvertaken,
                }
            }
            PairAction::Done(_) => return Ok(None),
        }))
    }

    async fn commit_quarantine(
        &self,
        attempt: &Attempt,
        after: Option<u64>,
        removes: BTreeSet<String>,
        adds: &BTreeSet<String>,
    ) -> Result<Option<u64>> {
        let next = after.map_or(0, |version| version + 1);
        let summary = EntrySummary {
            run: Some(attempt.run.clone()),
            attempt: Some(format!("{}/{next}", attempt.name)),
            redefines: after.is_none(),
            transactions: transactions(),
            removes: removes.clone(),
            adds_rows: !adds.is_empty(),
        };
        let adds = attempt.wanted.clone().into_iter().filter(|(file, _)| adds.contains(file)).collect();
        let (sequence, added) = (attempt.sequence + 1, attempt.staged.clone());
        let commit = QuarantineCommit { summary, sequence, removes, adds, added };
        self.write_log(attempt, next, Writing::Quarantine(commit)).await
    }

    /// Appends to a log by the protocol of one commit; `None` if another commit came first.
    async fn write_log(&self, attempt: &Attempt, next: u64, writing: Writing) -> Result<Option<u64>> {
        let EntrySummary { run, attempt: name, transactions, removes, .. } = writing.summary().clone();
        let removal = match &writing {
            Writing::Table(_) if attempt.job.is_multiple_of(2) => Removal::Independent,
            Writing::Table(_) | Writing::Quarantine(_) => Removal::FromRows,
        };
        let (run, name) = (run.unwrap_or_default(), name.unwrap_or_default());
        let intent = CommitIntent { run, attempt: name, transactions, removes, removal };
        let mut protocol = CommitProtocol::new(intent, next, 5);
        let mut action = protocol.start();
        loop {
            let event = match action {
                CommitAction::Write { version, retry } => {
                    if retry > 0 {
                        self.life.rest(20).await;
                    }
                    match self.put(attempt, version, writing.clone()).await {
                        Some(Written::Now) => CommitEvent::Written,
                        Some(Written::Before) => CommitEvent::AlreadyExists,
                        None => CommitEvent::Doubtful,
                    }
                }
                CommitAction::Read { version } => match self.entry(attempt.job, version, &writing).await? {
                    Some(entry) => CommitEvent::Entry(entry),
                    None => CommitEvent::NothingThere,
                },
                CommitAction::GiveUp => return Err(no_answer()),
                CommitAction::Overtaken => return Err(Error::conflict("overtaken")),
                CommitAction::Done(outcome) => {
                    return Ok(match outcome {
                        CommitOutcome::Committed { version } | CommitOutcome::AlreadyCommitted { version } => {
                            Some(version)
                        }
                        CommitOutcome::CommittedByAnother { .. } | CommitOutcome::Conflict { .. } => None,
                    });
                }
            };
            action = protocol.apply(event);
        }
    }

    async fn put(&self, attempt: &Attempt, version: u64, writing: Writing) -> Option<Written> {
        let job = attempt.job;
        self.write(attempt.run.clone(), move |tables| match writing {
            Writing::Table(entry) => tables.write(job, version, entry),
            Writing::Quarantine(commit) => tables.write_quarantine(job, version, commit),
        })
        .await
    }

    async fn entry(&self, job: JobNo, version: u64, writing: &Writing) -> Result<Option<EntrySummary>> {
        if let Writing::Quarantine(_) = writing {
            return self.read(move |tables| tables.quarantine_entry(job, version)).await;
        }
        let entry = self.read(move |tables| tables.entry(job, version)).await?;
        // The planted mistake: it ignores which run wrote the entry that is already there.
        let is_blind = self.has(Bug::NoTxn) || self.has(Bug::LeaseIgnoredWithoutTxn);
        Ok(entry.map(|entry| if is_blind { EntrySummary::default() } else { entry }))
    }
}
