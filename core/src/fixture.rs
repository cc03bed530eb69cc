//! `tests/*.toml` of a job: rows in, rows out.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::diagnostic::{self, Diagnostic};
use crate::document::Document;
use crate::interval::Interval;
use crate::sql::Query;

/// One test of a job. Rows are TOML tables; what is not in a row is null. Values take the types of the tables' columns.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Below the project's folder.
    #[serde(skip)]
    pub path: String,
    /// What it shows.
    #[serde(default)]
    pub description: String,
    /// Value of `$interval_start`: a day or an RFC 3339 stamp.
    #[serde(default)]
    pub interval_start: Option<String>,
    /// Value of `$interval_end`.
    #[serde(default)]
    pub interval_end: Option<String>,
    /// Rows by the name of a table (`silver.sessions`) or of a source of files (`raw.bars`); one that is not here is empty.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<BTreeMap<String, serde_json::Value>>>")]
    pub given: BTreeMap<String, Vec<toml::Table>>,
    /// Rows may reach the table that `expect` does not list.
    #[serde(default)]
    pub partial: bool,
    /// Rows that reach the table, in any order.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    pub expect: Vec<toml::Table>,
    /// Rows that go to quarantine, in any order; the columns that are named are compared. None: not compared.
    #[serde(default)]
    #[schemars(with = "Option<Vec<BTreeMap<String, serde_json::Value>>>")]
    pub quarantine: Option<Vec<toml::Table>>,
}

impl Fixture {
    /// # Errors
    /// What is wrong with the file itself, and where it does not fit the job's query.
    pub(crate) fn parse(path: &str, text: &str, query: &Query) -> Result<Self, Vec<Diagnostic>> {
        let (mut fixture, document) = Document::parse::<Self>(path, text).map_err(|problem| vec![problem])?;
        path.clone_into(&mut fixture.path);
        let file = path.rsplit('/').next().unwrap_or(path);
        file.trim_end_matches(".toml").clone_into(&mut fixture.name);
        let mut problems = fixture.unknown_tables(query, &document);
        problems.extend(fixture.wrong_interval(query, &document));
        let expects_rows = if fixture.partial { !fixture.expect.is_empty() } else { document.holds("expect") };
        if !expects_rows && !document.holds("quarantine") {
            let problem = Diagnostic::of_file(path, "the test expects nothing, so it cannot fail");
            problems.push(problem.with_help("write `[[expect]]` rows, or `expect = []` when no row must come out"));
        }
        match problems.is_empty() {
            true => Ok(fixture),
            false => Err(problems),
        }
    }

    /// # Errors
    /// `Invalid` when its bounds are no interval, which parsing has excluded.
    pub fn interval(&self) -> crate::Result<Option<Interval>> {
        match (&self.interval_start, &self.interval_end) {
            (Some(start), Some(end)) => Interval::parse_bounds(start, end).map(Some),
            _ => Ok(None),
        }
    }

    fn unknown_tables(&self, query: &Query, document: &Document<'_>) -> Vec<Diagnostic> {
        let known: BTreeSet<&str> = query.references.iter().map(|reference| reference.name.as_str()).collect();
        let mut problems = Vec::new();
        for name in self.given.keys().filter(|name| !known.contains(name.as_str())) {
            let problem =
                document.at_key(&["given".into(), name.as_str().into()], format!("the query does not read `{name}`"));
            let meant = diagnostic::closest(name, known.iter().copied());
            problems.push(problem.with_help(match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "remove these rows".to_owned(),
            }));
        }
        problems
    }

    fn wrong_interval(&self, query: &Query, document: &Document<'_>) -> Option<Diagnostic> {
        match (&self.interval_start, &self.interval_end) {
            (None, None) if query.uses_interval() => Some(
                Diagnostic::of_file(&self.path, "the query uses the interval and the test has none")
                    .with_help("set `interval_start` and `interval_end`"),
            ),
            (None, None) => None,
            (Some(_), Some(_)) if !query.uses_interval() => Some(
                document
                    .at_key(&["interval_start".into()], "the query does not use the interval")
                    .with_help("remove `interval_start` and `interval_end`"),
            ),
            (Some(start), Some(end)) => Interval::parse_bounds(start, end)
                .err()
                .map(|error| document.at_value(&["interval_end".into()], error.message())),
            (Some(_), None) => Some(document.at_key(&["interval_start".into()], "`interval_end` is missing")),
            (None, Some(_)) => Some(document.at_key(&["interval_end".into()], "`interval_start` is missing")),
        }
    }
}
