//! One query over lake tables, whole or as a piece of many: what the driver and the executors share.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod function;
