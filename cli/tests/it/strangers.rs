//! Who has no business with a cluster: another account of the machine, and a network without certificates.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::submissions::Cluster;
use crate::support::{Scene, free_port, text};

/// An account of every machine that owns nothing.
const NOBODY: &str = "65534";
/// For a process that should achieve nothing.
const A_WHILE: Duration = Duration::from_secs(5);

/// Runs as another account, which only root may ask for.
fn as_nobody(program: &Path) -> Option<Command> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let mut probe = Command::new("setpriv");
    probe.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program).arg("--version");
    let can_run = probe.stdin(Stdio::null()).output().is_ok_and(|answer| answer.status.success());
    (is_root && can_run).then_some(command)
}

#[test]
fn another_account_of_the_machine_achieves_nothing() {
    let pulse = PathBuf::from(env!("CARGO_BIN_EXE_pulse"));
    let scene = Scene::shipped();
    let state = scene.path("state");
    let variables = [("XDG_STATE_HOME", state.to_str().unwrap())];
    let cluster = Cluster::start_for_all(&scene, &variables);
    let secrets = state.join("pulse/this-machine");
    assert_eq!(std::fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o700);
    // Whatever the account: without its certificate nothing is answered but the number of executors.
    assert_eq!(
        cluster.asked("GET /runs/20260101T000000-00000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "401"
    );
    assert_eq!(
        cluster.asked("POST /runs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"),
        "401"
    );
    let Some(mut reader) = as_nobody(Path::new("/usr/bin/cat")) else { return };
    let read = reader.arg(secrets.join("authority")).output().unwrap();
    assert!(!read.status.success() && read.stdout.is_empty());
    let Some(mut executor) = as_nobody(&pulse) else { return };
    let theirs = tempfile::tempdir().unwrap();
    std::fs::set_permissions(theirs.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    executor.env("XDG_STATE_HOME", theirs.path().join("state")).env("TMPDIR", theirs.path());
    executor.env("PULSE_EXECUTOR_PORT", "0").env("PULSE_EXECUTOR_GRPC_PORT", "0");
    cluster.reach(&mut executor);
    let said = std::fs::File::create(theirs.path().join("said")).unwrap();
    executor.args(["-v", "serve", "executor"]).current_dir(theirs.path()).stdout(Stdio::null()).stderr(said);
    let mut executor = executor.spawn().unwrap();
    std::thread::sleep(A_WHILE);
    let registered = cluster.registered();
    executor.kill().unwrap();
    executor.wait().unwrap();
    assert_eq!(registered, Some(2), "{}", std::fs::read_to_string(theirs.path().join("said")).unwrap());
    // And the account itself needs to set nothing.
    let mut submit = scene.command(&["submit", "--all", "--wait"]);
    cluster.reach(&mut submit);
    submit.envs(variables);
    scene.start(submit).wait().ok();
}

#[test]
fn a_cluster_that_others_reach_does_not_start_without_certificates() {
    let scene = Scene::shipped();
    for role in ["scheduler", "executor"] {
        scene
            .pulse(&["--set", "scheduler_host=192.0.2.1", "serve", role])
            .fails(2, &["192.0.2.1", "pulse certs init", "cluster_certificates"]);
    }
    let certificates = scene.path("certs");
    let folder = certificates.to_str().unwrap();
    scene.pulse(&["certs", "init", folder]).ok();
    scene.pulse(&["certs", "init", folder]).fails(2, &["pulse certs issue", "pulse certs rotate"]);
    let start = |settings: &[&str]| {
        let certificates = format!("cluster_certificates={folder}");
        let common =
            ["--set", &certificates, "--set", "scheduler_port=0", "--set", "api_port=0", "--set", "api_host=0.0.0.0"];
        let more = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = common.into_iter().chain(more).chain(["serve", "scheduler"]).collect();
        scene.pulse(&arguments)
    };
    start(&[]).fails(2, &["could submit jobs", "api_token_source"]);
    let token = scene.path("token");
    std::fs::write(&token, "0123456789abcdef").unwrap();
    let source = format!("api_token_source=file:{}", token.display());
    start(&[&source]).fails(2, &["plain HTTP", "api_certificate"]);
    scene
        .pulse(&["--set", &source, "--set", "scheduler_host=192.0.2.1", "submit", "--all"])
        .fails(2, &["plain HTTP", "api_authority"]);
}

#[test]
fn silent_connections_to_every_port_stop_nobody() {
    let scene = Scene::shipped();
    let cluster = Cluster::start(&scene);
    let mut silent = Vec::new();
    for port in cluster.ports() {
        for _ in 0..300 {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(b"\x16\x03\x01");
            silent.push(stream);
        }
    }
    let mut submit = scene.command(&["submit", "--all", "--wait"]);
    cluster.reach(&mut submit);
    scene.start(submit).wait().ok();
    let mut rest = [0; 1];
    assert!(silent.iter_mut().any(|stream| {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut rest), Ok(0))
            || stream.read(&mut rest).is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
    }));
}

