//! `pulse land` against the stand-in for providers, which is a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Running, Scene, free_port, text, workspace};

const KEY: &str = "s3cret+k/ey-0123456789";

/// Ends the process with the test.
struct StandIn {
    running: Option<Running>,
    port: u16,
}

impl StandIn {
    fn start(scene: &Scene, options: &[&str]) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let mut command = scene.command(&["serve", "provider", "--port", &port_text]);
        command.args(options).env("STAND_IN_KEY", KEY);
        let running = scene.start(command);
        let began = Instant::now();
        while !running.read("stderr").contains("provider: http") {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", running.read("stderr"));
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { running: Some(running), port }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

const BARS: &str = r#"
[landings.bars]
request = "REQUEST"
symbols = ["IBM", "BRK-B", "MSFT"]
start = "2024-03-01"
end = "2024-03-08"
"#;

/// Sources of the guide, at the port of a stand-in.
fn sources(port: u16) -> String {
    let guide = fs::read_to_string(workspace().join("docs/guide/providers.md")).unwrap();
    let blocks = guide.split("```").skip(1).step_by(2);
    let block = blocks.filter_map(|block| block.strip_prefix("toml\n# jobs/sources.toml\n")).next().unwrap();
    block.replace(":8300", &format!(":{port}"))
}

fn scene_with(port: u16, request: &str) -> Scene {
    let mut scene = Scene::empty();
    write_sources(&mut scene, port, request);
    scene.job(
        "silver.bars",
        "grain = [\"symbol\", \"ts\"]\n[sink.merge]\nkeys = [\"symbol\", \"ts\"]\n[[expect]]\nname = \"once\"\n\
         unique = { columns = [\"symbol\", \"ts\"], keep_first_by = [\"_source_file desc\"] }\non_fail = \"drop\"\n",
        "select symbol, ts, open, high, low, close, volume, source_file as _source_file from raw.bars_1m\n\
         where ts < timestamp '2024-03-09'",
    );
    scene
}

fn write_sources(scene: &mut Scene, port: u16, request: &str) {
    let text = sources(port);
    let start = text.find("[landings.bars_1m]").unwrap();
    let end = text.find("[files.bars_1m]").unwrap();
    scene.sources(&format!("{}{}{}", &text[..start], &text[end..], BARS.replace("REQUEST", request)));
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path.to_string_lossy().into_owned()) }
    }
    found.sort();
    found
}

fn landed(scene: &Scene) -> Vec<String> {
    let bars = |path: &String| path.contains("/bars_1m/") && path.ends_with(".json");
    files(&scene.raw).into_iter().filter(bars).collect()
}

/// Requests of a stand-in's log, with their number.
fn log(path: &Path) -> BTreeMap<String, u32> {
    let mut requests = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        *requests.entry(text(&line["request"])).or_default() += 1;
    }
    requests
}

#[test]
fn two_providers_make_equal_tables_and_one_line_changes_them() {
    let mut tables = Vec::new();
    for request in ["alpha_vantage.bars_1m", "yahoo.bars_1m"] {
        let scene = Scene::empty();
        let provider = StandIn::start(&scene, &[]);
        let scene = scene_with(provider.port, request);
        scene.pulse(&["check"]).ok();
        let plan = scene.pulse(&["--output", "json", "land", "plan"]).ok().json();
        let requests = if request.starts_with("yahoo") { 18 } else { 3 };
        assert_eq!((&plan[0]["missing"], &plan[0]["wanted"]), (&requests.into(), &requests.into()));
        let answer = scene.pulse(&["--output", "json", "land"]).ok().json();
        assert_eq!((&answer[0]["data"], &answer[0]["left"]), (&requests.into(), &0.into()));
        let again = scene.pulse(&["land"]).ok();
        assert!(again.stderr.contains(&format!("0 of {requests} requests missing")), "{}", again.stderr);
        assert_eq!(landed(&scene).len(), requests);
        scene.run_all();
        let rows = scene.pulse(&[
            "--output",
            "csv",
            "query",
            "select symbol, ts, open, high, low, close, volume from silver.bars order by symbol, ts",
        ]);
        tables.push(rows.ok().stdout);
        let status = scene.pulse(&["--output", "json", "land", "status"]).ok().json();
        assert_eq!((&status[1]["symbol"], &status[1]["late"]), (&"BRK-B".into(), &0.into()));
    }
    // 6 sessions of 390 minutes, and the header.
    assert_eq!(tables[0].lines().count(), 3 * 6 * 390 + 1);
    assert_eq!(tables[0], tables[1]);
}

