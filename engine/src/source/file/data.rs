//! Values of one column, before they are an array.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;
use pulse_core::sources::ColumnType;

use super::value::Node;

/// Values so far, with a place-holder for each null.
#[derive(Debug)]
pub(super) enum Data {
    Text {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Binary {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Boolean(Vec<bool>),
    /// Whole numbers of any width.
    Bigint(Vec<i64>),
    /// Floats, too.
    Double(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    TimestampNtz(Vec<i64>),
    /// It knows its own nulls.
    Nested(Box<Node>),
}

impl Data {
    /// Room for values of a scalar type; `None` for the others.
    pub(super) fn of(data_type: &ColumnType) -> Option<Self> {
        Some(match data_type {
            ColumnType::String | ColumnType::Json => Data::Text { ends: vec![0], bytes: Vec::new() },
            ColumnType::Binary => Data::Binary { ends: vec![0], bytes: Vec::new() },
            ColumnType::Boolean => Data::Boolean(Vec::new()),
            ColumnType::Tinyint | ColumnType::Smallint | ColumnType::Int | ColumnType::Bigint => {
                Data::Bigint(Vec::new())
            }
            ColumnType::Float | ColumnType::Double => Data::Double(Vec::new()),
            ColumnType::Decimal { precision, scale } => {
                Data::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            ColumnType::Date => Data::Date(Vec::new()),
            ColumnType::Timestamp => Data::Timestamp(Vec::new()),
            ColumnType::TimestampNtz => Data::TimestampNtz(Vec::new()),
            ColumnType::Array(_) | ColumnType::Map(_) | ColumnType::Struct(_) => return None,
        })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Data::Text { ends, .. } | Data::Binary { ends, .. } => ends.len().saturating_sub(1),
            Data::Boolean(data) => data.len(),
            Data::Bigint(data) | Data::Timestamp(data) | Data::TimestampNtz(data) => data.len(),
            Data::Double(data) => data.len(),
            Data::Decimal { values, .. } => values.len(),
            Data::Date(data) => data.len(),
            Data::Nested(node) => node.len(),
        }
    }

    /// Adds the place-holder of a null.
    pub(super) fn push_null(&mut self) {
        match self {
            Data::Text { ends, bytes } | Data::Binary { ends, bytes } => ends.push(bytes.len() as i32),
            Data::Boolean(data) => data.push(false),
            Data::Bigint(data) | Data::Timestamp(data) | Data::TimestampNtz(data) => data.push(0),
            Data::Double(data) => data.push(0.0),
            Data::Decimal { values, .. } => values.push(0),
            Data::Date(data) => data.push(0),
            Data::Nested(node) => node.push_null(),
        }
    }

    /// Forgets values beyond the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        match self {
            Data::Text { ends, bytes } | Data::Binary { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Data::Boolean(data) => data.truncate(rows),
            Data::Bigint(data) | Data::Timestamp(data) | Data::TimestampNtz(data) => data.truncate(rows),
            Data::Double(data) => data.truncate(rows),
            Data::Decimal { values, .. } => values.truncate(rows),
            Data::Date(data) => data.truncate(rows),
            Data::Nested(node) => node.truncate(rows),
        }
    }

    /// Bytes of values whose size varies.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Data::Text { bytes, .. } | Data::Binary { bytes, .. } => bytes.len(),
            Data::Nested(node) => node.bytes(),
            Data::Boolean(_)
            | Data::Bigint(_)
            | Data::Double(_)
            | Data::Decimal { .. }
            | Data::Date(_)
            | Data::Timestamp(_)
            | Data::TimestampNtz(_) => 0,
        }
    }

    /// Takes the values.
    ///
    /// # Errors
    /// When they are not as many as the nulls.
    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Data::Text { ends, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                Arc::new(StringArray::try_new(offsets, Buffer::from(take(bytes)), nulls)?)
            }
            Data::Binary { ends, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                Arc::new(BinaryArray::try_new(offsets, Buffer::from(take(bytes)), nulls)?)
            }
            Data::Boolean(data) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(data)), nulls)),
            Data::Bigint(data) => Arc::new(Int64Array::try_new(take(data).into(), nulls)?),
            Data::Double(data) => Arc::new(Float64Array::try_new(take(data).into(), nulls)?),
            Data::Decimal { values, precision, scale } => {
                let scale = i8::try_from(*scale).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
                let array = Decimal128Array::try_new(take(values).into(), nulls)?;
                Arc::new(array.with_precision_and_scale(*precision, scale)?)
            }
            Data::Date(data) => Arc::new(Date32Array::try_new(take(data).into(), nulls)?),
            Data::Timestamp(data) => {
                Arc::new(TimestampMicrosecondArray::try_new(take(data).into(), nulls)?.with_timezone("UTC"))
            }
            Data::TimestampNtz(data) => Arc::new(TimestampMicrosecondArray::try_new(take(data).into(), nulls)?),
            Data::Nested(node) => node.finish()?,
        })
    }
}

/// The values, leaving room for as many.
pub(super) fn take<T>(data: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(data.len());
    std::mem::replace(data, room)
}
