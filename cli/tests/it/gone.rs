//! Raw files that were read and are gone, and columns and hours that files do not tell.

use crate::support::Scene;

const APPEND: &str = "grain = [\"source_file\", \"line\"]\nmax_rejected = 1.0\n[sink.append]\n";
const QUERY: &str = "select id, v, source_file, line from raw.s";

fn scene(on_missing: &str, manifest: &str, query: &str) -> Scene {
    let mut scene = Scene::empty();
    sources(&mut scene, on_missing);
    scene.job("bronze.s", manifest, query);
    scene.put("a.csv", "id,v\na,1\na2,1\nbad,x\n");
    scene.put("b.csv", "id,v\nb,2\nbad,x\n");
    scene.run_all();
    scene
}

fn sources(scene: &mut Scene, on_missing: &str) {
    scene.sources(&format!(
        "[files.s]\nroot = \"$raw\"\n{on_missing}columns = [{{ name = \"id\", type = \"string\" }}, \
         {{ name = \"v\", type = \"bigint\" }}]\n[files.s.feed.all]\npath = \"*.csv\"\nformat = {{ csv = {{}} }}\n"
    ));
}

fn remove(scene: &Scene, path: &str) {
    std::fs::remove_file(scene.raw.join(path)).unwrap();
}

fn ids(scene: &Scene) -> Vec<String> {
    scene.rows("(select id from bronze.s)")
}

fn rejected(scene: &Scene) -> Vec<String> {
    scene.rows("(select source_file from bronze.s__quarantine)")
}

#[test]
fn rows_of_files_that_are_gone_stay_unless_the_source_says_otherwise() {
    let mut scene = scene("", APPEND, QUERY);
    remove(&scene, "a.csv");
    let stays = "raw.s: 1 file that was read is gone; its 2 rows stay: `a.csv`";
    scene.pulse(&["plan", "--all"]).ok().says(&[stays]);
    scene.run_all().says(&[stays, "nothing was committed"]);
    assert_eq!(ids(&scene), ["a", "a2", "b"]);
    // What the source says of such files does not change what its rows mean.
    sources(&mut scene, "on_missing = \"remove\"\n");
    let goes = "raw.s: 1 file that was read is gone; its 2 rows are removed: `a.csv`";
    scene.pulse(&["plan", "--all"]).ok().says(&[goes]);
    scene.run_all().says(&[goes]);
    assert_eq!((ids(&scene), rejected(&scene)), (vec!["b".to_owned()], vec!["b.csv".to_owned()]));
    let silent = scene.run_all().says(&["nothing was committed"]);
    assert!(!silent.stderr.contains("gone"), "{}", silent.stderr);
    scene.put("a.csv", "id,v\na,1\n");
    scene.run_all();
    assert_eq!(ids(&scene), ["a", "b"]);
}

#[test]
fn sinks_that_cannot_find_the_rows_of_a_file_are_built_anew_without_them() {
    for (sink, by) in [("overwrite]", ""), ("merge]", "keys = [\"id\"]"), ("overwrite_partitions]", "by = [\"id\"]")] {
        let manifest = format!("grain = [\"id\"]\nmax_rejected = 1.0\n[sink.{sink}\n{by}\n");
        let mut scene = scene("on_missing = \"remove\"\n", &manifest, "select id, v from raw.s");
        remove(&scene, "a.csv");
        scene.run_all().says(&["1 file that was read is gone"]);
        assert_eq!((ids(&scene), scene.count("bronze.s__quarantine")), (vec!["b".to_owned()], 1), "{sink}");
        scene.run_all().says(&["nothing was committed"]);
        // Rows that are to stay would be lost.
        scene.put("c.csv", "id,v\nc,3\n");
        scene.run_all();
        sources(&mut scene, "");
        remove(&scene, "c.csv");
        scene.pulse(&["run", "--all", "--rebuild"]).fails(1, &["raw.s/c.csv", "--allow-loss"]);
    }
}

