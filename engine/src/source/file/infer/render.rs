//! A proposal as text of sources.toml.

use std::fmt::Write as _;

use pulse_core::sources::Format;
use serde_json::Value;

use super::Proposal;
use super::text::Marks;

/// Broken lines that a proposal names.
const SHOWN_LINES: usize = 5;

impl Proposal {
    /// A source `name` with one feed of the same name, of the file or pattern `path` below `root`.
    pub fn to_toml(&self, name: &str, root: &str, path: &str) -> String {
        let mut toml = format!("[files.{name}]\nroot = {}\ncolumns = [\n", quoted(root));
        let rows: Vec<(String, &str)> = self
            .columns
            .iter()
            .map(|column| {
                let data_type = column.data_type.to_string();
                (
                    format!("{{ name = {}, type = {} }},", quoted(&column.name), quoted(&data_type)),
                    column.evidence.as_str(),
                )
            })
            .collect();
        let width = rows.iter().map(|(row, _)| row.chars().count()).max().unwrap_or_default();
        for (row, evidence) in rows {
            let _ = writeln!(toml, "    {row:<width$} # {}", evidence.replace(['\n', '\r'], " "));
        }
        for (line, why) in self.broken.iter().take(SHOWN_LINES) {
            let _ = writeln!(toml, "    # line {line} is rejected: {}", why.replace(['\n', '\r'], " "));
        }
        if self.broken.len() > SHOWN_LINES {
            let _ = writeln!(toml, "    # and {} more lines", self.broken.len() - SHOWN_LINES);
        }
        for field in &self.unread {
            let _ = writeln!(toml, "    # not read: {}", field.replace(['\n', '\r'], " "));
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
        if !self.nulls.is_empty() {
            let texts: Vec<String> =
                std::iter::once("").chain(self.nulls.iter().map(String::as_str)).map(quoted).collect();
            let _ = writeln!(toml, "nulls = [{}]", texts.join(", "));
        }
        let Marks { decimal, thousands } = self.marks;
        if decimal != '.' {
            let _ = writeln!(toml, "decimal = {}", quoted(&decimal.to_string()));
        }
        if let Some(mark) = thousands {
            let _ = writeln!(toml, "thousands = {}", quoted(&mark.to_string()));
        }
        if self.may_have_unknown_fields() {
            toml.push_str("# unknown = \"reject\" # or \"rescue\"; without it, fields that no column is read from are ignored and named by each run\n");
        }
        toml
    }
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
