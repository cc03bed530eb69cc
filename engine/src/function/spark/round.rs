//! `round` of doubles rounds the number that is shown, halves away from zero, as Spark's does: 1.005 with two places is 1.01, although the
//! double lies below it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::decimals::Number;

/// DataFusion's `round`, with its own way for doubles and floats.
pub(super) fn round(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Round { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !args.return_field.data_type().is_floating() {
            return self.inner.invoke_with_args(args);
        }
        let is_constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (Some(values), places) = (arrays.first(), arrays.get(1)) else { return self.inner.invoke_with_args(args) };
        let Some(rounded) = rounded(values, places)? else { return self.inner.invoke_with_args(args) };
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&rounded, 0)?),
            false => ColumnarValue::Array(rounded),
        })
    }
}

/// `None` where the values are neither doubles nor floats.
fn rounded(values: &ArrayRef, places: Option<&ArrayRef>) -> Result<Option<ArrayRef>> {
    let places = match places {
        Some(places) => cast(places, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
        None => Int64Array::from(vec![0; values.len()]),
    };
    if let Some(doubles) = values.as_primitive_opt::<Float64Type>() {
        let pairs = doubles.iter().zip(&places);
        let all: Float64Array = pairs.map(|(value, places)| Some(double(value?, places?))).collect();
        return Ok(Some(Arc::new(all)));
    }
    if let Some(floats) = values.as_primitive_opt::<Float32Type>() {
        let pairs = floats.iter().zip(&places);
        #[allow(clippy::cast_possible_truncation, reason = "a float next to a rounded number")]
        let all: Float32Array = pairs.map(|(value, places)| Some(double(f64::from(value?), places?) as f32)).collect();
        return Ok(Some(Arc::new(all)));
    }
    Ok(None)
}

/// A number that has no more places stays as it is. A float is rounded as the double that it is: 1.005 is 1.00, as in Spark.
fn double(value: f64, places: i64) -> f64 {
    let places = clamped(places);
    match Number::of(value).filter(|number| number.has_more_than(places)) {
        Some(number) => number.to_places(places).to_string().parse().unwrap_or(value),
        None => value,
    }
}

/// No double has a digit beyond these.
fn clamped(places: i64) -> i32 {
    i32::try_from(places.clamp(-400, 400)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of PySpark 4.3.0: `round(x, n)` of doubles.
    #[test]
    fn halves_of_the_shown_number_go_away_from_zero() {
        for (value, places, expected) in [
            (1.005, 2, 1.01),
            (-1.005, 2, -1.01),
            (2.675, 2, 2.68),
            (0.285, 2, 0.29),
            (1.015, 2, 1.02),
            (2.5, 0, 3.0),
            (-2.5, 0, -3.0),
            (0.5, 0, 1.0),
            (0.49999999999999994, 0, 0.0),
            (1_234_567.891, -3, 1_235_000.0),
            (15.0, -1, 20.0),
            (1.7976931348623157e308, 2, 1.7976931348623157e308),
            (4_503_599_627_370_497.5, 0, 4_503_599_627_370_498.0),
            (0.1, 20, 0.1),
            (272_715_541_879_786.62, 2, 272_715_541_879_786.62),
            (-0.4, 0, 0.0),
        ] {
            assert_eq!(double(value, places).to_bits(), f64::to_bits(expected), "{value} {places}");
        }
        assert!(double(f64::NAN, 2).is_nan() && double(f64::NEG_INFINITY, 0) == f64::NEG_INFINITY);
    }
}
