//! Manifests, queries and checks that somebody hands in: a project, or an error that says what is wrong.

use pulse_core::graph::Graph;
use pulse_core::project::{Project, ProjectFiles};

use crate::fuzz::{fuzz, mutated};

const MANIFESTS: &str = include_str!("fuzz/manifests.toml");
const QUERIES: &str = include_str!("fuzz/queries.sql");

const WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "'",
    "\n",
    ",",
    ".",
    "(",
    ")",
    "--",
    "/*",
    "*/",
    ";",
    "$x",
    "$interval_start",
    "null",
    "true",
    "-1",
    "1e400",
    "9223372036854775808",
    "grain = []\n",
    "[sink.merge]\nkeys = [\"a\"]\n",
    "[sink.append]\n",
    "[[expect]]\n",
    "check = \"a > 1\"\n",
    "on_fail = \"drop\"\n",
    "read = \"changed\"\n",
    "by = [\"a\"]\n",
    "partition_by = [\"a\"]\n",
    "select ",
    " from ",
    " where ",
    " union all ",
    " group by ",
    "with x as (",
    " over (partition by a order by b)",
    "case when ",
    " then ",
    " end",
    "silver.a",
    "raw.x",
    "external.y",
    "a.b.c",
    "\u{0}",
    "\u{1b}",
    "\u{e9}",
    "\u{1f600}",
];

#[test]
fn projects() {
    let [manifests, queries] =
        [MANIFESTS.split("\n---\n"), QUERIES.split("\n---\n")].map(Iterator::collect::<Vec<&str>>);
    let mut accepted = 0;
    fuzz("projects", |random, tried| {
        let mut files =
            ProjectFiles::from([("project.toml".to_owned(), "name = \"t\"\n[defaults]\nowner = \"t\"\n".to_owned())]);
        // Some are as they should be, so that a run of one second has projects that are accepted.
        let as_written = random.below(4) == 0;
        for job in ["silver/a", "silver/b"] {
            let (manifest, query) = (*random.of(&manifests), *random.of(&queries));
            let mut text = |text: &str, all: &str| match random.below(3) {
                _ if as_written => text.to_owned(),
                0 => text.to_owned(),
                _ => String::from_utf8_lossy(&mutated(random, text.as_bytes(), all.as_bytes(), WORDS)).into_owned(),
            };
            files.insert(format!("{job}/job.toml"), text(manifest, MANIFESTS));
            files.insert(format!("{job}/query.sql"), text(query, QUERIES));
        }
        *tried = format!("{files:?}");
        match Project::parse(&files) {
            Ok(project) => accepted += usize::from(Graph::new(&project).is_ok()),
            Err(error) => assert!(!error.to_string().is_empty() && !error.render().contains('\u{1b}')),
        }
    });
    assert!(accepted > 0, "no project was accepted");
}