#[test]
fn no_file_and_no_word_holds_the_key() {
    let outer = Scene::empty();
    let provider = StandIn::start(&outer, &["--key-variable", "STAND_IN_KEY"]);
    let mut scene = scene_with(provider.port, "alpha_vantage.bars_1m");
    let with_key = sources(provider.port)
        .replace("[providers.alpha_vantage]\n", "[providers.alpha_vantage]\nkey = \"env:PROVIDER_KEY\"\n")
        .replace("&month={month}", "&month={month}&apikey={key}");
    scene.sources(&with_key);
    let run = |key: &str| {
        let mut command = scene.command(&["-v", "-v", "land", "--symbols", "IBM"]);
        command.env("PROVIDER_KEY", key);
        scene.start(command).wait()
    };
    scene.pulse(&["land"]).fails(2, &["the key of providers.alpha_vantage", "variable PROVIDER_KEY"]);
    let wrong = run("wrong-key-0123456789");
    assert_eq!(wrong.status.code(), Some(1), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("gave no data in 2 answers in a row"), "{}", wrong.stderr);
    let right = run(KEY).ok();
    assert_eq!(landed(&scene).len(), 1);
    for key in [KEY, "s3cret%2Bk%2Fey-0123456789", "wrong-key-0123456789"] {
        for answer in [&wrong, &right] {
            assert!(!answer.stderr.contains(key) && !answer.stdout.contains(key));
        }
        for path in files(&scene.raw) {
            assert!(!path.contains(key), "{path}");
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "{path}");
        }
    }
}

#[test]
fn faults_of_a_provider_lose_nothing_and_double_nothing() {
    let outer = Scene::empty();
    let faultless = StandIn::start(&outer, &[]);
    let expected = scene_with(faultless.port, "yahoo.bars_1m");
    expected.pulse(&["land"]).ok();
    expected.run_all();

    let faulty = StandIn::start(&outer, &["--faults", "0.4"]);
    let scene = scene_with(faulty.port, "yahoo.bars_1m");
    // Requests that failed too often are left for the next call.
    let complete = (0..20).any(|_| scene.pulse(&["land"]).status.success());
    assert!(complete);
    assert_eq!(scene.pulse(&["--output", "json", "land", "plan"]).ok().json()[0]["missing"], 0);
    scene.run_all();
    let columns = "select symbol, ts, open, high, low, close, volume from silver.bars order by symbol, ts";
    let rows = |scene: &Scene| scene.pulse(&["--output", "csv", "query", columns]).ok().stdout;
    assert_eq!(rows(&scene), rows(&expected));
}

#[test]
fn a_killed_landing_goes_on_where_it_ended() {
    let outer = Scene::empty();
    let path = outer.path("requests.jsonl");
    let provider = StandIn::start(&outer, &["--log", path.to_str().unwrap()]);
    let mut scene = scene_with(provider.port, "yahoo.bars_1m");
    let slow =
        sources(provider.port).replace("limits = { per_second = 2 }", "limits = { per_second = 20 }\ntimeout_s = 1");
    let start = slow.find("[landings.bars_1m]").unwrap();
    scene.sources(&format!("{}{}", &slow[..start], BARS.replace("REQUEST", "yahoo.bars_1m")));
    let mut kills = 0;
    for millis in [60, 150, 240, 330, 420, 510] {
        let mut landing = scene.start(scene.command(&["land"]));
        std::thread::sleep(Duration::from_millis(millis));
        if landing.child.try_wait().unwrap().is_none() {
            landing.child.kill().unwrap();
            kills += 1;
        }
        landing.child.wait().unwrap();
    }
    assert!(kills > 0);
    // What a killed process waited for is left to it until its time is over.
    scene.pulse(&["land"]).ok();
    assert_eq!(landed(&scene).len(), 18);
    let requests = log(&path);
    assert_eq!(requests.len(), 18, "{requests:?}");
    // Each process has at most four requests that wait for an answer.
    let repeated: u32 = requests.values().map(|count| count - 1).sum();
    assert!(repeated <= 4 * kills, "{requests:?}");
}