#[test]
fn a_source_may_fail_until_its_files_are_back_or_forgotten() {
    let scene = scene("on_missing = \"fail\"\n", APPEND, QUERY);
    remove(&scene, "a.csv");
    for command in ["plan", "run"] {
        scene
            .pulse(&[command, "--all"])
            .fails(1, &["1 file that was read is gone", "raw.s/a.csv", "pulse table forget"]);
    }
    assert_eq!(ids(&scene), ["a", "a2", "b"]);
    scene.pulse(&["table", "forget", "bronze.s", "z*", "--yes"]).fails(2, &["is like `z*`"]);
    scene.pulse(&["table", "forget", "bronze.s", "*.csv", "--yes"]).ok().says(&["2 rows of 1 file will be removed"]);
    scene.pulse(&["plan", "--all"]).ok();
    scene.run_all().says(&["nothing was committed"]);
    assert_eq!((ids(&scene), rejected(&scene)), (vec!["b".to_owned()], vec!["b.csv".to_owned()]));
}

#[test]
fn a_run_that_fails_names_them_too() {
    let scene = scene("", &APPEND.replace("max_rejected = 1.0\n", ""), QUERY);
    remove(&scene, "a.csv");
    scene.put("c.csv", "id,v\nbad,x\n");
    let gone = "raw.s: 1 file that was read is gone; its 2 rows stay: `a.csv`";
    scene.pulse(&["run", "--all"]).fails(1, &["the only row that this run read was rejected", gone]);
}

#[test]
fn files_are_forgotten_once_they_are_gone() {
    let scene = scene("", APPEND, QUERY);
    let forget = |file: &str, yes: bool| {
        let yes: &[&str] = if yes { &["--yes"] } else { &[] };
        let arguments: Vec<&str> =
            ["table", "forget", "bronze.s", file].into_iter().chain(yes.iter().copied()).collect();
        let mut command = scene.command(&arguments);
        command.stdin(std::process::Stdio::null());
        scene.start(command).wait()
    };
    forget("a.csv", true).fails(2, &["raw.s/a.csv is still there"]);
    forget("z.csv", true).fails(2, &["has not read a file `z.csv`"]);
    remove(&scene, "a.csv");
    forget("a.csv", false).fails(2, &["raw.s/a.csv", "2 rows", "--yes"]);
    assert_eq!(ids(&scene), ["a", "a2", "b"]);
    forget("raw.s/a.csv", true).ok().says(&["raw.s/a.csv", "2 rows removed"]);
    assert_eq!((ids(&scene), rejected(&scene)), (vec!["b".to_owned()], vec!["b.csv".to_owned()]));
    assert_eq!(scene.history("bronze.s").len(), 2);
    forget("a.csv", true).fails(2, &["has forgotten it"]);
    let silent = scene.run_all().says(&["nothing was committed"]);
    assert!(!silent.stderr.contains("gone"), "{}", silent.stderr);
    scene.put("a.csv", "id,v\na,1\n");
    scene.run_all();
    assert_eq!(ids(&scene), ["a", "b"]);
}

#[test]
fn a_column_that_a_contract_gains_is_null_in_older_files() {
    let mut scene = scene("", APPEND, QUERY);
    scene.put("c.csv", "w,id,v\n0.5,c,3\n");
    let text = std::fs::read_to_string(scene.project.join("sources.toml")).unwrap();
    let column = "{ name = \"w\", type = \"double\" }, { name = \"id\"";
    scene.sources(&text.replace("{ name = \"id\"", column));
    scene.job("bronze.s", APPEND, "select id, v, w, source_file, line from raw.s");
    scene.run_all().says(&["the job changed"]);
    assert_eq!(scene.rows("(select id, v, w from bronze.s)"), ["a,1,", "a2,1,", "b,2,", "c,3,0.5"]);
    assert_eq!(rejected(&scene), ["a.csv", "b.csv"]);
    scene.run_all().says(&["nothing was committed"]);
}

