//! The columns that a scan of files yields, as both of our file sources keep them.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_plan::PhysicalExpr;
use serde::{Deserialize, Serialize};

/// A column of a scan: its place in the schema of the files, and its name above the scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::source) struct Projected {
    pub(in crate::source) column: usize,
    pub(in crate::source) name: String,
}

/// Plain columns in their order; DataFusion wants them as expressions, too.
#[derive(Debug, Clone)]
pub(in crate::source) struct Projection {
    columns: Vec<Projected>,
    expressions: ProjectionExprs,
}

impl Projection {
    /// # Errors
    /// `Internal` when the schema does not have a column.
    pub(in crate::source) fn new(columns: Vec<Projected>, schema: &Schema) -> Result<Self> {
        let mut expressions = Vec::with_capacity(columns.len());
        for Projected { column, name } in &columns {
            let field = schema
                .fields()
                .get(*column)
                .ok_or_else(|| DataFusionError::Internal(format!("a scan of files has no column {column}")))?;
            expressions.push(ProjectionExpr::new(Arc::new(Column::new(field.name(), *column)), name.clone()));
        }
        Ok(Self { columns, expressions: ProjectionExprs::new(expressions) })
    }

    /// All columns by their own names.
    ///
    /// # Errors
    /// As [`Projection::new`].
    pub(in crate::source) fn all(schema: &Schema) -> Result<Self> {
        let columns = schema.fields().iter().enumerate();
        Self::new(columns.map(|(column, field)| Projected { column, name: field.name().clone() }).collect(), schema)
    }

    pub(in crate::source) fn columns(&self) -> &[Projected] {
        &self.columns
    }

    pub(in crate::source) fn expressions(&self) -> &ProjectionExprs {
        &self.expressions
    }

    /// The columns that `above` takes of these; `None` when it computes something, which stays above the scan.
    pub(in crate::source) fn through(&self, above: &ProjectionExprs) -> Option<Vec<Projected>> {
        let taken = |expression: &ProjectionExpr| {
            let column = expression.expr.downcast_ref::<Column>()?;
            let inner = self.columns.get(column.index())?;
            Some(Projected { column: inner.column, name: expression.alias.clone() })
        };
        above.iter().map(taken).collect()
    }

    /// # Errors
    /// Those of `f`.
    pub(in crate::source) fn visit(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for expression in self.expressions.iter() {
            recursion = recursion.visit_sibling(|| f(&expression.expr))?;
        }
        Ok(recursion)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::BinaryExpr;

    use super::*;

    #[test]
    fn columns_are_taken_and_expressions_stay_above() {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![field("a"), field("b"), field("c")]);
        let two = |column, name: &str| Projected { column, name: name.to_owned() };
        let scan = Projection::new(vec![two(2, "x"), two(0, "y")], &schema).unwrap();
        let column = |index| Arc::new(Column::new("any", index)) as Arc<dyn PhysicalExpr>;
        let above = |expression| ProjectionExprs::new(vec![ProjectionExpr::new(expression, "z".to_owned())]);
        assert_eq!(scan.through(&above(column(0))), Some(vec![two(2, "z")]));
        let sum = Arc::new(BinaryExpr::new(column(0), Operator::Plus, column(1)));
        assert_eq!(scan.through(&above(sum)), None);
        assert!(Projection::new(vec![two(3, "x")], &schema).is_err());
        assert_eq!(Projection::all(&schema).unwrap().columns().len(), 3);
    }
}
