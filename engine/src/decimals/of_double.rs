//! A cast of doubles to a decimal takes the number that is shown, as Spark's does: 1.005 becomes 1.01, although the double lies below it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast as as_doubles;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::scalar::ScalarValue;

use super::number::Number;

/// A function for plans. Queries cannot call it.
pub(crate) fn decimal_of_double() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DecimalOfDouble { signature: Signature::any(3, Volatility::Immutable) }))
}

/// `value`, a double or a float, as a decimal. What does not fit is null where that `is_tried`, and otherwise an error.
pub(super) fn cast(value: Expr, precision: u8, scale: i8, is_tried: bool) -> Expr {
    decimal_of_double().call(vec![value, lit(ScalarValue::Decimal128(None, precision, scale)), lit(is_tried)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DecimalOfDouble {
    signature: Signature,
}

impl ScalarUDFImpl for DecimalOfDouble {
    fn name(&self) -> &str {
        "__decimal_of_double"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Float64 | DataType::Float32, decimal @ DataType::Decimal128(..), DataType::Boolean] => {
                Ok(decimal.clone())
            }
            _ => internal_err!("{} takes a double, a decimal and a boolean, and has {types:?}", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let is_tried = !matches!(args.scalar_arguments.get(2), Some(Some(ScalarValue::Boolean(Some(false)))));
        let is_nullable = is_tried || args.arg_fields.first().is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, is_nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (
            [values, _, ColumnarValue::Scalar(ScalarValue::Boolean(Some(is_tried)))],
            DataType::Decimal128(precision, scale),
        ) = (&arguments.args[..], arguments.return_field.data_type())
        else {
            return internal_err!("{} has no type to cast to", self.name());
        };
        let (is_tried, precision, scale) = (*is_tried, *precision, *scale);
        let cast = |array: &ArrayRef| decimals(array, (precision, scale), is_tried);
        Ok(match values {
            ColumnarValue::Array(array) => ColumnarValue::Array(Arc::new(cast(array)?)),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&cast(&value.to_array()?)?, 0)?)
            }
        })
    }
}

fn decimals(array: &ArrayRef, (precision, scale): (u8, i8), is_tried: bool) -> Result<Decimal128Array> {
    let held = |number: Option<Number>, shown: &dyn std::fmt::Display| match number
        .and_then(|number| number.rounded(precision, scale))
    {
        None if !is_tried => exec_err!("{shown} does not fit decimal({precision},{scale})"),
        held => Ok(held),
    };
    let doubles = as_doubles(array, &DataType::Float64)?;
    let doubles = doubles.as_primitive::<Float64Type>().iter();
    let values: Vec<Option<i128>> =
        doubles.map(|value| value.map_or(Ok(None), |value| held(Number::of(value), &value))).collect::<Result<_>>()?;
    Ok(Decimal128Array::from(values).with_precision_and_scale(precision, scale)?)
}

#[cfg(test)]
mod tests {
    use crate::checked::tests::{answer, answers};

    /// Values of PySpark 4.3.0: `cast(double as decimal)`.
    #[tokio::test]
    async fn a_decimal_is_that_of_the_number_that_is_shown() {
        let values = "(values (1, 1.005), (2, 2.675), (3, -0.285), (4, 272715541879786.62), (5, 160262499976672.62), (6, 1e-9), \
                      (7, cast(null as double)), (8, 12345678.0))";
        let cast = |to: &str| format!("select cast(v as {to}) from {values} t(i, v) order by i");
        assert_eq!(
            answers(&cast("decimal(20,2)")).await.unwrap(),
            ["1.01", "2.68", "-0.29", "272715541879786.62", "160262499976672.62", "0.00", "NULL", "12345678.00"]
        );
        assert_eq!(
            answers(&format!("select try_cast(v as decimal(4,2)) from {values} t(i, v) order by i")).await.unwrap(),
            ["1.01", "2.68", "-0.29", "NULL", "NULL", "0.00", "NULL", "NULL"]
        );
        let refused = answer(&cast("decimal(4,2)")).await.unwrap_err();
        assert!(refused.contains("does not fit decimal(4,2)"), "{refused}");
        let refused =
            answer("select cast(v as decimal(38,2)) from (values (cast('NaN' as double))) t(v)").await.unwrap_err();
        assert!(refused.contains("NaN does not fit"), "{refused}");
        assert_eq!(answer("select round(v, 2) from (values (1.005)) t(v)").await.as_deref(), Ok("1.01"));
        assert_eq!(answer("select round(cast(v as float), 2) from (values (1.005)) t(v)").await.as_deref(), Ok("1"));
        assert_eq!(
            answer("select round(v, n) from (values (2.675, cast(null as int))) t(v, n)").await.as_deref(),
            Ok("NULL")
        );
        assert_eq!(answer("select round(cast(2.345 as decimal(10,3)), 2)").await.as_deref(), Ok("2.35"));
    }
}
