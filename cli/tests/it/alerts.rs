//! Alerts of project.toml: a webhook hears of each incident once, and of its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

const JOB: &str = "owner = \"me\"\ngrain = [\"day\"]\n[sink.merge]\nkeys = [\"day\"]\n";
const GUARD: &str = "[[expect]]\nname = \"two days\"\nrows = { at_least = 2 }\non_fail = \"fail\"\n";

/// Takes messages, and answers each with a status.
pub(crate) struct Webhook {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Value>>>,
    status: Arc<AtomicU16>,
}

impl Webhook {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/team", listener.local_addr().unwrap());
        let (heard, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(200)));
        let (into, answer) = (Arc::clone(&heard), Arc::clone(&status));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut length = 0;
                for line in reader.by_ref().lines() {
                    let line = line.unwrap().to_lowercase();
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let status = answer.load(Ordering::Relaxed);
                if status == 200 {
                    into.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                }
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            }
        });
        Self { url, heard, status }
    }

    /// Texts of the messages since the last call.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.heard.lock().unwrap().drain(..).map(|message| message["text"].as_str().unwrap().to_owned()).collect()
    }
}

struct Scene {
    folder: tempfile::TempDir,
    webhook: Webhook,
    /// Schedules so far: each has one time that is due.
    schedules: u32,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), webhook: Webhook::new(), schedules: 0 };
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

    fn project(&self) {
        let head = "name = \"shop\"\nlake = \"tables\"\n[alert.team]\nwebhook = \"env:PULSE_ALERT_TEAM\"\njobs = [\"gold.*\"]\n";
        let schedule = format!("[schedule.s{}]\ncron = \"0 0 * * *\"\n", self.schedules);
        self.write("project.toml", &format!("{head}{schedule}"));
    }

    fn pulse(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulse"));
        for name in ["PULSE_PROJECT", "PULSE_LAKE", "PULSE_VAR", "PULSE_PROFILE", "PULSE_CONFIG", "PULSE_ON"] {
            command.env_remove(name);
        }
        command.env("PULSE_ALERT_TEAM", &self.webhook.url).current_dir(self.path()).args(arguments).output().unwrap()
    }

    /// Runs the job as a schedule does: a new schedule that was seen first a day ago.
    fn due(&mut self, code: i32) -> String {
        self.schedules += 1;
        self.project();
        // Another query each time, so that there is something to do.
        let number = self.schedules;
        self.write("gold/days/query.sql", &format!("select $run_date as day where {number} = {number}"));
        assert!(self.pulse(&["run-due"]).status.success());
        let path = self.path().join(format!("tables/_pulse/schedules/s{}.json", self.schedules));
        let mut known: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        known["since"] = (known["since"].as_i64().unwrap() - 86_400_000).into();
        std::fs::write(path, known.to_string()).unwrap();
        let output = self.pulse(&["run-due"]);
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words}");
        words
    }
}

#[test]
fn a_webhook_hears_of_each_incident_once_and_of_its_end() {
    let mut scene = Scene::new();
    scene.due(0);
    assert_eq!(scene.webhook.texts(), Vec::<String>::new());
    scene.write("gold/days/job.toml", &format!("{JOB}{GUARD}"));
    scene.due(3);
    let texts = scene.webhook.texts();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with("shop: gold.days failed: ") && texts[0].contains("two days"), "{texts:?}");
    assert!(texts[0].contains("pulse runs show 2"), "{texts:?}");
    scene.due(3);
    assert_eq!(scene.webhook.texts(), Vec::<String>::new(), "the same incident");
    let listed = scene.pulse(&["--output", "json", "alert", "list"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed["job"], &listed["delivered"]), (&"gold.days".into(), &true.into()));
    scene.write("gold/days/job.toml", JOB);
    scene.due(0);
    let texts = scene.webhook.texts();
    assert!(texts.len() == 1 && texts[0].starts_with("shop: gold.days is in order again after "), "{texts:?}");
    scene.due(0);
    assert_eq!(scene.webhook.texts(), Vec::<String>::new());
    assert!(scene.pulse(&["--output", "json", "alert", "list"]).stdout.is_empty());
}

