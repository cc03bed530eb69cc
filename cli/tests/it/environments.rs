//! Lake, variables and settings in project.toml and in profiles.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::Scene;

const PROJECT: &str = r#"name = "shop"
lake = "tables"

[variables]
raw = { type = "path", default = "files" }
least = { type = "bigint", default = 2 }

[[expect_group.small]]
name = "the number is small"
check = "number < 10 * $least"
on_fail = "quarantine"
"#;

#[test]
fn settings_are_found_from_the_projects_folder() {
    let scene = Scene::empty();
    scene.job("silver.a", "grain = [\"x\"]\n[sink.overwrite]\n", "select 1 as x");
    let elsewhere = tempfile::tempdir().unwrap();
    let check = || {
        let mut command = scene.command(&["check"]);
        command.current_dir(elsewhere.path());
        scene.start(command).wait()
    };
    check().ok();
    for folder in [scene.project.parent().unwrap(), scene.project.as_path()] {
        let file = folder.join("pulse.toml");
        std::fs::write(&file, "no_such_setting = 1\n").unwrap();
        check().fails(2, &["no_such_setting", file.canonicalize().unwrap().to_str().unwrap()]);
    }
}

const SOURCES: &str = r#"[files.orders]
root = "$raw"
columns = [{ name = "number", type = "bigint" }]
[files.orders.feed.daily]
path = "{day}.csv"
format = { csv = {} }

[files.returns]
root = "$elsewhere"
columns = [{ name = "number", type = "bigint" }]
[files.returns.feed.daily]
path = "{day}.csv"
format = { csv = {} }
"#;

