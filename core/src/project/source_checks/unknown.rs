//! Where what becomes of unknown fields has no effect.

use super::join;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Step};
use crate::sources::{Feed, FileSource, Format, JsonLayout, Matching, Unknown};

pub(super) fn check(
    source: &FileSource,
    feed: &Feed,
    document: &Document<'_>,
    place: &[Step<'_>],
) -> Option<Diagnostic> {
    let reason = why_useless(source, feed)?;
    let message = format!("`unknown = \"{}\"` has no effect: {reason}", feed.unknown.word());
    Some(document.at_value(&join(place, &["unknown".into()]), message).with_help("remove `unknown`"))
}

fn why_useless(source: &FileSource, feed: &Feed) -> Option<&'static str> {
    const NAMED: &str = "the contract itself names all fields of these files";
    match (feed.unknown, &feed.format) {
        (Unknown::Ignore, _) => None,
        (_, Format::FixedWidth(_)) => Some(NAMED),
        (_, Format::Csv(csv)) => {
            let names_itself = csv.header && csv.fields.is_empty() && csv.matching != Matching::Position;
            (!names_itself).then_some(NAMED)
        }
        (_, Format::JsonLines(lines)) if !lines.fields.is_empty() => Some(NAMED),
        (_, Format::Json(json)) if !json.fields.is_empty() => Some(NAMED),
        (Unknown::Rescue, Format::Json(json)) if json.layout == JsonLayout::Columns => {
            Some("`layout = \"columns\"` has no records whose fields could be kept; `reject` and `ignore` are possible")
        }
        (_, Format::JsonLines(_) | Format::Json(_)) => {
            let takes_all = |name: &String| feed.rename.get(name).is_some_and(String::is_empty);
            let is_read = source.columns.iter().any(|column| takes_all(&column.name));
            is_read.then_some("a column takes the whole record, so that every field is read")
        }
        (_, Format::Parquet {} | Format::Avro {}) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Sources;

    fn problems(format: &str, feed: &str) -> Vec<String> {
        let text = format!(
            "[files.f]\nroot = \"/x\"\ncolumns = [{{ name = \"a\", type = \"string\" }}]\n\
             [files.f.feed.g]\npath = \"*\"\nformat = {{ {format} }}\n{feed}\n"
        );
        let (sources, document) = Document::parse::<Sources>("sources.toml", &text).unwrap();
        let json = serde_json::to_string(&sources).unwrap();
        assert_eq!(serde_json::from_str::<Sources>(&json).unwrap(), sources);
        assert_eq!(json.contains("\"unknown\""), feed.contains("unknown") && !feed.contains("ignore"));
        super::super::check(&sources, &document).iter().map(|problem| problem.message.clone()).collect()
    }

    #[test]
    fn it_stands_only_where_it_has_an_effect() {
        for format in ["csv = {}", "json_lines = {}", "json = {}", "parquet = {}", "avro = {}"] {
            for unknown in ["ignore", "reject", "rescue"] {
                assert_eq!(problems(format, &format!("unknown = \"{unknown}\"")), [""; 0], "{format} {unknown}");
            }
        }
        let named = "the contract itself names all fields of these files";
        let columns =
            "`layout = \"columns\"` has no records whose fields could be kept; `reject` and `ignore` are possible";
        let whole = "a column takes the whole record, so that every field is read";
        for (format, feed, reason) in [
            ("csv = { header = false, fields = [\"a\", \"b\"] }", "", named),
            ("csv = { match = \"position\" }", "", named),
            ("fixed_width = { fields = [{ name = \"a\", start = 1, width = 2 }] }", "", named),
            ("json_lines = { fields = [\"a\", \"b\"] }", "", named),
            ("json = { fields = [\"a\", \"b\"] }", "", named),
            ("json = { layout = \"columns\" }", "", columns),
            ("json_lines = {}", "rename = { a = \"\" }", whole),
        ] {
            let expected = format!("`unknown = \"rescue\"` has no effect: {reason}");
            assert_eq!(problems(format, &format!("{feed}\nunknown = \"rescue\"")), [expected], "{format}");
            assert_eq!(problems(format, &format!("{feed}\nunknown = \"ignore\"")), [""; 0], "{format}");
        }
        assert_eq!(problems("json = { layout = \"columns\" }", "unknown = \"reject\""), [""; 0]);
    }
}
