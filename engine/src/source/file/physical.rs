//! Raw files as a file source of DataFusion.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricCategory};
use futures::FutureExt;
use object_store::ObjectStore;
use pulse_core::sources;

use super::chunks::{ReadMetrics, into_datafusion};
use super::layout::Layout;
use super::listing::SourceFile;
use super::read::Reader;
use super::rows::ReadOptions;
use crate::source::projected::{Projected, Projection};

/// Reads the files of one source. Each `PartitionedFile` carries its `SourceFile` as an extension.
#[derive(Debug, Clone)]
pub struct RawFileSource {
    source: Arc<sources::FileSource>,
    layout: Arc<Layout>,
    options: ReadOptions,
    table_schema: TableSchema,
    projection: Projection,
    metrics: ExecutionPlanMetricsSet,
}

impl RawFileSource {
    /// All columns of the source.
    ///
    /// # Errors
    /// When the source's declaration does not hold together.
    pub(super) fn new(source: Arc<sources::FileSource>, options: ReadOptions) -> Result<Self> {
        let layout = Layout::new(&source).map_err(into_datafusion)?;
        let projection = Projection::all(&layout.schema)?;
        let table_schema = TableSchema::builder(Arc::clone(&layout.schema)).build();
        let (layout, metrics) = (Arc::new(layout), ExecutionPlanMetricsSet::new());
        Ok(Self { source, layout, options, table_schema, projection, metrics })
    }

    pub(super) fn source(&self) -> &Arc<sources::FileSource> {
        &self.source
    }

    pub(super) fn options(&self) -> &ReadOptions {
        &self.options
    }

    pub(super) fn projected(&self) -> &[Projected] {
        self.projection.columns()
    }

    /// # Errors
    /// When a column is not one of the source's.
    pub(super) fn with_projected(&self, projected: Vec<Projected>) -> Result<Self> {
        Ok(Self { projection: Projection::new(projected, &self.layout.schema)?, ..self.clone() })
    }
}

impl FileSource for RawFileSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        _base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let counter = |name: &'static str, category| {
            MetricBuilder::new(&self.metrics).with_category(category).counter(name, partition)
        };
        let metrics = ReadMetrics {
            bytes_scanned: counter("bytes_scanned", MetricCategory::Bytes),
            rejected_rows: counter("rejected_rows", MetricCategory::Rows),
        };
        let reader = Reader {
            source: Arc::clone(&self.source),
            layout: Arc::clone(&self.layout),
            projection: self.projected().to_vec(),
            options: self.options.clone(),
            metrics,
        };
        Ok(Arc::new(RawFileOpener { reader: Arc::new(reader), object_store }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let options = ReadOptions { batch_rows: batch_size.max(1), ..self.options.clone() };
        Arc::new(Self { options, ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(self.projection.expressions())
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "raw"
    }

    /// A file's rows are numbered from its start, so it is read by one task.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn repartitioned(
        &self,
        _target_partitions: usize,
        _repartition_file_min_size: usize,
        _output_ordering: Option<LexOrdering>,
        _config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        Ok(None)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]))
    }

    /// Takes a projection of plain columns; expressions stay above the scan.
    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let projected =
            self.projection.through(projection).map(|projected| self.with_projected(projected)).transpose()?;
        Ok(projected.map(|source| Arc::new(source) as Arc<dyn FileSource>))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.projection.visit(f)
    }
}

struct RawFileOpener {
    reader: Arc<Reader>,
    object_store: Arc<dyn ObjectStore>,
}

impl FileOpener for RawFileOpener {
    fn open(&self, partitioned_file: PartitionedFile) -> Result<FileOpenFuture> {
        let location = partitioned_file.object_meta.location.clone();
        let file = partitioned_file
            .extension::<SourceFile>()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal(format!("the scan of `{location}` lost which feed it is of")))?;
        let reader = Arc::clone(&self.reader);
        let store = Arc::clone(&self.object_store);
        Ok(async move { reader.open(store, location, &file).await.map_err(into_datafusion) }.boxed())
    }
}
