//! What is wrong with the alerts of project.toml.

use std::collections::BTreeMap;

use super::schedule_checks::{Known, is_name, unknown_jobs};
use crate::alert::{Alert, VARIABLES};
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::graph::TAG;

const ALERT: &str = "alert";

pub(super) fn check(alerts: &BTreeMap<String, Alert>, document: &Document<'_>, known: &Known) -> Vec<Diagnostic> {
    alerts.iter().flat_map(|(name, alert)| check_one(name, alert, document, known)).collect()
}

fn check_one(name: &str, alert: &Alert, document: &Document<'_>, known: &Known) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let value = |key: &str, message: String| document.at_value(&[ALERT.into(), name.into(), key.into()], message);
    if !is_name(name) {
        let problem = document.at_key(&[ALERT.into(), name.into()], format!("`{name}` is not an alert's name"));
        problems.push(
            problem.with_help("use lower-case letters, digits, `_` and `-`: the ledger has objects of this name"),
        );
    }
    if alert.variable().is_none() {
        let problem = match alert.webhook.starts_with("env:") {
            true => value("webhook", format!("`{}` is not a variable for alerts", alert.webhook)),
            // It may be the URL itself: a secret, whose line is not shown.
            false => {
                Diagnostic::of_file("project.toml", format!("`webhook` of alert `{name}` does not name a variable"))
            }
        };
        problems.push(problem.with_help(format!(
            "put the URL into a variable of the environment, and write `webhook = \"env:{VARIABLES}TEAM\"`: \
             capital letters, digits and `_` behind `{VARIABLES}`"
        )));
    }
    if let Some(percent) = alert.quarantined_percent.filter(|percent| *percent > 99) {
        let problem = value("quarantined_percent", format!("{percent} percent of the rows cannot be exceeded"));
        problems.push(problem.with_help("write a number from 0 to 99; a run that rejects all rows fails by itself"));
    }
    if alert.late_hours == Some(0) {
        let problem = value("late_hours", "0 hours are over at once".to_owned());
        problems.push(problem.with_help("write how many hours may pass between two runs that are in order"));
    }
    let patterns: Vec<&str> = alert.jobs.iter().map(String::as_str).collect();
    // An alert compares patterns with names alone: a tag would be about no job.
    match patterns.iter().position(|pattern| pattern.starts_with(TAG)) {
        Some(index) => {
            let place = [ALERT.into(), name.into(), "jobs".into(), index.into()];
            let problem = document.at_value(&place, "an alert takes no tags");
            problems.push(problem.with_help("name jobs or their layers, such as `gold.*`"));
        }
        None => problems.extend(unknown_jobs(&alert.jobs, &patterns, &[ALERT, name], document, known)),
    }
    problems
}

#[cfg(test)]
mod tests {
    use crate::project::{Project, ProjectFiles};

    #[test]
    fn each_mistake_has_its_place_and_remedy_and_no_secret_is_shown() {
        let wrong = "name = \"p\"\n[alert.Team]\nwebhook = \"https://hooks.example.com/s3cret\"\n\
                     [alert.b]\nwebhook = \"env:AWS_SECRET_ACCESS_KEY\"\nquarantined_percent = 100\nlate_hours = 0\njobs = [\"silver.b\"]\n\
                     [alert.c]\nwebhook = \"env:PULSE_ALERT_C\"\njobs = [\"silver.*\", \"tag:daily\"]\n";
        let mut files = ProjectFiles::from([("project.toml".to_owned(), wrong.to_owned())]);
        files.insert("silver/a/query.sql".to_owned(), "select 1 as x".to_owned());
        files.insert(
            "silver/a/job.toml".to_owned(),
            "owner = \"o\"\ntags = [\"daily\"]\ngrain = [\"x\"]\n[sink.overwrite]\n".to_owned(),
        );
        let error = Project::parse(&files).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r#"
        project.toml:2:8: `Team` is not an alert's name (use lower-case letters, digits, `_` and `-`: the ledger has objects of this name)
        project.toml: `webhook` of alert `Team` does not name a variable (put the URL into a variable of the environment, and write `webhook = "env:PULSE_ALERT_TEAM"`: capital letters, digits and `_` behind `PULSE_ALERT_`)
        project.toml:5:11: `env:AWS_SECRET_ACCESS_KEY` is not a variable for alerts (put the URL into a variable of the environment, and write `webhook = "env:PULSE_ALERT_TEAM"`: capital letters, digits and `_` behind `PULSE_ALERT_`)
        project.toml:6:23: 100 percent of the rows cannot be exceeded (write a number from 0 to 99; a run that rejects all rows fails by itself)
        project.toml:7:14: 0 hours are over at once (write how many hours may pass between two runs that are in order)
        project.toml:8:9: `silver.b` names no job (did you mean `silver.a`?)
        project.toml:11:21: an alert takes no tags (name jobs or their layers, such as `gold.*`)
        "#);
        assert!(!error.render().contains("s3cret"), "{}", error.render());
    }
}
