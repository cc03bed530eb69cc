//! Stamps of Parquet's INT96, a day and nanoseconds, as Spark and Hive write them.
//!
//! As nanoseconds since 1970 they would wrap beyond the years 1677 to 2262, as microseconds they would lose digits. So they are read as
//! microseconds, and once more as nanoseconds: the difference, whatever wrapped, is the digits that microseconds lose. Rows that
//! have such digits get their stamp as text, which is then held to the column's type.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::basic::Type;
use datafusion::parquet::errors::Result as ParquetResult;
use datafusion::parquet::schema::types::SchemaDescriptor;
use pulse_core::{Error, Result};

/// Stands for a nested value with such a stamp, and is none of any nested type.
const FINER_INSIDE: &str = "with a stamp finer than a microsecond";

/// How a file with stamps of INT96 is read.
pub(super) struct Int96 {
    pub(super) as_micros: ArrowReaderMetadata,
    pub(super) as_nanos: ArrowReaderMetadata,
    /// Columns of the file that are INT96, or have such parts.
    pub(super) roots: Vec<usize>,
}

impl Int96 {
    /// `None` when the file has no such column.
    ///
    /// # Errors
    /// When the file's schema holds such a column in a way that arrow does not read.
    pub(super) fn of(metadata: &ArrowReaderMetadata) -> ParquetResult<Option<Self>> {
        let parquet = metadata.parquet_schema();
        if !parquet.columns().iter().any(|column| column.physical_type() == Type::INT96) {
            return Ok(None);
        }
        let read_as = |unit| {
            let options = ArrowReaderOptions::new().with_schema(with_unit(metadata.schema(), parquet, unit));
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
        };
        let is_int96 = |at: &usize| {
            let mut leaves = parquet.columns().iter().enumerate();
            leaves
                .any(|(leaf, column)| parquet.get_column_root_idx(leaf) == *at && column.physical_type() == Type::INT96)
        };
        Ok(Some(Self {
            as_micros: read_as(TimeUnit::Microsecond)?,
            as_nanos: read_as(TimeUnit::Nanosecond)?,
            roots: (0..metadata.schema().fields().len()).filter(is_int96).collect(),
        }))
    }
}

