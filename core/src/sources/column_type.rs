//! Types of columns of files, and their text: `decimal(18,4)`, `array<struct<px:double,qty:bigint>>`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Levels of `array`, `map` and `struct` in one another.
const MAX_DEPTH: usize = 8;
/// Digits of a decimal.
pub const MAX_PRECISION: u8 = 38;

/// What a field's text is read as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    String,
    Json,
    Boolean,
    Tinyint,
    Smallint,
    Int,
    Bigint,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Binary,
    Date,
    Timestamp,
    TimestampNtz,
    Array(Box<ColumnType>),
    /// Its keys are strings.
    Map(Box<ColumnType>),
    Struct(Vec<(String, ColumnType)>),
}

/// Types without parameters, what each means, and names that others have for it.
static PLAIN: [(ColumnType, &str, &[&str]); 13] = [
    (ColumnType::String, "UTF-8 as it is.", &["text", "varchar", "char", "str", "utf8"]),
    (
        ColumnType::Json,
        "The text of any JSON value, as it stands in the file; a string of the table. `get_json_object` and its like read it.",
        &["variant", "object", "jsonb"],
    ),
    (ColumnType::Boolean, "`true` or `false`; in text also `t`, `yes`, `y`, `1` and their opposites.", &["bool"]),
    (ColumnType::Tinyint, "A whole number of 8 bits.", &["byte", "int8"]),
    (ColumnType::Smallint, "A whole number of 16 bits.", &["short", "int16"]),
    (ColumnType::Int, "A whole number of 32 bits.", &["integer", "int32"]),
    (ColumnType::Bigint, "A whole number of 64 bits; `737.0` is 737.", &["long", "int64"]),
    (
        ColumnType::Float,
        "32 bits, finite: the nearest to the text. Whole numbers beyond 2^24 must be held exactly.",
        &["real", "float32"],
    ),
    (
        ColumnType::Double,
        "64 bits, finite: the nearest to the text. Whole numbers beyond 2^53, and decimals of Parquet, must be held exactly.",
        &["float64", "number", "double precision"],
    ),
    (
        ColumnType::Binary,
        "Bytes; in text and JSON as base64 with its padding, as Spark writes them.",
        &["bytes", "blob"],
    ),
    (ColumnType::Date, "`YYYY-MM-DD`, or as `pattern` of the feed says.", &["date32"]),
    (
        ColumnType::Timestamp,
        "`YYYY-MM-DD HH:MM:SS[.ffffff]` or ISO 8601 with an offset, or as `pattern` of the feed says; microseconds, UTC. A stamp \
         without an offset is wall clock in the feed's time zone.",
        &["datetime", "timestamptz", "timestamp_ltz"],
    ),
    (
        ColumnType::TimestampNtz,
        "As `timestamp`, but the wall clock itself, of no zone, also in tables; a stamp with an offset is rejected.",
        &["timestamp_without_time_zone", "timestampntz"],
    ),
];

/// Types with parameters: as they are written, the pattern of their text, what they mean.
const WITH_PARAMETERS: [(&str, &str, &str); 4] = [
    (
        "decimal(p,s)",
        r"^\s*decimal\s*\(",
        "`p` digits in all (1 to 38), `s` of them behind the point. Amounts of money belong here.",
    ),
    ("array<type>", r"^\s*array\s*<", "Items of one type. In CSV its JSON text."),
    ("map<string,type>", r"^\s*map\s*<", "Values by names, which the file chooses. In CSV its JSON text."),
    (
        "struct<a:type,..>",
        r"^\s*struct\s*<",
        "Named fields; one that is missing is null. In CSV its JSON text. `array`, `map` and `struct` nest eight deep.",
    ),
];

impl ColumnType {
    /// Whether `round` means something to its values, or to some inside of them.
    pub fn can_round(&self) -> bool {
        use ColumnType::{Decimal, Double, Float, Timestamp, TimestampNtz};
        match self {
            ColumnType::Array(inner) | ColumnType::Map(inner) => inner.can_round(),
            ColumnType::Struct(fields) => fields.iter().any(|(_, data_type)| data_type.can_round()),
            scalar => matches!(scalar, Decimal { .. } | Float | Double | Timestamp | TimestampNtz),
        }
    }

