//! The page of a job and its table.

use pulse_core::manifest::{Expectation, IntervalUnit, Manifest, OnFail, Read, Sink, Source};
use pulse_core::project::Job;

use super::html::{Align, Head, Html, Page, facts, moment, note, paragraph, preformatted, section, table};
use super::{LakeState, Site, TableState, parts};
use crate::output;

const UP: &str = "../";
const COLUMNS: [Head; 3] = [("column", Align::Left), ("type", Align::Left), ("description", Align::Left)];
const EXPECTATIONS: [Head; 4] =
    [("expectation", Align::Left), ("condition", Align::Left), ("if not", Align::Left), ("last run", Align::Left)];
const TESTS: [Head; 3] = [("test", Align::Left), ("what it shows", Align::Left), ("rows expected", Align::Right)];
const RUNS: [Head; 6] = [
    ("began (UTC)", Align::Whole),
    ("trigger", Align::Whole),
    ("seconds", Align::Right),
    ("rows", Align::Right),
    ("quarantined", Align::Right),
    ("version", Align::Right),
];
/// Runs on a page.
const NEWEST: usize = 10;

pub(super) fn page(site: &Site, job: &Job) -> String {
    let name = job.name.to_string();
    let mut body = paragraph(&Html::text(&job.manifest.description));
    body.push(&about(site, job));
    body.push(&state(site, job));
    body.push(&section("Columns", &columns(site, job)));
    body.push(&section("Graph", &parts::neighbourhood(site, &name, UP)));
    body.push(&section("Expectations", &expectations(site, job)));
    body.push(&section("Last runs", &runs(site, job)));
    body.push(&section("Query", &preformatted(&job.query.text)));
    body.push(&section("Tests", &tests(job)));
    let project = site.project.settings.name.as_str();
    Page { title: &name, project, index: "../index.html", kind: "table", written: site.written, body }.render()
}

fn about(site: &Site, job: &Job) -> Html {
    let manifest = &job.manifest;
    let place = site.lineage.nodes.iter().position(|node| node.name == job.name.to_string());
    let reads = place.map(|place| parts::links(site.lineage.upstream(place), UP)).unwrap_or_default();
    let read_by = place.map(|place| parts::read_by(site, place, UP)).unwrap_or_default();
    let or = |html: Html, text: &str| if html.is_empty() { Html::text(text) } else { html };
    facts(&[
        ("owner", Html::text(&manifest.owner)),
        ("one row for each", codes(&manifest.grain)),
        ("reads", or(reads, "nothing")),
        ("how", how_read(manifest)),
        ("read by", or(read_by, "no job")),
        ("written by", sink(&manifest.sink)),
        ("partitioned by", codes(manifest.partition_by())),
        ("interval", Html::text(&interval(manifest))),
    ])
}

fn codes(names: &[String]) -> Html {
    Html::joined(names.iter().map(|name| Html::code(name)), ", ")
}

fn words(text: &str, names: &[String]) -> Html {
    let mut html = Html::text(text);
    html.push(&codes(names));
    html
}

fn sink(sink: &Sink) -> Html {
    match sink {
        Sink::Append {} => Html::text("append: rows are added"),
        Sink::Overwrite {} => Html::text("overwrite: each run replaces all rows"),
        Sink::OverwritePartitions { .. } => {
            Html::text("overwrite_partitions: a run replaces the partitions that it has rows for")
        }
        Sink::Merge { keys, latest_by } => {
            let mut html = words("merge: one row for each ", keys);
            if !latest_by.is_empty() {
                html.push(&words(", the latest by ", latest_by));
            }
            html
        }
        Sink::Scd2(history) => words("scd2: the history of each ", &history.keys),
        Sink::Bitemporal(history) => {
            words("bitemporal: the history of each, and what was known of it when, by ", &history.keys)
        }
    }
}

fn how_read(manifest: &Manifest) -> Html {
    let one = |(name, source): (&String, &Source)| {
        let mut html = Html::code(name);
        let (what, by) = match source.read {
            Read::All => (" whole", &[] as &[String]),
            Read::Changed if source.by.is_empty() => (" what changed", &[] as &[String]),
            Read::Changed => (" what changed, by ", source.by.as_slice()),
        };
        html.push(&words(what, by));
        if let Some(lookback) = &source.lookback {
            html.push(&Html::text(&format!(" and {} days before", lookback.days)));
        }
        html
    };
    Html::joined(manifest.source.iter().map(one), "; ")
}

fn interval(manifest: &Manifest) -> String {
    let unit = match manifest.interval {
        None => return String::new(),
        Some(IntervalUnit::Hour) => "hours",
        Some(IntervalUnit::Day) => "days",
        Some(IntervalUnit::Month) => "months",
        Some(IntervalUnit::Year) => "years",
    };
    match &manifest.start {
        Some(start) => format!("{unit} since {start}"),
        None => unit.to_owned(),
    }
}

