//! Values of one column, before they are an array.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;

/// Values so far, with a place-holder for each null.
#[derive(Debug)]
pub(super) enum Data {
    Text { ends: Vec<i32>, bytes: Vec<u8> },
    Boolean(Vec<bool>),
    Bigint(Vec<i64>),
    Double(Vec<f64>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Data::Text { ends, .. } => ends.len().saturating_sub(1),
            Data::Boolean(data) => data.len(),
            Data::Bigint(data) | Data::Timestamp(data) => data.len(),
            Data::Double(data) => data.len(),
            Data::Date(data) => data.len(),
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
            Data::Boolean(data) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(data)), nulls)),
            Data::Bigint(data) => Arc::new(Int64Array::try_new(take(data).into(), nulls)?),
            Data::Double(data) => Arc::new(Float64Array::try_new(take(data).into(), nulls)?),
            Data::Date(data) => Arc::new(Date32Array::try_new(take(data).into(), nulls)?),
            Data::Timestamp(data) => {
                Arc::new(TimestampMicrosecondArray::try_new(take(data).into(), nulls)?.with_timezone("UTC"))
            }
        })
    }
}

/// The values, leaving room for as many.
fn take<T>(data: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(data.len());
    std::mem::replace(data, room)
}
