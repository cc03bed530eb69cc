//! Names of folders and files with characters that are special in URLs, patterns or partitions.

use std::path::Path;

use super::*;

/// Pieces of a name, and their text in a value taken from a path.
const PIECES: [(&str, &str); 30] = [
    ("x", "x"),
    ("y z", "y z"),
    (" ", " "),
    ("%", "%"),
    ("%25", "%"),
    ("%2F", "/"),
    ("%20", " "),
    ("%C3%BC", "ü"),
    ("+", "+"),
    ("#", "#"),
    ("#1", "#1"),
    ("?", "?"),
    ("&", "&"),
    ("ü", "ü"),
    ("日本", "日本"),
    ("🙂", "🙂"),
    ("[", "["),
    ("]", "]"),
    ("{", "{"),
    ("}", "}"),
    ("(x|y)", "(x|y)"),
    ("=", "="),
    (":", ":"),
    ("~", "~"),
    ("^", "^"),
    ("`", "`"),
    ("\\", "\\"),
    ("'", "'"),
    ("\"", "\""),
    ("$raw*", "$raw*"),
];

const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A name and the value it encodes.
type Name = (String, String);

fn name() -> impl Strategy<Value = Name> {
    vec(0..PIECES.len(), 1..5).prop_map(|pieces| {
        let join = |of: fn(&(&'static str, &'static str)) -> &'static str| {
            pieces.iter().map(|piece| of(&PIECES[*piece])).collect::<String>()
        };
        (join(|piece| piece.0), join(|piece| piece.1))
    })
}

fn partition() -> impl Strategy<Value = Name> {
    prop_oneof![8 => name(), 1 => Just((NULL.to_owned(), "-".to_owned()))]
}

fn world(raw: &Path, lake: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let sources = "[files.lines]\nroot = \"$raw\"\ncolumns = [{ name = \"v\", type = \"bigint\" }]\n\
                   [files.lines.feed.all]\npath = \"d={d}/{part}_*.csv\"\nformat = { csv = {} }\n";
    let text = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = ProjectFiles::from([
        text("project.toml", "name = \"test\"\n[defaults]\nowner = \"test\"\n"),
        text("sources.toml", sources),
        text("bronze/lines/job.toml", BRONZE),
        text("bronze/lines/query.sql", "select v, d, part, source_file, line from raw.lines"),
        text(
            "silver/days/job.toml",
            "grain = [\"d\"]\n[source.\"bronze.lines\"]\nread = \"changed\"\nby = [\"d\"]\n[sink.overwrite_partitions]\n\
             by = [\"d\"]\n",
        ),
        text("silver/days/query.sql", "select d, sum(v) as v from bronze.lines group by d"),
    ]);
    let variables = BTreeMap::from([("raw".to_owned(), raw.to_str().unwrap().to_owned())]);
    let project = Project::parse(&files).unwrap().with_variables(&variables);
    let bench = bench(project, folder.path(), lake);
    World { folder, bench, runs: 0, modes: BTreeMap::new() }
}

fn put(raw: &Path, (day, _): &Name, (part, _): &Name, v: i64) {
    let folder = raw.join(format!("d={day}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{part}_.csv")), format!("v\n{v}\n")).unwrap();
}

#[test]
fn every_name_is_itself() {
    let files = || prop::collection::btree_map((partition(), name()), 1..100_i64, 1..5);
    let lake = vec(name(), 1..3).prop_map(|names| names.into_iter().map(|name| name.0).collect::<Vec<_>>().join("/"));
    check(cases(24), (name(), lake, files(), files()), |(root, lake, first, second)| {
        block_on(async {
            let above = tempfile::tempdir().unwrap();
            let raw = above.path().join(&root.0);
            std::fs::create_dir(&raw).unwrap();
            let mut world = world(&raw, &lake);
            let mut known = BTreeMap::new();
            for step in [first, second] {
                for ((day, part), v) in step {
                    put(&raw, &day, &part, v);
                    known.insert((day, part), v);
                }
                let outcomes = world.run_all().await;
                assert!(outcomes.values().all(Result::is_ok), "{outcomes:?}");
                let again = world.run_all().await;
                assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
                assert_eq!(world.rows(&"bronze.lines".parse().unwrap(), None).await, lines(&known));
                assert_eq!(world.rows(&"silver.days".parse().unwrap(), None).await, sums(&known));
            }
            assert_eq!(world.bench.lake.tables().await.unwrap().len(), 2);
            let lies_there = world.folder.path().join(&lake).join("bronze/lines/_delta_log");
            assert!(lies_there.is_dir(), "{}", lies_there.display());
        });
    });
}

fn lines(known: &BTreeMap<(Name, Name), i64>) -> Vec<String> {
    let line =
        |((day, part), v): (&(Name, Name), &i64)| format!("{v} {} {} d={}/{}_.csv 2", day.1, part.1, day.0, part.0);
    let mut lines: Vec<String> = known.iter().map(line).collect();
    lines.sort();
    lines
}

fn sums(known: &BTreeMap<(Name, Name), i64>) -> Vec<String> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for ((day, _), v) in known {
        *sums.entry(&day.1).or_default() += v;
    }
    let mut rows: Vec<String> = sums.into_iter().map(|(day, v)| format!("{day} {v}")).collect();
    rows.sort();
    rows
}
