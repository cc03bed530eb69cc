//! What a user types.

mod certs;
mod hoist;
mod land;
mod runs;

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser as _};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use pulse_core::backfill::Chunk;

pub(crate) use certs::{CertsAction, CertsDays, CertsRole, CertsStep};
pub(crate) use land::{LandAction, LandOptions, LandSelection, StandIn};
pub(crate) use runs::{AlertAction, Runs, ScheduleAction};

use crate::command::docs::DocsOptions;
use crate::command::graph::GraphOptions;
use crate::complete::Shell;
use crate::home::Home;

/// Batch jobs over Delta tables: one SQL statement and one manifest make one table.
#[derive(Debug, Parser)]
#[command(name = "pulse", version, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Ends the process when they cannot be understood, as with `--help`.
    pub(crate) fn of_command_line() -> Self {
        let words = hoist::global_first(std::env::args_os(), &Self::command());
        let matches = Self::command().get_matches_from(words);
        let source = matches.subcommand().and_then(|(_, matches)| matches.value_source("lake"));
        let mut arguments = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        arguments.global.names_lake = source == Some(ValueSource::CommandLine);
        arguments.global.add_environment();
        arguments
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Folder of the project. Without it, the nearest folder at or above the current one that holds `project.toml` or
    /// `jobs/project.toml`.
    #[arg(long, global = true, env = "PULSE_PROJECT", value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub(crate) project: Option<PathBuf>,
    /// Folder or s3:// URL of the tables. Without it, `lake` in the profile or in project.toml, else the folder `lake` beside the
    /// project's.
    #[arg(long, global = true, env = "PULSE_LAKE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) lake: Option<String>,
    /// Use lake, variables and settings of `profiles/<NAME>.toml` in the project's folder.
    #[arg(long, global = true, env = "PULSE_PROFILE", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) profile: Option<String>,
    /// Value of a variable of the project, such as `raw=sample`; may be repeated. The environment variable `PULSE_VAR` holds such
    /// values too, separated by commas; the command line's count before them.
    #[arg(long = "var", global = true, value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// How answers are printed: for people, as one JSON object on each line (`jsonl` is another name for it), or as CSV.
    /// docs/reference/output.md describes them.
    #[arg(long, global = true, env = "PULSE_OUTPUT", default_value = "table")]
    pub(crate) output: Output,
    /// Colours: on a terminal unless `NO_COLOR` is set, always or never.
    #[arg(long = "color", global = true, default_value = "auto", value_name = "WHEN")]
    pub(crate) colour: Colour,
    /// Config file with settings. Without it, the nearest `pulse.toml` at or above the project's folder, else at or above the current one.
    #[arg(long, global = true, env = "PULSE_CONFIG", value_parser = NonEmptyStringValueParser::new().map(PathBuf::from))]
    pub(crate) config: Option<PathBuf>,
    /// A setting, such as `memory_mib=512`; may be repeated. docs/reference/settings.md lists them.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Whether the command line names the lake.
    #[arg(skip)]
    pub(crate) names_lake: bool,
    /// What the options and the project's files say together; read once.
    #[arg(skip)]
    pub(crate) home: OnceLock<Home>,
    /// Log more; twice logs reasons as well.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    /// Adds the values of `PULSE_VAR`, before those of the command line, which replace them.
    pub(crate) fn add_environment(&mut self) {
        let text = std::env::var("PULSE_VAR").unwrap_or_default();
        self.variables.splice(0..0, hoist::listed_values(&text));
    }

    pub(crate) fn log_level(&self) -> log::LevelFilter {
        match self.verbose {
            0 => log::LevelFilter::Warn,
            1 => log::LevelFilter::Info,
            _ => log::LevelFilter::Debug,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    #[value(alias = "jsonl")]
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project: empty, an example, or from a file that you have.
    Init(InitOptions),
    /// Parse, resolve and plan every job; touches no data. With `--lake` on the command line, also compare the jobs' columns with
    /// those of the lake's tables, and report columns that a run would lose.
    Check {
        /// Jobs to check, and those that they read; all when none is named. `*`, `+name` and `name+` mean what they do for `run`.
        jobs: Vec<String>,
    },
    /// Show what a run would do: what changed, files and bytes to read, where it would run. Reads logs, no data.
    Plan(Selection),
    /// Run jobs in the order of their dependencies, independent ones side by side.
    Run(RunOptions),
    /// Compute the intervals of a span of time that a job's table lacks, or with --restate all of them. Shows what it will do,
    /// asks, and works in chunks: one run for each. Runs in this process.
    Backfill(BackfillOptions),
    /// Ask the providers of sources.toml for what is missing, and put their answers below their roots as files, each once. Ctrl-C
    /// waits for the answers of requests that were sent.
    Land(LandOptions),
    /// Run what the project's schedules make due now, each time once. For a timer: cron, systemd or EventBridge calls it every few
    /// minutes. Ends with the exit code of the worst run; 0 when nothing is due. With --every it is the timer itself.
    RunDue {
        /// Where: in this process, or on the scheduler's executors.
        #[arg(long, default_value = "local", env = "PULSE_ON")]
        on: Where,
        /// Look again and again, so many seconds after the last look has ended, until Ctrl-C or SIGTERM.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        every: Option<u64>,
    },
    /// Show the schedules of project.toml.
    #[command(subcommand)]
    Schedule(ScheduleAction),
    /// Show what the alerts of project.toml know, or try one.
    #[command(subcommand)]
    Alert(AlertAction),
    /// Hand jobs to a scheduler and print the trigger's id.
    Submit(SubmitOptions),
    /// Show the queues of the scheduler: what runs and what waits in each.
    Queue,
    /// Run a scheduler, an executor, or a stand-in for providers.
    #[command(subcommand)]
    Serve(Role),
    /// Make the certificates by which the processes of a cluster know each other.
    #[command(subcommand)]
    Certs(CertsAction),
    /// Show or cancel runs, from the ledger in the lake.
    #[command(subcommand)]
    Runs(Runs),
    /// Start, look at, resize and end a cluster on EMR.
    #[command(subcommand)]
    Cluster(ClusterAction),
    /// Compare the lake's tables with the catalog (setting `catalog`), or register them.
    #[command(subcommand)]
    Catalog(CatalogAction),
    /// Look at the files of a source as its contract reads them.
    #[command(subcommand)]
    Source(SourceAction),
    /// Query tables of the lake, sources of files (`raw.NAME`) and tables of others (`external.NAME`), as they are now. Without a
    /// query, asks for statements on a terminal.
    Query(QueryOptions),
    /// Look at tables and look after them: list, show, optimize, restore, drop.
    #[command(subcommand)]
    Table(TableAction),
    /// Show which sources, tables of others and jobs feed which jobs. Reads the project alone.
    Graph(GraphOptions),
    /// Write a site about the project: pages of HTML about each table and source, without scripts and without a network.
    Docs(DocsOptions),
    /// Run the jobs' fixtures. A mistake in a job stops only its own.
    Test {
        /// Jobs to test; all when none is named. `*`, `+name` and `name+` mean what they do for `run`.
        jobs: Vec<String>,
    },
    /// Make data up.
    #[command(subcommand)]
    Generate(Generate),
    /// Print a script that lets a shell complete commands, options and the names of the project: its jobs, tables, sources and
    /// profiles. `source <(pulse completions bash)` in `~/.bashrc`, the same with zsh in `~/.zshrc`, or
    /// `pulse completions fish > ~/.config/fish/completions/pulse.fish`.
    Completions {
        /// The shell that reads the script.
        shell: Shell,
    },
    /// Print a page of the reference.
    #[command(subcommand, hide = true)]
    Reference(Reference),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct QueryOptions {
    /// A query, such as "select count(*) from silver.bars_1m", `show tables` or `describe silver.bars_1m`; several are separated by
    /// `;`, and each prints its answer. `silver.bars_1m@3` is the table as it was in version 3, and `$name` the value of a variable of
    /// the project. Read from stdin where it is not given.
    pub(crate) sql: Option<String>,
    /// File that holds the query.
    #[arg(long, value_name = "FILE", conflicts_with = "sql")]
    pub(crate) file: Option<PathBuf>,
    /// Rows to print, 0 for all. A terminal shows 40 of a table unless it is given; all are counted.
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct InitOptions {
    /// Folder of the project; it is made.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// A CSV, JSON, Parquet or Avro file. The project gets a source that describes it, a bronze job that types its records and
    /// a gold job that sums them up.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// A small shop with two jobs, a test and a profile.
    #[arg(long, conflicts_with = "from")]
    pub(crate) example: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    /// Jobs, such as `silver.bars_1m`. `*` stands for any text (`silver.*`); `+silver.bars_1m` adds the jobs that it reads,
    /// and `silver.bars_1m+` those that read it. `tag:daily` stands for the jobs with this tag.
    pub(crate) jobs: Vec<String>,
    /// Every job of the project.
    #[arg(long, conflicts_with = "jobs")]
    pub(crate) all: bool,
    /// Start of the interval, `YYYY-MM-DD` or RFC 3339. With --all it applies to the jobs that have an `interval`; the others
    /// run as usual.
    #[arg(long, requires = "to")]
    pub(crate) from: Option<String>,
    /// End of the interval; the interval does not contain it.
    #[arg(long, requires = "from")]
    pub(crate) to: Option<String>,
    /// Compute all rows from all inputs, and replace all rows of the tables in one commit each.
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Compute a table from all inputs even if rows of files that are gone are lost.
    #[arg(long)]
    pub(crate) allow_loss: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Where: in this process, on the scheduler's executors, or by the bytes to read (`local_limit_mib`).
    #[arg(long, default_value = "auto", env = "PULSE_ON")]
    pub(crate) on: Where,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BackfillOptions {
    /// A job with an `interval`, such as `gold.daily`.
    pub(crate) job: String,
    /// Start of the span, `YYYY-MM-DD` or RFC 3339.
    #[arg(long)]
    pub(crate) from: String,
    /// End of the span, not contained in it.
    #[arg(long)]
    pub(crate) to: String,
    /// Then the jobs that read the table, and those that read theirs: the same span of those with an `interval`, and a run of
    /// the others.
    #[arg(long)]
    pub(crate) downstream: bool,
    /// Length of the span of one run of the job: hours, days, months or years, such as `12h`, `7d`, `1mo` or `1y`. A day for
    /// hours, a week for days, and a year for months and years unless it is given.
    #[arg(long)]
    pub(crate) chunk: Option<Chunk>,
    /// Compute again what was computed before. If it is cut off, it says from where to continue.
    #[arg(long)]
    pub(crate) restate: bool,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SubmitOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// As a step of this EMR cluster, such as `j-1A2B3C4D5E6F7`; lake and variables are the cluster's unless they are URLs here.
    #[arg(long, value_name = "ID")]
    pub(crate) cluster: Option<String>,
    /// In the scheduler's process, on executors, or by the bytes to read.
    #[arg(long, default_value = "cluster")]
    pub(crate) on: Where,
    /// Follow the runs to their end; Ctrl-C ends the following and not the runs.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Names this submission: the same key again is the same trigger. A fresh one when it is not given.
    #[arg(long)]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ClusterAction {
    /// Start a cluster as `cluster_spec` says, or find the one that is up, and print its id.
    Up {
        /// Print the id at once and do not wait until it takes steps.
        #[arg(long)]
        no_wait: bool,
    },
    /// Show machines, steps and when it ends by itself.
    Status {
        /// The one of `cluster_spec` when none is named.
        id: Option<String>,
    },
    /// Change the number of machines with executors, by the task groups.
    Scale {
        /// Machines with executors.
        machines: usize,
        /// Cluster, such as `j-1A2B3C4D5E6F7`; the one of `cluster_spec` when none is named.
        #[arg(long)]
        id: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// End a cluster and what runs on it.
    Down {
        /// Cluster, such as `j-1A2B3C4D5E6F7`; the one of `cluster_spec` when none is named.
        id: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CatalogAction {
    /// Register what is missing or wrong.
    Sync {
        /// Also remove entries whose table is gone.
        #[arg(long)]
        prune: bool,
    },
    /// Print a line for each difference and end with code 1 if there is one.
    Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Where {
    Auto,
    Local,
    Cluster,
}

impl From<Where> for pulse_scheduler::api::On {
    fn from(place: Where) -> Self {
        match place {
            Where::Auto => Self::Auto,
            Where::Local => Self::Local,
            Where::Cluster => Self::Cluster,
        }
    }
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Role {
    /// Take submissions, drive runs and schedule their tasks.
    Scheduler,
    /// Carry out tasks.
    Executor,
    /// Stand in for providers of market data on this machine: made-up data in their formats, with limits, errors and broken answers
    /// on request. Needs no key and no network.
    Provider(StandIn),
}

/// What a vacuum retains unless it is told otherwise, in hours.
pub(crate) const WEEK_HOURS: u32 = 7 * 24;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SourceAction {
    /// Look at a file, and print a contract for sources.toml with what speaks for each column. Then read the file by that contract, and
    /// report what it rejects. Writes nothing.
    Infer {
        /// A file of this machine, or a folder in which folders named `column=value` lie.
        path: std::path::PathBuf,
        /// Name of the source; that of the file unless it is given.
        #[arg(long)]
        name: Option<String>,
    },
    /// Read the first files of each feed, and show their first rows and why others are rejected. Writes nothing.
    Preview {
        /// A source of sources.toml, such as `bars_1m`.
        name: String,
        /// Rows to show.
        #[arg(long, default_value_t = 20)]
        rows: usize,
        /// Files of each feed to read, in the order of their paths.
        #[arg(long, default_value_t = 5)]
        files: usize,
        /// Show rejected rows with their file, line, reason and text, instead of good ones.
        #[arg(long)]
        rejects: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Tables {
    /// Tables, such as `silver.bars_1m`. `*` stands for any text (`silver.*`).
    pub(crate) names: Vec<String>,
    /// Every table of the lake.
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowFiles {
    Count,
    All,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TableAction {
    /// All tables of the lake, and whether a job of the project writes them.
    List,
    /// Columns and size of one table, what it was made from (versions of tables, files, intervals), and how its last runs computed it.
    Show {
        /// Table, such as `silver.bars_1m`.
        name: String,
        /// Files that it was made from: their number, or all of their paths.
        #[arg(long, default_value = "count", value_name = "WHICH")]
        files: ShowFiles,
    },
    /// Commits of one table, newest first.
    History {
        /// Table, such as `silver.bars_1m`.
        name: String,
        /// Number of commits.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Rewrite small files into larger ones; rows stay as they are. A table that is refused keeps no other from being optimized.
    Optimize {
        #[command(flatten)]
        tables: Tables,
        /// Size of a file, in MiB; that of the table's job when the project has it, else 128.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
        target_mib: Option<u32>,
    },
    /// Make a table what it was at an earlier version, in one commit after its newest. Its job goes on from there.
    Restore {
        /// Table, such as `silver.bars_1m`.
        name: String,
        /// `pulse table history` shows them.
        #[arg(long)]
        version: u64,
    },
    /// Give a table and its quarantine another name, on this machine's disk. The folder of its job is renamed by hand.
    Rename {
        /// Table, such as `silver.bars`.
        old: String,
        /// Its new name, such as `silver.bars_1m`.
        new: String,
    },
    /// Delete tables: their files, their logs and their entries in the catalog.
    Drop {
        /// Tables, such as `silver.bars_1m`. `*` stands for any text (`gold.*`).
        #[arg(required = true)]
        names: Vec<String>,
        /// Delete the tables of their rejected rows too.
        #[arg(long)]
        quarantine: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Remove the rows of raw files that are gone from a table that appends them.
    Forget {
        /// Table, such as `silver.bars_1m`.
        name: String,
        /// As `plan` names them: the path below the source's root, or `raw.SOURCE/PATH`. `*` stands for any text, of files that are gone.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Delete files that no version within the retention needs. A table that is refused keeps no other from its vacuum.
    Vacuum {
        #[command(flatten)]
        tables: Tables,
        /// Hours back to which every version stays readable; never less than a run may take (`run_timeout_s`, a day unless set).
        #[arg(long, default_value_t = WEEK_HOURS, value_name = "HOURS")]
        retain: u32,
        /// List the files and delete none.
        #[arg(long)]
        dry_run: bool,
        /// Allow a retention of less than a week: jobs that have not run for longer than it read everything again.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Generate {
    /// Files of bars in the shipped project's layout, with planted defects.
    Bars(Bars),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Bars {
    /// Number of symbols.
    #[arg(long, default_value_t = 10)]
    pub(crate) symbols: u32,
    /// Sessions of the intraday feed, counted back from 2021-01-08.
    #[arg(long, default_value_t = 10)]
    pub(crate) sessions: u32,
    /// Seed of the random numbers; the same seed gives the same files.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Share of bars with a defect, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) defects: f64,
    /// Also bars before and after the session.
    #[arg(long)]
    pub(crate) extended: bool,
    /// Feeds to make: intraday, week, daily; all when none is named.
    #[arg(long, value_delimiter = ',')]
    pub(crate) feeds: Vec<String>,
    /// Folder or s3:// URL to write to.
    #[arg(long)]
    pub(crate) out: String,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Reference {
    Cli,
    Settings,
    Metrics,
    Manifest,
    Schema,
    /// Write a man page of each command.
    Man {
        /// Folder to write to; made when it is missing.
        folder: PathBuf,
    },
    Output,
    OutputSchema,
}
