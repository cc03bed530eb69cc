//! `/` of two whole numbers is a fraction, as in Spark; `div(a, b)` is the whole quotient. The operator is replaced as the query is planned,
//! so that its column has the fraction's type from the start.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, DataFusionError, ScalarValue, exec_datafusion_err, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Quotient {
    /// What `/` is: a double.
    Fraction,
    /// What `div` is: a bigint, cut towards zero.
    Whole,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide {
    quotient: Quotient,
    signature: Signature,
}

/// `divide_integers`, which stands for the operator, and `div`.
pub(super) fn functions() -> [Arc<ScalarUDF>; 2] {
    [Quotient::Fraction, Quotient::Whole].map(|quotient| Arc::new(function(quotient)))
}

fn function(quotient: Quotient) -> ScalarUDF {
    ScalarUDF::new_from_impl(Divide { quotient, signature: Signature::user_defined(Volatility::Immutable) })
}

/// Puts the functions in the place of the operators.
#[derive(Debug)]
pub(crate) struct Fractions;

impl ExprPlanner for Fractions {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let quotient = match expr.op {
            BinaryOperator::Divide if is_of_integers(&expr, schema) => Quotient::Fraction,
            BinaryOperator::DuckIntegerDivide | BinaryOperator::MyIntegerDivide => Quotient::Whole,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let call = ScalarFunction::new_udf(Arc::new(function(quotient)), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

fn is_of_integers(expr: &RawBinaryExpr, schema: &DFSchema) -> bool {
    match (expr.left.get_type(schema), expr.right.get_type(schema)) {
        (Ok(left), Ok(right)) => {
            (left.is_integer() || left.is_null())
                && (right.is_integer() || right.is_null())
                && (left.is_integer() || right.is_integer())
        }
        _ => false,
    }
}

impl Divide {
    fn shown(&self, left: &dyn std::fmt::Display, right: &dyn std::fmt::Display) -> String {
        match self.quotient {
            Quotient::Fraction => format!("{left} / {right}"),
            Quotient::Whole => format!("div({left},{right})"),
        }
    }
}

impl ScalarUDFImpl for Divide {
    fn name(&self) -> &str {
        match self.quotient {
            Quotient::Fraction => "divide_integers",
            Quotient::Whole => "div",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] => Ok(self.shown(&left.schema_name(), &right.schema_name())),
            _ => internal_err!("{} takes two arguments", self.name()),
        }
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] => Ok(self.shown(left, right)),
            _ => internal_err!("{} takes two arguments", self.name()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = match self.quotient {
            Quotient::Fraction => DataType::Float64,
            Quotient::Whole => DataType::Int64,
        };
        let takes = |data_type: &DataType| data_type.is_integer() || data_type.is_null() || *data_type == wanted;
        match types {
            [left, right] if takes(left) && takes(right) => Ok(vec![wanted.clone(), wanted]),
            _ => {
                let names: Vec<String> = types.iter().map(crate::type_name::type_name).collect();
                plan_err!(
                    "`div` takes two whole numbers, and has ({}): write `floor(a / b)` or `trunc(a / b)` for others",
                    names.join(", ")
                )
            }
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.quotient {
            Quotient::Fraction => DataType::Float64,
            Quotient::Whole => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_array = arguments.args.iter().any(|value| matches!(value, ColumnarValue::Array(_)));
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [left, right] = &arrays[..] else { return internal_err!("{} takes two arguments", self.name()) };
        let quotients = self.of(left, right).map_err(|error| match error {
            ArrowError::ArithmeticOverflow(what) => exec_datafusion_err!("{what}: `div` leaves the range of bigint"),
            other => DataFusionError::from(other),
        })?;
        match is_array {
            true => Ok(ColumnarValue::Array(quotients)),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&quotients, 0)?)),
        }
    }
}

impl Divide {
    fn of(&self, left: &ArrayRef, right: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
        Ok(match self.quotient {
            Quotient::Fraction => {
                let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
                let divide = |a: f64, b: f64| if b == 0.0 { Err(ArrowError::DivideByZero) } else { Ok(a / b) };
                Arc::new(try_binary::<_, _, _, Float64Type>(left, right, divide)?)
            }
            Quotient::Whole => {
                let (left, right) = (left.as_primitive::<Int64Type>(), right.as_primitive::<Int64Type>());
                let divide = |a: i64, b: i64| match b {
                    0 => Err(ArrowError::DivideByZero),
                    b => a
                        .checked_div(b)
                        .ok_or_else(|| ArrowError::ArithmeticOverflow(format!("Overflow happened on: div({a}, {b})"))),
                };
                Arc::new(try_binary::<_, _, _, Int64Type>(left, right, divide)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::answer;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Over constants, which the planner folds, and over columns.
        #[test]
        fn quotients_are_those_of_spark(
            a in prop_oneof![any::<i64>(), -20_i64..20, Just(i64::MIN)],
            b in prop_oneof![any::<i64>(), -4_i64..4],
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (one, other) = (format!("cast('{a}' as bigint)"), format!("cast('{b}' as bigint)"));
            for (left, right, from) in [(one.as_str(), other.as_str(), String::new()), ("a", "b", format!(" from (values ({one}, {other})) t(a, b)"))] {
                let fraction = runtime.block_on(answer(&format!("select {left} / {right}{from}")));
                let whole = runtime.block_on(answer(&format!("select div({left}, {right}){from}")));
                if b == 0 {
                    prop_assert!(fraction.is_err_and(|error| error.contains("ivide by zero")));
                    prop_assert!(whole.is_err_and(|error| error.contains("ivide by zero")));
                    continue;
                }
                prop_assert_eq!(fraction.unwrap().parse::<f64>().unwrap(), a as f64 / b as f64);
                match i64::try_from(i128::from(a) / i128::from(b)) {
                    Ok(quotient) => prop_assert_eq!(whole, Ok(quotient.to_string())),
                    Err(_) => prop_assert!(whole.is_err_and(|error| error.contains("leaves the range"))),
                }
            }
        }
    }

    #[tokio::test]
    async fn the_types_decide_what_a_quotient_is() {
        for (sql, value) in [
            ("select 7 / 2", "3.5"),
            ("select 3 / 4 * 4", "3"),
            ("select cast(1 as tinyint) / cast(2 as int)", "0.5"),
            ("select sum(a) / count(*) from (values (1), (2)) t(a)", "1.5"),
            ("select sum(a) over () / 2 from (values (1), (2)) t(a)", "1.5"),
            ("select a / 2 from (values (1), (1)) t(a) group by a / 2", "0.5"),
            ("select a from (values (1)) t(a) where a / 2 = 0.5", "1"),
            ("select (select max(b) / 2 from (values (3)) u(b) where b > 1) from (values (1)) t(a)", "1.5"),
            ("select null / 2", "NULL"),
            ("select a / nullif(b, 0) from (values (1, 0)) t(a, b)", "NULL"),
            ("select 7.0 / 2", "3.5"),
            ("select -7 // 2", "-3"),
            ("select -7 % 4", "-3"),
            ("select div(-7, 2)", "-3"),
            ("select div(null, 2)", "NULL"),
            ("select cast(cast(7 as decimal(10,2)) / 2 as string)", "3.500000"),
        ] {
            assert_eq!(answer(sql).await, Ok(value.to_owned()), "{sql}");
        }
        assert!(answer("select div(7.5, 2)").await.unwrap_err().contains("takes two whole numbers"));
        assert!(answer("select 1 % 0").await.is_err());
    }
}
