//! What `job.toml` may not say although it parses, alone and together with its query.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Job;
use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::error::Error;
use crate::interval::parse_stamp;
use crate::manifest::{Expectation, Manifest, Read, Sink};
use crate::name::{TableName, is_written};
use crate::sql::{self, Query};

mod history;

/// Files smaller than 1 MiB swarm; a reader loads a row group of larger ones at once.
const TARGET_FILE_MIB: std::ops::RangeInclusive<u32> = 1..=4096;

pub(super) fn check(manifest: &Manifest, document: &Document<'_>, query: &Query, query_path: &str) -> Vec<Diagnostic> {
    let mut checks = Checks { document, problems: Vec::new() };
    checks.head(manifest);
    checks.sink(&manifest.sink);
    checks.latest_by(manifest);
    checks.partition_by(manifest);
    checks.history(manifest, query);
    checks.sources(manifest, query);
    checks.interval(manifest, query, query_path);
    let mut names = BTreeSet::new();
    for (index, expectation) in manifest.expect.iter().enumerate() {
        checks.expectation(index, expectation);
        checks.unique(index, expectation, manifest);
        if !names.insert(&expectation.name) {
            let place = ["expect".into(), index.into(), "name".into()];
            let message = format!("a second expectation is called `{}`", expectation.name);
            checks.value(&place, message, "the name is the reason in the quarantine table: say what differs");
        }
    }
    checks.problems
}

/// Tables that `refers` expectations look into, each with a diagnostic at its place that has no message yet.
pub(crate) fn referred_tables(job: &Job) -> Vec<(Diagnostic, TableName)> {
    let path = job.manifest_path();
    let text = Arc::clone(&job.manifest_text);
    let Ok((_, document)) = Document::parse::<Manifest>(&path, &text) else { return Vec::new() };
    let mut tables = Vec::new();
    for (index, expectation) in job.manifest.expect.iter().enumerate() {
        let Some(refers) = &expectation.refers else { continue };
        if let Ok((table, _)) = refers.target() {
            let place = ["expect".into(), index.into(), "refers".into(), "to".into()];
            tables.push((document.at_value(&place, ""), table));
        }
    }
    tables
}

/// A column that `columns` of job.toml describes and the table does not have, at its place.
pub fn unknown_description(job: &Job, column: &str, known: &[&str]) -> Error {
    let path = job.manifest_path();
    let message = format!("the table has no column `{column}`");
    let help = match diagnostic::closest(column, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    match Document::parse::<Manifest>(&path, &job.manifest_text) {
        Ok((_, document)) => document.at_key(&["columns".into(), column.into()], message).with_help(help).into(),
        Err(problems) => Error::from_diagnostics(problems),
    }
}

/// Whether rows that agree in these columns may come with several runs. Each run sees only its own rows. The rows of a file
/// come with one.
fn repeats_come_later(manifest: &Manifest, columns: &[String]) -> bool {
    let within_file = manifest.sink == (Sink::Append {}) && columns.iter().any(|column| column == "source_file");
    !columns.is_empty() && manifest.keeps_rows_beside(columns) && !within_file
}

struct Checks<'a> {
    document: &'a Document<'a>,
    problems: Vec<Diagnostic>,
}

