//! Control plane: Ballista's scheduler with our plans, and what drives jobs through it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cluster;
