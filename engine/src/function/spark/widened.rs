//! Functions of days and months whose number may have any width: a literal is a bigint here, and an int in Spark.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Of datafusion-spark.
const NAMES: [&str; 3] = ["date_add", "date_sub", "add_months"];

pub(super) fn functions(spark: &[Arc<ScalarUDF>]) -> impl Iterator<Item = Arc<ScalarUDF>> {
    spark.iter().filter(|function| NAMES.contains(&function.name())).map(|inner| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Widened { inner: Arc::clone(inner), signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Widened {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Widened {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// A number beyond an int is an error of the cast.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [day, number] if is_day(day) && (number.is_integer() || number.is_null()) => {
                Ok(vec![DataType::Date32, DataType::Int32])
            }
            _ => plan_err!("`{}` takes a date and a whole number", self.name()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

fn is_day(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..) | DataType::Null) || data_type.is_string()
}
