//! Looking at a project: its graph, its site.

use std::fs;

use crate::support::Scene;

const SOURCES: &str = "\
[files.trades]
root = \"$raw\"
columns = [{ name = \"x\", type = \"bigint\" }]
feed.all = { path = \"*.csv\", format = { csv = {} } }
";

/// `raw.trades` feeds `bronze.trades`, which feeds `silver.trades`.
fn scene() -> Scene {
    let mut scene = Scene::empty();
    scene.sources(SOURCES);
    scene.put("a.csv", "x\n1\n2\n");
    let columns = "[columns]\nx = \"how many <b>\"\n";
    scene.job(
        "bronze.trades",
        &format!("grain = [\"x\"]\n[sink.append]\n{columns}"),
        "select x, source_file from raw.trades",
    );
    scene.job("silver.trades", "grain = [\"x\"]\n[sink.overwrite]\n", "select x from bronze.trades");
    scene
}

#[test]
fn a_graph_is_words_dot_or_a_picture() {
    let scene = scene();
    let text = scene.pulse(&["graph"]).ok().stdout;
    let expected = "raw\n  raw.trades     files of 1 feed\n\nbronze\n  bronze.trades  reads raw.trades\n\nsilver\n  silver.trades  reads bronze.trades\n";
    assert_eq!(text, expected);
    let part = scene.pulse(&["--output", "json", "graph", "raw.trades"]).ok().stdout;
    assert_eq!(part.lines().next(), Some("{\"kind\":\"files\",\"name\":\"raw.trades\",\"reads\":[],\"refers\":[]}"));
    assert_eq!(part.lines().count(), 3);
    assert!(scene.pulse(&["graph", "--format", "dot"]).ok().stdout.contains("\"raw.trades\" -> \"bronze.trades\";"));
    assert!(scene.pulse(&["graph", "--format", "svg"]).ok().stdout.starts_with("<svg xmlns="));
    scene.pulse(&["graph", "silver.trade"]).fails(2, &["no `silver.trade`", "did you mean `silver.trades`?"]);
}

#[test]
fn a_site_follows_project_and_lake() {
    let scene = scene();
    let out = scene.path("site");
    let docs = ["docs", "--out", out.to_str().unwrap()];
    let page = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    scene.pulse(&docs).ok();
    assert!(!scene.lake.exists());
    assert!(page("index.html").contains("There is no lake"));
    assert!(page("tables/bronze.trades.html").contains("<td>how many &lt;b&gt;</td>"));
    scene.run_all();
    scene.pulse(&docs).ok();
    let silver = page("tables/silver.trades.html");
    assert!(silver.contains("<dt>rows</dt><dd>2</dd>") && silver.contains(">succeeded</span>"), "{silver}");
    assert!(silver.contains("<td><code>x</code></td><td><code>bigint</code></td>"), "{silver}");
    fs::remove_dir_all(scene.project.join("silver/trades")).unwrap();
    scene.pulse(&[&docs[..], &["--no-lake"]].concat()).ok();
    assert!(!out.join("tables/silver.trades.html").exists());
    assert!(page("tables/bronze.trades.html").contains("Sizes and runs were left out."));
    let raw = scene.raw.to_str().unwrap();
    scene.pulse(&["docs", "--out", raw]).fails(2, &["the folder holds other files"]);
}

#[test]
fn a_description_of_no_column_is_an_error_of_check() {
    let scene = scene();
    scene.job(
        "silver.trades",
        "grain = [\"x\"]\n[sink.overwrite]\n[columns]\ny = \"?\"\n",
        "select x from bronze.trades",
    );
    scene
        .pulse(&["check"])
        .fails(2, &["silver/trades/job.toml:4:1", "the table has no column `y`", "did you mean `x`?"]);
}
