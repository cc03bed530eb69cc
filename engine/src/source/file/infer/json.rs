//! Records of a JSON file and the types of their fields.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::name::is_identifier;
use pulse_core::sources::{ColumnType, Format};
use serde_json::{Map, Value, json};

use super::text::{Guess, Marks, guess};

/// Fields of an object that is taken for a struct; one with more is a map.
const MOST_FIELDS: usize = 20;

/// The format of a text of JSON, and the values of its fields.
pub(super) struct Records {
    pub(super) format: Format,
    pub(super) fields: BTreeMap<String, Vec<Value>>,
    /// Number of records that the values are of.
    pub(super) count: usize,
    /// Lines that are no JSON: the number of each, from 1, and why.
    pub(super) broken: Vec<(usize, String)>,
    /// What is not read, and why.
    pub(super) unread: Vec<String>,
}

/// `is_whole` says whether the text is all of the file.
///
/// # Errors
/// Why no records are found.
pub(super) fn records(text: &str, is_whole: bool) -> Result<Records, String> {
    let mut values = Vec::new();
    let mut broken = None;
    let mut at_line = 0;
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value {
            Ok(value) => values.push(value),
            Err(error) if error.is_eof() && !is_whole && !values.is_empty() => break,
            Err(error) => {
                at_line = error.line();
                broken = Some(error.to_string());
                break;
            }
        }
    }
    if let ([document], None) = (&values[..], &broken)
        && let Some(records) = within(document)
    {
        return records;
    }
    if broken.is_some()
        && let Some(lines) = by_line(text, is_whole)
    {
        return Ok(lines);
    }
    if let (true, Some(error)) = (values.is_empty(), &broken) {
        return Err(format!("it is not JSON, or its first record is larger than the sample: {error}"));
    }
    let a_line = text.trim_end().lines().filter(|line| !line.trim().is_empty()).count();
    let joined =
        a_line < values.len() || text.lines().next().is_none_or(|line| serde_json::from_str::<Value>(line).is_err());
    let format = if joined { json!({"json_lines": {"joined": true}}) } else { json!({"json_lines": {}}) };
    let mut records = gathered(format, values.iter())?;
    records.broken.extend(broken.map(|error| (at_line, format!("{error}; what follows was not looked at"))));
    Ok(records)
}

/// Records of which each is a line, where most lines are; the others are broken. `None` where most lines are no records.
fn by_line(text: &str, is_whole: bool) -> Option<Records> {
    let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    let (mut values, mut broken) = (Vec::new(), Vec::new());
    for (place, (index, line)) in lines.iter().enumerate() {
        match serde_json::from_str::<Value>(line) {
            Ok(value) if value.is_object() || value.is_array() => values.push(value),
            Ok(_) => broken.push((index + 1, "a value that is neither an object nor an array".to_owned())),
            // The sample ends within it.
            Err(error) if error.is_eof() && !is_whole && place + 1 == lines.len() => {}
            Err(error) => broken.push((index + 1, without_line(&error))),
        }
    }
    let format = json!({"json_lines": {}});
    let records = (values.len() > broken.len()).then(|| gathered(format, values.iter()))?;
    records.ok().map(|records| Records { broken, ..records })
}

/// serde counts the lines of what it was given, which is one.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or(&text);
    format!("{words} at column {}", error.column())
}

