//! Schedules of project.toml: `pulse run-due` runs each due time once, whatever calls it and however often.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate, Utc};

const JOB: &str = "owner = \"me\"\ngrain = [\"day\"]\n[sink.merge]\nkeys = [\"day\"]\n";

/// A project whose one job keeps the day of each run.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(schedules: &str) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        scene.write("project.toml", &format!("name = \"p\"\nlake = \"tables\"\n{schedules}"));
        scene.write("gold/days/job.toml", JOB);
        scene.write("gold/days/query.sql", "select $run_date as day");
        scene
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulse"));
        for name in ["PULSE_PROJECT", "PULSE_LAKE", "PULSE_VAR", "PULSE_PROFILE", "PULSE_CONFIG", "PULSE_ON"] {
            command.env_remove(name);
        }
        let short = ["--set", "lease_s=2", "--set", "clock_margin_ms=100"];
        command.current_dir(self.path()).args(short).args(arguments);
        command
    }

    fn pulse(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a run of `run-due` says.
    fn due(&self) -> String {
        let output = self.pulse(&["run-due"]);
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words}");
        words
    }

    fn ledger(&self, name: &str) -> PathBuf {
        self.path().join("tables/_pulse/schedules").join(format!("{name}.json"))
    }

    /// As if the schedule had been seen first so many days ago.
    fn age(&self, name: &str, days: i64) {
        let path = self.ledger(name);
        let mut known: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        known["since"] = (known["since"].as_i64().unwrap() - days * 86_400_000).into();
        std::fs::write(path, known.to_string()).unwrap();
    }

    fn days(&self) -> BTreeSet<NaiveDate> {
        let output = self.pulse(&["--output", "csv", "query", "select day from gold.days order by day"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().skip(1).map(|line| line.parse().unwrap()).collect()
    }

    fn triggers(&self) -> BTreeSet<String> {
        let output = self.pulse(&["--output", "json", "runs", "list"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let trigger = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["trigger"].to_string();
        text.lines().map(trigger).collect()
    }
}

/// Today and the days before it, in UTC.
fn days_before(count: u64) -> BTreeSet<NaiveDate> {
    let today = Utc::now().date_naive();
    (0..count).map(|days| today - Days::new(days)).collect()
}

const MIDNIGHT: &str = "[schedule.nightly]\ncron = \"0 0 * * *\"\n";

#[test]
fn the_newest_missed_time_runs_once_with_its_day() {
    let scene = Scene::new(MIDNIGHT);
    assert_eq!(scene.due(), "nothing is due\n");
    scene.age("nightly", 3);
    let before = days_before(1);
    let words = scene.due();
    assert!(words.contains("nightly: due at ") && words.contains(" 00:00 UTC"), "{words}");
    // Midnight may pass meanwhile.
    assert!([before, days_before(1)].contains(&scene.days()));
    assert_eq!(scene.due(), "nothing is due\n");
    assert_eq!(scene.triggers().len(), 1);
}

#[test]
fn every_missed_time_runs_with_its_day_where_that_is_declared() {
    let scene = Scene::new(&format!("{MIDNIGHT}catch_up = \"all\"\njobs = [\"gold.*\"]\n"));
    scene.due();
    scene.age("nightly", 3);
    let (before, words) = (days_before(3), scene.due());
    // The table holds the newest day, as a run's variable is part of its query; each day had its run.
    let ran = |days: &BTreeSet<NaiveDate>| days.iter().all(|day| words.contains(&format!("due at {day} 00:00 UTC")));
    assert!(ran(&before) || ran(&days_before(3)), "{words}");
    assert_eq!((scene.days().len(), scene.triggers().len()), (1, 3));
    // A ledger from before: the times have run, and do not run again.
    let known = std::fs::read_to_string(scene.ledger("nightly")).unwrap();
    let mut known: serde_json::Value = serde_json::from_str(&known).unwrap();
    known["last"] = serde_json::Value::Null;
    std::fs::write(scene.ledger("nightly"), known.to_string()).unwrap();
    scene.due();
    assert!(scene.triggers().len() <= 4, "{:?}", scene.triggers());
}

#[test]
fn a_paused_schedule_and_a_changed_one_have_missed_nothing() {
    let scene = Scene::new(MIDNIGHT);
    scene.due();
    scene.age("nightly", 3);
    scene.write("project.toml", &format!("name = \"p\"\nlake = \"tables\"\n{MIDNIGHT}enabled = false\n"));
    assert_eq!(scene.due(), "nothing is due\n");
    scene.write("project.toml", &format!("name = \"p\"\nlake = \"tables\"\n{MIDNIGHT}"));
    assert_eq!(scene.due(), "nothing is due\n");
    scene.age("nightly", 3);
    scene.write("project.toml", "name = \"p\"\nlake = \"tables\"\n[schedule.nightly]\ncron = \"1 0 * * *\"\n");
    assert_eq!(scene.due(), "nothing is due\n");
}

#[test]
fn two_processes_at_once_run_a_time_once() {
    let scene = Scene::new(MIDNIGHT);
    scene.due();
    scene.age("nightly", 1);
    let start = || scene.command(&["run-due"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let both = [start(), start(), start()];
    for process in both {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(scene.triggers().len(), 1);
    assert_eq!(scene.days().len(), 1);
}

#[test]
fn a_time_whose_process_died_is_finished_by_a_later_call() {
    for step in ["planned", "staged", "table_committed"] {
        let scene = Scene::new(MIDNIGHT);
        scene.due();
        scene.age("nightly", 1);
        let killed = scene.command(&["run-due"]).env("PULSE_KILL_AT", step).output().unwrap();
        assert_eq!(killed.status.code(), None, "{step}: {killed:?}");
        let began = Instant::now();
        while scene.due() != "nothing is due\n" {
            assert!(began.elapsed() < Duration::from_secs(60), "{step}");
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!((scene.triggers().len(), scene.days().len()), (1, 1), "{step}");
        let history = scene.pulse(&["--output", "json", "table", "history", "gold.days"]);
        assert_eq!(String::from_utf8(history.stdout).unwrap().lines().count(), 1, "{step}: one commit");
    }
}

#[test]
fn a_failed_run_is_the_exit_code_and_is_not_repeated() {
    let scene = Scene::new(MIDNIGHT);
    scene.write(
        "gold/days/job.toml",
        &format!("{JOB}[[expect]]\nname = \"no day\"\nrows = {{ at_least = 2 }}\non_fail = \"fail\"\n"),
    );
    scene.due();
    scene.age("nightly", 1);
    let failed = scene.pulse(&["run-due"]);
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    assert_eq!(scene.due(), "nothing is due\n");
}

#[test]
fn schedules_are_listed_with_their_next_times() {
    let scene = Scene::new(
        "[schedule.close]\ncron = \"30 16 * * mon-fri\"\ntime_zone = \"America/New_York\"\njobs = [\"+gold.days\"]\n",
    );
    let listed = scene.pulse(&["--output", "json", "schedule", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((listed["schedule"].as_str(), listed["last"].as_str()), (Some("close"), None));
    let next = scene.pulse(&["--output", "json", "schedule", "next", "close", "--count", "3"]);
    let times = String::from_utf8(next.stdout).unwrap();
    assert_eq!(times.lines().count(), 3);
    assert!(times.lines().all(|line| line.contains(" 16:30 E")), "{times}");
    let unknown = scene.pulse(&["schedule", "next", "clos"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `close`?"));
    let none = Scene::new("").pulse(&["run-due"]);
    assert_eq!(none.status.code(), Some(2));
}

/// A time that becomes due while it looks, a project that is wrong for a while, and the end.
#[test]
fn one_process_looks_again_and_again() {
    let scene = Scene::new(MIDNIGHT);
    let mut command = scene.command(&["run-due", "--every", "1"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = |holds: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&|| scene.ledger("nightly").exists());
    scene.write("project.toml", "name = ");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(process.try_wait().unwrap().is_none(), "it goes on when the project is in order again");
    scene.write("project.toml", &format!("name = \"p\"\nlake = \"tables\"\n{MIDNIGHT}"));
    // Between two looks: one writes the object that is edited here.
    std::thread::sleep(Duration::from_millis(200));
    scene.age("nightly", 2);
    until(&|| scene.triggers().len() == 1);
    let stop = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(stop.success());
    let output = process.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words}");
    assert!(words.starts_with("looking at 1 schedule every 1 s") && words.contains("project.toml"), "{words}");
    assert_eq!(scene.due(), "nothing is due\n");
    assert_eq!(scene.pulse(&["run-due", "--every", "0"]).status.code(), Some(2));
}

/// A bronze job over the files of a folder.
fn landing(scene: &Scene) {
    let columns = "columns = [{ name = \"v\", type = \"bigint\" }]\n";
    let feed = "[files.sales.feed.all]\npath = \"*.csv\"\nformat = { csv = {} }\n";
    scene.write("sources.toml", &format!("[files.sales]\nroot = \"$inbox\"\n{columns}{feed}"));
    scene.write("bronze/sales/job.toml", "owner = \"me\"\ngrain = [\"source_file\", \"line\"]\n[sink.append]\n");
    scene.write("bronze/sales/query.sql", "select v, source_file, line from raw.sales");
}

/// Files that arrive, with two schedules whose times have come since the last look.
#[test]
fn a_time_at_which_nothing_has_changed_runs_nothing() {
    let schedule = |name: &str| {
        format!(
            "name = \"p\"\nlake = \"tables\"\n[variables]\ninbox = {{ type = \"path\", default = \"inbox\" }}\n\
             [schedule.{name}]\ncron = \"0 0 * * *\"\nonly_changed = true\njobs = [\"bronze.*\"]\n"
        )
    };
    let scene = Scene::new("");
    landing(&scene);
    scene.write("inbox/a.csv", "v\n1\n");
    for (name, files, triggers) in [("one", 1, 1), ("two", 1, 1), ("three", 2, 2)] {
        for file in 1..=files {
            scene.write(&format!("inbox/{file}.csv"), "v\n2\n");
        }
        scene.write("project.toml", &schedule(name));
        assert_eq!(scene.due(), "nothing is due\n");
        scene.age(name, 1);
        let words = scene.due();
        assert_eq!(words.contains("nothing has changed"), name == "two", "{words}");
        assert_eq!(scene.triggers().len(), triggers, "{words}");
        assert_eq!(scene.due(), "nothing is due\n");
    }
}

/// The incident of an alert ends with a run, which nothing else would cause.
#[test]
fn a_job_that_is_mended_runs_although_nothing_has_changed() {
    let schedule = "[schedule.often]\ncron = \"0 0 * * *\"\nonly_changed = true\njobs = [\"bronze.*\"]\n";
    let inbox = "[variables]\ninbox = { type = \"path\", default = \"inbox\" }\n";
    let scene = Scene::new("");
    landing(&scene);
    scene.write("inbox/a.csv", "v\n1\n");
    scene.write("project.toml", &format!("name = \"p\"\nlake = \"tables\"\n{inbox}{schedule}"));
    scene.due();
    let sound = "select v, source_file, line from raw.sales";
    for (query, code, says) in [
        (sound, 0, "bronze.sales"),
        (sound, 0, "nothing has changed"),
        ("select w, source_file, line from raw.sales", 2, "there is no column `w`"),
        (sound, 0, "unchanged"),
        (sound, 0, "nothing has changed"),
    ] {
        scene.write("bronze/sales/query.sql", query);
        // The same time once more, as if nothing had run at it.
        let path = scene.ledger("often");
        let mut known: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        known["since"] = (Utc::now().timestamp_millis() - 86_400_000).into();
        known["last"] = serde_json::Value::Null;
        std::fs::write(path, known.to_string()).unwrap();
        drop(std::fs::remove_dir_all(scene.path().join("tables/_pulse/runs")));
        let output = scene.pulse(&["run-due"]);
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && words.contains(says), "{says}: {words}");
    }
}

#[test]
fn a_table_holds_the_times_of_a_schedule() {
    let schedule = "[schedule.close]\nsessions = { table = \"silver.sessions\", column = \"closes_at\", delay_minutes = -10 }\n\
                    jobs = [\"gold.days\"]\n[schedule.nightly]\ncron = \"0 0 * * *\"\njobs = [\"gold.days\"]\n";
    let scene = Scene::new(schedule);
    let close = Utc::now() + chrono::TimeDelta::minutes(10) + chrono::TimeDelta::seconds(4);
    scene.write("silver/sessions/job.toml", "owner = \"me\"\ngrain = [\"closes_at\"]\n[sink.overwrite]\n");
    let at = close.format("%Y-%m-%d %H:%M:%S");
    let query =
        format!("select cast('{at}' as timestamp) as closes_at union all select timestamp '2100-01-01 00:00:00'");
    scene.write("silver/sessions/query.sql", &query);
    // The table is not there yet. Other schedules go on.
    let early = scene.pulse(&["run-due"]);
    let words = String::from_utf8(early.stderr).unwrap();
    assert_eq!(early.status.code(), Some(2), "{words}");
    assert!(words.contains("schedule close: the times of silver.sessions.closes_at cannot be read"), "{words}");
    assert!(scene.ledger("nightly").exists() && !scene.ledger("close").exists());
    assert!(scene.pulse(&["run", "silver.sessions"]).status.success());
    assert_eq!(scene.due(), "nothing is due\n");
    let next = scene.pulse(&["--output", "json", "schedule", "next", "close"]);
    let next = String::from_utf8(next.stdout).unwrap();
    assert_eq!(next.lines().count(), 2, "{next}");
    assert!(next.lines().last().unwrap().contains("2099-12-31T23:50:00Z"), "{next}");
    let began = Instant::now();
    let words = loop {
        let words = scene.due();
        if words != "nothing is due\n" {
            break words;
        }
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(300));
    };
    assert!(words.contains("close: due at "), "{words}");
    assert_eq!(scene.due(), "nothing is due\n");
    assert_eq!(scene.days().len(), 1);
}
