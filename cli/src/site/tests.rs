use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use pulse_core::manifest::OnFail;
use pulse_core::project::ProjectFiles;
use pulse_core::run::{ExpectationOutcome, RunId, RunState, TriggerId};

use super::*;

/// What would run, end an element or break an attribute, were it not escaped.
const HOSTILE: &str = "</code></pre><script>alert('x')</script><img src=x onerror=y>\"'&amp;&";

const SOURCES_TOML: &str = r#"
[files.trades]
root = "$raw"
columns = [{ name = "x", type = "bigint", required = true }, { name = "t", type = "struct<a:int>" }]
feed.a = { path = "<b>/{day}/*.csv", format = { csv = {} }, nulls = ["<script>"] }

[tables.rates]
location = "/data/<i>rates"

[databases.shop]
url = "postgresql://reader@$host/<i>shop"
password = "env:SHOP"
[databases.shop.tables.orders]
query = "select '<b>' as id"
columns = [{ name = "id", type = "string" }]
bookmark = "<u>"
margin = 9
"#;

fn project() -> Project {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let hostile = quoted(HOSTILE);
    let silver = format!(
        "owner = {hostile}\ndescription = {hostile}\ngrain = [\"x\"]\npartition_by = [\"x\"]\n[sink.merge]\nkeys = [\"x\"]\n\
         [columns]\nx = {hostile}\n[[expect]]\nname = {hostile}\non_fail = \"quarantine\"\ncheck = \"x < 3 and '<script>' <> ''\"\n\
         [[expect]]\nname = \"some\"\non_fail = \"fail\"\nrows = {{ at_least = 1200 }}\n"
    );
    let test = format!("description = {hostile}\n[[given.\"raw.trades\"]]\nx = 1\n[[expect]]\nx = 1\n");
    let files = [
        ("project.toml", format!("name = {hostile}\ndescription = {hostile}\n")),
        ("sources.toml", SOURCES_TOML.to_owned()),
        ("silver/trades/job.toml", silver),
        ("silver/trades/query.sql", format!("-- {HOSTILE}\nselect x, '<b>' as s from raw.trades")),
        ("silver/trades/tests/first.toml", test),
        ("gold/daily/job.toml", "owner = \"o\"\ngrain = [\"x\"]\n[sink.overwrite]\n".to_owned()),
        ("gold/daily/query.sql", "select t.x from silver.trades t join external.rates r on t.x = r.x".to_owned()),
    ];
    let files: ProjectFiles = files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    Project::parse(&files).unwrap_or_else(|error| panic!("{}", error.render()))
}

fn name(text: &str) -> TableName {
    text.parse().unwrap()
}

fn run(state: RunState) -> RunRecord {
    let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let mut record = RunRecord::queued(RunId::new(TriggerId::new(at, 1), name("silver.trades")));
    (record.state, record.started, record.seconds) = (state, Some(at.timestamp_millis()), 12.34);
    (record.counts.rows_out, record.version) = (185_996, Some(3));
    let outcome = |name: &str, failed| ExpectationOutcome {
        name: name.to_owned(),
        on_fail: OnFail::Fail,
        checked: 9000,
        failed,
        evidence: Vec::new(),
    };
    record.expectations = vec![outcome(HOSTILE, 1234), outcome("some", 0)];
    record
}

fn site(lake: LakeState, runs: BTreeMap<TableName, Vec<RunRecord>>) -> Site {
    let project = project();
    let fields = [
        Field::new("x", DataType::Int64, true),
        Field::new("s", DataType::Utf8View, true),
        Field::new("_source_file", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
    ];
    Site {
        lineage: Lineage::of(&project),
        schemas: [(name("silver.trades"), Arc::new(Schema::new(fields.to_vec())))].into(),
        project,
        lake,
        runs,
        written: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
    }
}

fn whole() -> Site {
    let at = DateTime::from_timestamp(1_600_000_000, 0);
    let known = TableState::Known { version: 3, rows: Some(4_242_424), bytes: 3 << 20, files: 7, at };
    let unreadable = TableState::Unreadable(HOSTILE.to_owned());
    let tables = [(name("silver.trades"), known), (name("gold.daily"), unreadable)].into();
    let runs = [(name("silver.trades"), vec![run(RunState::Succeeded), run(RunState::Failed)])].into();
    site(LakeState::Present { root: HOSTILE.to_owned(), tables }, runs)
}

/// Fails where an element is not closed in the order in which it was opened.
fn elements(path: &str, page: &str) -> Vec<String> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("{path}: <{piece}"));
        assert!(!text.contains('>') || path.is_empty(), "{path}: {piece}");
        let element = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap().to_owned();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed), "{path}: {piece}");
            continue;
        }
        if !tag.ends_with('/') && !["meta", "!doctype"].contains(&element.as_str()) {
            open.push(element.clone());
        }
        found.push(element);
    }
    assert!(open.is_empty(), "{path}: {open:?}");
    found
}

