//! A proposal as text of sources.toml.

use std::fmt::Write as _;

use pulse_core::sources::Format;
use serde_json::Value;

use super::text::Marks;
use super::{Proposal, Proposed};

/// Broken lines that a proposal names.
const SHOWN_LINES: usize = 5;

fn has_nulls(format: &Format) -> bool {
    match format {
        Format::Json(_) | Format::JsonLines(_) | Format::Parquet {} | Format::Avro {} => true,
        Format::Csv(_) | Format::FixedWidth(_) => false,
    }
}

impl Proposal {
    /// A source `name` with one feed of the same name, of the file or pattern `path` below `root`.
    pub fn to_toml(&self, name: &str, root: &str, path: &str) -> String {
        let mut toml = format!("[files.{name}]\nroot = {}\ncolumns = [\n", quoted(root));
        self.write_columns(&mut toml);
        for (line, why) in self.broken.iter().take(SHOWN_LINES) {
            toml.push_str(&comment("    ", &format!("line {line} is rejected: {why}")));
        }
        if self.broken.len() > SHOWN_LINES {
            let _ = writeln!(toml, "    # and {} more lines", self.broken.len() - SHOWN_LINES);
        }
        for field in &self.unread {
            toml.push_str(&comment("    ", &format!("not read: {field}")));
        }
        let format = serde_json::to_value(&self.format).unwrap_or_default();
        let _ =
            write!(toml, "]\n\n[files.{name}.feed.{name}]\npath = {}\nformat = {}\n", quoted(path), inline(&format));
        if !self.partitions.is_empty() {
            let names: Vec<String> = self.partitions.iter().map(|name| quoted(name)).collect();
            let _ = writeln!(toml, "partitions = [{}]", names.join(", "));
        }
        let renamed: Vec<(&str, &str)> = self
            .columns
            .iter()
            .filter(|column| column.name != column.field)
            .map(|column| (column.name.as_str(), column.field.as_str()))
            .collect();
        toml.push_str(&pairs("rename", &renamed));
        let patterns: Vec<(&str, &str)> =
            self.columns.iter().filter_map(|column| Some((column.name.as_str(), column.pattern.as_deref()?))).collect();
        toml.push_str(&pairs("pattern", &patterns));
        let texts: Vec<String> = self.nulls.iter().map(|text| quoted(text)).collect();
        // Other formats have nulls of their own, and an empty text is a value.
        match (has_nulls(&self.format), texts.is_empty()) {
            (true, _) => drop(writeln!(toml, "nulls = [{}]", texts.join(", "))),
            (false, true) => {}
            (false, false) => drop(writeln!(toml, "nulls = [\"\", {}]", texts.join(", "))),
        }
        let Marks { decimal, thousands } = self.marks;
        if decimal != '.' {
            let _ = writeln!(toml, "decimal = {}", quoted(&decimal.to_string()));
        }
        if let Some(mark) = thousands {
            let _ = writeln!(toml, "thousands = {}", quoted(&mark.to_string()));
        }
        if self.may_have_unknown_fields() {
            toml.push_str(
                "# Fields that no column is read from are ignored, and named by each run. To refuse or keep them:\n\
                 # unknown = \"reject\" # or \"rescue\"\n",
            );
        }
        toml
    }

    /// Each column, with what speaks for it behind it where the line has room, or else above it.
    fn write_columns(&self, toml: &mut String) {
        let row = |column: &Proposed| {
            let (name, data_type) = (quoted(&column.name), quoted(&column.data_type.to_string()));
            let round = if column.round { ", round = true" } else { "" };
            format!("{{ name = {name}, type = {data_type}{round} }},")
        };
        let rows: Vec<(String, String)> =
            self.columns.iter().map(|column| (row(column), column.evidence.replace(['\n', '\r'], " "))).collect();
        let length = |text: &str| text.chars().count();
        // Of those that leave room for a comment.
        let short = |(row, _): &&(String, String)| length(row) < WIDTH / 2;
        let width = rows.iter().filter(short).map(|(row, _)| length(row)).max().unwrap_or_default();
        for (row, evidence) in rows {
            match 4 + width.max(length(&row)) + 3 + length(&evidence) <= WIDTH {
                true => {
                    let _ = writeln!(toml, "    {row:<width$} # {evidence}");
                }
                false => {
                    let _ = writeln!(toml, "{}    {row}", comment("    ", &evidence));
                }
            }
        }
    }
}

/// Characters of a line that a comment is on.
const WIDTH: usize = 100;

/// As many lines of comments as the words of a text need; a word that is longer than a line is cut.
fn comment(indent: &str, text: &str) -> String {
    let room = WIDTH - indent.len() - 2;
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        let word = match word.chars().count() > room {
            true => format!("{}..", word.chars().take(room - 2).collect::<String>()),
            false => word.to_owned(),
        };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            let _ = writeln!(lines, "{indent}# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    let _ = writeln!(lines, "{indent}# {line}");
    lines
}

impl Proposal {
    /// Whether files may have fields that the contract does not name.
    fn may_have_unknown_fields(&self) -> bool {
        match &self.format {
            Format::Csv(csv) => csv.header && csv.fields.is_empty(),
            Format::FixedWidth(_) => false,
            Format::JsonLines(_) | Format::Json(_) | Format::Parquet {} | Format::Avro {} => true,
        }
    }
}

fn pairs(key: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let texts: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    format!("{key} = {{ {} }}\n", texts.join(", "))
}

/// A basic string of TOML, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// An inline table; keys of formats are bare.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let texts: Vec<String> = fields.map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", texts.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