    /// Whether a `pattern` says how its text is read.
    pub fn takes_pattern(&self) -> bool {
        matches!(self, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNtz)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::String => f.write_str("string"),
            ColumnType::Json => f.write_str("json"),
            ColumnType::Boolean => f.write_str("boolean"),
            ColumnType::Tinyint => f.write_str("tinyint"),
            ColumnType::Smallint => f.write_str("smallint"),
            ColumnType::Int => f.write_str("int"),
            ColumnType::Bigint => f.write_str("bigint"),
            ColumnType::Float => f.write_str("float"),
            ColumnType::Double => f.write_str("double"),
            ColumnType::Binary => f.write_str("binary"),
            ColumnType::Date => f.write_str("date"),
            ColumnType::Timestamp => f.write_str("timestamp"),
            ColumnType::TimestampNtz => f.write_str("timestamp_ntz"),
            ColumnType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            ColumnType::Array(item) => write!(f, "array<{item}>"),
            ColumnType::Map(value) => write!(f, "map<string,{value}>"),
            ColumnType::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, (name, data_type)) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}:{data_type}")?;
                }
                f.write_str(">")
            }
        }
    }
}

impl From<ColumnType> for String {
    fn from(data_type: ColumnType) -> Self {
        data_type.to_string()
    }
}

impl TryFrom<String> for ColumnType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text.trim() };
        let data_type = parser.data_type(0)?;
        match parser.rest {
            "" => Ok(data_type),
            rest => Err(format!("`{rest}` follows the type `{data_type}`")),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn data_type(&mut self, depth: usize) -> Result<ColumnType, String> {
        let word = self.word();
        let nested = matches!(word, "array" | "map" | "struct");
        if nested && depth == MAX_DEPTH {
            return Err(format!("the type nests deeper than {MAX_DEPTH} levels: declare the inner part as `json`"));
        }
        match word {
            "decimal" => self.decimal(),
            "array" => {
                self.expect('<', "array<bigint>")?;
                let item = self.data_type(depth + 1)?;
                self.expect('>', "array<bigint>")?;
                Ok(ColumnType::Array(Box::new(item)))
            }
            "map" => {
                self.expect('<', "map<string,double>")?;
                if self.data_type(depth + 1)? != ColumnType::String {
                    return Err("the keys of a `map` are strings: write `map<string,double>`".to_owned());
                }
                self.expect(',', "map<string,double>")?;
                let value = self.data_type(depth + 1)?;
                self.expect('>', "map<string,double>")?;
                Ok(ColumnType::Map(Box::new(value)))
            }
            "struct" => self.fields(depth),
            word => plain_type(word),
        }
    }

    fn decimal(&mut self) -> Result<ColumnType, String> {
        const FORM: &str = "decimal(18,4)";
        self.expect('(', FORM)?;
        let precision = self.number()?;
        self.expect(',', FORM)?;
        let scale = self.number()?;
        self.expect(')', FORM)?;
        if !(1..=MAX_PRECISION).contains(&precision) || scale > precision {
            return Err(format!(
                "`decimal({precision},{scale})` is none: the first number (all digits) is 1 to {MAX_PRECISION}, the second (digits \
                 behind the point) 0 to the first"
            ));
        }
        Ok(ColumnType::Decimal { precision, scale })
    }

    fn fields(&mut self, depth: usize) -> Result<ColumnType, String> {
        const FORM: &str = "struct<px:double,qty:bigint>";
        self.expect('<', FORM)?;
        let mut fields: Vec<(String, ColumnType)> = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
                return Err(format!("a field of a `struct` needs a name of letters, digits and `_`: write `{FORM}`"));
            }
            if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(format!("a `struct` has two fields `{name}`: readers of tables do not tell case apart"));
            }
            self.expect(':', FORM)?;
            let data_type = self.data_type(depth + 1)?;
            fields.push((name.to_owned(), data_type));
            if self.rest.starts_with('>') {
                self.expect('>', FORM)?;
                return Ok(ColumnType::Struct(fields));
            }
            self.expect(',', FORM)?;
        }
    }

    fn word(&mut self) -> &'a str {
        let is_end = |character: char| !character.is_ascii_alphanumeric() && character != '_';
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        word
    }

    fn number(&mut self) -> Result<u8, String> {
        let word = self.word();
        word.parse().map_err(|_| format!("`{word}` is not a number of digits: write `decimal(18,4)`"))
    }

    fn expect(&mut self, wanted: char, form: &str) -> Result<(), String> {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest.trim_start();
                Ok(())
            }
            None => Err(format!("`{wanted}` is missing before `{}`: write it as `{form}`", self.rest)),
        }
    }
}

