//! A temporary lake with its project and input, and the binary run over them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Far beyond what any call here takes, on a busy machine too: a hang is a failure and not a wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// The kernel gives those above to clients and to listeners that ask for any: one of them could be taken between its choice
/// and its use, or while a scheduler is started again at it.
const PORTS: std::ops::Range<u32> = 20_000..28_000;

pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) project: PathBuf,
    pub(crate) raw: PathBuf,
    pub(crate) lake: PathBuf,
    variables: Vec<String>,
}

/// What a call of the binary left.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A port that nobody listens at, each call another one; other processes of tests begin elsewhere.
pub(crate) fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(101).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + number % (PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Scene {
    /// The shipped project over a copy of the sample.
    pub(crate) fn shipped() -> Self {
        let scene = Self::shipped_without_input();
        copy_folder(&workspace().join("sample"), &scene.raw);
        scene
    }

    /// The shipped project over an empty folder.
    pub(crate) fn shipped_without_input() -> Self {
        let mut scene = Self::empty();
        scene.project = workspace().join("jobs");
        scene.variables = vec![format!("raw={}", scene.raw.display())];
        scene
    }

    /// As [`Self::shipped`], for processes of [`Self::unprivileged`].
    pub(crate) fn shipped_for_anybody() -> Self {
        let mut scene = Self::shipped();
        let project = scene.path("jobs");
        copy_folder(&scene.project, &project);
        scene.project = project;
        let open = Command::new("chmod").args(["-R", "a+rwX"]).arg(scene.folder.path()).status().unwrap();
        assert!(open.success());
        scene
    }

    /// A command of a user whom the permissions of files concern: root is none.
    pub(crate) fn unprivileged(&self, arguments: &[&str]) -> Command {
        const NOBODY: u32 = 65_534;
        let usual = self.command(arguments);
        if fs::metadata(self.folder.path()).unwrap().uid() != 0 {
            return usual;
        }
        // The build's folder may be closed to others.
        let binary = self.path("pulse");
        if !binary.exists() && fs::hard_link(usual.get_program(), &binary).is_err() {
            fs::copy(usual.get_program(), &binary).unwrap();
        }
        let mut command = Command::new(binary);
        command.args(usual.get_args()).current_dir(self.folder.path()).uid(NOBODY).gid(NOBODY);
        for (key, _) in usual.get_envs().filter(|(_, value)| value.is_none()) {
            command.env_remove(key);
        }
        command
    }

    /// A project without jobs, to be written with [`Self::job`].
    pub(crate) fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (project, raw, lake) = (at("jobs"), at("raw"), at("lake"));
        fs::create_dir(&project).unwrap();
        fs::create_dir(&raw).unwrap();
        fs::write(project.join("project.toml"), "name = \"test\"\n[defaults]\nowner = \"test\"\n").unwrap();
        Self { folder, project, raw, lake, variables: Vec::new() }
    }

    /// Writes `<layer>.<table>` of the scene's own project.
    pub(crate) fn job(&self, name: &str, manifest: &str, query: &str) {
        let folder = self.project.join(name.replace('.', "/"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("job.toml"), manifest).unwrap();
        fs::write(folder.join("query.sql"), query).unwrap();
    }

    /// Writes `sources.toml`, in which `$raw` stands for the scene's input.
    pub(crate) fn sources(&mut self, text: &str) {
        fs::write(self.project.join("sources.toml"), text).unwrap();
        self.variables = vec![format!("raw={}", self.raw.display())];
    }

    /// Takes its input from another folder from now on.
    pub(crate) fn raw_at(&mut self, raw: PathBuf) {
        self.variables = vec![format!("raw={}", raw.display())];
        self.raw = raw;
    }

    /// Writes a file of input; its folders come with it.
    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.raw.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pulse"));
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("PULSE_")) {
            command.env_remove(key);
        }
        command.envs([("PULSE_ALLOWED_LAKES", "*"), ("PULSE_ALLOWED_ROOTS", "*")]);
        command.current_dir(self.folder.path()).arg("--project").arg(&self.project).arg("--lake").arg(&self.lake);
        command.args(self.variables.iter().flat_map(|variable| ["--var", variable])).args(arguments);
        command
    }

    pub(crate) fn pulse(&self, arguments: &[&str]) -> Answer {
        self.start(self.command(arguments)).wait()
    }

    /// Starts a command of [`Self::command`] without waiting for it.
    pub(crate) fn start(&self, mut command: Command) -> Running {
        // Files, as a full pipe would stop a process that nobody reads from.
        let words = tempfile::Builder::new().prefix("words").tempdir_in(self.folder.path()).unwrap();
        let create = |name| File::create(words.path().join(name)).unwrap();
        let child = command.stdout(create("stdout")).stderr(create("stderr")).spawn().unwrap();
        Running { child, words }
    }

    pub(crate) fn run_all(&self) -> Answer {
        self.pulse(&["run", "--all"]).ok()
    }

    /// All rows of a table as CSV, sorted; without the run's id, which differs from lake to lake.
    pub(crate) fn rows(&self, table: &str) -> Vec<String> {
        let answer = self.pulse(&["--output", "csv", "query", &format!("select * from {table}")]).ok();
        let mut lines = answer.stdout.lines();
        let head = lines.next().unwrap_or_default();
        let own = |line: &str| match head.ends_with(",_run_id") {
            true => line.rsplit_once(',').unwrap().0.to_owned(),
            false => line.to_owned(),
        };
        let mut rows: Vec<String> = lines.map(own).collect();
        rows.sort();
        rows
    }

    /// One value of a query of one row and one column.
    pub(crate) fn value(&self, sql: &str) -> String {
        let answer = self.pulse(&["--output", "csv", "query", sql]).ok();
        let lines: Vec<&str> = answer.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{sql}: {}", answer.stdout);
        lines[1].to_owned()
    }

    pub(crate) fn count(&self, table: &str) -> u64 {
        self.value(&format!("select count(*) from {table}")).parse().unwrap()
    }

    /// Version of every table.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let tables = self.pulse(&["--output", "json", "table", "list"]).ok().json();
        tables.iter().map(|table| (text(&table["table"]), text(&table["version"]))).collect()
    }

    /// Entries of a table's log, newest first.
    pub(crate) fn history(&self, table: &str) -> Vec<Value> {
        self.pulse(&["--output", "json", "table", "history", table]).ok().json()
    }

    /// Rows of every table with rows.
    pub(crate) fn tables(&self) -> BTreeMap<String, Vec<String>> {
        self.versions().into_keys().map(|table| (table.clone(), self.rows(&table))).collect()
    }

    /// Same project and input, another lake.
    pub(crate) fn with_fresh_lake(&mut self) -> &Self {
        self.lake = self.path("fresh");
        self
    }
}

