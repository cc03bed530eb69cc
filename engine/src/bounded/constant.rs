//! Large constants. One value stands for all rows of a batch until an operator writes it once for each row; so the rows are counted before.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::MAX_BATCH_BYTES;
use super::argument::Argument;
use super::digest;

pub(super) const CONSTANT: &str = "bounded_constant";
/// Rows of a batch where nothing else is set (`batch_rows`).
const BATCH_ROWS: u64 = 8_192;
/// Smaller ones fit into a batch in every row.
const LARGE_BYTES: u64 = MAX_BATCH_BYTES / BATCH_ROWS;

/// The last rule: what comes after it folds no constants.
#[derive(Debug)]
pub(crate) struct BoundedConstants;

impl OptimizerRule for BoundedConstants {
    fn name(&self) -> &'static str {
        "bounded_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            expression.apply(|inner| digest::check(inner).map(|()| TreeNodeRecursion::Continue))?;
            if !expression.exists(|inner| Ok(is_large(inner)))? {
                return Ok(Transformed::no(expression));
            }
            let name = names.save(&expression);
            let rewritten = expression.transform_down(watched)?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    }
}

fn watched(expression: Expr) -> Result<Transformed<Expr>> {
    if is_large(&expression) {
        let call = ScalarFunction::new_udf(Arc::new(constant()), vec![expression]);
        return Ok(Transformed::new(Expr::ScalarFunction(call), true, TreeNodeRecursion::Jump));
    }
    match expression {
        Expr::ScalarFunction(call) if call.name() == CONSTANT => {
            Ok(Transformed::new(Expr::ScalarFunction(call), false, TreeNodeRecursion::Jump))
        }
        // A comparison takes the one value as it is.
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            let side = |side: Expr| match is_large(&side) {
                true => Ok(Transformed::no(side)),
                false => side.transform_down(watched),
            };
            let (left, right) = (side(*left)?, side(*right)?);
            let is_new = left.transformed || right.transformed;
            let whole = Expr::BinaryExpr(BinaryExpr { left: Box::new(left.data), op, right: Box::new(right.data) });
            Ok(Transformed::new(whole, is_new, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_large(expression: &Expr) -> bool {
    let Expr::Literal(value, _) = expression else { return false };
    is_of_any_size(&value.data_type()) && bytes(value).is_ok_and(|bytes| bytes > LARGE_BYTES)
}

fn is_of_any_size(data_type: &DataType) -> bool {
    !data_type.is_primitive() && !matches!(data_type, DataType::Null | DataType::Boolean)
}

fn bytes(value: &ScalarValue) -> Result<u64> {
    if let Some(Some(text)) = value.try_as_str() {
        return Ok(u64::try_from(text.len()).unwrap_or(u64::MAX));
    }
    Ok(Argument::new(&ColumnarValue::Scalar(value.clone()))?.size(0))
}

pub(super) fn constant() -> ScalarUDF {
    ScalarUDF::new_from_impl(BoundedConstant::default())
}

/// Its argument, for no more rows than a batch holds of it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BoundedConstant {
    signature: Signature,
}

impl Default for BoundedConstant {
    fn default() -> Self {
        // Volatile, so that it is not computed when a query is planned.
        Self { signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for BoundedConstant {
    fn name(&self) -> &str {
        CONSTANT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    /// As null as the constant: the plan's schema was settled before this rule.
    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(field) = arguments.arg_fields.first() else { return exec_err!("`{CONSTANT}` takes a value") };
        Ok(Arc::clone(field))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some(value) = arguments.args.into_iter().next() else { return exec_err!("`{CONSTANT}` takes a value") };
        let ColumnarValue::Scalar(scalar) = &value else { return Ok(value) };
        let bytes = bytes(scalar)?;
        if bytes.saturating_mul(u64::try_from(rows).unwrap_or(u64::MAX)) > MAX_BATCH_BYTES {
            return exec_err!(
                "a constant of {bytes} bytes would make more than {MAX_BATCH_BYTES} bytes for {rows} rows: make it shorter, or set a \
                 smaller `batch_rows`"
            );
        }
        Ok(value)
    }
}
