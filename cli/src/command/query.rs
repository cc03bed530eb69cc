//! `pulse query`

use std::process::ExitCode;
use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::prelude::{SQLOptions, SessionContext};
use pulse_core::{Error, Result};
use pulse_engine::error::from_datafusion;
use pulse_engine::source::delta::DeltaScan;
use pulse_engine::table::Lake;

use crate::args::Global;
use crate::{output, setup};

pub(crate) async fn query(global: &Global, sql: &str) -> Result<ExitCode> {
    pulse_core::sql::check_reading(sql).map_err(|problem| Error::from_diagnostics(vec![problem]))?;
    let settings = setup::settings(global)?;
    let lake = setup::lake(global, &settings).await?;
    let state = setup::state(&settings, lake.stores())?;
    let context = SessionContext::new_with_state(state);
    register(&context, &lake, settings.target_partition_mib << 20, sql).await?;
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let failed = |e| from_datafusion("query", e);
    let frame = context.sql_with_options(sql, only_queries).await.map_err(failed)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut batches = frame.collect().await.map_err(failed)?;
    if batches.is_empty() {
        batches.push(datafusion::arrow::array::RecordBatch::new_empty(schema));
    }
    output::batches(&batches, global.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Tables whose name occurs in the text: reading the logs of all others would be wasted.
async fn register(context: &SessionContext, lake: &Lake, target_bytes: u64, sql: &str) -> Result<()> {
    let failed = |e| from_datafusion("register a table", e);
    let lower = sql.to_lowercase();
    let catalog = context.catalog("datafusion").ok_or_else(|| Error::internal("the session has no catalog"))?;
    for name in lake.tables().await? {
        if !lower.contains(name.table()) {
            continue;
        }
        let table = lake.table(&name)?;
        let Some(snapshot) = table.snapshot(None).await? else { continue };
        if catalog.schema(name.layer()).is_none() {
            catalog.register_schema(name.layer(), Arc::new(MemorySchemaProvider::new())).map_err(failed)?;
        }
        let scan = DeltaScan::new(table, &snapshot, target_bytes);
        let reference = TableReference::partial(name.layer(), name.table());
        context.register_table(reference, Arc::new(scan)).map_err(failed)?;
    }
    Ok(())
}
