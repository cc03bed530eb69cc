//! Raw files as a plan and as a table.

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, SplitPoint, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource as _};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, RangePartitioning};
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
use object_store::path::Path;
use pulse_core::sources::FileSource;

use super::super::{partition_bytes, with_a_partition};
use super::chunks::into_datafusion;
use super::layout::{LINE, SOURCE_FILE, file_source_schema, path_columns};
use super::listing::{SourceFile, below};
use super::physical::RawFileSource;
use super::picked::{Picker, picks_files};
use super::rows::ReadOptions;
use crate::source::projected::Projected;

/// Where a source's files are and how they are read.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    pub store_url: ObjectStoreUrl,
    /// The source's root within the store.
    pub root: Path,
    /// Most bytes of files that one partition of the plan reads, before files of one symbol are kept together.
    pub target_partition_bytes: u64,
    pub read: ReadOptions,
}

/// A plan that reads `files`, with all columns of the source.
///
/// Files lie in the order of the first placeholder's value. Files with equal values are read by one partition, and the plan
/// declares that its partitions are ranges of the placeholder: what is grouped by it needs no shuffle.
///
/// # Errors
/// `Invalid` when the source's declaration does not hold together or a path is not one.
pub fn scan(source: &Arc<FileSource>, files: Vec<SourceFile>, options: &ScanOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let raw = RawFileSource::new(Arc::clone(source), options.read.clone())?;
    let groups = grouped(source, files, options.target_partition_bytes);
    Ok(DataSourceExec::from_data_source(config(raw, groups, options.store_url.clone(), &options.root)?))
}

/// A source's files as a table.
#[derive(Debug)]
pub struct RawFiles {
    source: Arc<FileSource>,
    files: Vec<SourceFile>,
    options: ScanOptions,
    schema: SchemaRef,
}

impl RawFiles {
    pub fn new(source: Arc<FileSource>, files: Vec<SourceFile>, options: ScanOptions) -> Self {
        let schema = file_source_schema(&source);
        Self { source, files, options, schema }
    }

    /// With a row behind each file for what is to be said of its fields; see [`NOTE`](super::NOTE).
    #[must_use]
    pub fn with_notes(mut self) -> Self {
        self.options.read.notes = true;
        self
    }

    /// Whether paths say values of columns.
    pub(crate) fn have_partitions(&self) -> bool {
        self.source.feed.values().any(|feed| !feed.partitions.is_empty())
    }

    /// Whether files for which `filter` is false are not opened.
    pub(crate) fn are_picked_by(&self, filter: &Expr) -> bool {
        picks_files(&self.source, filter)
    }
}

#[async_trait]
impl TableProvider for RawFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Rows are filtered above the scan, which leaves out files.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match picks_files(&self.source, filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut raw = RawFileSource::new(Arc::clone(&self.source), self.options.read.clone())?;
        if let Some(projection) = projection {
            let name = |column: usize| self.schema.fields().get(column).map(|field| field.name().clone());
            let projected = projection.iter().filter_map(|&column| Some(Projected { column, name: name(column)? }));
            raw = raw.with_projected(projected.collect())?;
        }
        let files = Picker::new(&self.source).picked(session, filters, self.files.clone())?;
        let total = files.iter().map(|file| file.size).sum();
        let tasks = session.config().target_partitions();
        let target = partition_bytes(total, self.options.target_partition_bytes, tasks);
        let groups = grouped(&self.source, files, target);
        let config = config(raw, groups, self.options.store_url.clone(), &self.options.root)?;
        let config = FileScanConfigBuilder::from(config).with_limit(limit).build();
        Ok(with_a_partition(DataSourceExec::from_data_source(config)))
    }
}

/// The scan of groups of files as they are.
pub(super) fn config(
    raw: RawFileSource,
    groups: Vec<Vec<SourceFile>>,
    store_url: ObjectStoreUrl,
    root: &Path,
) -> Result<FileScanConfig> {
    let partitioning = range_partitioning(&raw, &groups)?;
    let bytes: u64 = groups.iter().flatten().map(|file| file.size).sum();
    let mut statistics = Statistics::new_unknown(raw.table_schema().table_schema());
    statistics.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut file_groups = Vec::with_capacity(groups.len());
    for group in groups {
        let files: Result<Vec<_>> = group.into_iter().map(|file| partitioned_file(&raw, root, file)).collect();
        file_groups.push(FileGroup::new(files?));
    }
    let ordering = natural_order(&raw);
    // Without a fixed order idle partitions would take files of others, and rows would leave their range.
    let builder = FileScanConfigBuilder::new(store_url, Arc::new(raw)).with_preserve_order(true);
    let builder = builder.with_file_groups(file_groups).with_statistics(statistics);
    Ok(builder.with_output_ordering(ordering.into_iter().collect()).with_output_partitioning(partitioning).build())
}