#[test]
fn no_text_of_others_is_markup() {
    let known: BTreeSet<&str> =
        "!doctype html head meta title style body header footer main section p h1 h2 a dl dt dd code pre \
                                 div table thead tbody tr th td span svg rect path g text"
            .split_whitespace()
            .collect();
    for (path, page) in whole().pages() {
        for element in elements(&path, &page) {
            assert!(known.contains(element.as_str()), "{path}: {element}");
        }
    }
    let page = &whole().pages()["tables/silver.trades.html"];
    let shown = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&lt;img src=x onerror=y&gt;&quot;&#39;&amp;amp;&amp;";
    // Title, heading of the project, description, owner, expectation, column, SQL and test.
    assert!(page.matches(shown).count() >= 6, "{page}");
}

#[test]
fn every_link_leads_to_a_page_and_nothing_is_loaded() {
    for (path, page) in whole().pages() {
        let pages = whole().pages();
        for link in page.split("href=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0) {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = match link.strip_prefix("../") {
                Some(target) if !folder.is_empty() => target.to_owned(),
                Some(_) => panic!("{path}: {link}"),
                None if folder.is_empty() => link.to_owned(),
                None => format!("{folder}/{link}"),
            };
            assert!(pages.contains_key(&target), "{path}: {link}");
        }
        for word in [" src=\"", "<link", "@import", "url(", "<script", "https://"] {
            assert!(!page.contains(word), "{path}: {word}");
        }
        assert_eq!(page.matches("http://").count(), page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    }
    let expected = [
        "index.html",
        "sources/external.rates.html",
        "sources/raw.orders.html",
        "sources/raw.trades.html",
        "tables/gold.daily.html",
        "tables/silver.trades.html",
    ];
    assert_eq!(whole().pages().into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn a_table_of_a_database_shows_what_is_read_of_it() {
    let pages = whole().pages();
    let page = &pages["sources/raw.orders.html"];
    for text in [
        "<dd><code>shop</code>",
        "postgresql://reader@$host/&lt;i&gt;shop",
        "less 9",
        "select &#39;&lt;b&gt;&#39; as id",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    // Where its rows are landed, and where its password is, are nothing to read here.
    assert!(!page.contains("_pulse") && !page.contains("env:"), "{page}");
    assert!(pages["index.html"].contains("1 source of files, 1 table of a database, 1 table of others."));
}

#[test]
fn a_table_shows_what_the_lake_has_and_how_its_runs_ended() {
    let page = &whole().pages()["tables/silver.trades.html"];
    for text in [
        "<dt>rows</dt><dd>4,242,424</dd>",
        "<dt>version</dt><dd>3</dd>",
        "3.0 MiB in 7 files",
        "2020-09-13 12:26 UTC",
        "<span class=\"badge good\">succeeded</span> 2023-11-14 22:13",
        "<span class=\"badge bad\">failed</span>",
        "<td class=\"number\" data-name=\"rows\">185,996</td>",
        "1,234 of 9,000 failed",
        "<span class=\"badge good\">held</span>",
        "at least 1,200 rows",
        "<td><code>_source_file</code></td><td><code>string</code></td>",
        "<a href=\"../sources/raw.trades.html\">raw.trades</a>",
        "<a href=\"../tables/gold.daily.html\">gold.daily</a>",
        "merge: one row for each <code>x</code>",
        "<dt>partitioned by</dt><dd><code>x</code></dd>",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    let daily = &whole().pages()["tables/gold.daily.html"];
    assert!(daily.contains("The table&#39;s log cannot be read: &lt;/code&gt;"), "{daily}");
    assert!(daily.contains("The columns are not known"), "{daily}");
    let source = &whole().pages()["sources/raw.trades.html"];
    for text in [
        "<code>$raw</code>",
        "path = &quot;&lt;b&gt;/{day}/*.csv&quot;",
        "struct&lt;a:int&gt;",
        "required",
        "<dd><code>day</code></dd>",
    ] {
        assert!(source.contains(text), "{text}\n{source}");
    }
}

#[test]
fn without_a_lake_every_page_of_a_table_says_so() {
    let pages = site(LakeState::Absent("There is no lake.".to_owned()), BTreeMap::new()).pages();
    for page in ["index.html", "tables/silver.trades.html", "tables/gold.daily.html"] {
        assert!(pages[page].contains("There is no lake."), "{page}");
    }
    assert!(!pages["tables/silver.trades.html"].contains("Last runs"));
}
