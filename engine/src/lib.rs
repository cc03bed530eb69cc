//! Runs one query over lake tables, in one process or as one task of many: sources, sinks, functions, and the Delta
//! log.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bounded;
pub mod build;
pub mod catalog;
mod checked;
pub mod cluster;
pub mod codec;
mod decimals;
pub mod error;
pub mod execute;
mod expressions;
pub mod function;
#[cfg(test)]
mod fuzz;
mod guarded;
pub mod job;
mod json_text;
pub mod landing;
pub mod machine;
mod microseconds;
mod one_nan;
pub mod pinned;
pub mod scratch;
pub mod session;
pub mod sink;
pub mod source;
pub mod step;
mod stoppable;
pub mod store;
pub mod streaming;
pub mod table;
pub mod type_name;
pub mod wire;
