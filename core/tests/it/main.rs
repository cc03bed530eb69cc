//! Decisions together, under a simulated clock and over a simulated store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod simulation;
