//! A scan of a table's files as bytes, for the wire between scheduler and executors.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{MappedFile, MappedSource, MappedTable};
use crate::source::projected::Projected;

/// What an executor needs to build the same scan.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    table: Arc<MappedTable>,
    projected: Vec<Projected>,
    groups: Vec<Vec<MappedFile>>,
    limit: Option<usize>,
    batch_size: Option<usize>,
}

/// Encodes such a scan, with whatever groups of files it holds now; `None` for any other plan.
pub fn try_encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Result<Vec<u8>>> {
    let exec = plan.downcast_ref::<DataSourceExec>()?;
    let config = exec.data_source().downcast_ref::<FileScanConfig>()?;
    let source = config.file_source.downcast_ref::<MappedSource>()?;
    Some(encode(config, source))
}

#[must_use]
pub fn is_own(scan: &FileScanConfig) -> bool {
    scan.file_source.downcast_ref::<MappedSource>().is_some()
}

/// # Errors
/// `Internal` when the bytes are not of `try_encode`.
pub fn try_decode(bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
    let payload: Payload = serde_json::from_slice(bytes)
        .map_err(|error| DataFusionError::Internal(format!("a scan of a table cannot be decoded: {error}")))?;
    let table = Arc::unwrap_or_clone(payload.table);
    let source = MappedSource::new(table)?.with_projected(payload.projected)?;
    let config = config(source, payload.groups)?.with_limit(payload.limit).with_batch_size(payload.batch_size);
    Ok(DataSourceExec::from_data_source(config.build()))
}

/// The scan of groups of files as they are.
pub(in super::super) fn config(source: MappedSource, groups: Vec<Vec<MappedFile>>) -> Result<FileScanConfigBuilder> {
    let store_url = ObjectStoreUrl::parse(&source.table.store_url)?;
    let root = Path::parse(&source.table.root).map_err(|e| DataFusionError::External(Box::new(e)))?;
    let mut file_groups = Vec::with_capacity(groups.len());
    for group in groups {
        let files: Result<Vec<_>> = group.into_iter().map(|file| partitioned_file(&root, file)).collect();
        file_groups.push(FileGroup::new(files?));
    }
    let statistics = Statistics::new_unknown(source.table_schema.table_schema());
    let builder = FileScanConfigBuilder::new(store_url, Arc::new(source));
    Ok(builder.with_file_groups(file_groups).with_statistics(statistics))
}

fn partitioned_file(root: &Path, file: MappedFile) -> Result<PartitionedFile> {
    let below = Path::parse(&file.path).map_err(|e| DataFusionError::External(Box::new(e)))?;
    let meta = ObjectMeta {
        location: Path::from_iter(root.parts().chain(below.parts())),
        last_modified: chrono::DateTime::UNIX_EPOCH,
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    Ok(PartitionedFile::new_from_meta(meta).with_extension(file))
}

fn encode(config: &FileScanConfig, source: &MappedSource) -> Result<Vec<u8>> {
    let mut groups = Vec::with_capacity(config.file_groups.len());
    for group in &config.file_groups {
        let mut files = Vec::with_capacity(group.len());
        for partitioned in group.iter() {
            let location = &partitioned.object_meta.location;
            let file = partitioned.extension::<MappedFile>().ok_or_else(|| {
                DataFusionError::Internal(format!("the scan of `{location}` lost what its log says of it"))
            })?;
            files.push(file.clone());
        }
        groups.push(files);
    }
    let payload = Payload {
        table: Arc::clone(&source.table),
        projected: source.projection.columns().to_vec(),
        groups,
        limit: config.limit,
        batch_size: config.batch_size,
    };
    serde_json::to_vec(&payload)
        .map_err(|error| DataFusionError::Internal(format!("a scan of a table cannot be encoded: {error}")))
}
