//! The second table of a run: rejected rows, replaced with the rows they belong to and committed before the table itself.

use std::collections::BTreeMap;

use deltalake_core::kernel::Add;
use pulse_core::Result;
use pulse_core::manifest::Read;
use serde_json::json;

use super::{Run, SEQUENCE_ID};
use crate::job::changes::changed_groups;
use crate::job::pin::Mode;
use crate::job::replace::{Dead, Replacement, rewrite, touched};
use crate::job::report::Staged;
use crate::sink::{SinkSpec, quarantine_schema};
use crate::table::{Commit, CommitOutcome, DataFile, Removal};

impl Run<'_> {
    pub(super) async fn replace_in_quarantine(&self) -> Result<Replacement> {
        let Some(quarantine) = self.pinned.quarantine.as_ref().filter(|quarantine| !quarantine.files.is_empty()) else {
            return Ok(Replacement::default());
        };
        if let Mode::Full { .. } = self.pinned.mode {
            return Ok(Replacement { removes: quarantine.files.clone(), adds: Vec::new() });
        }
        let table = &self.pinned.quarantine_table;
        let mut dead: Vec<Dead> = self.dead_files(quarantine)?.into_iter().collect();
        for pinned in self.pinned.tables.values() {
            let by = &pinned.read.by;
            let known = by.iter().all(|name| quarantine.schema.field_with_name(name).is_ok());
            if pinned.read.read == Read::Changed && pinned.changed() && !by.is_empty() && known {
                let rows = changed_groups(pinned, self.bench.options.target_partition_bytes)?;
                dead.push(Dead { rows, columns: by.clone() });
            }
        }
        let files = touched(self.bench, table, quarantine, quarantine.files.clone(), &dead).await?;
        let columns = quarantine.schema.fields().iter().map(|field| field.name().clone()).collect();
        let spec = SinkSpec {
            run_id: self.run_id.to_owned(),
            table: table.url().to_string(),
            columns,
            partition_by: Vec::new(),
            order: Vec::new(),
            target_file_bytes: u64::from(self.job.manifest.target_file_mib) << 20,
            quarantine: table.url().to_string(),
            checks: Vec::new(),
            unique: None,
        };
        rewrite(self.bench, table, quarantine, files, &dead, spec).await
    }

    /// The reason when somebody else came first.
    pub(super) async fn commit_quarantine(
        &self,
        staged: &Staged,
        replacement: Replacement,
        schema: &arrow::datatypes::SchemaRef,
        sequence: i64,
    ) -> Result<Option<String>> {
        let mut removes = replacement.removes;
        removes.extend(self.orphaned_quarantine(sequence).await?.into_iter().filter(|file| {
            self.pinned.quarantine.as_ref().is_some_and(|now| now.files.iter().any(|known| known.path == file.path))
        }));
        removes.sort_by(|a, b| a.path.cmp(&b.path));
        removes.dedup_by(|a, b| a.path == b.path);
        // Rows of earlier runs that only moved: should this run die before it commits the table, they are not its orphans.
        let moved = replacement.adds.into_iter().map(|add| Add { data_change: false, ..add });
        let adds: Vec<Add> = staged.total.quarantine_files.iter().cloned().chain(moved).collect();
        if adds.is_empty() && removes.is_empty() {
            return Ok(None);
        }
        let commit = Commit {
            run_id: self.run_id.to_owned(),
            adds,
            removes,
            read_table: Removal::FromRows,
            transactions: vec![(SEQUENCE_ID.to_owned(), sequence)],
            details: BTreeMap::from([("pulse.job".to_owned(), json!(self.job.name.to_string()))]),
            schema: quarantine_schema(schema),
            partition_by: Vec::new(),
            at: self.now.timestamp_millis(),
        };
        let table = &self.pinned.quarantine_table;
        match table.commit(self.pinned.quarantine.as_ref(), &commit, &self.bench.options.commit).await? {
            CommitOutcome::Committed { .. } | CommitOutcome::AlreadyCommitted { .. } => Ok(None),
            CommitOutcome::CommittedByAnother { version } => {
                Ok(Some(format!("version {version} of the quarantine: another attempt of this run")))
            }
            CommitOutcome::Conflict { version, reason } => {
                Ok(Some(format!("version {version} of the quarantine: {reason}")))
            }
        }
    }

    /// What a run left in quarantine that died before it committed the table.
    async fn orphaned_quarantine(&self, sequence: i64) -> Result<Vec<DataFile>> {
        let Some(quarantine) = &self.pinned.quarantine else { return Ok(Vec::new()) };
        if quarantine.transactions.get(SEQUENCE_ID).is_none_or(|last| *last < sequence) {
            return Ok(Vec::new());
        }
        self.pinned.quarantine_table.added_by(quarantine.version, quarantine).await
    }
}
