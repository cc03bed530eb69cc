//! Looking at a project: its graph, its site, its names in a shell.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

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
    assert_eq!(part.lines().next(), Some("{\"name\":\"raw.trades\",\"kind\":\"files\",\"reads\":[],\"refers\":[]}"));
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

/// What a shell prints; none where the machine does not have it.
fn shell(scene: &Scene, program: &str, script: &str) -> Option<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_pulse")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.arg("-c").arg(script).env("PATH", path).env("PULSE_PROJECT", &scene.project).env("PULSE_LAKE", &scene.lake);
    // A shell without a terminal and a folder of its user's settings.
    command.env("HOME", scene.path("home")).current_dir(&scene.project).stdin(Stdio::null());
    fs::create_dir_all(scene.path("home")).unwrap();
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        output => {
            let output = output.unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && words.is_empty(), "{program}: {words}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

/// The completions that bash offers for a command line. Its last word is unfinished.
fn bash(scene: &Scene, words: &str) -> Vec<String> {
    let script = format!(
        "source <(pulse completions bash)\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\nCOMP_TYPE=9\n\
         _clap_complete_pulse pulse \"${{COMP_WORDS[COMP_CWORD]}}\" ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    lines(&shell(scene, "bash", &script).unwrap()).into_iter().map(str::to_owned).collect()
}

#[test]
fn bash_completes_jobs_tables_sources_and_profiles() {
    let scene = scene();
    fs::create_dir(scene.project.join("profiles")).unwrap();
    fs::write(scene.project.join("profiles/prod.toml"), "").unwrap();
    assert_eq!(bash(&scene, "pulse run si"), ["silver.trades"]);
    assert_eq!(bash(&scene, "pulse run --rebuild bronze.trades silv"), ["silver.trades"]);
    assert_eq!(bash(&scene, "pulse graph raw"), ["raw.trades"]);
    assert_eq!(bash(&scene, "pulse source preview tr"), ["trades"]);
    assert_eq!(bash(&scene, "pulse --profile p"), ["prod"]);
    assert_eq!(bash(&scene, "pulse compl"), ["completions"]);
    // A table whose job is gone is in the lake.
    fs::create_dir_all(scene.lake.join("gold/old/_delta_log")).unwrap();
    assert_eq!(bash(&scene, "pulse table show gold"), ["gold.old"]);
    // As the project becomes, with a mistake in it too.
    scene.job("silver.new", "grain = [", "select");
    assert_eq!(bash(&scene, "pulse run si"), ["silver.new", "silver.trades"]);
    let other = scene.path("other");
    fs::create_dir_all(other.join("gold/daily")).unwrap();
    fs::write(other.join("project.toml"), "name = \"other\"\n").unwrap();
    fs::write(other.join("gold/daily/job.toml"), "").unwrap();
    assert_eq!(bash(&scene, &format!("pulse --project {} run g", other.display())), ["gold.daily"]);
}

#[test]
fn zsh_and_fish_take_their_scripts() {
    let scene = scene();
    if let Some(completed) =
        shell(&scene, "fish", "pulse completions fish | source; complete --do-complete 'pulse run si'")
    {
        assert_eq!(lines(&completed), ["silver.trades"]);
    }
    let script = "autoload -Uz compinit; compinit -u -D; source <(pulse completions zsh); print ${_comps[pulse]}";
    if let Some(function) = shell(&scene, "zsh", script) {
        assert_eq!(lines(&function), ["_clap_dynamic_completer_pulse"]);
    }
    let mut asked = Command::new(env!("CARGO_BIN_EXE_pulse"));
    asked.args(["--", "pulse", "run", "si"]).env("PULSE_PROJECT", &scene.project);
    asked.env("_PULSE_COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
    let answer = asked.output().unwrap();
    assert!(answer.status.success());
    assert_eq!(lines(&String::from_utf8(answer.stdout).unwrap()), ["silver.trades"]);
}

#[test]
fn every_command_has_a_man_page() {
    let scene = Scene::empty();
    let folder = scene.path("man");
    scene.pulse(&["reference", "man", folder.to_str().unwrap()]).ok();
    for name in ["pulse.1", "pulse-run.1", "pulse-table-show.1", "pulse-docs.1", "pulse-completions.1"] {
        let page = fs::read_to_string(folder.join(name)).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH OPTIONS"), "{name}");
    }
    // Hidden commands have none.
    assert!(!folder.join("pulse-reference.1").exists());
}

/// One job does not parse, one reads it, and one source is wrong.
#[test]
fn what_needs_no_job_works_beside_mistakes() {
    let mut scene = scene();
    scene.run_all();
    let broken = "[files.lost]\nrot = \"$raw\"\n";
    scene.sources(&format!("{SOURCES}{broken}"));
    scene.job("silver.broken", "graine = [\"x\"]\n[sink.overwrite]\n", "select x from bronze.trades");
    scene.job("gold.late", "grain = [\"x\"]\n[sink.overwrite]\n", "select x from silver.broken");
    let warned = ["warning: silver/broken/job.toml:1:1: unknown key `graine`", "warning: sources.toml"];
    let graph = scene.pulse(&["graph"]).ok().says(&warned).stdout;
    assert!(graph.contains("gold.late") && graph.contains("reads silver.broken"), "{graph}");
    let out = scene.path("site");
    scene.pulse(&["docs", "--out", out.to_str().unwrap()]).ok().says(&warned);
    assert!(out.join("tables/silver.trades.html").exists() && !out.join("tables/silver.broken.html").exists());
    scene.pulse(&["table", "optimize", "--all"]).ok().says(&warned);
    let rows = scene.pulse(&["--output", "csv", "source", "preview", "trades"]).ok().says(&warned).stdout;
    assert!(rows.starts_with("x,"), "{rows}");
    // Of the source itself there is no rest.
    scene.pulse(&["source", "preview", "lost"]).fails(2, &["unknown key `rot`"]);
}