/// Rows come by first placeholder, file and line: files of a group are read in this order.
fn natural_order(raw: &RawFileSource) -> Option<LexOrdering> {
    let schema = raw.table_schema().table_schema();
    let first = path_columns(raw.source()).into_iter().next();
    let names = first.into_iter().chain([SOURCE_FILE.to_owned(), LINE.to_owned()]);
    let columns = names.filter_map(|name| Column::new_with_schema(&name, schema).ok());
    LexOrdering::new(columns.map(|column| PhysicalSortExpr::new(Arc::new(column), ASCENDING)))
}

/// As sinks ask for it.
const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: false };

/// What DataFusion needs to see that files follow each other in [`natural_order`].
fn constants(raw: &RawFileSource, file: &SourceFile) -> Statistics {
    let schema = raw.table_schema().table_schema();
    let mut statistics = Statistics::new_unknown(schema);
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        let (min, max) = match field.name().as_str() {
            SOURCE_FILE => (ScalarValue::from(file.path.as_str()), ScalarValue::from(file.path.as_str())),
            LINE => (ScalarValue::Int64(Some(0)), ScalarValue::Int64(Some(i64::MAX))),
            name => match file.captures.get(name) {
                Some(value) => (ScalarValue::from(value.as_str()), ScalarValue::from(value.as_str())),
                None => continue,
            },
        };
        column.min_value = Precision::Inexact(min);
        column.max_value = Precision::Inexact(max);
    }
    statistics
}

fn partitioned_file(raw: &RawFileSource, root: &Path, file: SourceFile) -> Result<PartitionedFile> {
    let meta = ObjectMeta {
        location: below(root, &file.path).map_err(into_datafusion)?,
        last_modified: chrono::DateTime::UNIX_EPOCH,
        size: file.size,
        e_tag: None,
        version: None,
    };
    let statistics = constants(raw, &file);
    Ok(PartitionedFile::new_from_meta(meta).with_extension(file).with_statistics(Arc::new(statistics)))
}

/// Value of the first placeholder.
fn key<'a>(file: &'a SourceFile, column: Option<&String>) -> Option<&'a str> {
    column.and_then(|name| file.captures.get(name)).map(String::as_str)
}

/// Runs of files in the order of the key, cut where the key changes and a group has its bytes.
fn grouped(source: &FileSource, mut files: Vec<SourceFile>, target_bytes: u64) -> Vec<Vec<SourceFile>> {
    let column = path_columns(source).into_iter().next();
    let key = |file: &SourceFile| key(file, column.as_ref()).map(str::to_owned);
    // Nulls last, as `ASCENDING` says.
    files.sort_by_cached_key(|file| (key(file).is_none(), key(file), file.path.clone()));
    let mut groups: Vec<Vec<SourceFile>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        let starts_anew = match groups.last().and_then(|group| group.last()) {
            Some(last) => bytes + file.size > target_bytes && (key(last).is_none() || key(last) != key(&file)),
            None => true,
        };
        if starts_anew {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += file.size;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups
}

/// The groups as ranges of the first placeholder; `None` when a file lacks it or the ranges overlap.
fn range_partitioning(raw: &RawFileSource, groups: &[Vec<SourceFile>]) -> Result<Option<Partitioning>> {
    let columns = path_columns(raw.source());
    let Some(name) = columns.first() else { return Ok(None) };
    let mut split_points = Vec::new();
    let mut previous: Option<&str> = None;
    for group in groups {
        let keys: Option<Vec<&str>> = group.iter().map(|file| key(file, Some(name))).collect();
        let Some(keys) = keys else { return Ok(None) };
        let (Some(least), Some(greatest)) = (keys.iter().min(), keys.iter().max()) else { return Ok(None) };
        match previous.map(|previous| previous.cmp(least)) {
            None => {}
            Some(Ordering::Less) => split_points.push(SplitPoint::new(vec![ScalarValue::from(*least)])),
            Some(Ordering::Equal | Ordering::Greater) => return Ok(None),
        }
        previous = Some(greatest);
    }
    if previous.is_none() {
        return Ok(None);
    }
    let column = Arc::new(Column::new(name, raw.source().columns.len()));
    let Some(ordering) = LexOrdering::new([PhysicalSortExpr::new(column, ASCENDING)]) else { return Ok(None) };
    Ok(Some(Partitioning::Range(RangePartitioning::try_new(ordering, split_points)?)))
}
