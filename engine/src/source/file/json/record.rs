//! One JSON object as one row.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::cell::Cell;
use super::super::json_value::cell_for;
use super::super::rows::Rows;
use super::super::value::ColumnBuilder;

/// Reads `text` as one object and ends a row. `key` is a field that the object itself does not hold.
pub(super) fn read_record(rows: &mut Rows, line: i64, text: &[u8], key: Option<(&str, Cow<'_, str>)>) {
    let seed = RecordSeed { columns: &rows.columns, key };
    let cells = match parse(seed, text) {
        Ok(cells) => cells,
        Err(error) => return rows.reject(line, parse_reason(&error), text),
    };
    let Some(cells) = cells else {
        return rows.reject(line, "the object has none of the declared fields", text);
    };
    for (at, cell) in cells.iter().enumerate() {
        if let Some(Err(fault)) = rows.columns.get_mut(at).map(|column| column.push_cell(cell)) {
            return rows.reject_value(line, at, fault, &cell.shown(), text);
        }
    }
    rows.keep(line, || text);
}

fn parse<'a>(seed: RecordSeed<'_, 'a>, text: &'a [u8]) -> serde_json::Result<Option<Vec<Cell<'a>>>> {
    let text = std::str::from_utf8(text).map_err(|_| serde_json::Error::custom("it is not UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let cells = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(cells)
}

fn parse_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    match error.column() {
        0 => format!("not a JSON object: {what}"),
        column => format!("not a JSON object: {what} at column {column}"),
    }
}

/// Values of the columns' fields, in the columns' order; `None` for an object that has none of them.
struct RecordSeed<'r, 'de> {
    columns: &'r [ColumnBuilder],
    key: Option<(&'r str, Cow<'de, str>)>,
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_, 'de> {
    type Value = Option<Vec<Cell<'de>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_, 'de> {
    type Value = Option<Vec<Cell<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells = vec![Cell::Null; self.columns.len()];
        let mut found = false;
        let position = |name: &str| self.columns.iter().position(|column| column.field() == name);
        if let Some((name, value)) = self.key
            && let Some(cell) = position(name).and_then(|at| cells.get_mut(at))
        {
            *cell = Cell::Text(value);
        }
        while let Some(Name(name)) = map.next_key_seed(NameSeed)? {
            let place = position(&name);
            match place.and_then(|at| cells.get_mut(at)).zip(place.and_then(|at| self.columns.get(at))) {
                Some((cell, column)) => {
                    let raw = map.next_value::<&RawValue>()?.get();
                    *cell = cell_for(raw, column)
                        .ok_or_else(|| A::Error::custom(format!("`{name}` has an escape that no text has")))?;
                    found = true;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found.then_some(cells))
    }
}

struct Name<'de>(Cow<'de, str>);
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}
