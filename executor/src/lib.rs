//! Data plane: Ballista's executor with our plans, stores, functions and error kinds.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod attempt;
mod connections;
mod drain;
mod file_place;
mod forgotten;
mod guard;
mod owner;
mod place;
mod process;
mod report;
mod serve;
mod stale;

pub use serve::serve;