#[test]
fn a_source_limits_the_rejects_of_jobs_that_do_not() {
    let mut scene = Scene::empty();
    sources(&mut scene, "max_rejected = 0.4\n");
    let rows = "grain = [\"source_file\", \"line\"]\n";
    scene.job("bronze.strict", &format!("{rows}max_rejected = 0.1\n[sink.append]\n"), QUERY);
    scene.job("bronze.s", &format!("{rows}[sink.append]\n"), QUERY);
    scene.put("a.csv", "id,v\na,1\nb,2\nbad,x\n");
    let strict =
        ["1 of 3 rows that this run read were rejected", "raise `max_rejected`, which is 0.1", "succeeded  bronze.s"];
    scene.pulse(&["run", "--all"]).fails(1, &strict);
    assert_eq!(ids(&scene), ["a", "b"]);
    scene.put("b.csv", "id,v\nbad,x\n");
    scene.pulse(&["run", "bronze.s"]).fails(1, &["which is 0.4"]);
    assert_eq!(ids(&scene), ["a", "b"]);
    // A limit is no part of what the rows mean.
    sources(&mut scene, "max_rejected = 1.0\n");
    let answer = scene.pulse(&["run", "bronze.s"]).ok();
    assert!(!answer.stderr.contains("changed"), "{}", answer.stderr);
    assert_eq!(rejected(&scene), ["a.csv", "b.csv"]);
    sources(&mut scene, "max_rejected = 5\n");
    scene.pulse(&["check"]).fails(2, &["sources.toml:3:16", "`max_rejected` is 5", "use 0 to 1"]);
}

/// Feeds of one source, each with a time zone.
fn feeds(scene: &mut Scene, feeds: &[(&str, &str, &str)]) {
    let mut text = "[files.e]\nroot = \"$raw\"\ncolumns = [{ name = \"id\", type = \"bigint\" }, \
                    { name = \"ts\", type = \"timestamp\" }]\n"
        .to_owned();
    for (name, path, zone) in feeds {
        text +=
            &format!("[files.e.feed.{name}]\npath = \"{path}\"\ntime_zone = \"{zone}\"\nformat = {{ csv = {{}} }}\n");
    }
    scene.sources(&text);
}

/// A file belongs to the feed whose path says most. Another feed may read the same bytes as other rows.
#[test]
fn a_file_that_another_feed_takes_over_is_read_again() {
    let queries = [
        ("append]", "select id, ts, feed, source_file, line from raw.e", "[\"source_file\", \"line\"]"),
        ("overwrite]", "select id, ts, feed from raw.e", "[\"id\"]"),
        ("merge]\nkeys = [\"id\"]", "select id, ts, feed from raw.e", "[\"id\"]"),
    ];
    for (sink, query, grain) in queries {
        let mut scene = Scene::empty();
        scene.job("bronze.e", &format!("grain = {grain}\n[sink.{sink}\n"), query);
        scene.put("e_old.csv", "id,ts\n1,2026-07-20 00:00:00\n");
        scene.put("e_new.csv", "id,ts\n2,2026-07-20 00:00:00\n");
        let wide = ("a", "e_*.csv", "UTC");
        let narrow = ("x", "e_new*.csv", "Europe/Berlin");
        let rows = |scene: &Scene| scene.rows("(select id, cast(ts as string) as ts, feed from bronze.e)");
        let steps: [&[(&str, &str, &str)]; 5] = [
            &[wide],
            &[wide, narrow],
            &[wide],
            &[wide, ("y", narrow.1, narrow.2)],
            &[("b", wide.1, wide.2), ("y", narrow.1, narrow.2)],
        ];
        for (step, now) in steps.iter().enumerate() {
            feeds(&mut scene, now);
            scene.run_all();
            let of_new = match now.get(1) {
                Some((name, ..)) => format!("2,2026-07-19T22:00:00Z,{name}"),
                None => format!("2,2026-07-20T00:00:00Z,{}", now[0].0),
            };
            assert_eq!(rows(&scene), [format!("1,2026-07-20T00:00:00Z,{}", now[0].0), of_new], "{sink} {step}");
            scene.run_all().says(&["nothing was committed"]);
        }
    }
}