fn plain_type(word: &str) -> Result<ColumnType, String> {
    if let Some((data_type, ..)) = PLAIN.iter().find(|(data_type, ..)| data_type.to_string() == word) {
        return Ok(data_type.clone());
    }
    let lower = word.to_ascii_lowercase();
    let meant = PLAIN.iter().find(|(known, _, others)| known.to_string() == lower || others.contains(&lower.as_str()));
    let meant = match (meant, lower.as_str()) {
        (Some((known, ..)), _) => format!("did you mean `{known}`? "),
        (None, "numeric" | "number" | "money") => "did you mean `decimal(18,4)`? ".to_owned(),
        (None, "list") => "did you mean `array<..>`? ".to_owned(),
        (None, _) => String::new(),
    };
    let names: Vec<String> = PLAIN.iter().map(|(known, ..)| known.to_string()).collect();
    let others: Vec<&str> = WITH_PARAMETERS.iter().map(|(name, ..)| *name).collect();
    Err(format!("`{word}` is not a type: {meant}there are {}, {}", names.join(", "), others.join(", ")))
}

impl JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let plain =
            PLAIN.iter().map(|(name, meaning, _)| json_schema!({ "const": name.to_string(), "description": meaning }));
        let others = WITH_PARAMETERS.iter().map(
            |(title, pattern, meaning)| json_schema!({ "type": "string", "title": title, "pattern": pattern, "description": meaning }),
        );
        let choices: Vec<Schema> = plain.chain(others).collect();
        json_schema!({ "description": "What a field's text is read as.", "oneOf": choices })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<ColumnType, String> {
        text.parse()
    }

    fn scalar() -> impl Strategy<Value = ColumnType> {
        let plain = prop::sample::select(PLAIN.iter().map(|(data_type, ..)| data_type.clone()).collect::<Vec<_>>());
        let decimal = (1..=MAX_PRECISION).prop_flat_map(|precision| (Just(precision), 0..=precision));
        prop_oneof![plain, decimal.prop_map(|(precision, scale)| ColumnType::Decimal { precision, scale })]
    }

    fn any_type() -> impl Strategy<Value = ColumnType> {
        scalar().prop_recursive(8, 24, 4, |inner| {
            let fields = prop::collection::btree_map("[a-z_][a-z0-9_]{0,6}", inner.clone(), 1..4);
            prop_oneof![
                inner.clone().prop_map(|item| ColumnType::Array(Box::new(item))),
                inner.prop_map(|value| ColumnType::Map(Box::new(value))),
                fields.prop_map(|fields| ColumnType::Struct(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_type_is_its_text(data_type in any_type()) {
            let text = data_type.to_string();
            prop_assert_eq!(parse(&text), Ok(data_type.clone()));
            let spaced = text.replace(',', " , ").replace('<', " < ").replace('>', " > ").replace(':', " : ").replace('(', " ( ");
            prop_assert_eq!(parse(&spaced), Ok(data_type.clone()));
            let json = serde_json::to_string(&data_type).unwrap();
            prop_assert_eq!(serde_json::from_str::<ColumnType>(&json).unwrap(), data_type);
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[a-z<>(),: 0-9]{0,40}") {
            if let Ok(data_type) = parse(&text) {
                prop_assert_eq!(parse(&data_type.to_string()), Ok(data_type));
            }
        }
    }

    #[test]
    fn what_is_not_a_type_is_refused_with_the_remedy() {
        for (text, says) in [
            ("", "there are string, json, boolean"),
            ("integer", "did you mean `int`?"),
            ("BIGINT", "did you mean `bigint`?"),
            ("numeric", "did you mean `decimal(18,4)`?"),
            ("frobnicate", "decimal(p,s), array<type>, map<string,type>, struct<a:type,..>"),
            ("decimal", "`(` is missing"),
            ("decimal(10)", "`,` is missing"),
            ("decimal(0,0)", "1 to 38"),
            ("decimal(39,2)", "1 to 38"),
            ("decimal(300,2)", "not a number of digits"),
            ("decimal(4,5)", "0 to the first"),
            ("decimal(4,-1)", "not a number of digits"),
            ("array<>", "is not a type"),
            ("array<int", "`>` is missing"),
            ("array<int>>", "`>` follows the type"),
            ("map<int,string>", "are strings"),
            ("struct<>", "needs a name"),
            ("struct<a:int,A:int>", "two fields `A`"),
            ("struct<1a:int>", "needs a name"),
            ("struct<a int>", "`:` is missing"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn types_nest_eight_deep() {
        let nested = |depth: usize| format!("{}int{}", "array<".repeat(depth), ">".repeat(depth));
        assert!(parse(&nested(8)).is_ok());
        assert!(parse(&nested(9)).unwrap_err().contains("deeper than 8 levels"));
        assert!(parse(&nested(100_000)).is_err());
    }
}
