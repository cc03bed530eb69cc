//! What is wrong with the schedules of project.toml.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::graph::{TAG, is_like, no_tag};
use crate::name::{TableName, is_identifier};
use crate::schedule::{Schedule, Sessions, Timetable};

const SCHEDULE: &str = "schedule";

/// What patterns may name.
pub(super) struct Known {
    pub(super) jobs: BTreeSet<TableName>,
    pub(super) tags: BTreeSet<String>,
}

impl Known {
    /// Manifests with a mistake have no tags.
    pub(super) fn new(jobs: BTreeSet<TableName>, manifests: &[&str]) -> Self {
        #[derive(Deserialize)]
        struct Tagged {
            #[serde(default)]
            tags: Vec<String>,
        }
        let tagged = manifests.iter().filter_map(|text| toml::from_str::<Tagged>(text).ok());
        Self { jobs, tags: tagged.flat_map(|manifest| manifest.tags).collect() }
    }
}

pub(super) fn check(schedules: &BTreeMap<String, Schedule>, document: &Document<'_>, known: &Known) -> Vec<Diagnostic> {
    schedules.iter().flat_map(|(name, schedule)| check_one(name, schedule, document, known)).collect()
}

fn check_one(name: &str, schedule: &Schedule, document: &Document<'_>, known: &Known) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if !is_name(name) {
        let message = format!("`{name}` is not a schedule's name");
        let problem = document.at_key(&[SCHEDULE.into(), name.into()], message);
        problems.push(
            problem.with_help("use lower-case letters, digits, `_` and `-`: the ledger has an object of this name"),
        );
    }
    if let Err(wrong) = Timetable::new(schedule, []) {
        let problem = document.at_value(&[SCHEDULE.into(), name.into(), wrong.key.into()], wrong.message);
        problems.push(problem.with_help(wrong.help));
    }
    problems.extend(schedule.sessions.iter().flat_map(|sessions| check_sessions(name, sessions, document, known)));
    let bare: Vec<&str> = schedule.jobs.iter().map(|pattern| bare(pattern)).collect();
    problems.extend(unknown_jobs(&schedule.jobs, &bare, &[SCHEDULE, name], document, known));
    problems
}

fn check_sessions(name: &str, sessions: &Sessions, document: &Document<'_>, known: &Known) -> Vec<Diagnostic> {
    let at = |key: &str, message: String| {
        document.at_value(&[SCHEDULE.into(), name.into(), "sessions".into(), key.into()], message)
    };
    let mut problems = Vec::new();
    if !known.jobs.contains(&sessions.table) {
        let table = sessions.table.to_string();
        let names: Vec<String> = known.jobs.iter().map(TableName::to_string).collect();
        let help = match diagnostic::closest(&table, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`pulse graph` shows all jobs".to_owned(),
        };
        problems.push(at("table", format!("no job writes `{table}`")).with_help(help));
    }
    if !is_identifier(&sessions.column) {
        let problem = at("column", format!("`{}` is not a column's name", sessions.column));
        problems.push(problem.with_help("use lower-case letters, digits and `_`"));
    }
    problems
}

/// Of a list `jobs` of patterns: those that name no job. `bare` are the patterns without signs for neighbours.
pub(super) fn unknown_jobs(
    jobs: &[String],
    bare: &[&str],
    table: &[&str],
    document: &Document<'_>,
    known: &Known,
) -> Vec<Diagnostic> {
    let names: Vec<String> = known.jobs.iter().map(TableName::to_string).collect();
    let is_known = |bare: &str| match bare.strip_prefix(TAG) {
        Some(tag) => known.tags.contains(tag),
        None => names.iter().any(|job| is_like(job, bare)),
    };
    let wrong = jobs.iter().zip(bare).enumerate().filter(|(_, (_, bare))| !is_known(bare));
    let problem = |(index, (pattern, bare)): (usize, (&String, &&str))| {
        let mut place: Vec<Step<'_>> = table.iter().map(|key| (*key).into()).collect();
        place.extend::<[Step<'_>; 2]>(["jobs".into(), index.into()]);
        let problem = document.at_value(&place, format!("`{pattern}` names no job"));
        if let Some(tag) = bare.strip_prefix(TAG) {
            return problem.with_help(no_tag(tag, known.tags.iter()));
        }
        match diagnostic::closest(bare, names.iter().map(String::as_str)) {
            Some(meant) => problem.with_help(format!("did you mean `{meant}`?")),
            None => problem.with_help("`pulse graph` shows all jobs"),
        }
    };
    wrong.map(problem).collect()
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// A pattern without the `+` for neighbours.
fn bare(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('+').unwrap_or(pattern);
    pattern.strip_suffix('+').unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use crate::project::{Project, ProjectFiles};

    fn parse(schedules: &str) -> crate::Result<Project> {
        let mut files = ProjectFiles::from([("project.toml".to_owned(), format!("name = \"p\"\n{schedules}"))]);
        files.insert("silver/a/query.sql".to_owned(), "select 1 as x".to_owned());
        files.insert(
            "silver/a/job.toml".to_owned(),
            "owner = \"o\"\ntags = [\"daily\"]\ngrain = [\"x\"]\n[sink.overwrite]\n".to_owned(),
        );
        Project::parse(&files)
    }

    #[test]
    fn schedules_have_their_defaults() {
        let project =
            parse("[schedule.nightly]\ncron = \"30 16 * * mon-fri\"\njobs = [\"+silver.a\", \"s*\"]\n").unwrap();
        let nightly = &project.settings.schedule["nightly"];
        assert_eq!((nightly.time_zone.as_str(), nightly.enabled), ("UTC", true));
    }

    #[test]
    fn each_mistake_has_its_place_and_remedy() {
        let wrong = "[schedule.Nightly]\ncron = \"30 16 * *\"\n[schedule.b]\ncron = \"0 0 30 2 *\"\ntime_zone = \"UTC\"\n\
                     [schedule.c]\ncron = \"@daily\"\ntime_zone = \"America/NewYork\"\njobs = [\"silver.b+\", \"gold.*\", \"+tag:dayly\", \"tag:daily\"]\n";
        insta::assert_snapshot!(parse(wrong).unwrap_err().to_string(), @r"
        project.toml:2:11: `Nightly` is not a schedule's name (use lower-case letters, digits, `_` and `-`: the ledger has an object of this name)
        project.toml:3:8: `30 16 * *` is not a time of cron: it must have 5 fields (write five fields: minute, hour, day of the month, month, day of the week, such as `30 16 * * mon-fri`)
        project.toml:5:8: `0 0 30 2 *` matches no time (check the day of the month and the month: `0 0 30 2 *` is the 30th of February)
        project.toml:9:13: there is no time zone `America/NewYork` (did you mean `America/New_York`?)
        project.toml:10:9: `silver.b+` names no job (did you mean `silver.a`?)
        project.toml:10:22: `gold.*` names no job (`pulse graph` shows all jobs)
        project.toml:10:32: `+tag:dayly` names no job (did you mean `tag:daily`?)
        ");
        let wrong = "[schedule.a]\n[schedule.b]\ncron = \"@daily\"\nsessions = { table = \"silver.b\", column = \"Closes At\" }\n";
        insta::assert_snapshot!(parse(wrong).unwrap_err().to_string(), @r"
        project.toml:2:1: it has no times (write `cron` or `sessions`)
        project.toml:5:12: its times have two sources (write either `cron` or `sessions`)
        project.toml:5:22: no job writes `silver.b` (did you mean `silver.a`?)
        project.toml:5:43: `Closes At` is not a column's name (use lower-case letters, digits and `_`)
        ");
    }
}