#[test]
fn an_executor_opens_no_file_outside_of_its_places() {
    let scene = Scene::shipped();
    let (lake, raw) = (format!("file://{}/", scene.lake.display()), format!("file://{}/", scene.raw.display()));
    let submit = |places: &str| {
        let cluster = Cluster::start_for_all(&scene, &[("PULSE_TASK_PLACES", places)]);
        let mut submit = scene.command(&["submit", "bronze.bars_1d", "--on", "cluster", "--wait"]);
        cluster.reach(&mut submit);
        scene.start(submit).wait()
    };
    submit(&format!("{lake}gold/,{raw}")).fails(1, &["task_places"]);
    submit(&format!("{lake},{raw}daily/")).ok();
}

/// Two machines on one wire, which end with this.
struct Wire {
    cluster: String,
    stranger: String,
}

impl Wire {
    /// None where networks cannot be made.
    fn lay() -> Option<Self> {
        let id = std::process::id();
        let wire = Self { cluster: format!("pulse-c{id}"), stranger: format!("pulse-s{id}") };
        let (cluster, stranger) = (wire.cluster.as_str(), wire.stranger.as_str());
        let steps: [&[&str]; 9] = [
            &["netns", "add", cluster],
            &["netns", "add", stranger],
            &["link", "add", "wire0", "netns", cluster, "type", "veth", "peer", "name", "wire1", "netns", stranger],
            &["-n", cluster, "addr", "add", "10.201.0.1/24", "dev", "wire0"],
            &["-n", stranger, "addr", "add", "10.201.0.2/24", "dev", "wire1"],
            &["-n", cluster, "link", "set", "wire0", "up"],
            &["-n", stranger, "link", "set", "wire1", "up"],
            &["-n", cluster, "link", "set", "lo", "up"],
            &["-n", stranger, "link", "set", "lo", "up"],
        ];
        let ip = |step: &&[&str]| Command::new("ip").args(*step).output().is_ok_and(|done| done.status.success());
        steps.iter().all(ip).then_some(wire)
    }

