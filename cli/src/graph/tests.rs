use std::collections::BTreeSet;

use pulse_core::project::ProjectFiles;

use super::*;

const SOURCES: &str = r#"
[files.trades]
root = "/data"
columns = [{ name = "x", type = "bigint" }]
feed.a = { path = "a/*.csv", format = { csv = {} } }
feed.b = { path = "b/*.csv", format = { csv = {} } }

[files.unread]
root = "/data"
columns = [{ name = "x", type = "bigint" }]
feed.a = { path = "u/*.csv", format = { csv = {} } }

[tables.rates]
location = "/data/rates"
"#;

fn project(jobs: &[(&str, &str, &str)]) -> Project {
    let mut files: ProjectFiles =
        [("project.toml".to_owned(), "name = \"p\"".to_owned()), ("sources.toml".to_owned(), SOURCES.to_owned())]
            .into();
    for (path, query, more) in jobs {
        let manifest = format!("owner = \"o\"\ngrain = [\"x\"]\n[sink.overwrite]\n{more}");
        files.insert(format!("{path}/job.toml"), manifest);
        files.insert(format!("{path}/query.sql"), (*query).to_owned());
    }
    Project::parse(&files).unwrap_or_else(|error| panic!("{}", error.render()))
}

fn market() -> Lineage {
    let refers = "[[expect]]\nname = \"n\"\non_fail = \"warn\"\nrefers = { column = \"x\", to = \"silver.days.x\" }\n";
    Lineage::of(&project(&[
        ("bronze/trades", "select x from raw.trades", ""),
        ("silver/days", "select 1 as x", ""),
        ("silver/trades", "select t.x from bronze.trades t join external.rates r on t.x = r.x", refers),
        ("gold/daily", "select t.x from silver.trades t join silver.days d on t.x = d.x", refers),
    ]))
}

fn edges(lineage: &Lineage) -> BTreeSet<String> {
    let name = |place: usize| lineage.nodes[place].name.clone();
    lineage.edges.iter().map(|(&(from, to), how)| format!("{} {} {how:?}", name(to), name(from))).collect()
}

#[test]
fn a_table_that_is_read_and_referred_to_is_read() {
    let expected = [
        "bronze.trades raw.trades Reads",
        "gold.daily silver.days Reads",
        "gold.daily silver.trades Reads",
        "silver.trades bronze.trades Reads",
        "silver.trades external.rates Reads",
        "silver.trades silver.days Refers",
    ];
    assert_eq!(edges(&market()), expected.map(str::to_owned).into());
    assert_eq!(market().nodes.len(), 7);
}

#[test]
fn a_part_of_the_graph_is_what_a_table_needs_and_what_needs_it() {
    let names = |lineage: &Lineage| lineage.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let around = |name: &str| market().around(&[name.to_owned()]).unwrap();
    assert_eq!(names(&around("bronze.trades")), ["raw.trades", "bronze.trades", "gold.daily", "silver.trades"]);
    assert_eq!(names(&around("external.rates")), ["external.rates", "gold.daily", "silver.trades"]);
    assert_eq!(names(&around("raw.unread")), ["raw.unread"]);
    assert_eq!(edges(&around("raw.trades")).len(), 3);
    let unknown = market().around(&["gold.dayly".to_owned()]).unwrap_err();
    assert_eq!(unknown.to_string(), "the project has no `gold.dayly`: did you mean `gold.daily`?");
}

#[test]
fn text_lists_layers_from_sources_to_gold() {
    let expected = "\
raw
  raw.trades      files of 2 feeds
  raw.unread      files of 1 feed

external
  external.rates  table of others

bronze
  bronze.trades   reads raw.trades

silver
  silver.days     reads nothing
  silver.trades   reads external.rates, bronze.trades; refers to silver.days

gold
  gold.daily      reads silver.days, silver.trades
";
    assert_eq!(text(&market()), expected);
}

#[test]
fn text_stays_within_80_columns() {
    let names: Vec<String> =
        (0..9).map(|place| format!("silver/{}{place}", "quite_a_long_name_".repeat(1 + place % 3))).collect();
    let tables: Vec<String> = names.iter().map(|name| name.replace('/', ".")).collect();
    let query = format!("select {}0.x from {}", tables[0].trim_end_matches('0'), tables.join(", "));
    let mut jobs: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "select 1 as x", "")).collect();
    jobs.push(("gold/all", &query, ""));
    let text = text(&Lineage::of(&project(&jobs)));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(tables.iter().all(|table| text.matches(table.as_str()).count() == 2), "{text}");
}

#[test]
fn dot_names_every_node_and_edge_once() {
    let dot = dot(&market());
    assert_eq!(dot.matches(" -> ").count(), 6);
    assert!(dot.contains("\"silver.days\" -> \"silver.trades\" [style=dashed];"), "{dot}");
    assert!(dot.contains("\"external.rates\" [shape=cylinder, style=solid];"), "{dot}");
    assert_eq!(dot.lines().filter(|line| line.starts_with("  \"") && !line.contains("->")).count(), 7);
}

/// Values of an attribute, in the order of the text.
fn values(svg: &str, element: &str, attribute: &str) -> Vec<i64> {
    let of = |text: &str| {
        text.split_once(&format!(" {attribute}=\"")).unwrap().1.split_once('"').unwrap().0.parse().unwrap()
    };
    svg.split(element).skip(1).map(of).collect()
}

#[test]
fn labels_stay_within_their_boxes() {
    let long = format!("silver/{}", "w".repeat(90));
    let lineage = Lineage::of(&project(&[(&long, "select 1 as x", ""), ("gold/a", "select 1 as x", "")]));
    let svg = svg(&lineage, "p", &|_| None);
    let lefts = values(&svg, "<rect class=\"box\"", "x");
    let widths = values(&svg, "<rect class=\"box\"", "width");
    for (class, pixels) in [("note", 11), ("name", 13)] {
        let starts = values(&svg, &format!("<text class=\"{class}\""), "x");
        let element = format!("<text class=\"{class}\"");
        let words = svg.split(&element).skip(1);
        let words: Vec<&str> = words.map(|text| text.split_once('>').unwrap().1.split_once('<').unwrap().0).collect();
        assert_eq!(words.len(), lineage.nodes.len());
        for (place, word) in words.iter().enumerate() {
            // The widest common font of fixed width has letters of 0.602 of its size.
            let end = starts[place] * 1000 + i64::try_from(word.len()).unwrap() * pixels * 602;
            assert!(starts[place] > lefts[place] && end < (lefts[place] + widths[place]) * 1000, "{word}");
        }
    }
}

#[test]
fn a_picture_links_what_has_a_page_and_holds_no_markup_of_others() {
    let links = |node: &Node| (node.kind == Kind::Job).then(|| format!("tables/{}.html?a=\"&", node.name));
    let svg = svg(&market(), "<&\"", &links);
    assert_eq!(svg.matches("<a href=").count(), 4);
    assert!(svg.contains("<a href=\"tables/gold.daily.html?a=&quot;&amp;\">"), "{svg}");
    assert!(svg.contains("<title>&lt;&amp;&quot;</title>"), "{svg}");
    assert_eq!(svg.matches("class=\"line refers\"").count(), 1);
    assert_eq!(svg.matches("class=\"line\"").count(), 5);
}
