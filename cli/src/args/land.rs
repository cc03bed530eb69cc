//! `pulse land`

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LandOptions {
    #[command(subcommand)]
    pub(crate) action: Option<LandAction>,
    #[command(flatten)]
    pub(crate) selection: LandSelection,
    /// Ask for everything again, also for what was answered. The newest answer counts.
    #[arg(long)]
    pub(crate) again: bool,
    /// Requests to send at most, of each landing.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) most: Option<usize>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum LandAction {
    /// Show how many requests are missing, and how long they take under the providers' limits. Sends nothing.
    Plan(LandSelection),
    /// Show for each symbol what has landed, what is late, and what the provider does not have. Sends nothing.
    Status {
        #[command(flatten)]
        selection: LandSelection,
        /// A row for each symbol and period, such as a session.
        #[arg(long)]
        periods: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LandSelection {
    /// Landings of sources.toml; all when none is named.
    pub(crate) names: Vec<String>,
    /// First day, `YYYY-MM-DD`, in place of the landing's `start`.
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<chrono::NaiveDate>,
    /// Last day, `YYYY-MM-DD`, in place of the landing's `end`.
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<chrono::NaiveDate>,
    /// Some of the landing's symbols, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) symbols: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct StandIn {
    /// Port on 127.0.0.1; 0 for one that is free.
    #[arg(long, default_value_t = 8300)]
    pub(crate) port: u16,
    /// Seed of the data and of the faults; the same seed gives the same data.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Symbols of answers about all symbols. A request for one symbol may name any, except UNKNOWN.
    #[arg(long, value_delimiter = ',', default_value = "AAPL,IBM,MSFT")]
    pub(crate) symbols: Vec<String>,
    /// Variable of the environment with the key that requests must have, as `apikey` or as bearer token. Any key will do without it.
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) key_variable: Option<String>,
    /// Requests of all clients in a minute; further ones get a notice of the limit.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) per_minute: Option<u32>,
    /// Requests of all clients until the process ends; further ones get a notice of the limit.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) per_day: Option<u32>,
    /// Share of requests with a fault, 0 to 1. Kinds take turns: status 500, 429 with and without a time to wait, a page of HTML, a
    /// truncated document, a notice with status 200, an answer for another symbol, a slow answer, a broken connection.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) faults: f64,
    /// File to append a line of JSON to for each request: time, path, status and fault. Keys are left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<std::path::PathBuf>,
}