/// The records that a document holds; none where it is one itself.
fn within(document: &Value) -> Option<Result<Records, String>> {
    let mut lists = Vec::new();
    find_lists(document, String::new(), &mut lists);
    // Of equally long ones, the last.
    let Some(longest) = (0..lists.len()).max_by_key(|place| lists.get(*place).map(|(_, items)| items.len())) else {
        return by_key(document, String::new());
    };
    let (pointer, items) = lists.swap_remove(longest);
    let (records, others): (Vec<&Value>, Vec<&Value>) = items.iter().partition(|item| is_record(item));
    let mut unread: Vec<String> = lists
        .iter()
        .map(|(other, items)| {
            format!("{} at `{other}`: a feed with `records = \"{other}\"` reads them", counted(items.len(), "record"))
        })
        .collect();
    if !others.is_empty() {
        let place = if pointer.is_empty() { "the list" } else { &pointer };
        let what = "neither an object nor an array, and rejected";
        unread.push(format!("{} of {place}: {what}", counted(others.len(), "item")));
    }
    let gathered = gathered(json!({"json": {"records": pointer}}), records.into_iter());
    Some(gathered.map(|records| Records { unread, ..records }))
}

fn is_record(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// `1 record`, `2 records`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn deeper(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Lists most of whose items are objects or arrays, and where they are; those within a list are values of its records.
fn find_lists<'a>(value: &'a Value, pointer: String, found: &mut Vec<(String, &'a [Value])>) {
    match value {
        Value::Array(items) if items.iter().filter(|item| is_record(item)).count() * 2 > items.len() => {
            found.push((pointer, items));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, inner)| find_lists(inner, deeper(&pointer, name), found));
        }
        _ => {}
    }
}

/// An object whose values are objects with fields in common: a record for each of its keys.
fn by_key(value: &Value, pointer: String) -> Option<Result<Records, String>> {
    let fields = value.as_object()?;
    let records: Vec<_> = fields.values().filter_map(Value::as_object).collect();
    let is_common = |name: &&String| records.iter().all(|record| record.contains_key(*name));
    let is_alike = records.len() > 1
        && records.len() == fields.len()
        && records.first().is_some_and(|first| first.keys().any(|name| is_common(&name)));
    if !is_alike {
        let mut inner = fields.iter().filter_map(|(name, inner)| by_key(inner, deeper(&pointer, name)));
        return inner.next();
    }
    if records.iter().all(|record| is_numbered(record)) {
        return Some(Err(
            "it holds columns whose values have the numbers of rows, as `to_json()` of pandas writes them; \
                         write records: `to_json(path, orient=\"records\", lines=True)`"
                .to_owned(),
        ));
    }
    let taken = |name: &str| records.iter().any(|record| record.contains_key(name));
    let key = ["key", "record_key", "key_of_record"].into_iter().find(|name| !taken(name))?;
    let with_key = |(name, record): (&String, &Value)| {
        let mut record = record.as_object().cloned().unwrap_or_default();
        record.insert(key.to_owned(), Value::from(name.as_str()));
        Value::from(record)
    };
    let records: Vec<Value> = fields.iter().map(with_key).collect();
    Some(gathered(json!({"json": {"records": pointer, "key": key}}), records.iter()))
}

/// Whether the keys are the numbers from 0.
fn is_numbered(record: &Map<String, Value>) -> bool {
    (0..record.len()).all(|number| record.contains_key(&number.to_string()))
}

fn gathered<'a>(format: Value, records: impl Iterator<Item = &'a Value>) -> Result<Records, String> {
    let mut fields: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut count = 0;
    for record in records {
        count += 1;
        match record {
            Value::Object(object) => {
                for (name, value) in object {
                    fields.entry(name.clone()).or_default().push(value.clone());
                }
            }
            Value::Array(items) => {
                for (place, value) in items.iter().enumerate() {
                    fields.entry(place.to_string()).or_default().push(value.clone());
                }
            }
            _ => return Err("its records are neither objects nor arrays".to_owned()),
        }
    }
    let format = serde_json::from_value(format).map_err(|error| error.to_string())?;
    Ok(Records { format, fields, count, broken: Vec::new(), unread: Vec::new() })
}

