//! The second table of a run: rejected rows, which are replaced together with the rows they belong to.

use pulse_core::Result;
use pulse_core::decide::RunPlan;
use pulse_core::manifest::Read;

use super::Run;
use crate::job::changes::changed_groups;
use crate::job::replace::{Dead, Replacement, rewrite, touched};
use crate::sink::SinkSpec;

impl Run<'_> {
    pub(super) async fn replace_in_quarantine(&self) -> Result<Replacement> {
        let own = self.pinned.own_quarantine.as_ref();
        let Some(quarantine) = own.filter(|quarantine| !quarantine.files.is_empty()) else {
            return Ok(Replacement::default());
        };
        let all_again = matches!(self.pinned.plan, RunPlan::Rebuild { .. } | RunPlan::Observe { .. });
        if all_again {
            return Ok(Replacement { removes: quarantine.files.clone(), ..Replacement::default() });
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
            grain: None,
        };
        rewrite(self.bench, table, quarantine, files, &dead, spec).await
    }
}
