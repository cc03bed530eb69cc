//! Unknown fields as an object of JSON.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, TimeDelta};

use crate::source::file::arrow_values::Values;
use crate::source::file::cell::Cell;

/// An object under construction.
#[derive(Debug, Default)]
pub(in super::super) struct Object(String);

impl Object {
    /// Adds a field whose value is this JSON.
    pub(in super::super) fn add_json(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    /// Adds a field whose value is this text.
    pub(in super::super) fn add_text(&mut self, name: &str, text: &str) {
        self.name(name);
        push_text(&mut self.0, text);
    }

    /// `None` when nothing was added.
    pub(in super::super) fn finish(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        Some(self.0)
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        push_text(&mut self.0, name);
        self.0.push(':');
    }
}

/// Columns of a batch that no declared column is read from.
#[derive(Debug)]
pub(in super::super) struct RescuedColumns(Vec<(String, Values)>);

impl RescuedColumns {
    /// Those of the `names` that the batch has.
    pub(in super::super) fn of(batch: &RecordBatch, names: &[String]) -> Self {
        let column = |name: &String| Some((name.clone(), Values::new(batch.column_by_name(name)?)));
        Self(names.iter().filter_map(column).collect())
    }

    /// The object of a row; `None` when there are no such columns.
    pub(in super::super) fn object(&self, row: usize) -> Option<String> {
        let mut object = Object::default();
        for (name, values) in &self.0 {
            object.name(name);
            push_value(&mut object.0, values, row);
        }
        object.finish()
    }
}

fn push_text(json: &mut String, text: &str) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

/// A value without loss: what JSON has no form for is a text.
fn push_value(json: &mut String, values: &Values, row: usize) {
    match values.cell(row) {
        Cell::Null => json.push_str("null"),
        Cell::Text(text) => push_text(json, &text),
        Cell::Number(text) | Cell::Decimal(text) | Cell::Json(text) => json.push_str(text),
        Cell::Boolean(value) => json.push_str(if value { "true" } else { "false" }),
        // Writing into a text does not fail.
        Cell::Int(value) => drop(write!(json, "{value}")),
        Cell::Uint(value) => drop(write!(json, "{value}")),
        Cell::Double(value) => match serde_json::Number::from_f64(value) {
            Some(number) => drop(write!(json, "{number}")),
            None if value.is_nan() => json.push_str("\"NaN\""),
            None => json.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        },
        Cell::Bytes(bytes) => push_text(json, &STANDARD.encode(bytes)),
        Cell::Date(days) => {
            let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
            push_text(json, &date.map_or_else(|| values.original_text(row), |date| date.to_string()));
        }
        Cell::WallClock(micros, nanos) => push_text(json, &stamp(values, row, (micros, nanos), "")),
        Cell::Instant(micros, nanos) => push_text(json, &stamp(values, row, (micros, nanos), "Z")),
        Cell::Nested(..) => push_nested(json, values, row),
        Cell::Other(_) => push_text(json, &values.original_text(row)),
    }
}

fn stamp(values: &Values, row: usize, (micros, nanos): (i64, u32), zone: &str) -> String {
    let instant = DateTime::from_timestamp_micros(micros)
        .and_then(|at| at.checked_add_signed(TimeDelta::nanoseconds(i64::from(nanos))));
    instant.map_or_else(|| values.original_text(row), |at| format!("{}{zone}", at.format("%FT%T%.f")))
}

fn push_nested(json: &mut String, values: &Values, row: usize) {
    if let Some((items, range)) = values.list(row) {
        json.push('[');
        for (place, item) in range.enumerate() {
            json.push_str(if place == 0 { "" } else { "," });
            push_value(json, items, item);
        }
        json.push(']');
    } else if let Some((keys, values, range)) = values.map(row) {
        json.push('{');
        for (place, entry) in range.enumerate() {
            json.push_str(if place == 0 { "" } else { "," });
            push_text(json, &key(keys, entry));
            json.push(':');
            push_value(json, values, entry);
        }
        json.push('}');
    } else {
        json.push('{');
        for (place, (name, field)) in values.fields().iter().enumerate() {
            json.push_str(if place == 0 { "" } else { "," });
            push_text(json, name);
            json.push(':');
            push_value(json, field, row);
        }
        json.push('}');
    }
}

/// A key of a map, which JSON only has as a text.
fn key(keys: &Values, entry: usize) -> String {
    match keys.cell(entry) {
        Cell::Text(text) => text.into_owned(),
        _ => {
            let mut text = String::new();
            push_value(&mut text, keys, entry);
            text.trim_matches('"').to_owned()
        }
    }
}

impl Values {
    /// As arrow shows it.
    fn original_text(&self, row: usize) -> String {
        array_value_to_string(self.original(), row).unwrap_or_default()
    }
}
