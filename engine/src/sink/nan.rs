//! NaN as tables keep it: one value, greater than all numbers. Processors give it either sign, and order would follow the sign.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

/// The column with every NaN as the one that has no sign. Columns without NaN are not copied.
pub(super) fn with_one_nan(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            let is_other = |value: &f64| value.is_nan() && value.to_bits() != f64::NAN.to_bits();
            if !array.values().iter().any(is_other) {
                return Arc::clone(column);
            }
            let one: Float64Array = array.unary(|value| if value.is_nan() { f64::NAN } else { value });
            Arc::new(one)
        }
        DataType::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            let is_other = |value: &f32| value.is_nan() && value.to_bits() != f32::NAN.to_bits();
            if !array.values().iter().any(is_other) {
                return Arc::clone(column);
            }
            let one: Float32Array = array.unary(|value| if value.is_nan() { f32::NAN } else { value });
            Arc::new(one)
        }
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_nan() {
        let values =
            [Some(f64::NAN), Some(-f64::NAN), Some(f64::from_bits(0x7ff8_0000_0000_0001)), None, Some(-0.0), Some(1.5)];
        let found = with_one_nan(&(Arc::new(Float64Array::from(values.to_vec())) as ArrayRef));
        let bits: Vec<Option<u64>> =
            found.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits)).collect();
        let nan = Some(f64::NAN.to_bits());
        assert_eq!(bits, [nan, nan, nan, None, Some((-0.0_f64).to_bits()), Some(1.5_f64.to_bits())]);
        let singles = with_one_nan(&(Arc::new(Float32Array::from(vec![-f32::NAN, 2.0])) as ArrayRef));
        assert_eq!(singles.as_primitive::<Float32Type>().value(0).to_bits(), f32::NAN.to_bits());
    }
}
