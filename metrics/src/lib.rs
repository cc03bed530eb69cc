//! Figures that scheduler and executors show to Prometheus: the names of all, the registry that holds those of one process, and what
//! the kernel knows of the process.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod described;
mod families;
mod process;
mod registry;
mod tables;
pub mod text;

#[cfg(test)]
mod monitoring;

pub use described::{Described, Kind, Shows, reference_markdown};
pub use families::FAMILIES;
pub use registry::{CONTENT_TYPE, Process, Registry};
pub use tables::Tables;
