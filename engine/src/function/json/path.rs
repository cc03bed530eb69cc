//! Paths of `get_json_object`, by Spark's rules, which are Hive's.

use super::is_json;
use crate::json_text::Json;

/// Steps of the longest path.
const MAX_STEPS: usize = 256;

/// A path such as `$.a['b'][0].*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// `.name` or `['name']`.
    Name(String),
    /// `.*` or `['*']`: the first field that has what follows.
    AnyName,
    /// `[3]`.
    Item(usize),
    /// `[*]`.
    AnyItem,
}

/// How what is found is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A string without its quotes.
    Raw,
    /// As JSON.
    Quoted,
    /// As JSON, and the items of an array without the array.
    Flat,
}

impl Path {
    /// `None` when it is not a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = parse_step(rest)?;
            steps.push(step);
            rest = after;
        }
        (steps.len() <= MAX_STEPS).then_some(Self { steps })
    }

    /// What is at the path; `None` when there is nothing, or the text is not JSON.
    pub(super) fn get(&self, text: &str) -> Option<String> {
        if !is_json(text) {
            return None;
        }
        let json = Json(text.as_bytes());
        let mut writer = Writer::default();
        let start = json.skip_blank(0, b"");
        find(json, start, &self.steps, Style::Raw, &mut writer)?.then_some(writer.text)
    }
}

fn parse_step(text: &str) -> Option<(Step, &str)> {
    // Spark's parser passes over white space before a word.
    let plain = text.trim_start();
    if let Some(rest) = plain.strip_prefix(".*").or_else(|| plain.strip_prefix("['*']")) {
        return Some((Step::AnyName, rest));
    }
    if let Some(rest) = text.strip_prefix('.') {
        let rest = rest.trim_start();
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        return (!name.is_empty()).then(|| (Step::Name(name.to_owned()), rest));
    }
    if let Some(rest) = plain.strip_prefix("['") {
        let (name, rest) = rest.trim_start().split_once('\'')?;
        let rest = rest.strip_prefix(']')?;
        return (!name.is_empty()).then(|| (Step::Name(name.to_owned()), rest));
    }
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim_start();
    match inside {
        "*" => Some((Step::AnyItem, rest)),
        _ if inside.bytes().all(|byte| byte.is_ascii_digit()) => Some((Step::Item(inside.parse().ok()?), rest)),
        _ => None,
    }
}

/// Writes what is at `steps` from the value at `at`; whether there is anything. `None` when a string is not Unicode.
fn find(json: Json<'_>, at: usize, steps: &[Step], style: Style, writer: &mut Writer) -> Option<bool> {
    match (json.byte(at)?, steps) {
        (b'"', []) if style == Style::Raw => {
            writer.text.push_str(&json.string(at)?);
            Some(true)
        }
        (b'[', []) if style == Style::Flat => {
            any(json.items(at + 1), |item| find(json, item.start, steps, style, writer))
        }
        (_, []) => writer.copy(json, at).map(|()| true),
        (b'{', [Step::Name(wanted), rest @ ..]) => {
            for (name, value) in json.members(at + 1) {
                if name?.as_ref() == wanted.as_str()
                    && json.byte(value.start) != Some(b'n')
                    && find(json, value.start, rest, style, writer)?
                {
                    return Some(true);
                }
            }
            Some(false)
        }
        (b'{', [Step::AnyName, rest @ ..]) => {
            for (_, value) in json.members(at + 1) {
                if find(json, value.start, rest, style, writer)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        (b'[', [Step::AnyItem, Step::AnyItem, rest @ ..]) => {
            writer.list(|writer| any(json.items(at + 1), |item| find(json, item.start, rest, Style::Flat, writer)))
        }
        (b'[', [Step::AnyItem, rest @ ..]) if style == Style::Quoted => {
            writer.list(|writer| any(json.items(at + 1), |item| find(json, item.start, rest, style, writer)))
        }
        (b'[', [Step::AnyItem, rest @ ..]) => matches(json, at, rest, style, writer),
        (b'[', [Step::Item(index), rest @ ..]) => {
            let Some(item) = json.items(at + 1).nth(*index) else { return Some(false) };
            let style = if matches!(rest, [Step::AnyItem, ..]) { Style::Quoted } else { style };
            find(json, item.start, rest, style, writer)
        }
        _ => Some(false),
    }
}

/// Items that match: an array of them, or the item itself if it is only one.
fn matches(json: Json<'_>, at: usize, steps: &[Step], style: Style, writer: &mut Writer) -> Option<bool> {
    let style = if style == Style::Raw { Style::Quoted } else { style };
    let mut found = 0;
    let mut inner = Writer::default();
    inner.list(|inner| {
        for item in json.items(at + 1) {
            found += usize::from(find(json, item.start, steps, style, inner)?);
        }
        Some(true)
    })?;
    match found {
        0 => return Some(false),
        1 => writer.value(inner.text.get(1..inner.text.len() - 1)?),
        _ => writer.value(&inner.text),
    }
    Some(true)
}

/// Whether any is so; all are looked at.
fn any<T>(items: impl Iterator<Item = T>, mut is_so: impl FnMut(T) -> Option<bool>) -> Option<bool> {
    let mut found = false;
    for item in items {
        found |= is_so(item)?;
    }
    Some(found)
}

/// JSON that is written value by value.
#[derive(Debug, Default)]
struct Writer {
    text: String,
    /// For each open array, whether it has an item.
    arrays: Vec<bool>,
}

impl Writer {
    fn value(&mut self, text: &str) {
        self.next();
        self.text.push_str(text);
    }

    fn next(&mut self) {
        if let Some(has_items) = self.arrays.last_mut()
            && std::mem::replace(has_items, true)
        {
            self.text.push(',');
        }
    }

    fn list(&mut self, fill: impl FnOnce(&mut Self) -> Option<bool>) -> Option<bool> {
        self.next();
        self.text.push('[');
        self.arrays.push(false);
        let is_so = fill(self);
        self.arrays.pop();
        self.text.push(']');
        is_so
    }

    /// The value at `at` without white space, each string in its shortest form. Numbers keep their digits.
    fn copy(&mut self, json: Json<'_>, mut at: usize) -> Option<()> {
        self.next();
        let end = json.skip_value(at);
        while at < end {
            let byte = json.byte(at)?;
            if byte == b'"' {
                self.text.push_str(&serde_json::Value::from(json.string(at)?).to_string());
                at = json.skip_value(at);
            } else {
                if !byte.is_ascii_whitespace() {
                    self.text.push(char::from(byte));
                }
                at += 1;
            }
        }
        Some(())
    }
}
