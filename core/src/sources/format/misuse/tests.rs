use std::collections::BTreeMap;

use super::super::{Csv, FixedWidth, Format};
use crate::sources::Column;

fn columns() -> Vec<Column> {
    toml::from_str::<BTreeMap<String, Vec<Column>>>(
        "c = [{ name = \"ts\", type = \"timestamp\", required = true }, { name = \"price\", type = \"double\" }]",
    )
    .unwrap()
    .remove("c")
    .unwrap()
}

/// The keys of the misuses of a format.
fn keys(format: &Format, rename: &[(&str, &str)]) -> Vec<&'static str> {
    let rename = rename.iter().map(|(column, field)| ((*column).to_owned(), (*field).to_owned())).collect();
    format.misuses(&columns(), &rename).into_iter().map(|misuse| misuse.key).collect()
}

fn csv(options: &str) -> Format {
    Format::Csv(Box::new(toml::from_str::<Csv>(options).unwrap()))
}

fn fixed(options: &str) -> Format {
    Format::FixedWidth(Box::new(toml::from_str::<FixedWidth>(options).unwrap()))
}

#[test]
fn every_combination_of_header_names_and_match_is_read_in_one_way_or_refused() {
    let names = "fields = [\"ts\", \"x\", \"price\"]\n";
    let mut right = Vec::new();
    for header in ["", "header = false\n"] {
        for columns in ["", names] {
            for matching in ["", "match = \"name_ignoring_case\"\n", "match = \"position\"\n"] {
                let options = format!("{header}{columns}{matching}");
                if keys(&csv(&options), &[]).is_empty() {
                    right.push(options);
                }
            }
        }
    }
    let expected = [
        "".to_owned(),
        "match = \"name_ignoring_case\"\n".to_owned(),
        "match = \"position\"\n".to_owned(),
        format!("{names}match = \"position\"\n"),
        "header = false\nmatch = \"position\"\n".to_owned(),
        format!("header = false\n{names}"),
    ];
    assert_eq!(right, expected);
    let by_order = csv("match = \"position\"");
    assert_eq!(keys(&by_order, &[("ts", "time")]), ["match"]);
    let named = csv("header = false\nfields = [\"time\", \"price\"]");
    assert_eq!(keys(&named, &[("ts", "time")]), Vec::<&str>::new());
}

#[test]
fn names_of_fields_serve_the_columns() {
    for (names, rename, wrong) in [
        ("\"ts\"", vec![], 0),
        ("\"ts\", \"x\"", vec![], 0),
        ("\"price\"", vec![], 1),
        ("\"ts\", \"Price\"", vec![], 1),
        ("\"ts\", \"price\", \"Price\"", vec![], 0),
        ("\"ts\", \"ts\"", vec![], 1),
        ("\"a\", \"b\"", vec![], 1),
        ("\"a\", \"b\"", vec![("ts", "a"), ("price", "b")], 0),
        ("\"ts\", \"b\"", vec![("price", "B")], 1),
    ] {
        let found = keys(&csv(&format!("header = false\nfields = [{names}]")), &rename);
        assert_eq!(found, vec!["fields"; wrong], "{names} {rename:?}");
        let fields: Vec<String> =
            names.split(", ").map(|name| format!("{{ name = {name}, start = 1, width = 2 }}")).collect();
        let found = keys(&fixed(&format!("fields = [{}]", fields.join(", "))), &rename);
        assert_eq!(found, vec!["fields"; wrong], "{names} {rename:?}");
    }
}

#[test]
fn characters_that_tell_fields_apart_differ() {
    for (options, wrong) in [
        ("delimiter = \"\\t\"", vec![]),
        ("delimiter = \"\\u0001\"", vec![]),
        ("delimiter = \" \"", vec![]),
        ("delimiter = \"¦\"", vec![]),
        ("delimiter = \"||\"", vec![]),
        ("delimiter = \"\"", vec!["delimiter"]),
        ("delimiter = \".\"", vec!["delimiter"]),
        ("delimiter = \"x\"", vec!["delimiter"]),
        ("delimiter = \"é\"", vec!["delimiter"]),
        ("delimiter = \"\\n\"", vec!["delimiter"]),
        ("delimiter = \"|\\n|\"", vec!["delimiter"]),
        ("delimiter = \"\\\"\"", vec!["delimiter", "quote"]),
        ("delimiter = \",\\\"\"", vec!["quote"]),
        ("quote = \"'\"", vec![]),
        ("quote = \"\"", vec![]),
        ("quote = \",\"", vec!["quote"]),
        ("quote = \"''\"", vec!["quote"]),
        ("quote = \"q\"", vec!["quote"]),
        ("quote = \"-\"", vec!["quote"]),
        ("quote = \"é\"", vec!["quote"]),
        ("escape = \"\\\\\"", vec![]),
        ("escape = \"\\\"\"", vec!["escape"]),
        ("escape = \",\"", vec!["escape"]),
        ("escape = \"\"", vec!["escape"]),
        ("quote = \"\"\nescape = \"\\\\\"", vec!["escape"]),
        ("comment = \"#\"", vec![]),
        ("comment = \"--\"", vec![]),
        ("comment = \"\"", vec!["comment"]),
        ("comment = \"-\"", vec!["comment"]),
        ("comment = \"1\"", vec!["comment"]),
        ("comment = \" \"", vec!["comment"]),
        ("comment = \"\\\"x\"", vec!["comment"]),
        ("comment = \",\"", vec!["comment"]),
        ("comment = \"|\"\ndelimiter = \"||\"", vec!["comment"]),
        ("comment = \"#\\n\"", vec!["comment"]),
    ] {
        assert_eq!(keys(&csv(options), &[]), wrong, "{options}");
    }
}

#[test]
fn fields_of_a_line_have_a_place() {
    for (place, wrong) in [
        ("start = 1, width = 1", 0),
        ("start = 0, width = 1", 1),
        ("start = 1, width = 0", 1),
        ("start = 4294967295, width = 4294967295", 1),
    ] {
        let format = fixed(&format!("fields = [{{ name = \"ts\", {place} }}]"));
        assert_eq!(keys(&format, &[]), vec!["fields"; wrong], "{place}");
    }
    assert_eq!(keys(&fixed("fields = [{ name = \"ts\", start = 1, width = 1 }]\ncomment = \"\""), &[]), ["comment"]);
}

#[test]
fn a_default_is_not_written() {
    let text = |format: &Format| serde_json::to_string(format).unwrap();
    assert_eq!(text(&csv("")), "{\"csv\":{\"delimiter\":\",\"}}");
    let all = "delimiter = \"||\"\nquote = \"'\"\nescape = \"\\\\\"\nheader = false\nfields = [\"ts\"]\nskip_lines = 2\n\
               comment = \"#\"\nragged = \"null\"\nencoding = \"utf-16le\"\nmatch = \"position\"";
    let all = csv(all);
    assert_eq!(serde_json::from_str::<Format>(&text(&all)).unwrap(), all);
}