fn project(folder: &Path) {
    let job = "owner = \"shop\"\ngrain = [\"number\"]\nexpect_groups = [\"small\"]\n[sink.overwrite]\n";
    let files = [
        ("project.toml", PROJECT),
        ("sources.toml", SOURCES),
        ("profiles/prod.toml", "lake = \"prod\"\n[variables]\nleast = 3\n[settings]\nslots = 1\n"),
        ("functions.sql", "create function twice(x bigint) returns bigint return x * 2;"),
        ("files/a.csv", "number\n1\n2\n3\n25\n"),
        ("silver/orders/job.toml", job),
        ("silver/orders/query.sql", "select number, twice(number) as double from raw.orders where number >= $least"),
    ];
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn pulse(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulse"));
    for name in ["PULSE_PROJECT", "PULSE_LAKE", "PULSE_VAR", "PULSE_PROFILE", "PULSE_CONFIG"] {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).output().unwrap()
}

fn rows(folder: &Path, options: &[&str]) -> String {
    let query = ["--output", "csv", "query", "select number, double from silver.orders order by number"];
    let output = pulse(folder, &[options, &query].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_project_runs_the_same_from_every_folder() {
    let scene = tempfile::tempdir().unwrap();
    project(scene.path());
    // A folder inside the project, and one outside of it.
    let inside = scene.path().join("silver");
    assert!(pulse(&inside, &["run", "--all"]).status.success());
    assert_eq!(rows(&inside, &[]), "number,double\n2,4\n3,6\n");
    let outside = tempfile::tempdir().unwrap();
    let named = ["--project", scene.path().to_str().unwrap()];
    let again = pulse(outside.path(), &[&named[..], &["run", "--all"]].concat());
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing was committed"), "{again:?}");
    assert_eq!(rows(outside.path(), &named), rows(&inside, &[]));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    // The folder above that of the jobs may be named, too.
    let repository = tempfile::tempdir().unwrap();
    std::fs::create_dir(repository.path().join("jobs")).unwrap();
    project(&repository.path().join("jobs"));
    let named = ["--project", repository.path().to_str().unwrap()];
    assert!(pulse(outside.path(), &[&named[..], &["run", "--all"]].concat()).status.success());
    assert_eq!(rows(outside.path(), &named), rows(&inside, &[]));
    for (arguments, meant) in [(["run", "orders"], "`silver.orders`?"), (["run", "silver.order"], "`silver.orders`?")] {
        let output = pulse(&inside, &arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("did you mean {meant}")), "{output:?}");
    }
    let shown = pulse(&inside, &["table", "show", "silver.ordres"]);
    assert!(String::from_utf8_lossy(&shown.stderr).contains("did you mean `silver.orders`?"), "{shown:?}");
}

#[test]
fn a_profile_has_its_own_lake_and_values() {
    let scene = tempfile::tempdir().unwrap();
    project(scene.path());
    let run = |options: &[&str]| pulse(scene.path(), &[options, &["run", "--all"]].concat());
    assert!(run(&[]).status.success() && run(&["--profile", "prod"]).status.success());
    assert_eq!(rows(scene.path(), &[]), "number,double\n2,4\n3,6\n");
    assert_eq!(rows(scene.path(), &["--profile", "prod"]), "number,double\n3,6\n25,50\n");
    let edited = run(&["--profile", "prod", "--var", "least=25"]);
    assert!(String::from_utf8_lossy(&edited.stderr).contains("the job changed"), "{edited:?}");
    assert_eq!(rows(scene.path(), &["--profile", "prod"]), "number,double\n25,50\n");
    for (options, part) in [
        (["--profile", "test"], "has no profile `test`"),
        (["--var", "lesat=1"], "did you mean `least`?"),
        (["--var", "least=many"], "`many` is no bigint"),
    ] {
        let refused = run(&options);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(part), "{refused:?}");
    }
}

/// The folder of a project says nothing of the host of a database.
#[test]
fn a_value_in_the_url_of_a_database_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let at = |path: &str| folder.path().join(path);
    let closed = crate::support::free_port();
    let profile = format!("[variables]\nhost = \"127.0.0.1:{closed}\"\n");
    std::fs::write(at("profiles/dev.toml"), profile).unwrap();
    let database = "[databases.shop]\nurl = \"postgresql://reader@$host/shop\"\n[databases.shop.tables.sales]\n\
                    columns = [{ name = \"id\", type = \"bigint\" }]\n";
    std::fs::write(at("sources.toml"), format!("{SOURCES}{database}")).unwrap();
    std::fs::create_dir_all(at("bronze/sales")).unwrap();
    let job = "owner = \"shop\"\ngrain = [\"id\"]\n[sink.append]\n";
    std::fs::write(at("bronze/sales/job.toml"), job).unwrap();
    std::fs::write(at("bronze/sales/query.sql"), "select id, source_file from raw.sales").unwrap();
    for (options, expected) in [
        (&["plan", "bronze.sales"][..], "needs the variable `host`: pass `--var host=VALUE`"),
        (&["--profile", "dev", "plan", "bronze.sales"], "connect to `databases.shop`"),
    ] {
        let answer = pulse(folder.path(), &[&["--project", "."], options].concat());
        let words = format!("{}{}", String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
        assert!(words.contains(expected), "{options:?}: {words}");
    }
}

#[test]
fn a_place_without_a_value_stops_only_the_jobs_that_need_it() {
    let mut scene = Scene::empty();
    // The scene names a place for `raw`.
    scene.sources(
        "[files.r]\nroot = \"$raw\"\ncolumns = [{ name = \"id\", type = \"string\" }]\n[files.r.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n[files.s]\nroot = \"$elsewhere\"\ncolumns = [{ name = \"id\", type = \"string\" }]\n[files.s.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n",
    );
    let manifest = "grain = [\"id\"]\n[sink.overwrite]\n";
    scene.job("bronze.s", manifest, "select id from raw.s");
    scene.job("silver.t", manifest, "select id from bronze.s");
    scene.job("gold.one", manifest, "select 1 as id");
    let said = ["needs the variable `elsewhere`", "not run: silver.t reads bronze.s", "succeeded  gold.one"];
    scene.pulse(&["run", "--all"]).fails(2, &said);
    assert_eq!(scene.rows("gold.one"), ["1"]);
    scene.pulse(&["run", "bronze.s"]).fails(2, &["needs the variable `elsewhere`"]);
    // It reads a table, whose job is not asked for.
    scene.pulse(&["run", "silver.t"]).fails(1, &["run its job first"]);
    scene.put("a.csv", "id\nx\n");
    let elsewhere = format!("elsewhere={}", scene.raw.display());
    scene.pulse(&["--var", &elsewhere, "run", "--all"]).ok();
    assert_eq!(scene.rows("silver.t"), ["x"]);
}
