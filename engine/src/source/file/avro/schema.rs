//! The schema of an Avro file, as far as it says where values end.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values within values.
const MAX_DEPTH: usize = 64;

/// Types of the values of a file, whose first is that of its rows.
#[derive(Debug)]
pub(super) struct Schema {
    types: Vec<Type>,
    row: usize,
}

#[derive(Debug)]
enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Bytes,
    Text,
    Fixed(usize),
    Enum(usize),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<usize>),
}

/// Why the bytes of a row are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Where the row ends is known, so that the next can be read.
    Value(&'static str),
    /// Where it ends is not known.
    Place(&'static str),
}

impl Schema {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(json).map_err(|error| format!("its schema is not JSON: {error}"))?;
        let mut parser = Parser { types: Vec::new(), names: BTreeMap::new() };
        let row = parser.add(&value, "")?;
        match parser.types.get(row) {
            Some(Type::Record(_)) => Ok(Self { types: parser.types, row }),
            _ => Err("its rows are not records".to_owned()),
        }
    }

    /// The length of the row that `bytes` begin with, and what is wrong with a value of it.
    ///
    /// # Errors
    /// `Wrong::Place` when there is no telling.
    pub(super) fn row_length(&self, bytes: &[u8]) -> Result<(usize, Option<Wrong>), Wrong> {
        let mut walk = Walk { types: &self.types, bytes, at: 0, wrong: None };
        walk.value(self.row, 0)?;
        Ok((walk.at, walk.wrong))
    }
}

struct Parser {
    types: Vec<Type>,
    names: BTreeMap<String, usize>,
}

impl Parser {
    fn push(&mut self, data_type: Type) -> usize {
        self.types.push(data_type);
        self.types.len() - 1
    }

    fn add(&mut self, schema: &Value, namespace: &str) -> Result<usize, String> {
        match schema {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches: Result<Vec<usize>, String> =
                    branches.iter().map(|branch| self.add(branch, namespace)).collect();
                let branches = branches?;
                Ok(self.push(Type::Union(branches)))
            }
            Value::Object(schema) => match schema.get("type") {
                Some(Value::String(kind)) => self.complex(kind, schema, namespace),
                Some(inner) => self.add(inner, namespace),
                None => Err("its schema has a type without `type`".to_owned()),
            },
            _ => Err("its schema has a type that is none".to_owned()),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, String> {
        let primitive = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Fixed(4),
            "double" => Type::Fixed(8),
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            _ => {
                let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
                return known.copied().ok_or_else(|| format!("its schema has no type `{name}`"));
            }
        };
        Ok(self.push(primitive))
    }

    fn complex(
        &mut self,
        kind: &str,
        schema: &serde_json::Map<String, Value>,
        namespace: &str,
    ) -> Result<usize, String> {
        let part =
            |name: &str| schema.get(name).ok_or_else(|| format!("its schema has a type `{kind}` without `{name}`"));
        match kind {
            "array" => {
                let items = self.add(part("items")?, namespace)?;
                Ok(self.push(Type::Array(items)))
            }
            "map" => {
                let values = self.add(part("values")?, namespace)?;
                Ok(self.push(Type::Map(values)))
            }
            "fixed" | "enum" | "record" | "error" => {
                let name = part("name")?.as_str().unwrap_or_default();
                let own = schema.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let name = full_name(name, own);
                let inner = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
                let place = self.push(Type::Null);
                self.names.insert(name, place);
                let data_type = match kind {
                    "fixed" => {
                        let size = part("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                        Type::Fixed(size.ok_or("its schema has a `fixed` without a size")?)
                    }
                    "enum" => Type::Enum(part("symbols")?.as_array().map_or(0, Vec::len)),
                    _ => {
                        let fields = part("fields")?.as_array().ok_or("its schema has a record without fields")?;
                        let field = |field: &Value| self.add(field.get("type").unwrap_or(&Value::Null), &inner);
                        Type::Record(fields.iter().map(field).collect::<Result<_, String>>()?)
                    }
                };
                if let Some(made) = self.types.get_mut(place) {
                    *made = data_type;
                }
                Ok(place)
            }
            name => self.named(name, namespace),
        }
    }
}

/// The schema as `arrow-avro` is to see it: names hold their namespace, since it does not find a type by a name with dots.
///
/// # Errors
/// When it is not JSON.
pub(super) fn simplified(json: &str) -> Result<String, String> {
    let schema = serde_json::from_str(json).map_err(|error| format!("its schema is not JSON: {error}"))?;
    Ok(plain(&schema, "").to_string())
}

fn plain(schema: &Value, namespace: &str) -> Value {
    match schema {
        Value::String(name) if is_primitive(name) => schema.clone(),
        Value::String(name) => plain_name(&full_name(name, namespace)).into(),
        Value::Array(branches) => branches.iter().map(|branch| plain(branch, namespace)).collect(),
        Value::Object(schema) => plain_type(schema, namespace),
        other => other.clone(),
    }
}

fn plain_type(schema: &serde_json::Map<String, Value>, namespace: &str) -> Value {
    let mut made = schema.clone();
    let mut inner = namespace.to_owned();
    if let Some(name) = schema.get("name").and_then(Value::as_str) {
        let own = schema.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let name = full_name(name, own);
        inner = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        made.insert("name".to_owned(), plain_name(&name).into());
        made.remove("namespace");
        made.remove("aliases");
    }
    let says = |part: &str, word: &str| schema.get(part).and_then(Value::as_str) == Some(word);
    let is_uuid_text = says("type", "string") && says("logicalType", "uuid");
    if is_uuid_text || says("logicalType", "time-millis") || says("logicalType", "time-micros") {
        // No column has such a type: what is stored is read, which is a text or a number.
        made.remove("logicalType");
    }
    for part in ["items", "values"] {
        if let Some(part) = made.get_mut(part) {
            *part = plain(part, &inner);
        }
    }
    match made.get_mut("type") {
        Some(Value::String(kind)) if is_complex(kind) => {}
        Some(inside) => *inside = plain(inside, &inner),
        None => {}
    }
    for field in made.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(inside) = field.get_mut("type") {
            *inside = plain(inside, &inner);
        }
    }
    Value::Object(made)
}

