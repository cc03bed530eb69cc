//! What a feed of JSON may not say although it parses.

use crate::diagnostic::Diagnostic;
use crate::document::{Document, Step};
use crate::sources::{Column, ColumnType, Feed, FileSource, Format, Json, JsonLayout, is_pointer, pointer_steps};

pub(super) fn check(source: &FileSource, feed: &Feed, document: &Document<'_>, place: &[Step<'_>]) -> Vec<Diagnostic> {
    let mut found = Problems { source, feed, document, place, list: Vec::new() };
    match &feed.format {
        Format::JsonLines(lines) => {
            found.fields("json_lines", &lines.fields);
            found.rename();
        }
        Format::Json(json) => {
            found.document(json);
            found.fields("json", &json.fields);
            found.rename();
        }
        Format::Avro {} => {
            found.rename();
            found.whole_avro();
        }
        _ => {}
    }
    found.list
}

struct Problems<'a> {
    source: &'a FileSource,
    feed: &'a Feed,
    document: &'a Document<'a>,
    place: &'a [Step<'a>],
    list: Vec<Diagnostic>,
}

impl Problems<'_> {
    fn add(&mut self, place: &[Step<'_>], message: impl Into<String>) {
        let place = [self.place, place].concat();
        self.list.push(self.document.at_value(&place, message.into()));
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.source.columns.iter().find(|column| column.name == name)
    }

    fn field<'b>(&'b self, column: &'b Column) -> &'b str {
        self.feed.rename.get(&column.name).unwrap_or(&column.name)
    }

    fn rename(&mut self) {
        let renamed: Vec<(&String, &String)> = self.feed.rename.iter().filter(|(_, field)| is_pointer(field)).collect();
        for (column, field) in renamed {
            let place = ["rename".into(), column.as_str().into()];
            if let Err(message) = pointer_steps(field) {
                self.add(&place, message);
            }
            if field.is_empty() && self.column(column).is_some_and(|column| !takes_records(&column.data_type)) {
                let message = format!("`{column}` takes the whole record, so it must be `string`, `json`, or nested");
                self.add(&place, message);
            }
        }
    }

    fn whole_avro(&mut self) {
        let whole: Vec<&String> =
            self.feed.rename.iter().filter(|(_, field)| field.is_empty()).map(|(column, _)| column).collect();
        for column in whole {
            self.add(&["rename".into(), column.as_str().into()], "a record of Avro has no text: name a field of it");
        }
    }

    fn fields(&mut self, format: &str, fields: &[String]) {
        let place = ["format".into(), format.into(), "fields".into()];
        for (at, field) in fields.iter().enumerate() {
            if field.is_empty() || fields.iter().take(at).any(|other| other == field) {
                self.add(
                    &[place.as_slice(), &[at.into()]].concat(),
                    format!("`{field}` is no name of its own: each item has one"),
                );
            }
        }
        if fields.is_empty() {
            return;
        }
        let is_known = |field: &str| is_pointer(field) || fields.iter().any(|known| known == field);
        if !self.source.columns.iter().any(|column| is_known(self.field(column))) {
            self.add(&place, "no column is read from `fields`");
        }
        let unknown: Vec<(&String, &String)> = self.feed.rename.iter().filter(|(_, field)| !is_known(field)).collect();
        for (column, field) in unknown {
            self.add(&["rename".into(), column.as_str().into()], format!("`{field}` is not in `fields`"));
        }
    }

    fn document(&mut self, json: &Json) {
        let option = |name: &'static str| ["format".into(), "json".into(), name.into()];
        if let Err(message) = pointer_steps(&json.records) {
            self.add(&option("records"), message);
        }
        if let Some(key) = &json.key
            && !self.source.columns.iter().any(|column| self.field(column) == key)
        {
            self.add(&option("key"), format!("no column is read from `{key}`"));
        }
        if json.layout == JsonLayout::Columns {
            let useless = [("key", json.key.is_some()), ("fields", !json.fields.is_empty())];
            for (name, _) in useless.into_iter().filter(|(_, is_there)| *is_there) {
                self.add(&option(name), format!("`{name}` describes records, and `layout = \"columns\"` has none"));
            }
        }
        for (column, pointer) in &json.outer {
            let place = [option("outer").as_slice(), &[column.as_str().into()]].concat();
            if self.column(column).is_none() {
                self.add(&place, format!("`{column}` is not a column"));
            }
            if self.feed.rename.contains_key(column) {
                self.add(&place, format!("`{column}` is in `rename`, too: it is read from one place"));
            }
            match pointer_steps(pointer) {
                Ok(steps) if steps.is_empty() => self.add(&place, "the whole document is no value of a column"),
                Ok(_) => {}
                Err(message) => self.add(&place, message),
            }
        }
    }
}

