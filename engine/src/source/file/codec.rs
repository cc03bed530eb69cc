//! A scan of raw files as bytes, for the wire between scheduler and executors.

use std::sync::Arc;

use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use object_store::path::Path;
use pulse_core::sources::FileSource;
use serde::{Deserialize, Serialize};

use super::listing::SourceFile;
use super::physical::RawFileSource;
use super::rows::ReadOptions;
use super::scan::config;
use crate::source::projected::Projected;

/// What an executor needs to build the same scan.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    source: Arc<FileSource>,
    read: ReadOptions,
    projected: Vec<Projected>,
    store_url: String,
    root: String,
    groups: Vec<Vec<SourceFile>>,
    limit: Option<usize>,
    batch_size: Option<usize>,
}

/// Encodes a scan of raw files, with whatever groups of files it holds now; `None` for any other plan.
pub fn try_encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Result<Vec<u8>>> {
    let exec = plan.downcast_ref::<DataSourceExec>()?;
    let config = exec.data_source().downcast_ref::<FileScanConfig>()?;
    let raw = config.file_source.downcast_ref::<RawFileSource>()?;
    Some(encode(config, raw))
}

#[must_use]
pub fn is_own(scan: &FileScanConfig) -> bool {
    scan.file_source.downcast_ref::<RawFileSource>().is_some()
}

/// # Errors
/// `Internal` when the bytes are not of `try_encode`.
pub fn try_decode(bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
    let payload: Payload = serde_json::from_slice(bytes)
        .map_err(|error| DataFusionError::Internal(format!("a scan of files cannot be decoded: {error}")))?;
    let root = Path::parse(&payload.root)
        .map_err(|error| DataFusionError::Internal(format!("`{}` is not a path: {error}", payload.root)))?;
    let raw = RawFileSource::new(payload.source, payload.read)?.with_projected(payload.projected)?;
    let config = config(raw, payload.groups, ObjectStoreUrl::parse(&payload.store_url)?, &root)?;
    let builder = FileScanConfigBuilder::from(config);
    Ok(DataSourceExec::from_data_source(builder.with_limit(payload.limit).with_batch_size(payload.batch_size).build()))
}

fn encode(config: &FileScanConfig, raw: &RawFileSource) -> Result<Vec<u8>> {
    let mut root = None;
    let mut groups = Vec::with_capacity(config.file_groups.len());
    for group in &config.file_groups {
        let mut files = Vec::with_capacity(group.len());
        for partitioned in group.iter() {
            let location = partitioned.object_meta.location.as_ref();
            let file = partitioned.extension::<SourceFile>().ok_or_else(|| {
                DataFusionError::Internal(format!("the scan of `{location}` lost which feed it is of"))
            })?;
            let above = location.strip_suffix(file.path.as_str()).unwrap_or_default();
            root.get_or_insert_with(|| above.trim_end_matches('/').to_owned());
            files.push(file.clone());
        }
        groups.push(files);
    }
    let payload = Payload {
        source: Arc::clone(raw.source()),
        read: raw.options().clone(),
        projected: raw.projected().to_vec(),
        store_url: config.object_store_url.to_string(),
        root: root.unwrap_or_default(),
        groups,
        limit: config.limit,
        batch_size: config.batch_size,
    };
    serde_json::to_vec(&payload)
        .map_err(|error| DataFusionError::Internal(format!("a scan of files cannot be encoded: {error}")))
}
