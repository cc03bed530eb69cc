//! Scalar functions over JSON text. A text that is not JSON gives null, as in Spark.

mod path;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Builder, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde::de::IgnoredAny;

use crate::json_text::Json;
use path::Path;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let all = [Kind::Object, Kind::Length, Kind::Keys, Kind::Elements];
    all.into_iter().map(|kind| Arc::new(ScalarUDF::from(JsonFunction::new(kind)))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Object,
    Length,
    Keys,
    Elements,
}

/// One of this module's functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonFunction {
    kind: Kind,
    signature: Signature,
}

impl JsonFunction {
    fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Object => "get_json_object",
            Kind::Length => "json_array_length",
            Kind::Keys => "json_object_keys",
            Kind::Elements => "json_array_elements",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let (written, expected) = match self.kind {
            Kind::Object => ("text, path", 2),
            Kind::Length | Kind::Keys | Kind::Elements => ("text", 1),
        };
        if types.len() != expected {
            return plan_err!("{name}: write {name}({written}), found {} arguments", types.len());
        }
        let is_text = |found: &DataType| {
            matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
        };
        match types.iter().find(|found| !is_text(found)) {
            Some(found) => plan_err!("{name}: arguments must be texts, found {found}"),
            None => Ok(vec![DataType::Utf8; expected]),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Object => DataType::Utf8,
            Kind::Length => DataType::Int32,
            Kind::Keys | Kind::Elements => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let text = |at: usize| {
            let argument = arguments.args.get(at);
            argument.ok_or_else(|| internal_datafusion_err!("{}: arguments were not counted", self.name()))
        };
        let rows = if is_constant { 1 } else { arguments.number_rows };
        let texts = text(0)?.to_array(rows)?;
        let texts = strings(self.name(), &texts)?;
        let result: ArrayRef = match self.kind {
            Kind::Object => Arc::new(self.objects(texts, text(1)?)?),
            Kind::Length => {
                let mut lengths = Int32Builder::with_capacity(rows);
                texts.iter().for_each(|text| lengths.append_option(text.and_then(length)));
                Arc::new(lengths.finish())
            }
            Kind::Keys => {
                lists(texts, |text, list| keys(text).map(|keys| keys.iter().for_each(|key| list.append_value(key))))
            }
            Kind::Elements => lists(texts, |text, list| {
                elements(text).map(|items| items.iter().for_each(|item| list.append_value(item)))
            }),
        };
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

impl JsonFunction {
    fn objects(&self, texts: &StringArray, paths: &ColumnarValue) -> Result<StringArray> {
        let mut results = StringBuilder::with_capacity(texts.len(), 0);
        match paths {
            ColumnarValue::Scalar(path) => {
                let path = path.try_as_str().flatten().and_then(Path::parse);
                for text in texts {
                    results.append_option(path.as_ref().zip(text).and_then(|(path, text)| path.get(text)));
                }
            }
            ColumnarValue::Array(paths) => {
                for (text, path) in texts.iter().zip(strings(self.name(), paths)?) {
                    let path = path.and_then(Path::parse);
                    results.append_option(path.as_ref().zip(text).and_then(|(path, text)| path.get(text)));
                }
            }
        }
        Ok(results.finish())
    }
}

fn strings<'a>(name: &str, array: &'a ArrayRef) -> Result<&'a StringArray> {
    array
        .as_string_opt()
        .ok_or_else(|| internal_datafusion_err!("{name}: texts were not coerced, found {}", array.data_type()))
}

/// A list for each text, null where `fill` says that there is none.
fn lists(texts: &StringArray, fill: impl Fn(&str, &mut StringBuilder) -> Option<()>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for text in texts {
        let is_there = text.is_some_and(|text| fill(text, lists.values()).is_some());
        lists.append(is_there);
    }
    Arc::new(lists.finish())
}

/// The text, if it is one JSON value that begins so.
fn value_of(text: &str, first: u8) -> Option<Json<'_>> {
    let text = text.trim_ascii();
    (text.as_bytes().first() == Some(&first) && is_json(text)).then_some(Json(text.as_bytes()))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn length(text: &str) -> Option<i32> {
    i32::try_from(elements(text)?.len()).ok()
}

/// JSON texts of an array's items.
fn elements(text: &str) -> Option<Vec<&str>> {
    let json = value_of(text, b'[')?;
    let items = json.items(1).map(|item| std::str::from_utf8(json.0.get(item)?).ok());
    items.collect()
}

/// Names of an object's fields.
fn keys(text: &str) -> Option<Vec<String>> {
    let json = value_of(text, b'{')?;
    json.members(1).map(|(name, _)| name.map(std::borrow::Cow::into_owned)).collect()
}
