//! A TOML file as it was written: its values, and where each of them stands.

mod mistakes;

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{self, Diagnostic};

/// One step from a table or an array to what it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A file whose TOML parses.
pub(crate) struct Document<'t> {
    path: &'t str,
    text: Arc<str>,
    root: DeTable<'t>,
}

impl<'t> Document<'t> {
    /// The file's values and the places of them, or all its mistakes.
    pub(crate) fn parse<T: DeserializeOwned>(path: &'t str, text: &'t str) -> Result<(T, Self), Vec<Diagnostic>> {
        let document = Self::new(path, text).map_err(|problem| vec![problem])?;
        let value = document.read(&document.root)?;
        Ok((value, document))
    }

    /// As much of the file's values as a tree has.
    fn read<T: DeserializeOwned>(&self, root: &DeTable<'t>) -> Result<T, Vec<Diagnostic>> {
        mistakes::read(root).map_err(|first| {
            let all = mistakes::all::<T>(root, self.text.len());
            let all = if all.is_empty() { vec![first] } else { all };
            all.iter().map(|error| explain(self.path, &self.text, error)).collect()
        })
    }

    /// A file that is TOML, whatever its values are.
    pub(crate) fn new(path: &'t str, text: &'t str) -> Result<Self, Diagnostic> {
        let shared: Arc<str> = Arc::from(text);
        let root = DeTable::parse(text).map_err(|error| explain(path, &shared, &error))?.into_inner();
        Ok(Self { path, text: shared, root })
    }

