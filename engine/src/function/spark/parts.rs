//! Parts of a date or timestamp as functions: `year(d)`, `dayofweek(d)`.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{DataType, Int32Type, TimeUnit};
use datafusion::common::{ScalarValue, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

/// Name, part of DataFusion's `date_part`, and what Spark counts from there.
const PARTS: [(&str, &str, i32); 11] = [
    ("year", "year", 0),
    ("quarter", "quarter", 0),
    ("month", "month", 0),
    ("day", "day", 0),
    ("dayofmonth", "day", 0),
    ("dayofyear", "doy", 0),
    // From Sunday = 1; `date_part` begins with 0.
    ("dayofweek", "dow", 1),
    // By ISO 8601.
    ("weekofyear", "week", 0),
    ("hour", "hour", 0),
    ("minute", "minute", 0),
    // Whole seconds.
    ("second", "second", 0),
];

pub(super) fn functions(date_part: &Arc<ScalarUDF>) -> impl Iterator<Item = Arc<ScalarUDF>> {
    PARTS
        .map(|(name, part, add)| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Part { name, part, add, date_part: Arc::clone(date_part), signature }))
        })
        .into_iter()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    name: &'static str,
    part: &'static str,
    add: i32,
    date_part: Arc<ScalarUDF>,
    signature: Signature,
}

impl Part {
    fn is_of_time(&self) -> bool {
        matches!(self.part, "hour" | "minute" | "second")
    }
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let text = if self.is_of_time() { DataType::Timestamp(TimeUnit::Microsecond, None) } else { DataType::Date32 };
        match types {
            [DataType::Date32 | DataType::Timestamp(..)] => Ok(types.to_vec()),
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null] => Ok(vec![text]),
            _ => plan_err!("`{}` takes one date or timestamp", self.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    /// As `date_part`, by which conditions on a part become conditions on the column.
    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if self.add != 0 {
            return Ok(ExprSimplifyResult::Original(args));
        }
        args.insert(0, lit(self.part));
        let call = ScalarFunction::new_udf(Arc::clone(&self.date_part), args);
        Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(call)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = &args.args[..] else { return internal_err!("{} takes one argument", self.name) };
        let is_array = matches!(value, ColumnarValue::Array(_));
        let part = ColumnarValue::Scalar(ScalarValue::from(self.part));
        args.arg_fields.insert(0, Arc::new(arrow::datatypes::Field::new("part", DataType::Utf8, false)));
        args.args.insert(0, part);
        let numbers = self.date_part.invoke_with_args(args)?.to_array(1)?;
        let numbers: Int32Array =
            numbers.as_primitive::<Int32Type>().iter().map(|number| number.map(|number| number + self.add)).collect();
        match is_array {
            true => Ok(ColumnarValue::Array(Arc::new(numbers))),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&numbers, 0)?)),
        }
    }
}
