//! A scheduler and executors as processes of this machine, and what several clients ask of them at once.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::{Scene, assert_same_tables, free_port};

const PATIENCE: Duration = Duration::from_secs(60);
const EXECUTORS: usize = 2;

/// Ends its processes by their ids, however the test ends.
pub(crate) struct Cluster {
    processes: Vec<Child>,
    scheduler_port: u16,
    api_port: u16,
}

impl Cluster {
    pub(crate) fn start(scene: &Scene) -> Self {
        Self::start_with(scene, &[])
    }

    /// With variables of all its processes.
    pub(crate) fn start_for_all(scene: &Scene, variables: &[(&str, &str)]) -> Self {
        let mut cluster = Self { processes: Vec::new(), scheduler_port: free_port(), api_port: free_port() };
        cluster.serve(scene, "scheduler", "work-scheduler", variables);
        for number in 0..EXECUTORS {
            cluster.serve(scene, "executor", &format!("work-{number}"), variables);
        }
        cluster.wait_for_executors();
        cluster
    }

    /// Those of the scheduler.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [self.scheduler_port, self.api_port]
    }

    /// The status that the API answers a request with.
    pub(crate) fn asked(&self, request: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.api_port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// With variables of the scheduler alone.
    pub(crate) fn start_with(scene: &Scene, variables: &[(&str, &str)]) -> Self {
        let mut cluster = Self { processes: Vec::new(), scheduler_port: free_port(), api_port: free_port() };
        cluster.serve(scene, "scheduler", "work-scheduler", variables);
        for number in 0..EXECUTORS {
            cluster.serve(scene, "executor", &format!("work-{number}"), &[]);
        }
        cluster.wait_for_executors();
        cluster
    }

    /// With variables of the scheduler, and metrics of each executor at a port of its own.
    pub(crate) fn start_measured(scene: &Scene, variables: &[(&str, &str)], metrics_ports: [u16; EXECUTORS]) -> Self {
        let mut cluster = Self { processes: Vec::new(), scheduler_port: free_port(), api_port: free_port() };
        cluster.serve(scene, "scheduler", "work-scheduler", variables);
        for (number, port) in metrics_ports.into_iter().enumerate() {
            let port = port.to_string();
            cluster.serve(scene, "executor", &format!("work-{number}"), &[("PULSE_METRICS_PORT", &port)]);
        }
        cluster.wait_for_executors();
        cluster
    }

    fn serve(&mut self, scene: &Scene, role: &str, folder: &str, variables: &[(&str, &str)]) {
        let mut command = scene.command(&["serve", role]);
        self.reach(&mut command);
        command.envs(variables.iter().copied());
        command.env("PULSE_WORK_DIR", scene.path(folder)).env("PULSE_EXECUTOR_PORT", "0").env("PULSE_VCORES", "1");
        command.env("PULSE_EXECUTOR_GRPC_PORT", "0").stdin(std::process::Stdio::null());
        let words = std::fs::File::create(scene.path(&format!("{folder}.log"))).unwrap();
        command.stdout(words.try_clone().unwrap()).stderr(words);
        self.processes.push(command.spawn().unwrap());
    }

    /// Settings under which a command finds this cluster.
    pub(crate) fn reach(&self, command: &mut Command) {
        command.env("PULSE_SCHEDULER_PORT", self.scheduler_port.to_string());
        command.env("PULSE_API_PORT", self.api_port.to_string());
    }

    /// The API answers with their number.
    fn wait_for_executors(&mut self) {
        let began = Instant::now();
        while self.registered() != Some(EXECUTORS) {
            assert!(began.elapsed() < PATIENCE, "the executors do not register");
            for process in &mut self.processes {
                assert_eq!(process.try_wait().unwrap(), None, "a process of the cluster ended");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn registered(&self) -> Option<usize> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.api_port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.rsplit("\r\n").next()?.trim().parse().ok()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn two_submissions_of_everything_at_once_leave_the_rows_of_one() {
    let expected = Scene::shipped();
    expected.run_all();
    let scene = Scene::shipped();
    let cluster = Cluster::start(&scene);
    let submit = || {
        let mut command = scene.command(&["submit", "--all", "--wait"]);
        cluster.reach(&mut command);
        command
    };
    let both = [(); 2].map(|()| scene.start(submit()));
    for running in both {
        running.wait().ok();
    }
    assert_same_tables(&scene.tables(), &expected.tables());
    scene.start(submit()).wait().ok().says(&["nothing was committed"]);
    // A process of its own that runs beside a submission.
    let late = "intraday/av_1min_2020q4/intraday_1min_LATE.csv";
    let wam = late.replace("LATE", "WAM");
    for scene in [&scene, &expected] {
        std::fs::copy(scene.raw.join(&wam), scene.raw.join(late)).unwrap();
    }
    let submitted = scene.start(submit());
    scene.run_all();
    submitted.wait().ok();
    expected.run_all();
    assert_same_tables(&scene.tables(), &expected.tables());
    let mut elsewhere = scene.command(&["--var", "raw=tpyo", "submit", "--all"]);
    cluster.reach(&mut elsewhere);
    scene.start(elsewhere).wait().fails(2, &["raw.bars", "/tpyo", "does not exist", "`--var raw`"]);
}

/// `rows_in` by job.
fn rows_read(scene: &Scene) -> BTreeMap<String, u64> {
    let runs = scene.pulse(&["--output", "json", "runs", "list"]).ok().json();
    runs.iter().map(|run| (run["job"].as_str().unwrap().to_owned(), run["rows_in"].as_u64().unwrap())).collect()
}

#[test]
fn executors_count_the_rows_that_they_read() {
    let (local, scene) = (Scene::shipped(), Scene::shipped());
    let jobs = ["run", "+gold.daily_summary"];
    local.pulse(&jobs).ok();
    let cluster = Cluster::start(&scene);
    let mut submit = scene.command(&[&["submit", "--on", "cluster", "--wait"], &jobs[1..]].concat());
    cluster.reach(&mut submit);
    scene.start(submit).wait().ok();
    let read = rows_read(&scene);
    assert_eq!(read, rows_read(&local));
    assert!(read.values().filter(|rows| **rows > 0).count() > 2, "{read:?}");
}

#[test]
fn a_scheduler_that_is_not_there_and_ports_that_are_taken_are_named() {
    let scene = Scene::shipped();
    let port = free_port();
    for arguments in [["submit", "--all"].as_slice(), &["run", "--all", "--on", "cluster"]] {
        let mut command = scene.command(arguments);
        command.env("PULSE_API_PORT", port.to_string());
        scene
            .start(command)
            .wait()
            .fails(1, &[&format!("no scheduler answers at https://127.0.0.1:{port}"), "start one"]);
    }
    assert!(!scene.lake.exists(), "nothing was begun");

    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.port())).unwrap();
    for (role, setting) in [("scheduler", "scheduler_port"), ("scheduler", "api_port"), ("executor", "executor_port")] {
        let mut command = scene.command(&["serve", role]);
        for key in ["PULSE_SCHEDULER_PORT", "PULSE_API_PORT", "PULSE_EXECUTOR_PORT", "PULSE_EXECUTOR_GRPC_PORT"] {
            command.env(key, "0");
        }
        command.env(format!("PULSE_{}", setting.to_uppercase()), taken.1.to_string());
        command.env("PULSE_WORK_DIR", scene.path("work"));
        scene.start(command).wait().fails(2, &[setting, &taken.1.to_string(), "Address already in use"]);
    }
}