    /// The values, as if the file held nothing but this key of its top level; with `entry`, nothing but that one of its table.
    pub(crate) fn only<T: DeserializeOwned>(&self, key: &str, entry: Option<&str>) -> Result<T, Vec<Diagnostic>> {
        let mut root = self.root.clone();
        let others = |table: &DeTable<'t>, kept: &str| -> Vec<_> {
            table.keys().filter(|name| name.get_ref() != kept).cloned().collect()
        };
        for other in others(&root, key) {
            root.remove(&other);
        }
        if let (Some(entry), Some(DeValue::Table(table))) = (entry, root.get_mut(key).map(Spanned::get_mut)) {
            for other in others(table, entry) {
                table.remove(&other);
            }
        }
        self.read(&root)
    }

    pub(crate) fn holds(&self, key: &str) -> bool {
        self.root.contains_key(key)
    }

    /// Keys with their values of the table at the end of `steps`; of the file's top level without steps.
    pub(crate) fn entries_of(&self, steps: &[&str]) -> impl Iterator<Item = (&str, &DeValue<'t>)> {
        let table = steps.iter().try_fold(&self.root, |table, key| table.get(*key)?.as_ref().as_table());
        table.into_iter().flatten().map(|(key, value)| (key.as_ref().as_ref(), value.as_ref()))
    }

    /// About the value at the end of `steps`.
    pub(crate) fn at_value(&self, steps: &[Step<'_>], message: impl Into<String>) -> Diagnostic {
        self.about(self.find(steps).1, message)
    }

    /// About the last key of `steps`, or of an array's item: about its first key.
    pub(crate) fn at_key(&self, steps: &[Step<'_>], message: impl Into<String>) -> Diagnostic {
        self.about(self.find(steps).0, message)
    }

    fn about(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.path, &self.text, span, message)
    }

    fn find(&self, steps: &[Step<'_>]) -> (Range<usize>, Range<usize>) {
        find(&self.root, steps)
    }
}

/// Places of the key and of the value at the end of `steps`; of the nearest that exists when the end does not.
fn find(root: &DeTable<'_>, steps: &[Step<'_>]) -> (Range<usize>, Range<usize>) {
    let mut table = Some(root);
    let mut items: Option<&[Spanned<DeValue<'_>>]> = None;
    let mut found = (0..0, 0..0);
    for step in steps {
        let next = match step {
            Step::Key(key) => table.and_then(|table| table.get_key_value(*key)).map(|(key, value)| (key.span(), value)),
            Step::Index(index) => items.and_then(|items| items.get(*index)).map(|item| (item.span(), item)),
        };
        let Some((key, value)) = next else { break };
        found = (key, value.span());
        table = value.as_ref().as_table();
        items = value.as_ref().as_array().map(|array| &array[..]);
    }
    found
}

/// Serde's words as ours, at serde's place.
fn explain(path: &str, text: &Arc<str>, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let message = toml_words(error.message());
    let written = text.get(span.clone()).unwrap_or_default();
    // To serde a date is a table with a key of its own.
    let is_date = message.starts_with("invalid type: table") && written.parse::<toml::value::Datetime>().is_ok();
    let help = match meant(&message) {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None if is_date => Some(format!("put it in quotes: `\"{written}\"`")),
        None => None,
    };
    let message = if is_date { message.replacen("table", "date", 1) } else { message };
    let problem = Diagnostic::new(path, text, span, message);
    match help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// The name that a message knows, and that was probably meant by the one which it does not know.
fn meant(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown ");
    let wrong = quoted.next().filter(|_| unknown)?;
    diagnostic::closest(wrong, quoted).map(str::to_owned)
}

/// Serde speaks of Rust's types; the user wrote TOML.
fn toml_words(message: &str) -> String {
    if message.contains("unit variant, expected struct variant") {
        return "expected a table here, not a string: write `append = {}` instead of `\"append\"`".to_owned();
    }
    if let Some((keys, known)) =
        message.strip_prefix("unexpected keys in table: ").and_then(|rest| rest.split_once(", available keys: "))
    {
        let known: Vec<String> = known.split(", ").map(|key| format!("`{key}`")).collect();
        // Points at the first key. Each other key is reported at its own place.
        let key = keys.split(", ").next().unwrap_or(keys);
        return format!("unknown key `{key}`, expected {}", known.join(", "));
    }
    let (found, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let found = match found {
        "invalid type: map" => "invalid type: table",
        "invalid type: sequence" => "invalid type: array",
        // Serde takes an array for a table whose keys have no names.
        _ if found.starts_with("invalid length ") && expected.starts_with("struct ") => "invalid type: array",
        _ => found,
    };
    let expected = match expected {
        "a sequence" => "an array",
        "a map" => "a table",
        "a boolean" => "`true` or `false`",
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    };
    let words = [
        ("unknown field", "unknown key"),
        ("missing field", "missing key"),
        ("unknown variant", "unknown value"),
        ("\n", ", "),
    ];
    let message = if expected.is_empty() { found.to_owned() } else { format!("{found}, expected {expected}") };
    words.into_iter().fold(message, |message, (from, to)| message.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn wrong(text: &str) -> String {
        match Document::parse::<Manifest>("silver/x/job.toml", text) {
            Ok(_) => panic!("it parses"),
            Err(problems) => problems.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n"),
        }
    }

    const HEAD: &str = "owner = \"me\"\ngrain = [\"x\"]\n";

    #[test]
    fn each_mistake_has_its_caret() {
        insta::assert_snapshot!(wrong("onwer = \"me\"\ngrain = [\"x\"]\n[sink.append]\n"), @r#"
        error: unknown key `onwer`, expected one of `owner`, `description`, `tags`, `interval`, `start`, `grain`, `order`, `partition_by`, `renamed`, `source`, `sink`, `expect`, `expect_groups`, `max_rejected`, `run_attempts`, `run_timeout_s`, `target_file_mib`, `columns`
         --> silver/x/job.toml:1:1
          |
        1 | onwer = "me"
          | ^^^^^
          |
          = help: did you mean `owner`?
        "#);
        insta::assert_snapshot!(wrong("owner = \"me\"\ngrain = \"x\"\n[sink.append]\n"), @r#"
        error: invalid type: string "x", expected an array
         --> silver/x/job.toml:2:9
          |
        2 | grain = "x"
          |         ^^^
        "#);
        insta::assert_snapshot!(wrong("owner = \"me\"\n[sink.append]\n"), @r#"
        error: missing key `grain`
         --> silver/x/job.toml:1:1
          |
        1 | owner = "me"
          | ^
        "#);
        insta::assert_snapshot!(wrong(&format!("{HEAD}interval = \"days\"\n[sink.append]\n")), @r#"
        error: unknown value `days`, expected one of `hour`, `day`, `month`, `year`
         --> silver/x/job.toml:3:12
          |
        3 | interval = "days"
          |            ^^^^^^
          |
          = help: did you mean `day`?
        "#);
        insta::assert_snapshot!(wrong(&format!("{HEAD}[sink.merge]\nkey = [\"x\"]\n")), @r#"
        error: unknown key `key`, expected `keys`, `latest_by`
         --> silver/x/job.toml:4:1
          |
        4 | key = ["x"]
          | ^^^
          |
          = help: did you mean `keys`?
        "#);
        insta::assert_snapshot!(wrong(&format!("{HEAD}[sink.mergee]\nkeys = [\"x\"]\n")), @r"
        error: unknown value `mergee`, expected one of `append`, `overwrite`, `overwrite_partitions`, `merge`, `scd2`, `bitemporal`
         --> silver/x/job.toml:3:7
          |
        3 | [sink.mergee]
          |       ^^^^^^
          |
          = help: did you mean `merge`?
        ");
        insta::assert_snapshot!(wrong(&format!("{HEAD}[sink.merge]\n")), @r"
        error: missing key `keys`
         --> silver/x/job.toml:3:1
          |
        3 | [sink.merge]
          | ^^^^^^^^^^^^
        ");
        insta::assert_snapshot!(wrong(&format!("{HEAD}sink = \"append\"\n")), @r#"
        error: expected a table here, not a string: write `append = {}` instead of `"append"`
         --> silver/x/job.toml:3:8
          |
        3 | sink = "append"
          |        ^^^^^^^^
        "#);
        let on_fail = format!("{HEAD}[sink.append]\n[[expect]]\nname = \"n\"\non_fail = \"quarantene\"\n");
        insta::assert_snapshot!(wrong(&on_fail), @r#"
        error: unknown value `quarantene`, expected one of `warn`, `drop`, `quarantine`, `fail`
         --> silver/x/job.toml:6:11
          |
        6 | on_fail = "quarantene"
          |           ^^^^^^^^^^^^
          |
          = help: did you mean `quarantine`?
        "#);
        insta::assert_snapshot!(wrong(&format!("{HEAD}target_file_mib = -1\n[sink.append]\n")), @r"
        error: invalid value: integer `-1`, expected a whole number, 0 or more
         --> silver/x/job.toml:3:19
          |
        3 | target_file_mib = -1
          |                   ^^
        ");
        insta::assert_snapshot!(wrong("owner = \"me\ngrain = []\n"), @r#"
        error: invalid basic string, expected `"`
         --> silver/x/job.toml:1:12
          |
        1 | owner = "me
          |            ^
        "#);
        insta::assert_snapshot!(wrong(&format!("{HEAD}[sink.append]\n[source.\"raw.x\"]\nread = \"changed\"\nlookback = \"3 days\"\n")), @r#"
        error: invalid type: string "3 days", expected a table
         --> silver/x/job.toml:6:12
          |
        6 | lookback = "3 days"
          |            ^^^^^^^^
        "#);
    }

    #[test]
    fn types_have_the_words_of_toml() {
        let shown = |line: &str| {
            let wrong = wrong(&format!("{HEAD}{line}\n[sink.append]\n"));
            let help = wrong.split_once("= help: ").map_or("", |(_, help)| help);
            (wrong.lines().next().unwrap_or_default().to_owned(), help.to_owned())
        };
        let said = |message: &str, help: &str| (format!("error: invalid type: {message}"), help.to_owned());
        assert_eq!(shown("start = 2024-01-01"), said("date, expected a string", "put it in quotes: `\"2024-01-01\"`"));
        assert_eq!(shown("start = { a = 1 }"), said("table, expected a string", ""));
        assert_eq!(shown("max_rejected = \"5%\""), said("string \"5%\", expected a number", ""));
        assert_eq!(shown("renamed = [\"a\"]"), said("array, expected a table", ""));
        assert_eq!(shown("target_file_mib = true"), said("boolean `true`, expected a whole number, 0 or more", ""));
        // One message: what stands in the array is no mistake of its own.
        let unique = "[[expect]]\nname = \"n\"\non_fail = \"fail\"\nunique = [\"c\"]\n";
        let wrong = wrong(&format!("{HEAD}[sink.append]\n{unique}"));
        assert_eq!(wrong.matches("error: ").count(), 1, "{wrong}");
        assert!(wrong.starts_with("error: invalid type: array, expected a table\n"), "{wrong}");
    }

    #[test]
    fn places_of_keys_and_values_are_found() {
        let text = "owner = \"me\"\ngrain = [\"x\", \"y\"]\n[sink.merge]\nkeys = []\n[[expect]]\nname = \"a\"\non_fail = \"fail\"\n";
        let (_, document) = Document::parse::<Manifest>("job.toml", text).unwrap();
        let value = |steps: &[Step<'_>]| text[document.at_value(steps, "").span].to_owned();
        let key = |steps: &[Step<'_>]| text[document.at_key(steps, "").span].to_owned();
        assert_eq!(value(&["grain".into(), 1.into()]), "\"y\"");
        assert_eq!(key(&["sink".into(), "merge".into(), "keys".into()]), "keys");
        assert_eq!(value(&["sink".into(), "merge".into(), "keys".into()]), "[]");
        assert_eq!(value(&["expect".into(), 0.into(), "on_fail".into()]), "\"fail\"");
        assert_eq!(value(&["expect".into(), 0.into(), "check".into()]), "[[expect]]");
        assert!(document.holds("owner") && !document.holds("order"));
    }
}