fn plain_name(name: &str) -> String {
    name.replace('.', "__")
}

fn is_complex(name: &str) -> bool {
    ["array", "map", "fixed", "enum", "record", "error"].contains(&name)
}

fn is_primitive(name: &str) -> bool {
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"].contains(&name)
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

struct Walk<'a> {
    types: &'a [Type],
    bytes: &'a [u8],
    at: usize,
    wrong: Option<Wrong>,
}

const CUT: Wrong = Wrong::Place("a value goes on beyond the block");

impl Walk<'_> {
    fn value(&mut self, data_type: usize, depth: usize) -> Result<(), Wrong> {
        if depth > MAX_DEPTH {
            return Err(Wrong::Place("its values are nested too deeply"));
        }
        match self.types.get(data_type) {
            None | Some(Type::Null) => {}
            Some(Type::Boolean) => {
                let value = self.bytes.get(self.at).copied();
                self.skip(1)?;
                self.expect(matches!(value, Some(0 | 1)), "a boolean is neither 0 nor 1");
            }
            Some(Type::Int) => {
                let value = self.long()?;
                if i32::try_from(value).is_err() {
                    return Err(Wrong::Place("an int is beyond 32 bits"));
                }
            }
            Some(Type::Long) => {
                self.long()?;
            }
            Some(Type::Bytes) => self.sized(|_| true)?,
            Some(Type::Text) => self.sized(|text| std::str::from_utf8(text).is_ok())?,
            Some(Type::Fixed(size)) => self.skip(*size)?,
            Some(Type::Enum(symbols)) => {
                let symbol = self.long()?;
                let is_known = usize::try_from(symbol).is_ok_and(|symbol| symbol < *symbols);
                self.expect(is_known, "an enum has no such symbol");
            }
            Some(Type::Array(items)) => self.blocks(|walk| walk.value(*items, depth + 1))?,
            Some(Type::Map(values)) => self.blocks(|walk| {
                walk.sized(|text| std::str::from_utf8(text).is_ok())?;
                walk.value(*values, depth + 1)
            })?,
            Some(Type::Union(branches)) => {
                let branch = usize::try_from(self.long()?).ok().and_then(|branch| branches.get(branch));
                self.value(*branch.ok_or(Wrong::Place("a union has no such branch"))?, depth + 1)?;
            }
            Some(Type::Record(fields)) => {
                for field in fields {
                    self.value(*field, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn expect(&mut self, is_right: bool, wrong: &'static str) {
        if !is_right {
            self.wrong.get_or_insert(Wrong::Value(wrong));
        }
    }

    fn skip(&mut self, length: usize) -> Result<(), Wrong> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(CUT)?;
        self.at = end;
        Ok(())
    }

    fn long(&mut self) -> Result<i64, Wrong> {
        let (value, length) = long(self.bytes.get(self.at..).unwrap_or_default()).map_err(|error| match error {
            NoLong::Incomplete => CUT,
            NoLong::TooLong => Wrong::Place("a number is beyond 64 bits"),
        })?;
        self.at += length;
        Ok(value)
    }

    fn sized(&mut self, is_right: impl Fn(&[u8]) -> bool) -> Result<(), Wrong> {
        let length = usize::try_from(self.long()?).map_err(|_| Wrong::Place("a length is below 0"))?;
        let start = self.at;
        self.skip(length)?;
        let is_right = is_right(self.bytes.get(start..self.at).unwrap_or_default());
        self.expect(is_right, "a text is not UTF-8");
        Ok(())
    }

    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Wrong>) -> Result<(), Wrong> {
        let mut items = 0_u64;
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.long()?;
            }
            items = items.saturating_add(count.unsigned_abs());
            // Items take bytes, unless they are null.
            if items > self.bytes.len() as u64 {
                return Err(Wrong::Place("an array has more items than its block has bytes"));
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }
}

/// Why bytes do not begin with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLong {
    Incomplete,
    TooLong,
}

/// The number that the bytes begin with, and its length: seven bits a byte, lowest first, the sign in the lowest bit.
pub(super) fn long(bytes: &[u8]) -> Result<(i64, usize), NoLong> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            return Err(NoLong::TooLong);
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), at + 1));
        }
    }
    Err(if bytes.len() < 10 { NoLong::Incomplete } else { NoLong::TooLong })
}

/// The bytes of a number.
pub(super) fn put_long(value: i64, bytes: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
