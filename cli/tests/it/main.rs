//! The processes of pulse together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
