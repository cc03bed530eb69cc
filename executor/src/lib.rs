//! Data plane: Ballista's executor with our plans, stores, functions and error kinds.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod allowed;
mod attempt;
mod connections;
mod drain;
mod file_place;
mod flight;
mod forgotten;
mod guard;
mod job;
mod metrics;
mod owner;
mod place;
mod process;
mod scheduler;
mod serve;
mod server;
mod stale;
mod tasks;

pub use serve::serve;
