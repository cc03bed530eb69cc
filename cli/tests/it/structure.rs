//! The shape of the project itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Crates of the workspace that a crate is built with.
fn arrows(of: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == of).unwrap();
    let dependencies =
        package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null());
    dependencies
        .filter_map(|dependency| dependency["name"].as_str())
        .filter_map(|name| name.strip_prefix("pulse-"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn scheduler_and_executor_share_the_engine_and_never_each_other() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(arrows("pulse-core"), set(&[]));
    assert_eq!(arrows("pulse-engine"), set(&["core"]));
    assert_eq!(arrows("pulse-transport"), set(&["core"]));
    assert_eq!(arrows("pulse-metrics"), set(&["core"]));
    assert_eq!(arrows("pulse-scheduler"), set(&["core", "engine", "metrics", "transport"]));
    assert_eq!(arrows("pulse-executor"), set(&["core", "engine", "metrics", "transport"]));
    assert_eq!(arrows("pulse-aws"), set(&["core", "engine"]));
    assert_eq!(arrows("pulse-postgres"), set(&["core", "engine"]));
    assert_eq!(arrows("pulse-land"), set(&["core"]));
    assert_eq!(arrows("pulse-generate"), set(&["core"]));
    let cli =
        ["aws", "core", "engine", "executor", "generate", "land", "metrics", "postgres", "scheduler", "transport"];
    assert_eq!(arrows("pulse-cli"), set(&cli));
}

/// Crates that a selection of the workspace is built from, each with its features.
fn crates(selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix=none", "--format={p} {f}"])
        .args(selection)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.contains("pulse-cli"))
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

/// A crate that the quickstart builds with other features is compiled again for the tests, and so is all that depends on it.
#[test]
fn the_quickstart_builds_its_dependencies_as_the_tests_do() {
    let quickstart = crates(&["--package=pulse-cli", "--no-default-features", "--edges=normal,build"]);
    let everything = crates(&["--workspace"]);
    assert!(quickstart.len() > 300, "{quickstart:?}");
    let others: Vec<_> = quickstart.difference(&everything).collect();
    assert!(others.is_empty(), "name these features in cli/Cargo.toml: {others:#?}");
}

#[test]
fn rust_names_no_job_and_jobs_hold_no_rust() {
    let jobs = files(&root().join("jobs"));
    assert!(jobs.iter().all(|path| path.extension().is_none_or(|extension| extension != "rs")));
    let names: Vec<String> = jobs
        .iter()
        .filter(|path| path.ends_with("job.toml"))
        .map(|path| path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(names.contains(&"indicators_1m".to_owned()));
    for folder in [
        "engine/src",
        "land/src",
        "transport/src",
        "metrics/src",
        "scheduler/src",
        "executor/src",
        "aws/src",
        "postgres/src",
    ] {
        let sources = files(&root().join(folder)).into_iter().filter(|path| !path.to_string_lossy().contains("tests"));
        for path in sources {
            let text = fs::read_to_string(&path).unwrap();
            for line in code(&text) {
                let named = names.iter().find(|name| name.contains('_') && line.contains(name.as_str()));
                assert_eq!(named, None, "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_catalog_knows_no_runs() {
    for path in files(&root().join("engine/src/catalog")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!code(&text).iter().any(|line| line.contains("crate::job")), "{}", path.display());
    }
}

/// Lines of a file without comments and without items that only tests have.
fn code(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut code = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push(line);
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let is_whole = lines.next().is_none_or(|first| first.ends_with(';'));
        let _ = is_whole || lines.by_ref().any(|line| line == end);
    }
    code.retain(|line| !line.trim_start().starts_with("//"));
    code
}

#[test]
fn code_goes_on_after_what_only_tests_have() {
    let text =
        "a\n#[cfg(test)]\nmod tests;\nb // c\n    #[cfg(test)]\n    fn d() {\n        e();\n    }\n    // f\n    g";
    assert_eq!(code(text), ["a", "b // c", "    g"]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
