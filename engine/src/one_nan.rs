//! Canonical NaN: tables hold one NaN value, greater than all numbers. Processors create either sign, and sort order
//! would depend on the sign.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{ArrowNativeType, DataType, Field};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Replaces every NaN by the one without sign, also within lists, maps and structs. Columns without other NaNs are not
/// copied. Tables have no 16-bit floats.
///
/// # Errors
/// When an array cannot be rebuilt from its parts.
pub(crate) fn with_one_nan(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !holds_float(column.data_type()) {
        return Ok(Arc::clone(column));
    }
    Ok(replaced(&column.to_data())?.map_or_else(|| Arc::clone(column), make_array))
}

/// Whether the type is a floating-point type or contains one.
pub(crate) fn holds_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => holds_float(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_float(field.data_type())),
        DataType::Dictionary(_, values) => holds_float(values),
        DataType::RunEndEncoded(_, values) => holds_float(values.data_type()),
        _ => false,
    }
}

/// `None` if there is nothing to replace.
fn replaced(data: &ArrayData) -> Result<Option<ArrayData>, ArrowError> {
    match data.data_type() {
        DataType::Float64 => floats(data, f64::NAN, |value| value.is_nan() && value.to_bits() != f64::NAN.to_bits()),
        DataType::Float32 => floats(data, f32::NAN, |value| value.is_nan() && value.to_bits() != f32::NAN.to_bits()),
        data_type if holds_float(data_type) => {
            let children: Vec<Option<ArrayData>> = data.child_data().iter().map(replaced).collect::<Result<_, _>>()?;
            if children.iter().all(Option::is_none) {
                return Ok(None);
            }
            let children = children.into_iter().zip(data.child_data());
            let children = children.map(|(new, old)| new.unwrap_or_else(|| old.clone())).collect();
            data.clone().into_builder().child_data(children).build().map(Some)
        }
        _ => Ok(None),
    }
}

fn floats<T: ArrowNativeType>(
    data: &ArrayData,
    nan: T,
    is_other: impl Fn(&T) -> bool,
) -> Result<Option<ArrayData>, ArrowError> {
    let values: &[T] = data.buffer(0);
    let values = values.get(..data.len()).unwrap_or(values);
    if !values.iter().any(&is_other) {
        return Ok(None);
    }
    let values: Vec<T> = values.iter().map(|value| if is_other(value) { nan } else { *value }).collect();
    let builder = ArrayData::builder(data.data_type().clone()).len(data.len()).nulls(data.nulls().cloned());
    builder.add_buffer(Buffer::from_vec(values)).build().map(Some)
}

/// [`with_one_nan`] as a function for plans; queries cannot call it.
pub(crate) fn one_nan() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(OneNan { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneNan {
    signature: Signature,
}

impl ScalarUDFImpl for OneNan {
    fn name(&self) -> &str {
        "__one_nan"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| internal_datafusion_err!("{} has one argument", self.name()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<Arc<Field>> {
        args.arg_fields.first().cloned().ok_or_else(|| internal_datafusion_err!("{} has one argument", self.name()))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.first() {
            Some(ColumnarValue::Array(column)) => Ok(ColumnarValue::Array(with_one_nan(column)?)),
            Some(ColumnarValue::Scalar(value)) => {
                let array = with_one_nan(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            None => Err(internal_datafusion_err!("{} has one argument", self.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float32Array, Float64Array, ListArray, MapArray, StringArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{Fields, Float32Type, Float64Type};

    use super::*;

    fn bits(column: &ArrayRef) -> Vec<Option<u64>> {
        column.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits)).collect()
    }

    const OTHER: u64 = 0x7ff8_0000_0000_0001;

    fn doubles() -> ArrayRef {
        let values = [Some(f64::NAN), Some(-f64::NAN), Some(f64::from_bits(OTHER)), None, Some(-0.0), Some(1.5)];
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn one() -> Vec<Option<u64>> {
        let nan = Some(f64::NAN.to_bits());
        vec![nan, nan, nan, None, Some((-0.0_f64).to_bits()), Some(1.5_f64.to_bits())]
    }

    #[test]
    fn there_is_one_nan() {
        assert_eq!(bits(&with_one_nan(&doubles()).unwrap()), one());
        // A slice of an array, as in batches.
        assert_eq!(bits(&with_one_nan(&doubles().slice(1, 3)).unwrap()), one()[1..4]);
        let singles = with_one_nan(&(Arc::new(Float32Array::from(vec![-f32::NAN, 2.0])) as ArrayRef)).unwrap();
        assert_eq!(singles.as_primitive::<Float32Type>().value(0).to_bits(), f32::NAN.to_bits());
        let plain: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.0]));
        assert!(Arc::ptr_eq(&with_one_nan(&plain).unwrap(), &plain));
    }

    #[test]
    fn within_lists_maps_and_structs_too() {
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        let offsets = OffsetBuffer::from_lengths([2, 0, 3, 1]);
        let nulls = NullBuffer::from(vec![true, false, true, true]);
        let list: ArrayRef = Arc::new(ListArray::new(item, offsets.clone(), doubles(), Some(nulls)));
        let fields =
            Fields::from(vec![Field::new("a", list.data_type().clone(), true), Field::new("b", DataType::Utf8, true)]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["p", "q", "r", "s"]));
        let whole: ArrayRef = Arc::new(StructArray::new(fields, vec![Arc::clone(&list), texts], None));
        for (from, rows) in [(0, 4), (1, 2), (2, 2)] {
            let found = with_one_nan(&whole.slice(from, rows)).unwrap();
            assert_eq!(found.data_type(), whole.data_type());
            let lists = Arc::clone(found.as_struct().column(0));
            let starts: [usize; 5] = [0, 2, 2, 5, 6];
            for row in 0..rows {
                let lists = lists.as_list::<i32>();
                let wanted = (from + row != 1).then(|| one()[starts[from + row]..starts[from + row + 1]].to_vec());
                assert_eq!(lists.is_valid(row).then(|| bits(&lists.value(row))), wanted, "{from} {row}");
            }
        }
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e", "f"]));
        let entries =
            Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Float64, true)]);
        let entry = Arc::new(Field::new("entries", DataType::Struct(entries.clone()), false));
        let map = MapArray::new(entry, offsets, StructArray::new(entries, vec![keys, doubles()], None), None, false);
        let map = with_one_nan(&(Arc::new(map) as ArrayRef)).unwrap();
        assert_eq!(bits(map.as_map().values()), one());
    }
}
