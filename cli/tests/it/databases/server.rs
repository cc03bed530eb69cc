//! A PostgreSQL server of one test.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::free_port;

const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const PASSWORD: &str = "a secret of tests";

pub(super) struct Server {
    folder: TempDir,
    child: Child,
    pub(super) port: u16,
}

/// Where the server's programs are.
fn programs() -> PathBuf {
    let packaged =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map(|entry| entry.unwrap().path().join("bin"));
    let paths = std::env::var("PATH").unwrap_or_default();
    let mut folders = packaged.chain(paths.split(':').map(PathBuf::from));
    let found = folders.find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    found.expect("these tests need the programs of a PostgreSQL server, of the package `postgresql`")
}

/// A command of the user `postgres` if this is root, as whom the server does not run.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command
}

fn postgres_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user `postgres`");
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

impl Server {
    pub(super) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// `options` are `name=value`, from the server's folder.
    pub(super) fn start_with(options: impl Fn(&Path) -> Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let owned = |path: &Path| {
            if let Some((user, group)) = postgres_user() {
                chown(path, Some(user), Some(group)).unwrap();
            }
        };
        owned(folder.path());
        let (data, secret) = (folder.path().join("data"), folder.path().join("secret"));
        fs::write(&secret, PASSWORD).unwrap();
        owned(&secret);
        let made = unprivileged("initdb")
            .args([
                "--no-sync",
                "--auth=scram-sha-256",
                "--username=reader",
                "--encoding=UTF8",
                "--locale=C",
                "--pwfile",
            ])
            .args([&secret, Path::new("-D"), &data])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let mut command = unprivileged("postgres");
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).current_dir(folder.path());
        let usual =
            ["fsync=off", "listen_addresses=127.0.0.1", "max_connections=40", "autovacuum=off"].map(str::to_owned);
        let socket = format!("unix_socket_directories={}", folder.path().display());
        for option in usual.into_iter().chain([socket]).chain(options(folder.path())) {
            command.args(["-c", &option]);
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let server = Self { folder, child, port };
        server.wait();
        server
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.client("postgres", "select 1").output().unwrap().status.success() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the server does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn client(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(programs().join("psql"));
        let place = ["-h", "127.0.0.1", "-U", "reader", "-d", database, "-p"];
        command.args(place).arg(self.port.to_string()).args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]);
        command.env("PGPASSWORD", PASSWORD).env("PGTZ", "UTC").env("PGDATESTYLE", "ISO");
        command
    }

    /// Lines of an answer, sorted.
    #[track_caller]
    pub(super) fn sql(&self, sql: &str) -> Vec<String> {
        let answer = self.client("postgres", sql).output().unwrap();
        assert!(answer.status.success(), "{sql}: {}", String::from_utf8_lossy(&answer.stderr));
        let mut lines: Vec<String> = String::from_utf8(answer.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Runs a script again and again until it is dropped.
    pub(super) fn repeat(&self, script: &str) -> Writer {
        let mut command = self.client("postgres", "select 1");
        let mut child = Command::new(command.get_program());
        // Without `-c` and its command.
        let arguments: Vec<_> = command.get_args().collect();
        child
            .args(&arguments[..arguments.len() - 2])
            .args(["-v", "ON_ERROR_STOP=0"])
            .env("PGPASSWORD", PASSWORD)
            .stdout(Stdio::null());
        let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let script = script.to_owned();
        // Ends with the pipe.
        std::thread::spawn(move || while input.write_all(script.as_bytes()).is_ok() {});
        command.env_clear();
        Writer(child)
    }

    pub(super) fn url(&self) -> String {
        format!("postgresql://reader@127.0.0.1:{}/postgres", self.port)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: at once, as nobody needs the data any more.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

pub(super) struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
