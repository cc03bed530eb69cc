//! Variables of a project: what project.toml declares, and the literals that their values become.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::interval::parse_stamp;
use crate::sources::ColumnType;

/// The date of a trigger. It is always declared.
pub const RUN_DATE: &str = "run_date";

/// A variable that queries, manifests and sources use as `$name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// `path` for a folder or URL in sources.toml, or a column type without parts: `string`, `bigint`, `double`, `decimal(10,2)`, `boolean`,
    /// `date`, `timestamp`.
    #[serde(rename = "type")]
    pub data_type: VariableType,
    /// Its value unless a profile or `--var` gives another one. A path is relative to the project's folder.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub default: Option<toml::Value>,
    /// What it means.
    #[serde(default)]
    pub description: String,
}

/// Type of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum VariableType {
    Path,
    Scalar(ColumnType),
}

impl fmt::Display for VariableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("path"),
            Self::Scalar(data_type) => data_type.fmt(f),
        }
    }
}

impl From<VariableType> for String {
    fn from(data_type: VariableType) -> Self {
        data_type.to_string()
    }
}

impl TryFrom<String> for VariableType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "path" {
            return Ok(Self::Path);
        }
        let data_type = ColumnType::from_str(&text)?;
        match data_type {
            ColumnType::String
            | ColumnType::Boolean
            | ColumnType::Tinyint
            | ColumnType::Smallint
            | ColumnType::Int
            | ColumnType::Bigint
            | ColumnType::Double
            | ColumnType::Decimal { .. }
            | ColumnType::Date
            | ColumnType::Timestamp => Ok(Self::Scalar(data_type)),
            ColumnType::Json
            | ColumnType::Float
            | ColumnType::Binary
            | ColumnType::TimestampNtz
            | ColumnType::Array(_)
            | ColumnType::Map(_)
            | ColumnType::Struct(_) => Err(format!(
                "a variable cannot be `{data_type}`: use `path`, `string`, `boolean`, `tinyint` to `bigint`, `double`, `decimal(p,s)`, \
                 `date` or `timestamp`"
            )),
        }
    }
}

impl JsonSchema for VariableType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VariableType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// A value as SQL and as TOML hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) sql: String,
    pub(super) toml: String,
    /// Within a longer string.
    pub(super) text: String,
}

impl Literal {
    /// # Errors
    /// What the type takes.
    pub(super) fn new(data_type: &ColumnType, text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no {data_type}");
        let quoted = format!("'{}'", text.replace('\'', "''"));
        let number = |least: i64, most: i64| {
            let number = text.parse::<i64>().ok().filter(|number| (least..=most).contains(number)).ok_or_else(wrong)?;
            Ok::<_, String>(Self {
                sql: format!("cast({number} as {data_type})"),
                toml: number.to_string(),
                text: number.to_string(),
            })
        };
        let with_sql = |sql: String| Self { sql, toml: toml_string(text), text: text.to_owned() };
        match data_type {
            ColumnType::String => Ok(with_sql(quoted)),
            ColumnType::Boolean => match text {
                "true" | "false" => Ok(Self { toml: text.to_owned(), ..with_sql(text.to_owned()) }),
                _ => Err(wrong()),
            },
            ColumnType::Tinyint => number(i8::MIN.into(), i8::MAX.into()),
            ColumnType::Smallint => number(i16::MIN.into(), i16::MAX.into()),
            ColumnType::Int => number(i32::MIN.into(), i32::MAX.into()),
            ColumnType::Bigint => number(i64::MIN, i64::MAX),
            ColumnType::Double => {
                let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(wrong)?;
                // Debug writes the shortest text that reads back to the same number, always as a float.
                let toml = format!("{number:?}");
                Ok(Self { sql: format!("cast('{toml}' as double)"), toml, text: text.to_owned() })
            }
            ColumnType::Decimal { precision, scale } => match is_decimal(text, *precision, *scale) {
                true => Ok(with_sql(format!("cast({quoted} as {data_type})"))),
                false => Err(wrong()),
            },
            ColumnType::Date => match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
                Ok(day) => Ok(with_sql(format!("date '{day}'"))),
                Err(_) => Err(format!("{}: write 2026-01-31", wrong())),
            },
            ColumnType::Timestamp => {
                let stamp = parse_stamp(text).map_err(|_| format!("{}: write 2026-01-31T14:30:00Z", wrong()))?;
                let stamp = stamp.format("%Y-%m-%dT%H:%M:%S%.6fZ");
                Ok(with_sql(format!("arrow_cast('{stamp}', 'Timestamp(Microsecond, Some(\"UTC\"))')")))
            }
            _ => Err(wrong()),
        }
    }
}

/// Whether the type holds the number exactly.
fn is_decimal(text: &str, precision: u8, scale: u8) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit())
        && part.len() <= usize::from(scale)
        && whole.len() <= usize::from(precision.saturating_sub(scale))
}

/// A value of a TOML file as the command line would write it.
pub(super) fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(format!("{number:?}")),
        toml::Value::Boolean(is_true) => Some(is_true.to_string()),
        toml::Value::Datetime(stamp) => Some(stamp.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

/// A basic string of TOML.
pub(super) fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(data_type: &str, text: &str) -> Result<(String, String), String> {
        let data_type = ColumnType::from_str(data_type).unwrap();
        Literal::new(&data_type, text).map(|literal| (literal.sql, literal.toml))
    }

    #[test]
    fn a_value_is_a_literal_of_its_type() {
        let pair = |sql: &str, toml: &str| Ok((sql.to_owned(), toml.to_owned()));
        assert_eq!(literal("string", "O'Hara; drop"), pair("'O''Hara; drop'", "\"O'Hara; drop\""));
        assert_eq!(literal("bigint", "-5"), pair("cast(-5 as bigint)", "-5"));
        assert_eq!(literal("double", "0.1"), pair("cast('0.1' as double)", "0.1"));
        assert_eq!(literal("double", "3"), pair("cast('3.0' as double)", "3.0"));
        assert_eq!(literal("decimal(10,2)", "1.50"), pair("cast('1.50' as decimal(10,2))", "\"1.50\""));
        assert_eq!(literal("date", "2026-01-31"), pair("date '2026-01-31'", "\"2026-01-31\""));
        assert_eq!(literal("boolean", "true"), pair("true", "true"));
    }

    #[test]
    fn a_value_that_its_type_does_not_hold_is_refused() {
        for (data_type, text) in [
            ("tinyint", "128"),
            ("int", "1.5"),
            ("bigint", "1; drop table x"),
            ("double", "NaN"),
            ("double", "1e999"),
            ("decimal(4,2)", "1.234"),
            ("decimal(4,2)", "123"),
            ("decimal(4,2)", "1.2.3"),
            ("decimal(4,2)", "-"),
            ("date", "31.1.2026"),
            ("timestamp", "noon"),
            ("boolean", "yes"),
        ] {
            assert!(literal(data_type, text).is_err(), "{data_type} {text}");
        }
    }
}