impl Checks<'_> {
    fn value(&mut self, place: &[Step<'_>], message: impl Into<String>, help: &str) {
        self.problems.push(self.document.at_value(place, message).with_help(help));
    }

    fn key(&mut self, place: &[Step<'_>], message: impl Into<String>, help: &str) {
        self.problems.push(self.document.at_key(place, message).with_help(help));
    }

    fn head(&mut self, manifest: &Manifest) {
        if manifest.owner.trim().is_empty() {
            let help = "write `owner = \"..\"` here, or in `[defaults]` of project.toml";
            self.value(&["owner".into()], "the table has no owner", help);
        }
        self.columns(&["grain".into()], &manifest.grain, "name the columns that identify one row");
        if let Some(order) = &manifest.order {
            self.columns(&["order".into()], order, "remove it to sort by the grain");
        }
        if let Some(name) = manifest.renamed.iter().find(|(new, former)| new == former).map(|(new, _)| new) {
            let place = ["renamed".into(), name.as_str().into()];
            self.value(
                &place,
                format!("`{name}` is renamed to itself"),
                "write the new name, and then the one that the table has",
            );
        }
        if let Some(share) = manifest.max_rejected.filter(|share| !(0.0..=1.0).contains(share)) {
            let message = format!("`max_rejected` is {share}");
            self.value(&["max_rejected".into()], message, "use 0 to 1, such as 0.05 for five of a hundred rows");
        }
        if let Some(attempts) = manifest.run_attempts.filter(|attempts| !(1..=100).contains(attempts)) {
            self.value(&["run_attempts".into()], format!("`run_attempts` is {attempts}"), "use 1 to 100");
        }
        if let Some(seconds) = manifest.run_timeout_s.filter(|seconds| !(1..=604_800).contains(seconds)) {
            self.value(&["run_timeout_s".into()], format!("`run_timeout_s` is {seconds}"), "use 1 to 604800 seconds");
        }
        if !TARGET_FILE_MIB.contains(&manifest.target_file_mib) {
            let (least, most) = (TARGET_FILE_MIB.start(), TARGET_FILE_MIB.end());
            let message = format!("`target_file_mib` is {}", manifest.target_file_mib);
            self.value(&["target_file_mib".into()], message, &format!("use {least} to {most}"));
        }
    }

    fn sink(&mut self, sink: &Sink) {
        match sink {
            Sink::Append {} | Sink::Overwrite {} => {}
            Sink::OverwritePartitions { by } => {
                let place = ["sink".into(), "overwrite_partitions".into(), "by".into()];
                self.columns(&place, by, "name the columns that the table is partitioned by");
            }
            Sink::Merge { keys, .. } => {
                let place = ["sink".into(), "merge".into(), "keys".into()];
                self.columns(&place, keys, "name the columns by which a row replaces another, usually the grain");
            }
            Sink::Scd2(_) | Sink::Bitemporal(_) => {}
        }
    }

    fn partition_by(&mut self, manifest: &Manifest) {
        let place = ["partition_by".into()];
        self.duplicates(&place, &manifest.partition_by);
        if let Sink::OverwritePartitions { by } = &manifest.sink
            && !manifest.partition_by.is_empty()
            && manifest.partition_by != *by
        {
            let message = "`partition_by` differs from `by` of the sink";
            self.value(&place, message, "remove it: the sink partitions the table by `by`");
        }
    }

    /// Rows of a key are compared as neighbours, while they are written.
    fn latest_by(&mut self, manifest: &Manifest) {
        let Sink::Merge { keys, latest_by } = &manifest.sink else { return };
        if latest_by.is_empty() {
            return;
        }
        let place = ["sink".into(), "merge".into(), "latest_by".into()];
        self.orders(&place, latest_by);
        if manifest.order().iter().take(keys.len()).any(|column| !keys.contains(column)) {
            let help = format!("let `order` begin with {}", keys.join(", "));
            self.key(&place, "rows of a key would not lie side by side in the table's order", &help);
        }
        if let Some(column) = manifest.partition_by.iter().find(|column| !keys.contains(column)) {
            let help = "partition by columns of the key";
            self.key(&place, format!("rows of a key would lie in several partitions by `{column}`"), help);
        }
        if manifest.interval.is_some() {
            let help = "remove `interval` and filter nothing by it; `read = \"changed\"` reads what is new";
            self.key(&place, "`latest_by` compares rows of all intervals, and a run sees some", help);
        }
    }

    /// A list of columns: at least one, each once.
    fn columns(&mut self, place: &[Step<'_>], columns: &[String], help: &str) {
        if columns.is_empty() {
            let message = match place.last() {
                Some(Step::Key(key)) => format!("`{key}` is empty"),
                Some(Step::Index(_)) | None => "the list is empty".to_owned(),
            };
            self.value(place, message, help);
        }
        for (index, column) in columns.iter().enumerate() {
            let at = [place, &[index.into()]].concat();
            if columns[..index].contains(column) {
                self.value(&at, format!("the column `{column}` is here twice"), "remove one of them");
            }
            if column.trim().is_empty() {
                self.value(&at, "a column without a name", "remove it");
            }
        }
    }

    fn sources(&mut self, manifest: &Manifest, query: &Query) {
        let used: BTreeSet<&str> = query.references.iter().map(|reference| reference.name.as_str()).collect();
        for (name, source) in &manifest.source {
            let place = ["source".into(), name.as_str().into()];
            let at = |key: &'static str| [place[0], place[1], key.into()];
            if !used.contains(name.as_str()) {
                let help = diagnostic::closest(name, used.iter().copied())
                    .map_or("remove it or use it".to_owned(), |meant| {
                        format!("remove it or use it; did you mean `{meant}`?")
                    });
                self.key(&place, format!("query.sql does not read `{name}`"), &help);
            }
            if source.read == Read::All {
                let help = "remove it, or set `read = \"changed\"`";
                if !source.by.is_empty() {
                    self.key(&at("by"), "`by` is of no use when all rows are read", help);
                }
                if source.lookback.is_some() {
                    self.key(&at("lookback"), "`lookback` is of no use when all rows are read", help);
                }
            }
            if source.lookback.as_ref().is_some_and(|lookback| lookback.days == 0) {
                self.value(&at("lookback"), "`lookback` of 0 days reads nothing more", "remove it or use 1 and more");
            }
            if manifest.sink == (Sink::Overwrite {}) && source.read == Read::Changed {
                let help = "remove it, or use `merge`";
                self.value(&at("read"), "`overwrite` computes the table from all rows of its sources", help);
            }
            if manifest.sink == (Sink::Append {}) && source.read == Read::Changed {
                let help = "use `merge`, or remove it: rows that were added are read without it, and where rows were changed or \
                            removed the table is computed again";
                for (key, reads_again) in [("by", !source.by.is_empty()), ("lookback", source.lookback.is_some())] {
                    if reads_again {
                        let message = format!("with `{key}` rows are read again, and `append` would add them again");
                        self.key(&at(key), message, help);
                    }
                }
            }
            self.duplicates(&at("by"), &source.by);
        }
    }

    fn duplicates(&mut self, place: &[Step<'_>], columns: &[String]) {
        if !columns.is_empty() {
            self.columns(place, columns, "");
        }
    }

    fn interval(&mut self, manifest: &Manifest, query: &Query, query_path: &str) {
        match (manifest.interval, &query.first_parameter) {
            (None, Some(place)) => {
                let text: Arc<str> = Arc::from(query.text.as_str());
                let problem = Diagnostic::new(query_path, &text, place.clone(), "job.toml has no `interval`");
                let help = "set `interval` (hour, day, month, year) and `start` in job.toml, or remove the parameter";
                self.problems.push(problem.with_help(help));
            }
            (Some(_), None) => {
                let help = "remove it, or filter by `$interval_start` and `$interval_end` in query.sql";
                self.key(&["interval".into()], "query.sql does not use the interval", help);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        match (manifest.interval, manifest.start.as_deref()) {
            (Some(_), None) => {
                let help = "write `start = \"2024-01-01\"`, where the first interval begins";
                self.key(&["interval".into()], "`interval` needs `start`", help);
            }
            (None, Some(_)) => self.key(&["start".into()], "`start` is of no use without `interval`", "remove it"),
            (Some(unit), Some(text)) => match parse_stamp(text).ok().filter(|_| text.len() == "YYYY-MM-DD".len()) {
                None => self.value(&["start".into()], format!("`{text}` is not a day"), "write it as `2024-01-31`"),
                Some(start) if unit.floor(start) != start => {
                    let help = format!("use {}", unit.floor(start).date_naive());
                    self.value(&["start".into()], format!("`{text}` is not the start of {unit}"), &help);
                }
                Some(_) => {}
            },
            (None, None) => {}
        }
    }

    fn expectation(&mut self, index: usize, expectation: &Expectation) {
        let at = |key: &'static str| [Step::Key("expect"), Step::Index(index), Step::Key(key)];
        if expectation.name.trim().is_empty() {
            self.value(&at("name"), "the expectation has no name", "say what holds when it holds");
        }
        let kinds = expectation.kinds();
        if kinds.len() != 1 {
            let message = match kinds.len() {
                0 => format!("`{}` checks nothing", expectation.name),
                _ => format!("`{}` has {} at once", expectation.name, kinds.join(" and ")),
            };
            let place = kinds.get(1).map_or(at("name"), |kind| at(kind));
            self.key(&place, message, "set exactly one of `check`, `unique`, `rows`, `fresh` and `refers`");
            return;
        }
        let removes_rows = expectation.removes_rows();
        if let Some(check) = &expectation.check
            && let Err(message) = sql::check_condition(check)
        {
            self.problems.push(self.document.at_value(&at("check"), message));
        }
        if let Some(unique) = &expectation.unique {
            let place = [Step::Key("expect"), index.into(), "unique".into(), "columns".into()];
            self.columns(&place, &unique.columns, "name the columns in which no two rows may agree");
            if removes_rows && unique.keep_first_by.is_empty() {
                let help = "write `keep_first_by = [\"column desc\", ..]`, or the choice would differ between runs";
                self.value(&at("unique"), "which of the repeated rows stays is not said", help);
            }
            let place = [Step::Key("expect"), index.into(), "unique".into(), "keep_first_by".into()];
            self.orders(&place, &unique.keep_first_by);
        }
        if removes_rows && (expectation.rows.is_some() || expectation.fresh.is_some() || expectation.refers.is_some()) {
            let help = match expectation.refers {
                Some(_) => "use `warn` or `fail`; rows that refer to nothing can be filtered by the query",
                None => "it is about the table and not about a row: use `warn` or `fail`",
            };
            self.value(&at("on_fail"), format!("`{}` has no rows to remove", expectation.name), help);
        }
        if let Some(rows) = &expectation.rows {
            match (rows.at_least, rows.at_most) {
                (None, None) => self.value(&at("rows"), "`rows` has no bound", "set `at_least`, `at_most` or both"),
                (Some(least), Some(most)) if least > most => {
                    self.value(&at("rows"), "no number of rows is at least and at most that", "swap the bounds");
                }
                _ => {}
            }
        }
        if let Some(refers) = &expectation.refers
            && let Err(message) = refers.target()
        {
            let place = [Step::Key("expect"), index.into(), "refers".into(), "to".into()];
            self.problems.push(self.document.at_value(&place, message));
        }
    }

    /// Repeated rows are found as neighbours while they are written; what cannot be found so is counted on the written files,
    /// where nothing can be taken out any more and only the table's columns are.
    fn unique(&mut self, index: usize, expectation: &Expectation, manifest: &Manifest) {
        let Some(unique) = &expectation.unique else { return };
        let place = ["expect".into(), index.into(), "unique".into(), "columns".into()];
        let in_sink = manifest.unique_in_sink() == Some(index);
        if expectation.removes_rows() && !in_sink {
            let at = ["expect".into(), index.into(), "on_fail".into()];
            let help = "set it to `warn` or `fail`, or take the rows out in another job";
            self.value(&at, "a second `unique` that takes rows out", help);
        } else if expectation.removes_rows() && !manifest.finds(unique) {
            let help =
                "name all columns that the table is partitioned by in `unique`, and all columns of `unique` in `order`";
            self.value(&place, "repeated rows would not lie side by side in the table's order", help);
        } else if expectation.removes_rows() && repeats_come_later(manifest, &unique.columns) {
            let (message, help) = match &manifest.sink {
                Sink::Append {} => (
                    "a row of a later run may repeat one that is in the table, where `append` leaves it".to_owned(),
                    "use `merge` with these columns as keys, or set `on_fail` to `warn` or `fail`, which look at the table too",
                ),
                Sink::Merge { keys, .. } | Sink::OverwritePartitions { by: keys } => (
                    format!(
                        "a row of a later run may repeat one that stays in the table, of another {}",
                        keys.join(", ")
                    ),
                    "name all columns that the sink replaces rows by, or set `on_fail` to `warn` or `fail`",
                ),
                Sink::Overwrite {} | Sink::Scd2(_) | Sink::Bitemporal(_) => return,
            };
            self.value(&place, message, help);
        } else if !expectation.removes_rows()
            && (!in_sink || manifest.keeps_rows_beside(&unique.columns))
            && let Some(hidden) = unique.columns.iter().find(|column| !is_written(column))
        {
            let message = format!("`{hidden}` is not written, and this `unique` is counted on the table's rows");
            self.value(&place, message, "select the column under a name without `_`");
        }
    }

    /// Columns with or without a direction.
    fn orders(&mut self, place: &[Step<'_>], columns: &[String]) {
        for (item, text) in columns.iter().enumerate() {
            let words: Vec<&str> = text.split_whitespace().collect();
            if !matches!(words[..], [_] | [_, "asc" | "desc"]) {
                self.value(
                    &[place, &[item.into()]].concat(),
                    format!("`{text}` is not an order"),
                    "write `column`, `column asc` or `column desc`",
                );
            }
        }
    }
}
