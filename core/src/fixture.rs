//! `tests/*.toml` of a job: rows in, rows out.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeValue;

use crate::diagnostic::{self, Diagnostic};
use crate::document::Document;
use crate::interval::Interval;
use crate::sql::Query;

/// One test of a job. Rows are TOML tables; what is not in a row is null. Values take the types of the tables' columns.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Below the project's folder.
    #[serde(skip)]
    pub path: String,
    /// What it shows.
    #[serde(default)]
    pub description: String,
    /// Value of `$interval_start`: a day or an RFC 3339 stamp.
    #[serde(default)]
    pub interval_start: Option<String>,
    /// Value of `$interval_end`.
    #[serde(default)]
    pub interval_end: Option<String>,
    /// Rows by the name of a table (`silver.sessions`) or of a source of files (`raw.bars`); one that is not here is empty.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<BTreeMap<String, serde_json::Value>>>")]
    pub given: BTreeMap<String, Vec<toml::Table>>,
    /// Rows may reach the table that `expect` does not list.
    #[serde(default)]
    pub partial: bool,
    /// Rows that reach the table, in any order.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    pub expect: Vec<toml::Table>,
    /// Rows that go to quarantine, in any order; the columns that are named are compared. None: not compared.
    #[serde(default)]
    #[schemars(with = "Option<Vec<BTreeMap<String, serde_json::Value>>>")]
    pub quarantine: Option<Vec<toml::Table>>,
}

impl Fixture {
    /// # Errors
    /// What is wrong with the file itself, and where it does not fit the job's query.
    pub(crate) fn parse(path: &str, text: &str, query: &Query) -> Result<Self, Vec<Diagnostic>> {
        let (mut fixture, document) = Document::parse::<Self>(path, text)?;
        path.clone_into(&mut fixture.path);
        fixture.keep_digits(&document);
        let file = path.rsplit('/').next().unwrap_or(path);
        file.trim_end_matches(".toml").clone_into(&mut fixture.name);
        let mut problems = fixture.unknown_tables(query, &document);
        problems.extend(fixture.wrong_interval(query, &document));
        let expects_rows = if fixture.partial { !fixture.expect.is_empty() } else { document.holds("expect") };
        if !expects_rows && !document.holds("quarantine") {
            let problem = Diagnostic::of_file(path, "the test expects nothing, so it cannot fail");
            problems.push(problem.with_help("write `[[expect]]` rows, or `expect = []` when no row must come out"));
        }
        match problems.is_empty() {
            true => Ok(fixture),
            false => Err(problems),
        }
    }

    /// # Errors
    /// `Invalid` when its bounds are no interval, which parsing has excluded.
    pub fn interval(&self) -> crate::Result<Option<Interval>> {
        match (&self.interval_start, &self.interval_end) {
            (Some(start), Some(end)) => Interval::parse_bounds(start, end).map(Some),
            _ => Ok(None),
        }
    }

    /// A number that is no double by its digits stays the text that was written: its column may be a decimal.
    fn keep_digits(&mut self, document: &Document<'_>) {
        let given = document.entries_of(&["given"]);
        for (name, written) in given {
            if let Some(rows) = self.given.get_mut(name) {
                digits_of_rows(rows, written);
            }
        }
        for (name, written) in document.entries_of(&[]) {
            match (name, &mut self.quarantine) {
                ("expect", _) => digits_of_rows(&mut self.expect, written),
                ("quarantine", Some(rows)) => digits_of_rows(rows, written),
                _ => {}
            }
        }
    }

