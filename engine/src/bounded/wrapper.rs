//! A function that looks at its arguments before it is called.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

use super::argument::Argument;
use super::estimate::patterns;
use super::growth::Growth;
use super::{MAX_BATCH_BYTES, MAX_VALUE_BYTES, types};

/// `inner` under its own name.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Bounded {
    pub(super) fn new(inner: Arc<ScalarUDF>, growth: Growth) -> Self {
        Self { inner, growth }
    }

    /// # Errors
    /// `Execution` when a value, or all values of the batch, would be too large.
    fn check(&self, arguments: &ScalarFunctionArgs) -> Result<()> {
        let sized = arguments.args.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let pattern = Growth::pattern(self.name()).and_then(|at| sized.get(at));
        if let Some(bytes) = pattern.map(|pattern| patterns(pattern, arguments.number_rows))
            && bytes > MAX_BATCH_BYTES
        {
            return exec_err!(
                "`{}` would make {bytes} bytes or so of compiled patterns for {} rows: write simpler patterns, or set a smaller `batch_rows`",
                self.shown(),
                arguments.number_rows
            );
        }
        if self.growth.is_small(&sized, arguments.number_rows) {
            return Ok(());
        }
        let is_constant = arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { arguments.number_rows };
        let mut all = 0_u64;
        for row in 0..rows {
            let bytes = self.growth.bytes(&sized, row);
            if bytes > MAX_VALUE_BYTES && matches!(self.growth, Growth::Compared | Growth::ItemsCompared) {
                return exec_err!("`{}` would compare its arguments for minutes: make them shorter", self.shown());
            }
            if bytes > MAX_VALUE_BYTES {
                return exec_err!(
                    "`{}` would make a value of {bytes} bytes or so, and {MAX_VALUE_BYTES} are allowed: make it shorter, or filter the \
                     rows that it is made for",
                    self.shown()
                );
            }
            all = all.saturating_add(bytes);
            if all > MAX_BATCH_BYTES {
                return exec_err!(
                    "`{}` would make more than {MAX_BATCH_BYTES} bytes for {rows} rows: make the values shorter, or set a smaller \
                     `batch_rows`",
                    self.shown()
                );
            }
        }
        Ok(())
    }

    fn shown(&self) -> &str {
        if self.name() == TEXT_CONCAT { "||" } else { self.name() }
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        self.inner.schema_name(arguments)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(arguments)?;
        types::judged(self.name(), field.data_type())?;
        Ok(field)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&arguments)?;
        self.inner.invoke_with_args(arguments)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

pub(super) const TEXT_CONCAT: &str = "bounded_text_concat";

/// `||` of two texts of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TextConcat {
    signature: Signature,
}

impl Default for TextConcat {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl TextConcat {
    fn expression(arguments: &[ColumnarValue]) -> Result<(Arc<dyn PhysicalExpr>, RecordBatch)> {
        let (mut fields, mut columns, mut sides) = (Vec::new(), Vec::new(), Vec::<Arc<dyn PhysicalExpr>>::new());
        for (at, value) in arguments.iter().enumerate() {
            match value {
                ColumnarValue::Scalar(scalar) => sides.push(Arc::new(Literal::new(scalar.clone()))),
                ColumnarValue::Array(array) => {
                    let name = at.to_string();
                    sides.push(Arc::new(Column::new(&name, columns.len())));
                    fields.push(Field::new(name, array.data_type().clone(), true));
                    columns.push(Arc::clone(array));
                }
            }
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(columns.first().map_or(Some(1), |_| None));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        match <[_; 2]>::try_from(sides) {
            Ok([left, right]) => Ok((Arc::new(BinaryExpr::new(left, Operator::StringConcat, right)), batch)),
            Err(sides) => exec_err!("`||` takes two texts, and has {}", sides.len()),
        }
    }
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &str {
        TEXT_CONCAT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let fields: Vec<Field> = types
            .iter()
            .enumerate()
            .map(|(at, data_type)| Field::new(at.to_string(), data_type.clone(), true))
            .collect();
        let side = |at: usize| Arc::new(Column::new(&at.to_string(), at)) as Arc<dyn PhysicalExpr>;
        BinaryExpr::new(side(0), Operator::StringConcat, side(1)).data_type(&Schema::new(fields))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (expression, batch) = Self::expression(&arguments.args)?;
        let is_constant = arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        match expression.evaluate(&batch)? {
            ColumnarValue::Array(array) if is_constant => {
                ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
            }
            other => Ok(other),
        }
    }
}