/// What fields with these values hold.
pub(super) fn guesses<'a>(fields: impl Iterator<Item = (&'a String, &'a [Value])> + Clone) -> Vec<(String, Guess)> {
    let mut guesses: Vec<(String, Guess)> =
        fields.clone().map(|(name, values)| (name.clone(), guess_field(name, values))).collect();
    let quoted = |values: &[Value]| values.iter().all(|value| value.is_string() || value.is_null());
    // Some producers quote all of their numbers. Others quote what is no number: whole digits are then a code, such as that of an account.
    let numbers_are_plain = fields.clone().any(|(_, values)| values.iter().any(Value::is_number));
    let numbers_are_quoted = guesses.iter().zip(fields.clone()).any(|((_, guess), (_, values))| {
        quoted(values) && matches!(guess.data_type, ColumnType::Double | ColumnType::Decimal { .. })
    });
    if numbers_are_quoted && !numbers_are_plain {
        return guesses;
    }
    for ((_, guess), (_, values)) in guesses.iter_mut().zip(fields) {
        if guess.data_type == ColumnType::Bigint && quoted(values) {
            *guess = guess.clone().into_text("digits in quotes stay text; `type = \"bigint\"` makes them numbers");
        }
    }
    guesses
}

/// What a field with these values holds.
fn guess_field(name: &str, values: &[Value]) -> Guess {
    let known: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
    if !known.is_empty() && known.iter().all(|value| !value.is_object() && !value.is_array()) {
        let texts: Vec<String> = values.iter().map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut guessed = guess(name, &texts, Marks::ALL[0]);
        // A text stays a text, whatever it looks like; a number in quotes is read as one all the same.
        let mixed = known.iter().any(|value| value.is_string()) && !known.iter().all(|value| value.is_string());
        if mixed && !guessed.is_number() {
            guessed.data_type = ColumnType::Json;
        }
        if guessed.data_type != ColumnType::String && known.iter().any(|value| value.as_str() == Some("")) {
            guessed.nulls.insert(String::new());
        }
        return guessed;
    }
    let data_type = if known.is_empty() { ColumnType::String } else { nested(&known) };
    let evidence = format!("{}, {} null", counted(known.len(), "value"), values.len() - known.len());
    Guess { data_type, pattern: None, nulls: BTreeSet::new(), kept: BTreeSet::new(), evidence }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Lists, maps and structs whose items are alike; everything else is kept as its text.
fn nested(values: &[&Value]) -> ColumnType {
    if values.iter().all(|value| value.is_array()) {
        let items: Vec<Value> = values.iter().filter_map(|value| value.as_array()).flatten().cloned().collect();
        return match inner(&items) {
            ColumnType::Json => ColumnType::Json,
            item => ColumnType::Array(Box::new(item)),
        };
    }
    let objects: Vec<_> = values.iter().filter_map(|value| value.as_object()).collect();
    if objects.len() != values.len() {
        return ColumnType::Json;
    }
    let mut fields: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (name, value) in objects.into_iter().flatten() {
        fields.entry(name.clone()).or_default().push(value.clone());
    }
    if fields.is_empty() || fields.len() > MOST_FIELDS || !fields.keys().all(|name| is_identifier(name)) {
        return ColumnType::Json;
    }
    let typed: Vec<(String, ColumnType)> = fields.into_iter().map(|(name, values)| (name, inner(&values))).collect();
    if typed.iter().any(|(_, data_type)| *data_type == ColumnType::Json) {
        return ColumnType::Json;
    }
    ColumnType::Struct(typed)
}

fn inner(values: &[Value]) -> ColumnType {
    let guessed = guess_field("", values);
    // A pattern is declared for columns only.
    if guessed.pattern.is_some() { ColumnType::String } else { guessed.data_type }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let records = records(text, true).unwrap();
        let fields =
            records.fields.iter().map(|(name, values)| format!("{name}:{}", guess_field(name, values).data_type));
        let format = serde_json::to_string(&records.format).unwrap();
        format!("{format} {}", fields.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn records_by_line_joined_and_within_a_document() {
        assert!(shown("{\"a\":1}\n{\"a\":2.5}\n").ends_with("a:double"));
        assert!(shown("{\"a\":1}\n{\"a\":2}\n").starts_with("{\"json_lines\":{}"));
        assert!(shown("{\"a\":1}{\"a\":2}").contains("joined"));
        assert!(
            shown("{\"meta\":[1],\"data\":{\"bars\":[{\"t\":\"2024-01-01\"},{\"t\":null}]}}").contains("/data/bars")
        );
        assert!(shown("[[1,\"x\"],[2,\"y\"]]").ends_with("0:bigint 1:string"));
    }

    #[test]
    fn a_document_whose_records_have_keys_and_what_is_left_of_others() {
        let keyed = shown("{\"as_of\":{\"A\":{\"px\":1,\"n\":2},\"B\":{\"px\":2.5}}}");
        assert_eq!(keyed, "{\"json\":{\"records\":\"/as_of\",\"key\":\"key\"}} key:string n:bigint px:double");
        // One object is a record, and so is one of objects that have nothing in common.
        for text in
            ["{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1},\"b\":{\"y\":1}}", "{\"a\":{\"x\":1},\"b\":{\"x\":1},\"c\":1}"]
        {
            assert!(shown(text).starts_with("{\"json_lines\":{}}"), "{text}");
        }
        let two = records("{\"a\":[{\"x\":1}],\"b\":[{\"x\":1},{\"x\":2},7]}", true).unwrap();
        assert_eq!(two.count, 2);
        assert_eq!(
            two.unread,
            [
                "1 record at `/a`: a feed with `records = \"/a\"` reads them",
                "1 item of /b: neither an object nor an array, and rejected"
            ]
        );
    }

    #[test]
    fn a_broken_line_is_named_and_the_others_are_looked_at() {
        let text = "{\"a\":1}\n{\"a\":2\n\n{\"a\":2.5}\n7\n{\"b\":\"x\"}\n";
        let records = records(text, true).unwrap();
        assert_eq!(records.fields["a"].len(), 2);
        assert!(records.fields.contains_key("b"));
        let lines: Vec<usize> = records.broken.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 5]);
        assert!(records.broken[0].1.contains("column"), "{:?}", records.broken);
        // The end of a part of a file is not broken.
        let part = super::records("{\"a\":1}\n{x\n{\"a\":3}\n{\"a\":", false).unwrap();
        assert_eq!((part.broken.len(), part.broken[0].0), (1, 2));
        let joined = super::records("{\"a\":\n1}\n{\"a\":2}{x", true).unwrap();
        assert_eq!((joined.fields["a"].len(), joined.broken[0].0), (2, 3));
    }

    #[test]
    fn nested_values_have_types_where_they_are_alike() {
        assert!(shown("{\"a\":[1,2]}\n{\"a\":[]}\n").ends_with("a:array<bigint>"));
        assert!(shown("{\"a\":{\"x\":1,\"y\":\"t\"}}\n").ends_with("a:struct<x:bigint,y:string>"));
        assert!(shown("{\"a\":[1,{}]}\n").ends_with("a:json"));
        assert!(shown("{\"a\":1}\n{\"a\":\"x\"}\n").ends_with("a:json"));
    }

    #[test]
    fn columns_by_number_of_row_are_refused() {
        let wrong = |text: &str| records(text, true).map(|_| ()).unwrap_err();
        let remedy = "orient=\"records\"";
        assert!(wrong("{\"a\":{\"0\":1,\"1\":2},\"b\":{\"0\":\"x\",\"1\":null}}").contains(remedy));
        // Years are keys of records as others are.
        assert!(shown("{\"a\":{\"2019\":1,\"2020\":2},\"b\":{\"2019\":3,\"2020\":4}}").contains("\"key\""));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert!(records("{\"a\":", true).is_err());
        assert!(records("1\n2\n", true).is_err());
    }
}
