//! Sums, differences and products of whole numbers that their type does not hold are errors. DataFusion's own wrap: the greatest bigint
//! and one would be the least one.

mod divide;
mod sum;

use std::sync::Arc;

use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, exec_err, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, WindowFunctionDefinition, lit,
};
use datafusion::optimizer::AnalyzerRule;

use crate::expressions::rewritten;
pub(crate) use divide::Fractions;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
}

/// One operation on two numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

/// The functions that stand for the operators. Executors look them up by name.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let operations =
        [Operation::Add, Operation::Subtract, Operation::Multiply].map(|operation| Arc::new(function(operation)));
    operations.into_iter().chain(divide::functions()).collect()
}

/// The aggregate functions that stand for others.
pub(crate) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    vec![Arc::new(sum::function())]
}

fn function(operation: Operation) -> ScalarUDF {
    ScalarUDF::new_from_impl(Checked { operation, signature: Signature::any(2, Volatility::Immutable) })
}

impl Operation {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            _ => None,
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] if left == right && left.is_integer() => Ok(left.clone()),
            _ => internal_err!("{} takes two whole numbers of one type, and has {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = &arguments.args[..] else { return internal_err!("{} takes two arguments", self.name()) };
        let (left, is_array) =
            (datum(left)?, matches!(left, ColumnarValue::Array(_)) || matches!(right, ColumnarValue::Array(_)));
        let right = datum(right)?;
        let (left, right) = (left.as_ref(), right.as_ref());
        let computed = match self.operation {
            Operation::Add => add(left, right),
            Operation::Subtract => sub(left, right),
            Operation::Multiply => mul(left, right),
        };
        let array = match computed {
            Ok(array) => array,
            Err(arrow::error::ArrowError::ArithmeticOverflow(what)) => {
                return exec_err!(
                    "{what}: `{}` of two values of the type {} leaves the range of the type; cast one side to a wider type, such as \
                     decimal(38,0)",
                    self.operation.sign(),
                    crate::type_name::type_name(arguments.return_field.data_type())
                );
            }
            Err(other) => return Err(DataFusionError::from(other)),
        };
        match is_array {
            true => Ok(ColumnarValue::Array(array)),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
        }
    }
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn arrow::array::Datum>> {
    match value {
        ColumnarValue::Array(array) => Ok(Box::new(Arc::clone(array))),
        ColumnarValue::Scalar(scalar) => Ok(Box::new(scalar.to_scalar()?)),
    }
}

/// Puts the functions in the place of the operators, once both sides have one type.
#[derive(Debug)]
pub(crate) struct CheckedIntegers;

impl AnalyzerRule for CheckedIntegers {
    fn name(&self) -> &'static str {
        "checked_integers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, checked)
    }
}

fn checked(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let whole = |expression: &Expr| expression.get_type(schema).ok().filter(DataType::is_integer);
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (Operation::of(op), whole(&left), whole(&right)) {
            (Some(operation), Some(of_left), Some(of_right)) if of_left == of_right => {
                Transformed::yes(call(operation, *left, *right))
            }
            _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        },
        Expr::Negative(inner) => match whole(&inner).map(|data_type| ScalarValue::new_zero(&data_type)) {
            Some(Ok(zero)) => Transformed::yes(call(Operation::Subtract, lit(zero), *inner)),
            _ => Transformed::no(Expr::Negative(inner)),
        },
        Expr::AggregateFunction(mut call) if is_wrapping_sum(&call.func, &call.params.args, schema) => {
            call.func = Arc::new(sum::function());
            Transformed::yes(Expr::AggregateFunction(call))
        }
        Expr::WindowFunction(mut call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function)
                if is_wrapping_sum(function, &call.params.args, schema) =>
            {
                call.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(sum::function()));
                Transformed::yes(Expr::WindowFunction(call))
            }
            _ => Transformed::no(Expr::WindowFunction(call)),
        },
        other => Transformed::no(other),
    }
}

fn is_wrapping_sum(function: &AggregateUDF, arguments: &[Expr], schema: &DFSchema) -> bool {
    let [argument] = arguments else { return false };
    function.name() == "sum" && argument.get_type(schema).is_ok_and(|data_type| sum::wraps(&data_type))
}

fn call(operation: Operation, left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function(operation)), vec![left, right]))
}

#[cfg(test)]
pub(crate) mod tests {
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    use super::*;
    use crate::session::{session_config, session_state};

    pub(crate) async fn answer(sql: &str) -> std::result::Result<String, String> {
        Ok(answers(sql).await?.into_iter().next().unwrap_or_default())
    }

    /// The first column.
    pub(crate) async fn answers(sql: &str) -> std::result::Result<Vec<String>, String> {
        let state = session_state(session_config(SessionConfig::new(), 2, 8192), Arc::default());
        let context = SessionContext::new_with_state(state);
        let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
        let batches = frame.collect().await.map_err(|e| e.to_string())?;
        let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch.column(0), row)));
        rows.map(|(column, row)| Ok(ScalarValue::try_from_array(column, row).map_err(|e| e.to_string())?.to_string()))
            .collect()
    }

    fn interesting() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i64>(),
            -4_i64..4,
            Just(i64::MAX),
            Just(i64::MIN),
            Just(i64::MAX / 2),
            (1_i64 << 31) - 2..(1_i64 << 31) + 2,
            (-(1_i64 << 31) - 2)..(-(1_i64 << 31) + 2),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Over columns, and over constants that the planner folds.
        #[test]
        fn a_result_is_exact_or_an_error(left in interesting(), right in interesting(), place in 0_usize..3) {
            let (sign, exact) = [
                ("+", left.checked_add(right)),
                ("-", left.checked_sub(right)),
                ("*", left.checked_mul(right)),
            ][place];
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let text = |number: i64| format!("cast('{number}' as bigint)");
            for sql in [
                format!("select {} {sign} {}", text(left), text(right)),
                format!("select a {sign} b from (values ({}, {})) t(a, b)", text(left), text(right)),
                format!("select sum(a {sign} b) from (values ({}, {})) t(a, b) group by a {sign} b", text(left), text(right)),
            ] {
                let found = runtime.block_on(answer(&sql));
                match exact {
                    Some(exact) => prop_assert_eq!(found, Ok(exact.to_string()), "{}", sql),
                    None => prop_assert!(found.as_ref().is_err_and(|error| error.contains("leaves the range")), "{} {:?}", sql, found),
                }
            }
        }
    }

    #[tokio::test]
    async fn other_types_and_nulls_compute_as_ever() {
        assert_eq!(answer("select 1.5 + 2").await.unwrap(), "3.5");
        assert_eq!(answer("select cast(2000000000 as int) * cast(2 as bigint)").await.unwrap(), "4000000000");
        assert!(answer("select cast(2000000000 as int) * cast(2 as int)").await.unwrap_err().contains("the type int"));
        assert_eq!(answer("select cast(null as bigint) + 1").await.unwrap(), "NULL");
        assert_eq!(answer("select -a from (values (cast(5 as bigint))) t(a)").await.unwrap(), "-5");
        assert!(answer("select -a from (values (cast('-9223372036854775808' as bigint))) t(a)").await.is_err());
        assert_eq!(answer("select date '2024-03-01' - interval '1 day'").await.unwrap(), "2024-02-29");
    }
}
