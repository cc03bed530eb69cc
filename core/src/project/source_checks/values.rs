//! How a feed says that its text becomes values.

use super::join;
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::sources::{Column, ColumnType, Feed, FileSource, StampPattern};

/// What may stand between groups of digits: the spaces are those of French and Swiss numbers.
const GROUP_MARKS: [char; 8] = [',', '.', '\'', '_', ' ', '\u{a0}', '\u{202f}', '\u{2019}'];

pub(super) fn check_column(
    column: &Column,
    document: &Document<'_>,
    place: &[Step<'_>],
    problems: &mut Vec<Diagnostic>,
) {
    if column.round && !column.data_type.can_round() {
        let message = format!("`round` has no effect on a `{}`", column.data_type);
        let problem = document.at_value(&join(place, &["round".into()]), message);
        problems.push(problem.with_help("it is for decimal, float, double, timestamp and timestamp_ntz: take it out"));
    }
}

pub(super) fn check_feed(
    source: &FileSource,
    feed: &Feed,
    document: &Document<'_>,
    place: &[Step<'_>],
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    patterns(source, feed, document, place, &mut problems);
    numbers(source, feed, document, place, &mut problems);
    let nulls = feed.nulls.as_deref().unwrap_or_default();
    for (at, text) in nulls.iter().enumerate() {
        if nulls.iter().take(at).any(|other| other == text) {
            let at = join(place, &["nulls".into(), at.into()]);
            problems.push(document.at_value(&at, format!("`{text}` is in `nulls` twice")));
        }
    }
    problems
}

fn patterns(
    source: &FileSource,
    feed: &Feed,
    document: &Document<'_>,
    place: &[Step<'_>],
    problems: &mut Vec<Diagnostic>,
) {
    for (name, text) in &feed.pattern {
        let at = join(place, &["pattern".into(), name.as_str().into()]);
        let Some(column) = source.columns.iter().find(|column| column.name == *name) else {
            let problem = document.at_key(&at, format!("`pattern` of `{name}`, which is not a column"));
            let meant = diagnostic::closest(name, source.columns.iter().map(|column| column.name.as_str()));
            let help = meant.map_or("`columns` lists them".to_owned(), |meant| format!("did you mean `{meant}`?"));
            problems.push(problem.with_help(help));
            continue;
        };
        if !column.data_type.takes_pattern() {
            let message = format!("`pattern` has no effect on `{name}`, which is a `{}`", column.data_type);
            let problem = document.at_key(&at, message);
            problems.push(problem.with_help("it is for columns of type date, timestamp and timestamp_ntz"));
        } else if let Err(message) = StampPattern::parse(text, &column.data_type) {
            problems.push(document.at_value(&at, message));
        }
    }
}

fn numbers(
    source: &FileSource,
    feed: &Feed,
    document: &Document<'_>,
    place: &[Step<'_>],
    problems: &mut Vec<Diagnostic>,
) {
    let mut problem = |key: &'static str, message: String, help: &str| {
        problems.push(document.at_value(&join(place, &[key.into()]), message).with_help(help));
    };
    if !matches!(feed.decimal, '.' | ',') {
        problem("decimal", format!("`{}` is not a decimal mark", feed.decimal), "use `.` or `,`");
    }
    if let Some(mark) = feed.thousands {
        if !GROUP_MARKS.contains(&mark) {
            problem("thousands", format!("`{mark}` does not group digits"), "use `,`, `.`, `'`, `_` or a space");
        } else if mark == feed.decimal {
            let other = if mark == '.' { "decimal = \",\"" } else { "decimal = \".\"" };
            problem("thousands", format!("`{mark}` is the decimal mark, too"), &format!("declare `{other}`"));
        }
    }
    let in_text = |column: &Column| holds_number(&column.data_type) && !feed.has_from_path(&column.name);
    if !feed.has_plain_numbers() && !source.columns.iter().any(in_text) {
        let key = if feed.thousands.is_some() { "thousands" } else { "decimal" };
        problem(key, format!("`{key}` has no effect: no column is a number"), "take it out");
    }
}

fn holds_number(data_type: &ColumnType) -> bool {
    match data_type {
        ColumnType::Tinyint
        | ColumnType::Smallint
        | ColumnType::Int
        | ColumnType::Bigint
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Decimal { .. } => true,
        ColumnType::Array(inner) | ColumnType::Map(inner) => holds_number(inner),
        ColumnType::Struct(fields) => fields.iter().any(|(_, data_type)| holds_number(data_type)),
        ColumnType::String
        | ColumnType::Json
        | ColumnType::Boolean
        | ColumnType::Binary
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::TimestampNtz => false,
    }
}