/// The schema with stamps of INT96 in `unit`.
fn with_unit(schema: &Schema, parquet: &SchemaDescriptor, unit: TimeUnit) -> SchemaRef {
    let mut leaf = 0;
    let fields: Fields = schema.fields().iter().map(|field| field_with_unit(field, parquet, unit, &mut leaf)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Leaves of both schemas follow one another in the same order.
fn field_with_unit(field: &FieldRef, parquet: &SchemaDescriptor, unit: TimeUnit, leaf: &mut usize) -> FieldRef {
    let mut within = |field: &FieldRef| field_with_unit(field, parquet, unit, leaf);
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(within(item)),
        DataType::LargeList(item) => DataType::LargeList(within(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(within(item), *length),
        DataType::ListView(item) => DataType::ListView(within(item)),
        DataType::LargeListView(item) => DataType::LargeListView(within(item)),
        DataType::Map(entries, sorted) => DataType::Map(within(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(within).collect()),
        scalar => {
            let is_int96 = parquet.columns().get(*leaf).is_some_and(|column| column.physical_type() == Type::INT96);
            *leaf += 1;
            match scalar {
                DataType::Timestamp(_, zone) if is_int96 => DataType::Timestamp(unit, zone.clone()),
                other => other.clone(),
            }
        }
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The rows of `micros`, in which stamps that `nanos` knows more digits of are texts: batches whose columns have one type each.
///
/// # Errors
/// `Internal` when the two are not the same rows.
pub(super) fn exact(micros: RecordBatch, nanos: &RecordBatch) -> Result<VecDeque<RecordBatch>> {
    let pairs: Vec<(usize, &ArrayRef)> = nanos
        .schema()
        .fields()
        .iter()
        .zip(nanos.columns())
        .filter_map(|(field, column)| Some((micros.schema().index_of(field.name()).ok()?, column)))
        .collect();
    if micros.num_rows() != nanos.num_rows() || pairs.len() != nanos.num_columns() {
        return Err(Error::internal("the two readings of a file's INT96 stamps differ in their rows"));
    }
    let lost = |row: usize| {
        pairs.iter().any(|(at, column)| loses_digits(&micros.column(*at).slice(row, 1), &column.slice(row, 1)))
    };
    let mut batches = VecDeque::new();
    let mut start = 0;
    for row in (0..micros.num_rows()).filter(|row| lost(*row)) {
        if row > start {
            batches.push_back(micros.slice(start, row - start));
        }
        batches.push_back(with_texts(&micros.slice(row, 1), &pairs, row)?);
        start = row + 1;
    }
    if start < micros.num_rows() || batches.is_empty() {
        batches.push_back(micros.slice(start, micros.num_rows() - start));
    }
    Ok(batches)
}

/// Whether some stamp has digits below the microsecond.
fn loses_digits(micros: &ArrayRef, nanos: &ArrayRef) -> bool {
    match micros.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (0..micros.len()).any(|row| lost_digits(micros, nanos, row) != 0)
        }
        DataType::Struct(_) => match (micros.as_struct_opt(), nanos.as_struct_opt()) {
            (Some(micros), Some(nanos)) => {
                micros.columns().iter().zip(nanos.columns()).any(|(micros, nanos)| loses_digits(micros, nanos))
            }
            _ => true,
        },
        DataType::List(_) => match (micros.as_list_opt::<i32>(), nanos.as_list_opt::<i32>()) {
            (Some(micros), Some(nanos)) => (0..micros.len())
                .filter(|row| micros.is_valid(*row))
                .any(|row| loses_digits(&micros.value(row), &nanos.value(row))),
            _ => true,
        },
        DataType::Map(..) => match (micros.as_map_opt(), nanos.as_map_opt()) {
            (Some(micros), Some(nanos)) => (0..micros.len()).filter(|row| micros.is_valid(*row)).any(|row| {
                let (micros, nanos) = (micros.value(row), nanos.value(row));
                micros.columns().iter().zip(nanos.columns()).any(|(micros, nanos)| loses_digits(micros, nanos))
            }),
            _ => true,
        },
        // Both are the same reading of what is no stamp.
        _ => micros.data_type() != nanos.data_type(),
    }
}

/// Nanoseconds below the microsecond of a row.
fn lost_digits(micros: &ArrayRef, nanos: &ArrayRef, row: usize) -> i64 {
    let (Some(micros), Some(nanos)) =
        (micros.as_primitive_opt::<TimestampMicrosecondType>(), nanos.as_primitive_opt::<TimestampNanosecondType>())
    else {
        return 0;
    };
    if micros.is_null(row) {
        return 0;
    }
    nanos.value(row).wrapping_sub(micros.value(row).wrapping_mul(1000))
}

fn with_texts(row: &RecordBatch, pairs: &[(usize, &ArrayRef)], at: usize) -> Result<RecordBatch> {
    let mut columns = row.columns().to_vec();
    let mut fields: Vec<FieldRef> = row.schema().fields().iter().cloned().collect();
    for (place, nanos) in pairs {
        let (Some(column), Some(field)) = (columns.get_mut(*place), fields.get_mut(*place)) else { continue };
        let Some(micros) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
            if loses_digits(column, &nanos.slice(at, 1)) {
                *column = Arc::new(StringArray::from(vec![FINER_INSIDE]));
                *field = Arc::new(Field::new(field.name(), DataType::Utf8, true));
            }
            continue;
        };
        if micros.is_null(0) {
            continue;
        }
        let second = micros.value(0).div_euclid(1_000_000);
        let below = micros.value(0).rem_euclid(1_000_000) * 1000;
        let lost = lost_digits(column, &nanos.slice(at, 1), 0);
        let shown = chrono::DateTime::from_timestamp(second, 0).map(|instant| instant.format("%F %T").to_string());
        let zone = if matches!(column.data_type(), DataType::Timestamp(_, Some(_))) { "Z" } else { "" };
        let text = format!("{}.{:09}{zone}", shown.unwrap_or_default(), below + lost);
        *column = Arc::new(StringArray::from(vec![text]));
        *field = Arc::new(Field::new(field.name(), DataType::Utf8, true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::internal("a row of INT96 stamps cannot be put together").with_source(error))
}
