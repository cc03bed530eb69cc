//! Files of tables whose columns are not simply those of Parquet, or some of whose rows are deleted: a file source of its own, which
//! finds columns by Delta's mapping and leaves out deleted rows. A plain Parquet scan would misread such files.

mod codec;
mod columns;
mod deleted;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
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
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use delta_kernel::engine::arrow_conversion::TryIntoArrow as _;
use delta_kernel::schema::StructType;
use futures::FutureExt;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::FILE_COLUMN;
use crate::source::projected::{Projected, Projection};
use crate::table::{DataFile, DeletionVector, Mapping, plain};

pub(super) use codec::config;
pub use codec::{is_own, try_decode, try_encode};

/// Rows of a batch where nobody says otherwise.
const BATCH_ROWS: usize = 8192;

/// A table whose files are read, in full: an executor needs no more than this and the files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MappedTable {
    pub(super) name: String,
    pub(super) store_url: String,
    /// The table's folder within the store.
    pub(super) root: String,
    pub(super) mapping: Mapping,
    pub(super) columns: StructType,
    pub(super) partition_by: Vec<String>,
    /// Whether rows say which file they are of.
    pub(super) file_column: bool,
}

impl MappedTable {
    /// Columns of files, then those of partitions, then perhaps [`FILE_COLUMN`].
    fn schema(&self) -> Result<SchemaRef> {
        let all: Schema = (&self.columns)
            .try_into_arrow()
            .map_err(|e| DataFusionError::Internal(format!("columns of table {}: {e}", self.name)))?;
        let is_partition = |field: &FieldRef| self.partition_by.contains(field.name());
        let (partition, file): (Vec<_>, Vec<_>) = plain(&all).fields().iter().cloned().partition(is_partition);
        let path = self.file_column.then(|| Arc::new(Field::new(FILE_COLUMN, DataType::Utf8, false)));
        Ok(Arc::new(Schema::new(file.into_iter().chain(partition).chain(path).collect::<Vec<_>>())))
    }
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MappedFile {
    /// Below the table's folder.
    pub(super) path: String,
    pub(super) bytes: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_vector: Option<DeletionVector>,
}

impl From<&DataFile> for MappedFile {
    fn from(file: &DataFile) -> Self {
        Self {
            path: file.path.clone(),
            bytes: file.bytes,
            partition_values: file.partition_values.clone().into_iter().collect(),
            deletion_vector: file.deletion_vector.clone(),
        }
    }
}

/// Reads files of one table. Each `PartitionedFile` carries its [`MappedFile`] as an extension.
#[derive(Debug, Clone)]
pub(super) struct MappedSource {
    table: Arc<MappedTable>,
    table_schema: TableSchema,
    projection: Projection,
    batch_rows: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl MappedSource {
    /// All columns of the table.
    ///
    /// # Errors
    /// When a column has a type that Arrow has not.
    pub(super) fn new(table: MappedTable) -> Result<Self> {
        let schema = table.schema()?;
        Ok(Self {
            table: Arc::new(table),
            projection: Projection::all(&schema)?,
            table_schema: TableSchema::builder(schema).build(),
            batch_rows: BATCH_ROWS,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    fn with_projected(&self, projected: Vec<Projected>) -> Result<Self> {
        let projection = Projection::new(projected, self.table_schema.table_schema())?;
        Ok(Self { projection, ..self.clone() })
    }

    fn field(&self, column: usize) -> Result<&FieldRef> {
        let fields = self.table_schema.table_schema().fields();
        fields
            .get(column)
            .ok_or_else(|| DataFusionError::Internal(format!("table {} has no column {column}", self.table.name)))
    }

    /// As rows come out: the projected columns by their names.
    fn output(&self) -> Result<SchemaRef> {
        let field =
            |projected: &Projected| Ok(self.field(projected.column)?.as_ref().clone().with_name(&projected.name));
        Ok(Arc::new(Schema::new(self.projection.columns().iter().map(field).collect::<Result<Vec<_>>>()?)))
    }
}

impl FileSource for MappedSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        _base_config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let mut wanted = Vec::with_capacity(self.projection.columns().len());
        for projected in self.projection.columns() {
            wanted.push(Arc::clone(self.field(projected.column)?));
        }
        let reader = read::Reader {
            table: Arc::clone(&self.table),
            wanted,
            output: self.output()?,
            batch_rows: self.batch_rows,
        };
        Ok(Arc::new(Opener { reader: Arc::new(reader), object_store }))
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_rows: batch_size.max(1), ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(self.projection.expressions())
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "delta"
    }

    /// Deleted rows are known by their numbers from the file's start.
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

struct Opener {
    reader: Arc<read::Reader>,
    object_store: Arc<dyn ObjectStore>,
}

impl FileOpener for Opener {
    fn open(&self, partitioned_file: PartitionedFile) -> Result<FileOpenFuture> {
        let location = partitioned_file.object_meta.location.clone();
        let file = partitioned_file.extension::<MappedFile>().cloned().ok_or_else(|| {
            DataFusionError::Internal(format!("the scan of `{location}` lost what its log says of it"))
        })?;
        let (reader, store) = (Arc::clone(&self.reader), Arc::clone(&self.object_store));
        Ok(async move { reader.open(store, location, file).await }.boxed())
    }
}
