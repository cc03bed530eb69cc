//! One query over lake tables, whole or as a piece of many.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod source;
