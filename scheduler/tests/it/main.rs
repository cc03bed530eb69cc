//! The driver under a simulated clock, over a simulated ledger and simulated tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod simulation;