    /// `pulse` on one of them.
    fn on(machine: &str, scene: &Scene, arguments: &[&str]) -> Command {
        let pulse = scene.command(arguments);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", machine]).arg(pulse.get_program()).args(pulse.get_args());
        command.envs(pulse.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(pulse.get_current_dir().unwrap()).stdin(Stdio::null());
        command
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for machine in [&self.cluster, &self.stranger] {
            let _ = Command::new("ip").args(["netns", "del", machine]).output();
        }
    }
}

/// Ended with the test.
struct Process(std::process::Child);

impl Process {
    fn start(mut command: Command, log: &Path) -> Self {
        let said = std::fs::File::create(log).unwrap();
        Self(command.stdout(Stdio::null()).stderr(said).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stranger_on_the_wire_achieves_nothing() {
    let Some(wire) = Wire::lay() else { return };
    let scene = Scene::shipped();
    let (certificates, theirs) = (scene.path("certs"), scene.path("their-certs"));
    for folder in [&certificates, &theirs] {
        scene.pulse(&["certs", "init", folder.to_str().unwrap()]).ok();
    }
    let with = |folder: &Path| format!("cluster_certificates={}", folder.display());
    let (ours, others) = (with(&certificates), with(&theirs));
    let at = ["--set", "scheduler_host=10.201.0.1", "--set", "vcores=1"];
    let state = scene.path("state");
    let on_cluster = |arguments: &[&str]| {
        let all: Vec<&str> = at.into_iter().chain(["--set", &ours]).chain(arguments.iter().copied()).collect();
        let mut command = Wire::on(&wire.cluster, &scene, &all);
        command.env("XDG_STATE_HOME", &state);
        command
    };
    let scheduler = on_cluster(&["--set", "api_host=127.0.0.1", "serve", "scheduler"]);
    let _scheduler = Process::start(scheduler, &scene.path("scheduler.log"));
    let _executor = Process::start(on_cluster(&["serve", "executor"]), &scene.path("executor.log"));
    // Certificates of another authority, then none at all.
    let log = scene.path("stranger.log");
    let join: Vec<&str> = at.into_iter().chain(["--set", &others, "-v", "serve", "executor"]).collect();
    let _stranger = Process::start(Wire::on(&wire.stranger, &scene, &join), &log);
    let insecure = ["--set", "insecure_cluster_anyone_can_run_code=true", "-v", "serve", "executor"];
    let ports = ["--set", "executor_port=0", "--set", "executor_grpc_port=0"];
    let join: Vec<&str> = at.into_iter().chain(ports).chain(insecure).collect();
    let _plain = Process::start(Wire::on(&wire.stranger, &scene, &join), &scene.path("plain.log"));
    let mut submit = Wire::on(
        &wire.cluster,
        &scene,
        &["--set", "scheduler_host=127.0.0.1", "submit", "--all", "--on", "cluster", "--wait"],
    );
    submit.env("XDG_STATE_HOME", &state);
    let done = submit.output().unwrap();
    let said = |name: &str| std::fs::read_to_string(scene.path(name)).unwrap_or_default();
    assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), said("scheduler.log"));
    std::thread::sleep(A_WHILE);
    let mut health = Command::new("ip");
    health.args(["netns", "exec", &wire.cluster, "curl", "-s", "http://127.0.0.1:50080/healthz"]);
    let registered = health.output().unwrap();
    assert_eq!(registered.stdout, b"1", "{}", said("stranger.log"));
    for name in ["stranger.log", "plain.log"] {
        assert!(!said(name).contains("task"), "{}", said(name));
    }
    // The API is not on the wire, and nothing is submitted by it.
    let submit = ["--set", "scheduler_host=10.201.0.1", "submit", "--all"];
    assert!(!Wire::on(&wire.stranger, &scene, &submit).output().unwrap().status.success());
}

/// A cluster of one executor on this machine that asks for certificates at every port, the API's too.
struct Certified<'a> {
    scene: &'a Scene,
    certificates: PathBuf,
    scheduler_port: u16,
    api_port: u16,
    /// Of the executor.
    metrics_port: u16,
    _processes: Vec<Process>,
}

impl<'a> Certified<'a> {
    fn start(scene: &'a Scene) -> Self {
        let certificates = scene.path("certs");
        scene.pulse(&["certs", "init", certificates.to_str().unwrap()]).ok();
        let (scheduler_port, api_port) = (free_port(), free_port());
        let metrics_port = free_port();
        let mut cluster = Self { scene, certificates, scheduler_port, api_port, metrics_port, _processes: Vec::new() };
        for role in ["scheduler", "executor"] {
            let mut command = cluster.command(&cluster.certificates, &["serve", role]);
            command.env("PULSE_METRICS_PORT", metrics_port.to_string());
            cluster._processes.push(Process::start(command, &scene.path(&format!("{role}.log"))));
        }
        let began = Instant::now();
        while cluster.registered() != Some(1) {
            assert!(began.elapsed() < Duration::from_secs(60), "the executor does not register");
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster
    }

    /// `pulse` with the certificates of `folder`.
    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = self.scene.command(arguments);
        command.env("PULSE_CLUSTER_CERTIFICATES", folder).env("PULSE_API_CLIENTS", "certificate");
        command.env("PULSE_AUDIT_LOG", self.audit_log());
        command.env("PULSE_SCHEDULER_PORT", self.scheduler_port.to_string());
        command.env("PULSE_API_PORT", self.api_port.to_string());
        command.env("PULSE_EXECUTOR_PORT", "0").env("PULSE_EXECUTOR_GRPC_PORT", "0").env("PULSE_VCORES", "1");
        command.stdin(Stdio::null());
        command
    }

    fn audit_log(&self) -> PathBuf {
        self.scene.path("audit.jsonl")
    }

    /// What the API answers another client than pulse's own.
    fn curl(&self, certificate: Option<&Path>, path: &str) -> Option<String> {
        self.curl_at(&format!("scheduler.pulse:{}", self.api_port), certificate, path)
    }

    /// What the executor's port for metrics answers.
    fn scrape(&self, certificate: Option<&Path>) -> Option<String> {
        self.curl_at(&format!("executor.pulse:{}", self.metrics_port), certificate, "/metrics")
    }

