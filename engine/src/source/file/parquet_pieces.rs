//! Parquet files that unpack to much more than they are: a text of 1 MB that 3,000,000 rows share takes 27 KB.
//!
//! Texts are read as views into the pages, so that rows which share a text share its bytes, and what is made of them is made in pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::file::metadata::ParquetMetaData;

/// Text of a piece, 8 MiB.
const PIECE_BYTES: u64 = 8 << 20;
/// Unpacked bytes of the rows that are read at once, 64 MiB.
const READ_BYTES: u64 = 64 << 20;
/// Where a row group unpacks to more than 1 GiB, the average of its rows says little of some of them.
const LARGE_GROUP_BYTES: u64 = 1 << 30;
const ROWS_OF_LARGE_GROUP: usize = 256;

/// The file's columns with texts as views.
pub(super) fn with_views(metadata: ArrowReaderMetadata) -> ArrowReaderMetadata {
    let schema = metadata.schema();
    let fields: Vec<FieldRef> = schema.fields().iter().map(viewed).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    // What cannot be read so is read as ever.
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).unwrap_or(metadata)
}

fn viewed(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) if !values.is_primitive() => {
            return viewed(&Arc::new(Field::clone(field).with_data_type(values.as_ref().clone())));
        }
        DataType::List(item) => DataType::List(viewed(item)),
        DataType::LargeList(item) => DataType::LargeList(viewed(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        DataType::Map(entries, sorted) => DataType::Map(viewed(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// Rows to read at once, at most `wanted`.
pub(super) fn rows_at_once(metadata: &ParquetMetaData, wanted: usize) -> usize {
    let fitting = |group: &datafusion::parquet::file::metadata::RowGroupMetaData| {
        let unpacked = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
        let bytes =
            group.columns().iter().map(|column| unpacked(column.uncompressed_size())).fold(0, u64::saturating_add);
        let rows = unpacked(group.num_rows());
        let average = READ_BYTES.saturating_mul(rows).checked_div(bytes).unwrap_or(u64::MAX);
        let average = usize::try_from(average).unwrap_or(usize::MAX);
        if bytes > LARGE_GROUP_BYTES { average.min(ROWS_OF_LARGE_GROUP) } else { average }
    };
    metadata.row_groups().iter().map(fitting).min().unwrap_or(wanted).clamp(1, wanted.max(1))
}

/// Consecutive rows, and the bytes of their texts.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) rows: RecordBatch,
    pub(super) bytes: u64,
}

/// The batch in pieces, none of more than one row with more text than `most_bytes`.
pub(super) fn pieces(batch: RecordBatch, most_bytes: usize) -> VecDeque<Piece> {
    let limit = PIECE_BYTES.min(u64::try_from(most_bytes).unwrap_or(u64::MAX));
    let mut pieces = VecDeque::new();
    // The first rows last, since what is put in last is cut first.
    let mut whole = vec![batch];
    while let Some(rows) = whole.pop() {
        let bytes = rows.columns().iter().map(bytes_of).fold(0, u64::saturating_add);
        let half = rows.num_rows() / 2;
        match (bytes > limit && half > 0).then(|| (part(&rows, 0, half), part(&rows, half, rows.num_rows()))) {
            Some((Some(first), Some(second))) => whole.extend([second, first]),
            Some(_) | None => pieces.push_back(Piece { rows, bytes }),
        }
    }
    pieces
}

/// Copied, so that lists have the items of these rows only. Texts stay where they are.
fn part(rows: &RecordBatch, start: usize, end: usize) -> Option<RecordBatch> {
    let places: UInt64Array = (start..end).map(|row| u64::try_from(row).ok()).collect();
    take_record_batch(rows, &places).ok()
}

/// Bytes of all texts, as often as they occur.
fn bytes_of(array: &ArrayRef) -> u64 {
    // The first four bytes of a view are its length.
    let views = |views: &[u128]| views.iter().map(|view| view & u128::from(u32::MAX)).sum::<u128>();
    let viewed = |all: &[u128]| u64::try_from(views(all)).unwrap_or(u64::MAX);
    match array.data_type() {
        DataType::Utf8View => viewed(array.as_string_view().views()),
        DataType::BinaryView => viewed(array.as_binary_view().views()),
        DataType::List(_) => bytes_of(array.as_list::<i32>().values()),
        DataType::LargeList(_) => bytes_of(array.as_list::<i64>().values()),
        DataType::Map(..) => {
            let map = array.as_map();
            bytes_of(map.keys()).saturating_add(bytes_of(map.values()))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes_of).fold(0, u64::saturating_add),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListBuilder, StringViewArray, StringViewBuilder};

    use super::*;

    fn batch(texts: &[usize]) -> RecordBatch {
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for text in texts {
            lists.values().append_value("y".repeat(*text));
            lists.append(true);
        }
        let views: StringViewArray = texts.iter().map(|text| Some("x".repeat(*text))).collect();
        let rows: Int64Array = (0..texts.len()).map(|row| i64::try_from(row).ok()).collect();
        RecordBatch::try_from_iter([
            ("row", Arc::new(rows) as ArrayRef),
            ("text", Arc::new(views) as ArrayRef),
            ("list", Arc::new(lists.finish()) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn pieces_are_the_rows_in_their_order_and_small() {
        let texts: Vec<usize> = (0..100).map(|row| row * 37 % 90).collect();
        let whole = batch(&texts);
        let pieces = pieces(whole.clone(), 200);
        assert!(pieces.len() > 10);
        for piece in &pieces {
            assert!(piece.bytes <= 200 || piece.rows.num_rows() == 1, "{} bytes", piece.bytes);
        }
        let all: Vec<&RecordBatch> = pieces.iter().map(|piece| &piece.rows).collect();
        assert_eq!(arrow::compute::concat_batches(&whole.schema(), all).unwrap(), whole);
        assert_eq!(super::pieces(whole, usize::MAX).len(), 1);
    }
}
