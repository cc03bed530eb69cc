//! `element_at` and `try_element_at`: an item of a list, from 1 or from its end, or the value of a map's key.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{exec_err, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

pub(super) fn functions(array_element: &Arc<ScalarUDF>, map_extract: &Arc<ScalarUDF>) -> [Arc<ScalarUDF>; 2] {
    [true, false].map(|is_strict| {
        Arc::new(ScalarUDF::new_from_impl(ElementAt {
            is_strict,
            array_element: Arc::clone(array_element),
            map_extract: Arc::clone(map_extract),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ElementAt {
    /// An index beyond the list is an error.
    is_strict: bool,
    array_element: Arc<ScalarUDF>,
    map_extract: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for ElementAt {
    fn name(&self) -> &'static str {
        if self.is_strict { "element_at" } else { "try_element_at" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::List(item), index] if index.is_integer() => {
                Ok(vec![DataType::List(Arc::clone(item)), DataType::Int64])
            }
            [DataType::Map(entries, sorted), _] => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    let key = fields.first().map_or(DataType::Null, |key| key.data_type().clone());
                    Ok(vec![DataType::Map(Arc::clone(entries), *sorted), key])
                }
                other => internal_err!("a map of {other}"),
            },
            _ => plan_err!("`{}` takes a list and a whole number, or a map and a key", self.name()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(item), _] => Ok(item.data_type().clone()),
            [DataType::Map(entries, _), _] => match entries.data_type() {
                DataType::Struct(fields) => match &fields[..] {
                    [_, value] => Ok(value.data_type().clone()),
                    _ => internal_err!("a map of {} fields", fields.len()),
                },
                other => internal_err!("a map of {other}"),
            },
            _ => internal_err!("`{}` has {types:?}", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [of, place] = &args.args[..] else { return internal_err!("`{}` takes two arguments", self.name()) };
        if !matches!(of.data_type(), DataType::Map(..)) {
            self.check(of, place, args.number_rows)?;
            return self.array_element.invoke_with_args(args);
        }
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let list = self.map_extract.return_type(&types)?;
        let (rows, config_options, return_field) =
            (args.number_rows, Arc::clone(&args.config_options), args.return_field.clone());
        let found = Arc::new(Field::new("found", list, true));
        let found_values =
            self.map_extract.invoke_with_args(ScalarFunctionArgs { return_field: Arc::clone(&found), ..args })?;
        self.array_element.invoke_with_args(ScalarFunctionArgs {
            args: vec![found_values, ColumnarValue::Scalar(ScalarValue::Int64(Some(1)))],
            arg_fields: vec![found, Arc::new(Field::new("place", DataType::Int64, false))],
            number_rows: rows,
            return_field,
            config_options,
        })
    }
}

impl ElementAt {
    /// # Errors
    /// For the index 0, and one beyond the list unless it may be.
    fn check(&self, lists: &ColumnarValue, places: &ColumnarValue, rows: usize) -> Result<()> {
        let is_array = [lists, places].iter().any(|value| matches!(value, ColumnarValue::Array(_)));
        let rows = if is_array { rows } else { 1 };
        let (lists, places) = (lists.to_array(rows)?, places.to_array(rows)?);
        let (lists, places) = (lists.as_list::<i32>(), places.as_primitive::<Int64Type>());
        for row in 0..rows {
            if lists.is_null(row) || places.is_null(row) {
                continue;
            }
            let (place, length) = (places.value(row), lists.value_length(row));
            if place == 0 {
                return exec_err!("`{}`: the index 0 is none: the first item has 1, and the last one -1", self.name());
            }
            if self.is_strict && place.unsigned_abs() > u64::from(length.unsigned_abs()) {
                return exec_err!(
                    "`element_at`: the list has {length} items and none at {place}; `try_element_at` gives null there"
                );
            }
        }
        Ok(())
    }
}