#[test]
fn what_is_not_delivered_is_sent_with_the_next_run_and_fails_none() {
    let mut scene = Scene::new();
    scene.write("gold/days/job.toml", &format!("{JOB}{GUARD}"));
    scene.webhook.status.store(503, Ordering::Relaxed);
    let words = scene.due(3);
    assert!(words.contains("alert team of trigger") && words.contains("answered 503"), "{words}");
    assert!(!words.contains(&scene.webhook.url), "the URL is a secret: {words}");
    scene.webhook.status.store(200, Ordering::Relaxed);
    scene.due(3);
    assert_eq!(scene.webhook.texts().len(), 1);
    // Nobody listens.
    scene.webhook.url = "http://127.0.0.1:9/team".to_owned();
    scene.write("gold/days/job.toml", JOB);
    let words = scene.due(0);
    assert!(words.contains("its webhook does not answer") && !words.contains(":9/team"), "{words}");
}

#[test]
fn a_job_that_does_not_run_is_late() {
    let scene = Scene::new();
    let head = "name = \"shop\"\nlake = \"tables\"\n[schedule.s]\ncron = \"0 0 * * *\"\n";
    scene.write("project.toml", &format!("{head}[alert.team]\nwebhook = \"env:PULSE_ALERT_TEAM\"\nlate_hours = 3\n"));
    let look = || assert!(scene.pulse(&["run-due"]).status.success());
    look();
    assert_eq!(scene.webhook.texts(), Vec::<String>::new());
    // It was seen first four hours ago.
    let path = scene.path().join("tables/_pulse/alerts/team/gold.days.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    known["in_order"] = (known["in_order"].as_i64().unwrap() - 4 * 3_600_000).into();
    std::fs::write(path, known.to_string()).unwrap();
    look();
    let texts = scene.webhook.texts();
    assert!(
        texts.len() == 1 && texts[0].starts_with("shop: gold.days: no run was in order for more than 3 h"),
        "{texts:?}"
    );
    look();
    assert_eq!(scene.webhook.texts(), Vec::<String>::new());
}

#[test]
fn an_alert_can_be_tried() {
    let scene = Scene::new();
    scene.project();
    assert!(scene.pulse(&["alert", "test", "team"]).status.success());
    assert_eq!(scene.webhook.texts(), ["shop: this is a test of the alert `team`"]);
    for (code, status, name, says) in [
        (2, 200, "tem", "did you mean `team`?"),
        (1, 500, "team", "its webhook answered 500"),
        (1, 307, "team", "its webhook answered 307"),
    ] {
        scene.webhook.status.store(status, Ordering::Relaxed);
        let output = scene.pulse(&["alert", "test", name]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && words.contains(says), "{words}");
    }
    let others = ["http://hooks.example.com/x", "ftp://localhost/x", "no url"];
    for url in others {
        let webhook = Webhook { url: url.to_owned(), ..Webhook::new() };
        let scene = Scene { webhook, ..Scene::new() };
        scene.project();
        let output = scene.pulse(&["alert", "test", "team"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && words.contains("PULSE_ALERT_TEAM") && !words.contains(url),
            "{words}"
        );
    }
}

/// The message comes behind the answer to the client that waits.
#[test]
fn a_scheduler_tells_of_what_it_drives() {
    let (scene, webhook) = (crate::support::Scene::empty(), Webhook::new());
    let toml = scene.project.join("project.toml");
    let head = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, format!("{head}[alert.team]\nwebhook = \"env:PULSE_ALERT_TEAM\"\n")).unwrap();
    let cluster = crate::submissions::Cluster::start_with(&scene, &[("PULSE_ALERT_TEAM", &webhook.url)]);
    let submit = |guard: &str, code: i32| {
        scene.job("gold.t", &format!("grain = [\"a\"]\n[sink.overwrite]\n{guard}"), "select 1 as a");
        let mut command = scene.command(&["submit", "--all", "--wait"]);
        cluster.reach(&mut command);
        scene.start(command).wait().fails(code, &[]);
    };
    let heard = |text: &str| {
        let began = std::time::Instant::now();
        loop {
            match webhook.texts().pop() {
                Some(heard) => break assert!(heard.starts_with(text), "{heard}"),
                None => assert!(began.elapsed().as_secs() < 60, "nothing was heard of: {text}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    submit(GUARD, 3);
    heard("test: gold.t failed: ");
    submit("", 0);
    heard("test: gold.t is in order again after ");
}
