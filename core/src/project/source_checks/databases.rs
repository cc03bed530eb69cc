//! What `[databases]` may not say although it parses.

use std::collections::BTreeSet;

use super::{columns, join};
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::name::is_identifier;
use crate::project::variables_of;
use crate::sources::{Address, ColumnType, Database, DatabaseTable, Sources, SslMode};

const MOST_CONNECTIONS: u8 = 32;

pub(super) fn check(sources: &Sources, document: &Document<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut names: BTreeSet<&str> = sources.files.keys().map(String::as_str).collect();
    for (name, database) in &sources.databases {
        let place: [Step<'_>; 2] = ["databases".into(), name.as_str().into()];
        if !is_identifier(name) {
            let problem = document.at_key(&place, format!("`{name}` is not a name of a database"));
            problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
        }
        connection(name, database, document, &place, &mut problems);
        if database.tables.is_empty() {
            let problem = document.at_value(&join(&place, &["tables".into()]), format!("`{name}` has no table"));
            problems.push(problem.with_help("describe at least one in `[databases.<name>.tables.<table>]`"));
        }
        for (table_name, table) in &database.tables {
            let place = join(&place, &["tables".into(), table_name.as_str().into()]);
            if !is_identifier(table_name) {
                let problem = document.at_key(&place, format!("`{table_name}` is not a name of a source"));
                problems.push(problem.with_help("use lower-case letters, digits and `_`, a letter first"));
            }
            if !names.insert(table_name) {
                let problem = document.at_key(&place, format!("`raw.{table_name}` is declared twice"));
                problems.push(
                    problem.with_help("give this one another name; `table` says what it is called in the database"),
                );
            }
            columns(&table.landed(name, table_name), document, &place, &mut problems);
            check_table(table, document, &place, &mut problems);
        }
    }
    problems
}

/// Secrets are not shown: neither the line nor the value.
fn connection(
    name: &str,
    database: &Database,
    document: &Document<'_>,
    place: &[Step<'_>],
    problems: &mut Vec<Diagnostic>,
) {
    let secret = |what: String| Diagnostic::of_file("sources.toml", format!("`databases.{name}`: {what}"));
    match Address::parse(&database.url) {
        Err(why) if Address::holds_password(&database.url) => problems.push(secret(why)),
        // What is in the variables is checked when they are known.
        Err(why) if variables_of(&database.url).is_empty() => {
            problems.push(document.at_value(&join(place, &["url".into()]), why));
        }
        Err(_) => {}
        Ok(address) if database.root_certificate.is_some() && !database.is_verified(&address) => {
            let at = join(place, &["root_certificate".into()]);
            let problem = document.at_value(&at, "`root_certificate` has no effect without TLS");
            problems.push(problem.with_help("write `sslmode = \"verify-full\"`, or take it out"));
        }
        Ok(_) => {}
    }
    if database.root_certificate.is_some() && database.sslmode == Some(SslMode::Disable) && database.url.contains('$') {
        let at = join(place, &["root_certificate".into()]);
        problems.push(document.at_value(&at, "`root_certificate` has no effect with `sslmode = \"disable\"`"));
    }
    let is_reference = |text: &String| {
        text.split_once(':').is_some_and(|(kind, name)| matches!(kind, "env" | "file") && !name.is_empty())
    };
    if database.password.as_ref().is_some_and(|text| !is_reference(text)) {
        let what = "`password` is not a place: write `env:NAME` or `file:/path`, never the password itself";
        problems.push(secret(what.to_owned()));
    }
    if !(1..=MOST_CONNECTIONS).contains(&database.connections) {
        let at = join(place, &["connections".into()]);
        problems.push(document.at_value(&at, format!("`connections` is 1 to {MOST_CONNECTIONS}")));
    }
}

fn check_table(table: &DatabaseTable, document: &Document<'_>, place: &[Step<'_>], problems: &mut Vec<Diagnostic>) {
    let mut problem = |key: &str, message: String, help: &str| {
        problems.push(document.at_value(&join(place, &[key.into()]), message).with_help(help));
    };
    if table.table.is_some() && table.query.is_some() {
        problem("table", "`table` has no effect beside `query`".to_owned(), "take one of them out");
    }
    if table.table.as_ref().is_some_and(|name| name.split('.').count() > 2 || name.split('.').any(str::is_empty)) {
        problem(
            "table",
            "`table` is `name` or `schema.name`".to_owned(),
            "a name with a point in it is read by `query = \"select .. from ..\"`",
        );
    }
    if table.query.as_ref().is_some_and(|query| query.trim().is_empty() || query.trim_end().ends_with(';')) {
        problem("query", "`query` is one `select` without a `;` at its end".to_owned(), "write `select .. from ..`");
    }
    match (&table.bookmark, table.margin) {
        (Some(_), None) => problem(
            "bookmark",
            "`bookmark` needs `margin`".to_owned(),
            "rows of a transaction that has not ended have smaller values than some that are read already: say how much smaller, in \
             seconds for stamps, days for dates, units for numbers; `margin = 0` if none can be",
        ),
        (None, Some(_)) => problem("margin", "`margin` has no effect without `bookmark`".to_owned(), "take it out"),
        _ => {}
    }
    for (at, column) in table.columns.iter().enumerate() {
        if matches!(innermost(&column.data_type), ColumnType::Map(_) | ColumnType::Struct(_)) {
            let at = join(place, &["columns".into(), at.into(), "type".into()]);
            let message = format!("`{}` is a `{}`, which no column of a database is", column.name, column.data_type);
            let help = "declare `json` and read it as text, or take it apart in `query`";
            problems.push(document.at_value(&at, message).with_help(help));
        }
    }
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    for name in table.rename.keys().filter(|name| !names.contains(&name.as_str())) {
        let at = join(place, &["rename".into(), name.as_str().into()]);
        let meant = diagnostic::closest(name, names.iter().copied());
        let help = meant.map_or("`columns` lists them".to_owned(), |meant| format!("did you mean `{meant}`?"));
        let message = format!("`rename` of `{name}`, which is not a column");
        problems.push(document.at_key(&at, message).with_help(help));
    }
}

fn innermost(data_type: &ColumnType) -> &ColumnType {
    match data_type {
        ColumnType::Array(item) => innermost(item),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "[databases.shop.tables.orders]\ncolumns = [{ name = \"id\", type = \"bigint\" }]\n";

    fn problems(text: &str) -> Vec<String> {
        let (sources, document) = Document::parse::<Sources>("sources.toml", text).unwrap();
        check(&sources, &document).iter().map(Diagnostic::render).collect()
    }

    #[test]
    fn a_database_that_can_be_read_has_no_problem() {
        let good =
            "[databases.shop]\nurl = \"postgresql://r@h/d\"\npassword = \"env:P\"\nroot_certificate = \"ca.pem\"\n";
        for text in [
            format!("{good}{TABLE}"),
            format!("{good}{TABLE}bookmark = \"id\"\nmargin = 0\ntable = \"s.t\"\n"),
            format!("{good}{TABLE}query = \"select 1 as x\"\nrename = {{ id = \"x\" }}\n"),
            format!("[databases.shop]\nurl = \"postgresql://r@$host:$port/d\"\n{TABLE}"),
        ] {
            assert_eq!(problems(&text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_has_no_effect_or_no_meaning_is_refused() {
        let head = "[databases.shop]\nurl = \"postgresql://r@h/d\"\n";
        for (text, expected) in [
            (format!("{head}sslmode = \"disable\"\nroot_certificate = \"x\"\n{TABLE}"), "has no effect without TLS"),
            (format!("{head}connections = 0\n{TABLE}"), "`connections` is 1 to 32"),
            (format!("{head}{TABLE}margin = 3\n"), "has no effect without `bookmark`"),
            (format!("{head}{TABLE}bookmark = \"id\"\n"), "`bookmark` needs `margin`"),
            (format!("{head}{TABLE}table = \"a\"\nquery = \"select 1\"\n"), "no effect beside `query`"),
            (format!("{head}{TABLE}table = \"a.b.c\"\n"), "`schema.name`"),
            (format!("{head}{TABLE}query = \"select 1;\"\n"), "without a `;`"),
            (format!("{head}{TABLE}rename = {{ idd = \"x\" }}\n"), "did you mean `id`?"),
            (format!("{head}{}", TABLE.replace("bigint", "map<string,int>")), "which no column of a database is"),
            (format!("{head}{}", TABLE.replace("\"id\"", "\"line\"")), "has a column `line` of its own"),
            (format!("{head}tables = {{}}\n"), "`shop` has no table"),
            (
                format!(
                    "{head}{TABLE}[databases.other]\nurl = \"postgresql://r@h/e\"\n{}",
                    TABLE.replace("shop", "other")
                ),
                "declared twice",
            ),
            (format!("[databases.shop]\nurl = \"mysql://r@h/d\"\n{TABLE}"), "begins with postgresql://"),
        ] {
            let found = problems(&text).join("\n");
            assert!(found.contains(expected), "{text}\n{found}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            format!("[databases.shop]\nurl = \"postgresql://r:hunter2@h/d\"\n{TABLE}"),
            format!("[databases.shop]\nurl = \"postgresql://r:hunter2@$host/d\"\n{TABLE}"),
            format!("[databases.shop]\nurl = \"postgresql://r@h/d\"\npassword = \"hunter2\"\n{TABLE}"),
            format!("[databases.shop]\nurl = \"postgresql://r@h/d\"\npassword = \"hunter2:x\"\n{TABLE}"),
        ] {
            let found = problems(&text);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("env:NAME") && !found[0].contains("hunter2"), "{found:?}");
        }
    }
}