    fn curl_at(&self, name: &str, certificate: Option<&Path>, path: &str) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["-s", "-f", "--max-time", "5", "--resolve", &format!("{name}:127.0.0.1"), "--cacert"]);
        command.arg(self.certificates.join("authority.pem"));
        if let Some(certificate) = certificate {
            command.arg("--cert").arg(certificate);
        }
        let answer = command.arg(format!("https://{name}{path}")).output().unwrap();
        answer.status.success().then(|| String::from_utf8(answer.stdout).unwrap())
    }

    fn registered(&self) -> Option<usize> {
        self.curl(Some(&self.certificates.join("client.pem")), "/healthz")?.trim().parse().ok()
    }

    /// A folder with the cluster's authority, and `from` in the place of `role`'s certificate.
    fn with_another(&self, name: &str, role: &str, from: &Path) -> PathBuf {
        let folder = self.scene.path(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(self.certificates.join("authority.pem"), folder.join("authority.pem")).unwrap();
        std::fs::copy(from, folder.join(format!("{role}.pem"))).unwrap();
        folder
    }

    fn submit(&self, folder: &Path, more: &[&str]) -> std::process::Output {
        let arguments = [&["submit", "--all", "--on", "cluster", "--wait"], more].concat();
        self.command(folder, &arguments).output().unwrap()
    }

    fn submits(&self, folder: &Path, more: &[&str]) {
        let done = self.submit(folder, more);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn a_certificate_opens_the_doors_of_its_role_alone() {
    let scene = Scene::shipped();
    let cluster = Certified::start(&scene);
    let of = |role: &str| cluster.certificates.join(format!("{role}.pem"));
    let theirs = scene.path("their-certs");
    scene.pulse(&["certs", "init", theirs.to_str().unwrap()]).ok();
    // Nobody is asked for a token, and clients are the only ones to submit.
    let strangers =
        [("executor", of("executor")), ("scheduler", of("scheduler")), ("another", theirs.join("client.pem"))];
    for (name, certificate) in &strangers {
        let folder = cluster.with_another(&format!("as-client-{name}"), "client", certificate);
        let done = cluster.submit(&folder, &[]);
        assert!(!done.status.success(), "{name}");
        assert_eq!(cluster.curl(Some(certificate), "/healthz"), None, "{name}");
        assert_eq!(cluster.curl(Some(certificate), "/metrics"), None, "{name}");
        assert_eq!(cluster.scrape(Some(certificate)), None, "{name}");
    }
    assert_eq!(cluster.curl(None, "/healthz"), None);
    assert_eq!((cluster.curl(None, "/metrics"), cluster.scrape(None)), (None, None));
    let client = of("client");
    assert!(cluster.curl(Some(&client), "/metrics").is_some_and(|text| text.contains("\npulse_executors 1\n")));
    assert!(cluster.scrape(Some(&client)).is_some_and(|text| text.contains("\npulse_executor_slots 1\n")));
    for address in [format!("{}/healthz", cluster.api_port), format!("{}/metrics", cluster.metrics_port)] {
        let plain =
            Command::new("curl").args(["-s", "-f", "--max-time", "5", &format!("http://127.0.0.1:{address}")]).output();
        assert!(!plain.unwrap().status.success(), "{address}");
    }
    // A client's certificate does not register an executor.
    let folder = cluster.with_another("as-executor", "executor", &of("client"));
    let log = scene.path("as-executor.log");
    let joining = Process::start(cluster.command(&folder, &["-v", "serve", "executor"]), &log);
    std::thread::sleep(A_WHILE);
    assert_eq!(cluster.registered(), Some(1), "{}", std::fs::read_to_string(log).unwrap());
    drop(joining);
    cluster.submits(&cluster.certificates, &[]);
    let audit = std::fs::read_to_string(cluster.audit_log()).unwrap();
    let lines = audit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let callers: BTreeSet<String> = lines.map(|line| text(&line["certificate"])).collect();
    assert_eq!(callers, [fingerprint(&of("client"))].into(), "{audit}");
}

/// As openssl has it.
fn fingerprint(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    let shown = openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(certificate).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    shown.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase()
}

#[test]
fn authority_and_certificates_are_replaced_while_a_cluster_runs() {
    let scene = Scene::shipped();
    let cluster = Certified::start(&scene);
    let folder = cluster.certificates.to_str().unwrap();
    let stolen = cluster.with_another("stolen", "client", &cluster.certificates.join("client.pem"));
    cluster.submits(&stolen, &[]);
    for step in ["trust", "sign", "forget"] {
        scene.pulse(&["certs", "rotate", folder, "--step", step]).ok();
        cluster.submits(&cluster.certificates, &["--rebuild"]);
    }
    assert!(!cluster.submit(&stolen, &[]).status.success(), "its authority is forgotten");
    assert_eq!(cluster.curl(Some(&stolen.join("client.pem")), "/healthz"), None);
}