/// What the lake has of the table.
fn state(site: &Site, job: &Job) -> Html {
    let known = match (&site.lake, site.state(&job.name)) {
        (LakeState::Absent(why), _) => return note(why),
        (LakeState::Present { root, .. }, None) => {
            return note(&format!("The lake {root} does not have this table yet."));
        }
        (LakeState::Present { .. }, Some(state)) => state,
    };
    match known {
        TableState::Unreadable(why) => note(&format!("The table's log cannot be read: {why}.")),
        TableState::Known { version, rows, bytes, files, at } => facts(&[
            ("version", Html::text(&version.to_string())),
            ("rows", Html::text(&rows.map_or_else(|| "unknown".to_owned(), output::count))),
            ("size", Html::text(&size(*bytes, *files))),
            ("committed", Html::text(&at.map(|at| format!("{} UTC", moment(at))).unwrap_or_default())),
        ]),
    }
}

fn size(bytes: u64, files: usize) -> String {
    let bytes = output::size(bytes);
    if files == 1 { format!("{bytes} in 1 file") } else { format!("{bytes} in {files} files") }
}

/// As the query yields them.
fn columns(site: &Site, job: &Job) -> Html {
    let Some(schema) = site.schemas.get(&job.name) else {
        return note("The columns are not known: `pulse check` says why the query cannot be planned here.");
    };
    let row = |(name, kind): &(String, String)| {
        let description = job.manifest.columns.get(name).map(String::as_str).unwrap_or_default();
        vec![Html::code(name), Html::code(kind), Html::text(description)]
    };
    let rows: Vec<Vec<Html>> = parts::columns(schema).iter().map(row).collect();
    match job.manifest.columns.is_empty() {
        true => table(&COLUMNS[..2], &rows),
        false => table(&COLUMNS, &rows),
    }
}

fn expectations(site: &Site, job: &Job) -> Html {
    // The last run that checked anything: one without changes did not.
    let checked = site.runs.get(&job.name).and_then(|runs| runs.iter().find(|run| !run.expectations.is_empty()));
    let last = |expectation: &Expectation| {
        let outcome = checked?.expectations.iter().find(|outcome| outcome.name == expectation.name)?;
        let (failed, of) = (output::count(outcome.failed), output::count(outcome.checked));
        Some(match outcome.failed {
            0 => Html::badge("good", "held"),
            _ => Html::badge(
                if expectation.on_fail == OnFail::Fail { "bad" } else { "mind" },
                &format!("{failed} of {of} failed"),
            ),
        })
    };
    let row = |expectation: &Expectation| {
        vec![
            Html::text(&expectation.name),
            condition(expectation),
            parts::on_fail(expectation.on_fail),
            last(expectation).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<Html>> = job.manifest.expect.iter().map(row).collect();
    table(if checked.is_some() { &EXPECTATIONS } else { &EXPECTATIONS[..3] }, &rows)
}

fn condition(expectation: &Expectation) -> Html {
    if let Some(check) = &expectation.check {
        return Html::code(check);
    }
    if let Some(unique) = &expectation.unique {
        let mut html = words("unique: ", &unique.columns);
        if !unique.keep_first_by.is_empty() {
            html.push(&words("; the first stays by ", &unique.keep_first_by));
        }
        return html;
    }
    if let Some(rows) = &expectation.rows {
        return Html::text(&match (rows.at_least, rows.at_most) {
            (Some(least), Some(most)) => format!("{} to {} rows", output::count(least), output::count(most)),
            (Some(least), None) => format!("at least {} rows", output::count(least)),
            (None, Some(most)) => format!("at most {} rows", output::count(most)),
            (None, None) => String::new(),
        });
    }
    if let Some(fresh) = &expectation.fresh {
        let mut html = Html::text("the newest ");
        html.push(&Html::code(&fresh.column));
        html.push(&Html::text(&format!(" is at most {} h old", fresh.hours)));
        return html;
    }
    let Some(refers) = &expectation.refers else { return Html::default() };
    let mut html = Html::code(&refers.column);
    html.push(&Html::text(" occurs in "));
    html.push(&Html::code(&refers.to));
    html
}

fn runs(site: &Site, job: &Job) -> Html {
    if let LakeState::Absent(_) = site.lake {
        return Html::default();
    }
    let Some(records) = site.runs.get(&job.name) else {
        return note("None of the lake's newest runs is of this job.");
    };
    let row = |record: &pulse_core::run::RunRecord| {
        vec![
            parts::run_state(record),
            Html::code(record.trigger.as_str()),
            Html::text(&format!("{:.1}", record.seconds)),
            Html::text(&output::count(record.counts.rows_out)),
            Html::text(&output::count(record.counts.rows_quarantined)),
            Html::text(&record.version.map(|version| version.to_string()).unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<Html>> = records.iter().take(NEWEST).map(row).collect();
    let mut html = table(&RUNS, &rows);
    html.push(&note("`pulse runs show TRIGGER` says more of a run: its inputs, warnings and errors."));
    html
}

fn tests(job: &Job) -> Html {
    let row = |test: &pulse_core::fixture::Fixture| {
        let expected = test.expect.len() + test.quarantine.as_ref().map_or(0, Vec::len);
        vec![Html::code(&test.name), Html::text(&test.description), Html::text(&expected.to_string())]
    };
    table(&TESTS, &job.tests.iter().map(row).collect::<Vec<_>>())
}
