//! `initcap`, whose words end at white space alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

pub(super) fn initcap() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Initcap { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Initcap {
    signature: Signature,
}

impl ScalarUDFImpl for Initcap {
    fn name(&self) -> &'static str {
        "initcap"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null] => Ok(vec![DataType::Utf8]),
            _ => plan_err!("`initcap` takes one text, and has {types:?}"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts] = &args.args[..] else { return internal_err!("initcap takes one argument") };
        let is_array = matches!(texts, ColumnarValue::Array(_));
        let texts = texts.to_array(if is_array { args.number_rows } else { 1 })?;
        let texts: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(capitals)).collect();
        let texts: ArrayRef = Arc::new(texts);
        match is_array {
            true => Ok(ColumnarValue::Array(texts)),
            false => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
        }
    }
}

/// Spark's words end at blanks alone.
fn capitals(text: &str) -> String {
    let mut capital = String::with_capacity(text.len());
    let mut starts = true;
    for character in text.chars() {
        match starts {
            true => capital.extend(character.to_uppercase()),
            false => capital.extend(character.to_lowercase()),
        }
        starts = character == ' ';
    }
    capital
}
