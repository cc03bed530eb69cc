//! The sink's logical plan node.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use super::SinkSpec;

/// Writes its input's rows and yields one [`super::PartitionResult`] per partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SinkNode {
    input: LogicalPlan,
    spec: Arc<SinkSpec>,
    schema: DFSchemaRef,
}

impl SinkNode {
    /// # Errors
    /// None in practice: the schema is ours.
    pub fn plan(input: LogicalPlan, spec: Arc<SinkSpec>) -> Result<LogicalPlan> {
        let schema = Arc::new(DFSchema::try_from(result_schema().as_ref().clone())?);
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(Self { input, spec, schema }) }))
    }

    pub fn spec(&self) -> &Arc<SinkSpec> {
        &self.spec
    }
}

/// One text column, `result`.
pub(super) fn result_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("result", DataType::Utf8, false)]))
}

impl PartialOrd for SinkNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.spec.partial_cmp(&other.spec)
    }
}

impl UserDefinedLogicalNodeCore for SinkNode {
    fn name(&self) -> &str {
        "Sink"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Sink: columns=[{}]", self.spec.columns.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: inputs.remove(0), spec: Arc::clone(&self.spec), schema: Arc::clone(&self.schema) })
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}