#[test]
fn wrong_declarations_are_mistakes_with_their_lines() {
    let mut scene = Scene::empty();
    scene.sources(
        "[providers.p]\nurl = \"ftp://h\"\nroot = \"$raw\"\nkey = \"hunter2\"\nconcurrency = 99\n\
         [providers.p.requests.a]\npath = \"/q?m={month}&x={nothing}\"\nperiod = \"day\"\nanswer = { json = { data = \"x\" } }\n\
         [landings.l]\nrequest = \"p.b\"\n",
    );
    let answer = scene.pulse(&["check"]);
    assert_eq!(answer.status.code(), Some(2));
    assert!(!answer.stderr.contains("hunter2"), "{}", answer.stderr);
    for words in [
        "sources.toml:2",
        "`concurrency` is 99",
        "`{nothing}` is not one of",
        "`x` is not a JSON pointer",
        "`key` is not a place",
        "`p.b` is no request",
    ] {
        assert!(answer.stderr.contains(words), "`{words}` is not in {}", answer.stderr);
    }
    Scene::empty().pulse(&["land"]).fails(2, &["no landing that is in order"]);
}

/// Each row of the guide's table of requests, against the stand-in.
#[test]
fn requests_of_the_guide_land() {
    let guide = fs::read_to_string(workspace().join("docs/guide/providers.md")).unwrap();
    let outer = Scene::empty();
    let provider = StandIn::start(&outer, &[]);
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| ") && line.contains("`path = ")).collect();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let name = row.split('|').nth(1).unwrap().trim();
        let folder = match name {
            "Stooq, daily" => "stooq",
            "flat files of one day" => "flat_files",
            _ => "alpha_vantage",
        };
        let settings = row.split('`').filter(|span| span.contains(" = ")).map(|span| span.replace("&apikey={key}", ""));
        let request = settings.collect::<Vec<_>>().join("\n");
        let symbols = if request.contains("{symbol}") { "symbols = [\"IBM\", \"MSFT\"]\n" } else { "" };
        let days = if request.contains("period") { "start = \"2024-03-04\"\nend = \"2024-03-05\"\n" } else { "" };
        let mut scene = Scene::empty();
        scene.sources(&format!(
            "[providers.p]\nurl = \"http://127.0.0.1:{}/{folder}\"\nroot = \"$raw\"\n[providers.p.requests.r]\n{request}\n\
             [landings.l]\nrequest = \"p.r\"\n{symbols}{days}",
            provider.port
        ));
        let answer = scene.pulse(&["--output", "json", "land"]).ok().json();
        assert!(answer[0]["data"].as_u64().unwrap() > 0 && answer[0]["left"] == 0, "{name}: {answer:?}");
    }
}

/// Every block of the guide, in its order.
#[test]
fn the_guide_runs_as_it_is_written() {
    let guide = fs::read_to_string(workspace().join("docs/guide/providers.md")).unwrap();
    let scene = Scene::empty();
    let folder = scene.path("guide");
    fs::create_dir(&folder).unwrap();
    let port = free_port().to_string();
    let mut stand_in = None;
    for block in guide.split("```").skip(1).step_by(2) {
        let block = block.replace("8300", &port);
        let (language, code) = block.split_once('\n').unwrap();
        let first = code.lines().next().unwrap_or_default();
        let name = first.trim_start_matches("# ").trim_start_matches("-- ").to_owned();
        match (language, name.strip_suffix(", changed")) {
            ("toml", Some(path)) => {
                let line = code.lines().nth(1).unwrap();
                let path = folder.join(path);
                let text = fs::read_to_string(&path).unwrap();
                let changed: Vec<&str> =
                    text.lines().map(|old| if old.starts_with("request = ") { line } else { old }).collect();
                fs::write(&path, changed.join("\n")).unwrap();
            }
            ("toml" | "sql", None) if name.starts_with("jobs/") => {
                let path = folder.join(&name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, code).unwrap();
            }
            ("sh", _) if code.contains("serve provider") => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_pulse"));
                command.args(["serve", "provider", "--port", &port]).current_dir(&folder);
                let running = scene.start(command);
                while !running.read("stderr").contains("provider: http") {
                    std::thread::sleep(Duration::from_millis(20));
                }
                stand_in = Some(StandIn { running: Some(running), port: 0 });
            }
            ("sh", _) => {
                let script = format!("set -e; pulse() {{ '{}' \"$@\"; }}\n{code}", env!("CARGO_BIN_EXE_pulse"));
                let output = Command::new("bash").args(["-c", &script]).current_dir(&folder).output().unwrap();
                assert!(output.status.success(), "{code}{}", String::from_utf8_lossy(&output.stderr));
            }
            _ => {}
        }
    }
    assert!(stand_in.is_some());
    let rows = "select count(*) from silver.bars_1m";
    let output = Command::new(env!("CARGO_BIN_EXE_pulse"))
        .args(["--output", "csv", "query", rows])
        .current_dir(&folder)
        .output();
    assert!(String::from_utf8_lossy(&output.unwrap().stdout).contains("4680"));
}
