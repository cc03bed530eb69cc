//! Texts by patterns: `split` and `regexp_extract`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use regex::Regex;

use super::refused::refuse_double_backslash;

pub(super) fn functions() -> [Arc<ScalarUDF>; 2] {
    [Kind::Split, Kind::Extract].map(|kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(ByPattern { kind, signature }))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// The parts between matches; at most as many as the third argument says.
    Split,
    /// A group of the first match, the first one without a third argument; an empty text without a match.
    Extract,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByPattern {
    kind: Kind,
    signature: Signature,
}

impl ByPattern {
    fn list() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
    }

    fn result(&self) -> DataType {
        match self.kind {
            Kind::Split => Self::list(),
            Kind::Extract => DataType::Utf8,
        }
    }
}

impl ScalarUDFImpl for ByPattern {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Split => "split",
            Kind::Extract => "regexp_extract",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
        match types {
            [text, pattern] if is_text(text) && is_text(pattern) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            [text, pattern, number] if is_text(text) && is_text(pattern) && number.is_integer() => {
                Ok(vec![DataType::Utf8, DataType::Utf8, DataType::Int64])
            }
            _ => plan_err!("`{}` takes a text, a pattern and a whole number, which may be left out", self.name()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let pattern = args.scalar_arguments.get(1).copied().flatten();
        refuse_double_backslash(self.name(), pattern.and_then(|value| value.try_as_str().flatten()))?;
        Ok(Arc::new(Field::new(self.name(), self.result(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_array = args.args.iter().any(|value| matches!(value, ColumnarValue::Array(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (texts, patterns, numbers) = match &arrays[..] {
            [texts, patterns] => (texts, patterns, None),
            [texts, patterns, numbers] => (texts, patterns, Some(numbers.as_primitive::<Int64Type>())),
            _ => return internal_err!("{} takes two or three arguments", self.name()),
        };
        let (texts, patterns) = (texts.as_string::<i32>(), patterns.as_string::<i32>());
        let mut compiled = HashMap::new();
        let mut rows = Rows::new(self.kind);
        for row in 0..texts.len() {
            let is_null = numbers.is_some_and(|numbers| numbers.is_null(row));
            if texts.is_null(row) || patterns.is_null(row) || is_null {
                rows.null();
                continue;
            }
            let pattern = patterns.value(row);
            if !compiled.contains_key(pattern) {
                let regex = Regex::new(pattern)
                    .map_err(|error| exec_datafusion_err!("`{}`: the pattern `{pattern}`: {error}", self.name()))?;
                compiled.insert(pattern, regex);
            }
            let Some(regex) = compiled.get(pattern) else { return internal_err!("a pattern is compiled") };
            rows.add(regex, texts.value(row), numbers.map(|numbers| numbers.value(row)))?;
        }
        let values = rows.finish();
        match is_array {
            true => Ok(ColumnarValue::Array(values)),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
        }
    }
}

enum Rows {
    Lists(ListBuilder<StringBuilder>),
    Texts(StringBuilder),
}

impl Rows {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Split => Self::Lists(ListBuilder::new(StringBuilder::new())),
            Kind::Extract => Self::Texts(StringBuilder::new()),
        }
    }

    fn null(&mut self) {
        match self {
            Self::Lists(lists) => lists.append_null(),
            Self::Texts(texts) => texts.append_null(),
        }
    }

    fn add(&mut self, regex: &Regex, text: &str, number: Option<i64>) -> Result<()> {
        match self {
            Self::Lists(lists) => {
                lists.append_value(split(regex, text, number.unwrap_or_default()).into_iter().map(Some));
            }
            Self::Texts(texts) => texts.append_value(extract(regex, text, number.unwrap_or(1))?),
        }
        Ok(())
    }

    fn finish(mut self) -> ArrayRef {
        match &mut self {
            Self::Lists(lists) => Arc::new(lists.finish()),
            Self::Texts(texts) => Arc::new(texts.finish()),
        }
    }
}

/// As Java's `split`: with a limit above 0, the last part is the rest. A match of nothing at the start yields no part.
fn split<'a>(regex: &Regex, text: &'a str, limit: i64) -> Vec<&'a str> {
    let most = usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let (mut parts, mut from) = (Vec::new(), 0);
    for found in regex.find_iter(text) {
        if parts.len() + 1 >= most {
            break;
        }
        if found.end() == 0 {
            continue;
        }
        // Without a pattern, the parts are the characters.
        if regex.as_str().is_empty() && found.start() == text.len() {
            break;
        }
        parts.push(text.get(from..found.start()).unwrap_or_default());
        from = found.end();
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

fn extract<'a>(regex: &Regex, text: &'a str, group: i64) -> Result<&'a str> {
    let groups = regex.captures_len() - 1;
    let Some(group) = usize::try_from(group).ok().filter(|group| *group <= groups) else {
        return exec_err!("`regexp_extract`: the pattern has the groups 0 to {groups}, and {group} is asked for");
    };
    let found = regex.captures(text).and_then(|found| found.get(group));
    Ok(found.map_or("", |found| found.as_str()))
}