    fn unknown_tables(&self, query: &Query, document: &Document<'_>) -> Vec<Diagnostic> {
        let known: BTreeSet<&str> = query.references.iter().map(|reference| reference.name.as_str()).collect();
        let mut problems = Vec::new();
        for name in self.given.keys().filter(|name| !known.contains(name.as_str())) {
            let problem =
                document.at_key(&["given".into(), name.as_str().into()], format!("the query does not read `{name}`"));
            let meant = diagnostic::closest(name, known.iter().copied());
            problems.push(problem.with_help(match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "remove these rows".to_owned(),
            }));
        }
        problems
    }

    fn wrong_interval(&self, query: &Query, document: &Document<'_>) -> Option<Diagnostic> {
        match (&self.interval_start, &self.interval_end) {
            (None, None) if query.uses_interval() => Some(
                Diagnostic::of_file(&self.path, "the query uses the interval and the test has none")
                    .with_help("set `interval_start` and `interval_end`"),
            ),
            (None, None) => None,
            (Some(_), Some(_)) if !query.uses_interval() => Some(
                document
                    .at_key(&["interval_start".into()], "the query does not use the interval")
                    .with_help("remove `interval_start` and `interval_end`"),
            ),
            (Some(start), Some(end)) => Interval::parse_bounds(start, end)
                .err()
                .map(|error| document.at_value(&["interval_end".into()], error.message())),
            (Some(_), None) => Some(document.at_key(&["interval_start".into()], "`interval_end` is missing")),
            (None, Some(_)) => Some(document.at_key(&["interval_end".into()], "`interval_start` is missing")),
        }
    }
}

fn digits_of_rows(rows: &mut [toml::Table], written: &DeValue<'_>) {
    let Some(written) = written.as_array() else { return };
    for (row, written) in rows.iter_mut().zip(written.iter()) {
        digits_of_table(row, written.as_ref());
    }
}

fn digits_of_table(table: &mut toml::Table, written: &DeValue<'_>) {
    let Some(written) = written.as_table() else { return };
    for (key, written) in written {
        let key: &str = key.as_ref().as_ref();
        if let Some(value) = table.get_mut(key) {
            digits_of(value, written.as_ref());
        }
    }
}

fn digits_of(value: &mut toml::Value, written: &DeValue<'_>) {
    match (&mut *value, written) {
        (toml::Value::Float(float), DeValue::Float(text)) => {
            let text = text.as_str().replace('_', "");
            if float.is_finite() && digits(&text) != digits(&format!("{float:e}")) {
                *value = toml::Value::String(text);
            }
        }
        (toml::Value::Array(values), DeValue::Array(written)) => {
            values.iter_mut().zip(written.iter()).for_each(|(value, written)| digits_of(value, written.as_ref()));
        }
        (toml::Value::Table(table), written) => digits_of_table(table, written),
        _ => {}
    }
}

/// The digits of a number as TOML or Rust write it, without zeros at their ends, and the power of ten of the last one.
fn digits(text: &str) -> Option<(String, i64)> {
    let text = text.trim_start_matches(['+', '-']);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    if kept.trim_start_matches('0').is_empty() {
        return Some((String::new(), 0));
    }
    let power = exponent.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()?;
    let power = power + i64::try_from(all.len() - kept.len()).ok()?;
    Some((kept.trim_start_matches('0').to_owned(), power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_keeps_its_digits(whole in 0_u64..1_000_000_000_000_000_000, fraction in "[0-9]{1,12}", negative: bool) {
            let number = format!("{}{whole}.{fraction}", if negative { "-" } else { "" });
            let text = format!("expect = [{{ a = {number}, b = [{{ c = {number} }}] }}]");
            let query = Query::parse("query.sql", "select 1 as a").unwrap();
            let fixture = Fixture::parse("x/tests/t.toml", &text, &query).map_err(|_| "wrong").unwrap();
            let row = fixture.expect.first().unwrap();
            // The model: the shortest digits of the double, as `f64` prints them.
            let double: f64 = number.parse().unwrap();
            let trimmed = number.trim_end_matches('0').trim_end_matches('.');
            let is_double = format!("{double}") == trimmed || (double == 0.0 && whole == 0);
            match &row["a"] {
                toml::Value::Float(float) => prop_assert!(is_double && *float == double, "{}", number),
                toml::Value::String(text) => prop_assert!(!is_double && *text == number, "{}", number),
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(&row["b"][0]["c"], &row["a"]);
        }
    }
}
