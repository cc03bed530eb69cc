//! One function for each name, however often a session is made of another one. DataFusion registers functions in any order then, each
//! under all of its names: an alias of its own would hide ours now and then.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The functions with the names that none of the later ones has.
pub(super) fn settled(functions: &[Arc<ScalarUDF>]) -> Vec<Arc<ScalarUDF>> {
    let names = |function: &Arc<ScalarUDF>| -> Vec<String> {
        std::iter::once(function.name().to_owned()).chain(function.aliases().iter().cloned()).collect()
    };
    let mut owners: HashMap<String, usize> = HashMap::new();
    for (place, function) in functions.iter().enumerate() {
        owners.extend(names(function).into_iter().map(|name| (name, place)));
    }
    let named = |(place, function): (usize, &Arc<ScalarUDF>)| {
        let all = names(function);
        let own: Vec<String> = all.iter().filter(|name| owners.get(*name) == Some(&place)).cloned().collect();
        if own.len() == all.len() {
            return Some(Arc::clone(function));
        }
        let mut own = own.into_iter();
        let (name, aliases) = (own.next()?, own.collect());
        Some(Arc::new(ScalarUDF::new_from_impl(Renamed { name, aliases, inner: Arc::clone(function) })))
    };
    functions.iter().enumerate().filter_map(named).collect()
}

/// A function with fewer names.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Renamed {
    name: String,
    aliases: Vec<String>,
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Renamed {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
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
        self.inner.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn preimage(&self, args: &[Expr], lit_expr: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, lit_expr, info)
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(input)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().strictly_order_preserving(inputs)
    }
}
