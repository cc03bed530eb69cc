//! Delta tables as plain Parquet scans, which Ballista both encodes and slices; tables of others whose files are not plain as
//! scans of our own.

#[cfg(test)]
pub(crate) mod foreign;
mod grouping;
mod mapped;
mod prune;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, RangePartitioning, SplitPoint};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use object_store::ObjectMeta;
use object_store::path::Path;
use pulse_core::Result;

use super::{partition_bytes, with_a_partition};
use crate::error::into_datafusion;
use crate::store::{store_path, store_url};
use crate::table::{DataFile, Mapping, Physical, Snapshot, Table};
use grouping::{Extent, Grouping};
use mapped::{MappedFile, MappedSource, MappedTable};

pub use mapped::{is_own, try_decode, try_encode};

/// Name of the column that [`DeltaScan::with_file_column`] adds: the file's path below the table's root.
pub const FILE_COLUMN: &str = "__file";

/// Some files of one snapshot, as a table.
#[derive(Debug, Clone)]
pub struct DeltaScan {
    table: Table,
    files: Arc<Vec<DataFile>>,
    /// As a reader sees them: the table's columns in its order, then perhaps [`FILE_COLUMN`].
    columns: SchemaRef,
    /// As Parquet scans want them: file columns, then partition columns, then perhaps [`FILE_COLUMN`].
    schema: TableSchema,
    partition_by: Vec<String>,
    target_partition_bytes: u64,
    /// All files in one partition of the plan, whatever the session asks for.
    one_task: bool,
    /// How columns are found in files; none where they simply have their names.
    physical: Option<Arc<Physical>>,
}

impl DeltaScan {
    pub fn new(table: Table, snapshot: &Snapshot, target_partition_bytes: u64) -> Self {
        let files = snapshot.files.clone();
        let scan = Self::of_files(table, &snapshot.schema, &snapshot.partition_by, files, target_partition_bytes);
        Self { physical: Some(Arc::clone(&snapshot.physical)), ..scan }
    }

    /// Files that need not be committed yet.
    pub fn of_files(
        table: Table,
        schema: &Schema,
        partition_by: &[String],
        files: Vec<DataFile>,
        target_partition_bytes: u64,
    ) -> Self {
        let columns = Arc::new(Schema::new(schema.fields().clone()));
        let (partition, file): (Vec<_>, Vec<_>) =
            schema.fields().iter().cloned().partition(|field| partition_by.contains(field.name()));
        let schema = TableSchema::builder(Arc::new(Schema::new(file))).with_table_partition_cols(partition).build();
        let partition_by = partition_by.to_vec();
        let files = Arc::new(files);
        let one_task = false;
        Self { table, files, columns, schema, partition_by, target_partition_bytes, one_task, physical: None }
    }

    /// Adds the column [`FILE_COLUMN`], which names the file that a row lies in.
    #[must_use]
    pub fn with_file_column(mut self) -> Self {
        let file = Arc::new(Field::new(FILE_COLUMN, DataType::Utf8, false));
        let mut partition: Vec<_> = self.schema.table_partition_cols().iter().cloned().collect();
        partition.push(Arc::clone(&file));
        self.columns = Arc::new(Schema::new(self.columns.fields().iter().cloned().chain([file]).collect::<Vec<_>>()));
        self.schema =
            TableSchema::builder(Arc::clone(self.schema.file_schema())).with_table_partition_cols(partition).build();
        self
    }

    /// With all files in one partition of the plan; for files of at most `target_partition_bytes`.
    #[must_use]
    pub fn in_one_task(mut self) -> Self {
        self.one_task = true;
        self
    }

    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Other files of the same table.
    #[must_use]
    pub fn with_files(&self, files: Vec<DataFile>) -> Self {
        Self { files: Arc::new(files), ..self.clone() }
    }

    /// Files that may share a value of the leading column of their order with another one; that column.
    ///
    /// None when the files have no order in common.
    pub(crate) fn sharing_leading_values(&self) -> Option<(&str, Vec<DataFile>)> {
        let leading = common_order(&self.files).first()?;
        let data_type = self.columns.field_with_name(leading).ok()?.data_type().clone();
        // The bounds of a file say nothing of its values that are no numbers.
        let known = !data_type.is_floating();
        let extents = self.files.iter().map(|file| Extent::of(file, leading, &data_type).filter(|_| known));
        let clusters = extents.collect::<Option<Vec<_>>>().and_then(|extents| grouping::in_order(&extents));
        let files = match clusters {
            Some(clusters) => {
                let shared = clusters.into_iter().filter(|cluster| cluster.len() > 1).flatten();
                shared.map(|index| self.files[index].clone()).collect()
            }
            None => self.files.to_vec(),
        };
        Some((leading, files))
    }