fn takes_records(data_type: &ColumnType) -> bool {
    matches!(
        data_type,
        ColumnType::String | ColumnType::Json | ColumnType::Array(_) | ColumnType::Map(_) | ColumnType::Struct(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Sources;

    const COLUMNS: &str = "[{ name = \"t\", type = \"bigint\" }, { name = \"raw\", type = \"string\" }, \
                           { name = \"all\", type = \"json\" }, { name = \"s\", type = \"struct<t:bigint>\" }]";

    /// Messages for a feed of this format and these renames.
    fn problems(format: &str, rename: &str) -> Vec<String> {
        let text = format!(
            "[files.a]\nroot = \"raw\"\ncolumns = {COLUMNS}\n[files.a.feed.f]\npath = \"a\"\nformat = {format}\nrename = {rename}\n"
        );
        let (sources, document) = Document::parse::<Sources>("sources.toml", &text).unwrap();
        let source = &sources.files["a"];
        let place: [Step<'_>; 4] = ["files".into(), "a".into(), "feed".into(), "f".into()];
        check(source, &source.feed["f"], &document, &place).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn what_describes_json_is_accepted() {
        for (format, rename) in [
            ("{ json_lines = {} }", "{ t = \"/a/0/b\", raw = \"\" }"),
            ("{ json_lines = {} }", "{ all = \"\", s = \"\" }"),
            ("{ json_lines = { joined = true } }", "{}"),
            ("{ json = { fields = [\"t\", \"o\"] } }", "{ raw = \"/1\" }"),
            ("{ json = { records = \"/a~1b\", key = \"raw\" } }", "{}"),
            ("{ json = { layout = \"columns\", outer = { raw = \"/meta/symbol\" } } }", "{ t = \"/timestamp\" }"),
        ] {
            assert_eq!(problems(format, rename), Vec::<String>::new(), "{format} {rename}");
        }
    }

    #[test]
    fn what_has_no_effect_or_no_meaning_is_refused() {
        for (format, rename, expected) in [
            ("{ json_lines = {} }", "{ t = \"/a~\" }", "`/a~` is not a JSON pointer"),
            ("{ json_lines = {} }", "{ t = \"\" }", "takes the whole record"),
            ("{ json_lines = { fields = [\"t\", \"t\"] } }", "{}", "no name of its own"),
            ("{ json_lines = { fields = [\"o\"] } }", "{}", "no column is read from `fields`"),
            ("{ json_lines = { fields = [\"t\"] } }", "{ raw = \"o\" }", "`o` is not in `fields`"),
            ("{ json = { records = \"data\" } }", "{}", "begins with `/`"),
            ("{ avro = {} }", "{ raw = \"\" }", "a record of Avro has no text"),
            ("{ avro = {} }", "{ raw = \"/a~\" }", "is not a JSON pointer"),
            ("{ json = { key = \"x\" } }", "{}", "no column is read from `x`"),
            ("{ json = { layout = \"columns\", key = \"raw\" } }", "{}", "`key` describes records"),
            ("{ json = { layout = \"columns\", fields = [\"t\"] } }", "{}", "`fields` describes records"),
            ("{ json = { outer = { x = \"/a\" } } }", "{}", "`x` is not a column"),
            ("{ json = { outer = { raw = \"\" } } }", "{}", "the whole document"),
            ("{ json = { outer = { raw = \"a\" } } }", "{}", "begins with `/`"),
            ("{ json = { outer = { raw = \"/a\" } } }", "{ raw = \"b\" }", "in `rename`, too"),
        ] {
            let found = problems(format, rename);
            assert!(found.len() == 1 && found[0].contains(expected), "{format} {rename}: {found:?}");
        }
    }
}
