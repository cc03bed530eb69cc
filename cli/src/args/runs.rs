//! When jobs run, how their runs went, and who hears of it.

use clap::Subcommand;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ScheduleAction {
    /// Each schedule with its next time and the last one that ran.
    List,
    /// The next times of one schedule.
    Next {
        /// The schedule's name in project.toml.
        name: String,
        /// Times to print.
        #[arg(long, default_value_t = 10)]
        count: usize,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AlertAction {
    /// List what is wrong with jobs, and whether a message about it was delivered.
    List,
    /// Send a message that only shows that messages of an alert arrive.
    Test {
        /// The alert's name in project.toml.
        name: String,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Runs {
    /// List the newest runs, one line each.
    List {
        /// Number of runs.
        #[arg(long, default_value_t = 30)]
        limit: usize,
        /// All runs of submitted triggers that have not ended, and no others. Costs one listing of the lake while there are none.
        #[arg(long, conflicts_with = "limit")]
        open: bool,
    },
    /// Show one trigger's runs, or one run, in detail.
    Show {
        /// Trigger such as `20240131T143000-0a1b2c3d`, or run such as `20240131T143000-0a1b2c3d-silver.bars`.
        id: String,
    },
    /// Ask the driver of a trigger to stop it.
    Cancel {
        /// Trigger, such as `20240131T143000-0a1b2c3d`.
        id: String,
    },
    /// Delete the records of triggers that have ended and began long ago. Tables are not touched. Asks before it deletes.
    Prune {
        /// Days for which records are kept.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        keep: u32,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
