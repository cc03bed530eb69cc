//! A function that is another one, by the types or in the order of its arguments.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `name` of lists is `lists`, and of anything else `texts`.
pub(super) fn by_type(name: &'static str, texts: &Arc<ScalarUDF>, lists: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ByType {
        name,
        texts: Arc::clone(texts),
        lists: Arc::clone(lists),
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

/// `alias`, which is `inner` with its two arguments in the other order. Its own name is one that nothing else has: executors look it up.
pub(super) fn swapped(name: &'static str, alias: &'static str, inner: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Swapped {
        name,
        aliases: vec![alias.to_owned()],
        inner: Arc::clone(inner),
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

/// The types that a function makes of those that it is called with.
pub(super) fn coerced(function: &Arc<ScalarUDF>, types: &[DataType]) -> Result<Vec<DataType>> {
    let fields: Vec<FieldRef> =
        types.iter().map(|data_type| Arc::new(Field::new("", data_type.clone(), true))).collect();
    let fields = fields_with_udf(&fields, function.as_ref())?;
    Ok(fields.iter().map(|field| field.data_type().clone()).collect())
}

pub(super) fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByType {
    name: &'static str,
    texts: Arc<ScalarUDF>,
    lists: Arc<ScalarUDF>,
    signature: Signature,
}

impl ByType {
    fn of<'a>(&self, mut types: impl Iterator<Item = &'a DataType>) -> &Arc<ScalarUDF> {
        if types.any(is_list) { &self.lists } else { &self.texts }
    }
}

impl ScalarUDFImpl for ByType {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(self.of(types.iter()), types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.of(types.iter()).return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.of(args.arg_fields.iter().map(|field| field.data_type())).return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        self.of(types.iter()).invoke_with_args(args)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Swapped {
    name: &'static str,
    aliases: Vec<String>,
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl Swapped {
    fn swap<T: Clone>(&self, arguments: &[T]) -> Result<Vec<T>> {
        match arguments {
            [one, other] => Ok(vec![other.clone(), one.clone()]),
            _ => datafusion::common::plan_err!("`{}` takes two arguments", self.aliases.join(", ")),
        }
    }
}

impl ScalarUDFImpl for Swapped {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.swap(&coerced(&self.inner, &self.swap(types)?)?)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(&self.swap(types)?)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let scalars: Vec<Option<&ScalarValue>> = self.swap(args.scalar_arguments)?;
        let fields = self.swap(args.arg_fields)?;
        self.inner.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.len() != 2 {
            return internal_err!("{} takes two arguments", self.name);
        }
        args.args.reverse();
        args.arg_fields.reverse();
        self.inner.invoke_with_args(args)
    }
}
