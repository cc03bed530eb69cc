//! Performs both commits of a run, as [`pulse_core::commit::pair`] decides: the quarantine, then the table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::Add;
use pulse_core::commit::pair::{NAMED_ID, Named, PairAction, PairEvent, PairOutcome, PairProtocol};
use pulse_core::run::ExpectationOutcome;
use pulse_core::{Error, Result};
use serde_json::json;

use super::pair::{Pair, SEQUENCE_ID, files_of, sequence};
use super::{Attempt, Changes, Run};
use crate::job::pin::Mode;
use crate::job::replace::{Replacement, rules};
use crate::job::report::{Outcome, Report, Staged, bytes};
use crate::sink::quarantine_schema;
use crate::step::{Step, reached};
use crate::table::{Commit, CommitOutcome, Removal, Snapshot};

impl Run<'_> {
    /// The quarantine comes first: if a run dies between the two commits, the next one builds on the version that the
    /// table names.
    pub(super) async fn commit(
        &self,
        changes: Changes,
        schema: &SchemaRef,
        expectations: Vec<ExpectationOutcome>,
    ) -> Result<Attempt> {
        let Changes { staged, table, quarantine } = changes;
        let mut report = self.report(Outcome::Unchanged, &staged);
        report.expectations = expectations;
        report.counts.bytes_read += table.reread_bytes + quarantine.reread_bytes;
        let mut commit = self.table_commit(&mut report, &staged, table, schema)?;
        let read = sequence(self.pinned.target.as_ref());
        let (adds, wanted) = self.quarantine_files(&staged, quarantine);
        let mut pair = Pair::new(self, read + 1, Some((quarantine_schema(schema), adds)));
        let now = files_of(self.pinned.quarantine.as_ref());
        let (mut protocol, mut action) = PairProtocol::commit(read, &now, wanted, self.tries());
        let mut reason = "another run committed to the quarantine".to_owned();
        loop {
            let event = match action {
                PairAction::CommitTable { names } => {
                    reached(Step::QuarantineCommitted);
                    commit.transactions.push((NAMED_ID.to_owned(), Named::at(names).to_number()));
                    match self.commit_table(&commit).await? {
                        Ok(version) => {
                            reached(Step::TableCommitted);
                            report.outcome = Outcome::Committed { version };
                            let look = protocol.apply(PairEvent::TableCommitted);
                            report.warnings.extend(self.look_behind(&mut pair, &mut protocol, look).await);
                            return Ok(self.done(report));
                        }
                        Err(why) => reason = why,
                    }
                    PairEvent::TableOvertaken
                }
                PairAction::Done(_) => {
                    self.pinned.table.discard(&commit.adds).await;
                    return Ok(Attempt::Overtaken { reason });
                }
                other => pair.carry_out(&other).await?,
            };
            action = protocol.apply(event);
        }
    }

    /// Restores the quarantine that the table names, if needed: removes rows of runs that died or lost a conflict.
    pub(super) async fn settle(&self) -> Result<()> {
        let version = |snapshot: &Option<Snapshot>| snapshot.as_ref().map(|snapshot| snapshot.version);
        if version(&self.pinned.quarantine) == version(&self.pinned.own_quarantine) {
            return Ok(());
        }
        let (mut protocol, action) = PairProtocol::settle(self.tries());
        match Pair::new(self, 0, None).settle(&mut protocol, action).await? {
            PairOutcome::Settled => Ok(()),
            PairOutcome::Unsettled | PairOutcome::Overtaken => Err(Error::conflict(format!(
                "job {}: others always commit to its quarantine; run it alone",
                self.job.name
            ))),
        }
    }

    /// Changes of the quarantine by others do not fail a run that has committed; the next one repairs them.
    async fn look_behind(
        &self,
        pair: &mut Pair<'_>,
        protocol: &mut PairProtocol,
        action: PairAction,
    ) -> Option<String> {
        let why = match pair.settle(protocol, action).await {
            Ok(PairOutcome::Settled) => return None,
            Ok(PairOutcome::Unsettled | PairOutcome::Overtaken) => "others always committed first".to_owned(),
            Err(error) => error.to_string(),
        };
        let name = self.job.name.quarantine();
        Some(format!("{name} may hold rows of a run that did not commit, until the next run ({why})"))
    }

    fn tries(&self) -> u32 {
        self.bench.options.commit.attempts
    }

    /// The run's staged quarantine files, and the names of all files that the quarantine has afterwards.
    fn quarantine_files(&self, staged: &Staged, replacement: Replacement) -> (Vec<Add>, BTreeSet<String>) {
        let gone: BTreeSet<String> = replacement.removes.into_iter().map(|file| file.path).collect();
        // Rows of earlier runs that only moved to other files.
        let moved = replacement.adds.into_iter().map(|add| Add { data_change: false, ..add });
        let adds: Vec<Add> = staged.total.quarantine_files.iter().cloned().chain(moved).collect();
        let before = self.pinned.own_quarantine.iter().flat_map(|own| &own.files).map(|file| file.path.clone());
        let stay = before.filter(|path| !gone.contains(path));
        let wanted = stay.chain(adds.iter().map(|add| add.path.clone())).collect();
        (adds, wanted)
    }

    /// The table's commit, without the name of its quarantine.
    fn table_commit(
        &self,
        report: &mut Report,
        staged: &Staged,
        table: Replacement,
        schema: &SchemaRef,
    ) -> Result<Commit> {
        let adds: Vec<Add> = staged.total.files.iter().cloned().chain(table.adds).collect();
        report.counts.bytes_written = bytes(&adds) + bytes(&staged.total.quarantine_files);
        report.counts.files_added = adds.len() as u64;
        report.counts.files_removed = table.removes.len() as u64;
        let mut transactions = self.pinned.transactions.clone();
        transactions.push((SEQUENCE_ID.to_owned(), sequence(self.pinned.target.as_ref()) + 1));
        Ok(Commit {
            run_id: self.run_id.to_owned(),
            adds,
            removes: table.removes,
            read_table: self.read_table(),
            transactions,
            details: self.details(report)?,
            schema: Arc::clone(schema),
            partition_by: self.job.manifest.partition_by().to_vec(),
            whole: None,
            at: self.now.timestamp_millis(),
        })
    }

    /// Returns the version, or why another run's commit conflicts.
    async fn commit_table(&self, commit: &Commit) -> Result<std::result::Result<u64, String>> {
        let target = self.pinned.target.as_ref();
        Ok(match self.pinned.table.commit(target, commit, &self.bench.options.commit).await? {
            CommitOutcome::Committed { version } | CommitOutcome::AlreadyCommitted { version } => Ok(version),
            CommitOutcome::CommittedByAnother { version } => {
                Err(format!("version {version}: another attempt of this run"))
            }
            CommitOutcome::Conflict { version, reason } => Err(format!("version {version}: {reason}")),
        })
    }

    fn read_table(&self) -> Removal {
        match &self.pinned.mode {
            Mode::Incremental => rules(self.job).conflicts(),
            Mode::Unchanged | Mode::Full { .. } => Removal::FromRows,
        }
    }

    fn details(&self, report: &Report) -> Result<BTreeMap<String, serde_json::Value>> {
        let value = |value: serde_json::Result<serde_json::Value>| {
            value.map_err(|e| Error::internal("a run's record is not JSON").with_source(e))
        };
        let mode = match &report.mode {
            Mode::Unchanged => "unchanged".to_owned(),
            Mode::Incremental => "incremental".to_owned(),
            Mode::Full { reason } => format!("full: {reason}"),
        };
        Ok(BTreeMap::from([
            ("pulse.job".to_owned(), json!(self.job.name.to_string())),
            ("pulse.mode".to_owned(), json!(mode)),
            ("pulse.inputs".to_owned(), value(serde_json::to_value(&report.inputs))?),
            ("pulse.counts".to_owned(), value(serde_json::to_value(&report.counts))?),
            ("pulse.expectations".to_owned(), value(serde_json::to_value(&report.expectations))?),
            ("pulse.rejected".to_owned(), value(serde_json::to_value(&report.rejected))?),
            ("pulse.notes".to_owned(), json!(report.notes)),
        ]))
    }
}