    /// Files that may hold rows on which all `filters` are true.
    ///
    /// # Errors
    /// DataFusion's, when a filter cannot be planned.
    pub fn pruned(&self, session: &dyn Session, filters: &[Expr]) -> DataFusionResult<Vec<DataFile>> {
        let (of_partitions, others): (Vec<_>, Vec<_>) =
            filters.iter().cloned().partition(|filter| self.is_of_partitions(filter));
        let columns =
            self.schema.table_partition_cols().iter().filter(|field| self.partition_by.contains(field.name()));
        let columns = Arc::new(Schema::new(columns.cloned().collect::<Vec<_>>()));
        let files = prune::prune(session, &self.files, self.schema.table_schema(), &others)?;
        prune::of_partitions(session, files, &columns, &of_partitions)
    }

    /// Whether a filter is the same for all rows of a file.
    fn is_of_partitions(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        !columns.is_empty() && columns.iter().all(|column| self.partition_by.contains(&column.name))
    }

    fn of_table(&self, error: &pulse_core::Error) -> pulse_core::Error {
        pulse_core::Error::new(error.kind(), format!("table {}: {}", self.table.name(), error.message()))
    }

    fn partitioned_file(&self, file: &DataFile, root: &Path) -> Result<PartitionedFile> {
        let meta = ObjectMeta {
            location: Path::from_iter(
                root.parts().chain(
                    Path::parse(&file.path)
                        .map_err(|e| {
                            pulse_core::Error::data(format!(
                                "table {}: `{}` is not a path",
                                self.table.name(),
                                file.path
                            ))
                            .with_source(e)
                        })?
                        .parts(),
                ),
            ),
            last_modified: chrono::DateTime::from_timestamp_millis(file.modified).unwrap_or_default(),
            size: file.bytes,
            e_tag: None,
            version: None,
        };
        let values = self
            .schema
            .table_partition_cols()
            .iter()
            .map(|field| match field.name().as_str() {
                FILE_COLUMN => Ok(ScalarValue::Utf8(Some(file.path.clone()))),
                name => file.known_partition_value(name, field.data_type()).map_err(|e| self.of_table(&e)),
            })
            .collect::<Result<Vec<_>>>()?;
        let mut partitioned = PartitionedFile::new_from_meta(meta);
        partitioned.partition_values = values;
        let statistics: Statistics = file.column_statistics(self.schema.file_schema());
        Ok(partitioned.with_statistics(Arc::new(statistics)))
    }

    /// Rows and bytes of all files: what decides which side of a join is collected.
    fn totals(&self, files: &[DataFile]) -> Statistics {
        let rows: Option<u64> = files.iter().map(DataFile::rows).sum();
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let as_size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Statistics {
            num_rows: rows.map_or(Precision::Absent, |rows| Precision::Exact(as_size(rows))),
            total_byte_size: Precision::Inexact(as_size(bytes)),
            ..Statistics::new_unknown(self.schema.table_schema())
        }
    }

    /// Groups of files; sorted and disjoint in the leading column of their order where bounds allow it.
    fn grouping(&self, files: &[DataFile], tasks: usize) -> Grouping {
        let order = common_order(files);
        let extents: Option<Vec<Extent>> = order.first().and_then(|leading| {
            let field = self.schema.table_schema().field_with_name(leading).ok()?;
            files.iter().map(|file| Extent::of(file, leading, field.data_type())).collect()
        });
        let bytes: Vec<u64> = files.iter().map(|file| file.bytes).collect();
        let target = partition_bytes(bytes.iter().sum(), self.target_partition_bytes, tasks);
        Grouping::new(&bytes, extents.as_deref(), target)
    }

    /// Places of the wanted columns in the scan's schema.
    fn places(&self, projection: Option<&Vec<usize>>) -> DataFusionResult<Vec<usize>> {
        let all = || (0..self.columns.fields().len()).collect();
        let scanned = self.schema.table_schema();
        let place = |wanted: usize| Ok(scanned.index_of(self.columns.field(wanted).name())?);
        projection.cloned().unwrap_or_else(all).into_iter().map(place).collect()
    }

    fn order_expressions(&self, files: &[DataFile]) -> Option<LexOrdering> {
        let schema = self.schema.table_schema();
        LexOrdering::new(common_order(files).iter().map_while(|name| ascending(schema, name)))
    }