/// Asserts that both lakes hold the same rows, table by table.
pub(crate) fn assert_same_tables(left: &BTreeMap<String, Vec<String>>, right: &BTreeMap<String, Vec<String>>) {
    // A quarantine that lost its last row stays behind as an empty table.
    let names = |tables: &BTreeMap<String, Vec<String>>| -> Vec<String> {
        tables.iter().filter(|(_, rows)| !rows.is_empty()).map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(left), names(right));
    for (name, rows) in left.iter().filter(|(_, rows)| !rows.is_empty()) {
        if let Some((a, b)) = rows.iter().zip(&right[name]).find(|(a, b)| a != b) {
            panic!("{name} differs, {} rows against {}:\n  {a}\n  {b}", rows.len(), right[name].len());
        }
        assert_eq!(rows.len(), right[name].len(), "{name}");
    }
}

pub(crate) struct Running {
    pub(crate) child: Child,
    words: TempDir,
}

impl Running {
    pub(crate) fn wait(mut self) -> Answer {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("still running after {PATIENCE:?}:\n{}", self.read("stderr"));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let answer = Answer { status, stdout: self.read("stdout"), stderr: self.read("stderr") };
        assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
        answer
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.words.path().join(name)).unwrap()).into_owned()
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status.code(), Some(0), "{}", self.stderr);
        self
    }

    /// The call ended with `code` and its words hold all of `texts`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.stderr);
        self.says(texts)
    }

    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        }
        self
    }

    /// stdout as one value a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A string's text, any other value's JSON.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