    fn build(
        &self,
        files: &[DataFile],
        tasks: usize,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let grouping = self.grouping(files, tasks);
        if let Some(physical) = self.physical.as_ref().filter(|physical| is_mapped(physical, files)) {
            return self.build_mapped(physical, files, &grouping, projection, limit);
        }
        let root = store_path(self.table.url()).map_err(into_datafusion)?;
        let groups = grouping
            .groups
            .iter()
            .map(|group| {
                group
                    .iter()
                    .map(|&index| self.partitioned_file(&files[index], &root).map_err(into_datafusion))
                    .collect::<DataFusionResult<Vec<_>>>()
                    .map(FileGroup::new)
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let source = Arc::new(ParquetSource::new(self.schema.clone()).with_table_parquet_options(parquet_options()));
        let mut config = FileScanConfigBuilder::new(store_url(self.table.url()).map_err(into_datafusion)?, source)
            .with_file_groups(groups)
            .with_statistics(self.totals(files))
            .with_limit(limit)
            .with_projection_indices(Some(self.places(projection)?))?;
        if let Some(ordering) = self.order_expressions(files) {
            if grouping.sorted {
                config = config.with_output_ordering(vec![ordering.clone()]);
            }
            if let (Some(splits), Some(leading)) = (grouping.splits, LexOrdering::new(ordering.iter().take(1).cloned()))
            {
                let points = splits.into_iter().map(|value| SplitPoint::new(vec![value])).collect();
                let range = RangePartitioning::try_new(leading, points)?;
                config = config.with_output_partitioning(Some(Partitioning::Range(range)));
            }
        }
        Ok(with_a_partition(DataSourceExec::from_data_source(config.build())))
    }

    fn build_mapped(
        &self,
        physical: &Physical,
        files: &[DataFile],
        grouping: &Grouping,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let source = MappedSource::new(MappedTable {
            name: self.table.name().to_string(),
            store_url: store_url(self.table.url()).map_err(into_datafusion)?.to_string(),
            root: store_path(self.table.url()).map_err(into_datafusion)?.to_string(),
            mapping: physical.mapping,
            columns: physical.columns.as_ref().clone(),
            partition_by: self.partition_by.clone(),
            file_column: self.schema.table_schema().field_with_name(FILE_COLUMN).is_ok(),
        })?;
        let group = |group: &Vec<usize>| group.iter().map(|&index| MappedFile::from(&files[index])).collect();
        let config = mapped::config(source, grouping.groups.iter().map(group).collect())?
            .with_statistics(self.totals(files))
            .with_limit(limit)
            .with_projection_indices(Some(self.places(projection)?))?;
        Ok(with_a_partition(DataSourceExec::from_data_source(config.build())))
    }
}

/// Old writers have stamps of nanoseconds, which do not reach as far as our microseconds: they are read as these.
fn parquet_options() -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    options.global.coerce_int96 = Some("us".to_owned());
    options
}

/// Whether a plain Parquet scan would misread the files.
fn is_mapped(physical: &Physical, files: &[DataFile]) -> bool {
    physical.mapping != Mapping::None || files.iter().any(|file| file.deletion_vector.is_some())
}

/// Files of one order, in the order of its leading column; those that share a value of it, or may, together. Files of
/// unknown bounds stand alone.
pub(crate) fn by_leading_column(schema: &Schema, files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    let extents: Option<Vec<Extent>> = common_order(&files).first().and_then(|leading| {
        let field = schema.field_with_name(leading).ok()?;
        files.iter().map(|file| Extent::of(file, leading, field.data_type())).collect()
    });
    match extents.and_then(|extents| grouping::in_order(&extents)) {
        Some(clusters) => clusters
            .into_iter()
            .map(|cluster| cluster.into_iter().map(|index| files[index].clone()).collect())
            .collect(),
        None => files.into_iter().map(|file| vec![file]).collect(),
    }
}

/// The order all files share; empty when one of them has another or none.
fn common_order(files: &[DataFile]) -> &[String] {
    match files.split_first() {
        Some((first, rest)) if rest.iter().all(|file| file.order == first.order) => &first.order,
        _ => &[],
    }
}

fn ascending(schema: &Schema, name: &str) -> Option<PhysicalSortExpr> {
    let column = Column::new_with_schema(name, schema).ok()?;
    Some(PhysicalSortExpr::new(Arc::new(column), SortOptions { descending: false, nulls_first: false }))
}

#[async_trait]
impl TableProvider for DeltaScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let files = self.pruned(session, filters)?;
        // A limit below a filter would cut rows that the filter still has to see.
        let tasks = if self.one_task { 1 } else { session.config().target_partitions() };
        self.build(&files, tasks, projection, limit.filter(|_| filters.is_empty()))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match self.is_of_partitions(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }
}
