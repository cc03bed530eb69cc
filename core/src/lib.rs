//! Nouns and decisions of pulse: no I/O, no clock, no async, no DataFusion.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod alert;
pub mod backfill;
pub mod commit;
pub mod decide;
pub mod diagnostic;
mod document;
pub mod error;
pub mod fixture;
pub mod fnv;
pub mod graph;
pub mod interval;
pub mod interval_set;
pub mod lease;
pub mod manifest;
pub mod meaning;
pub mod name;
pub mod notes;
pub mod project;
pub mod queue;
pub mod reasons;
pub mod retry;
pub mod run;
pub mod scaling;
pub mod schedule;
pub mod schema;
pub mod settings;
pub mod shown;
pub mod sources;
pub mod sql;
pub mod timeout;
pub mod trigger;

pub use diagnostic::Diagnostic;
pub use error::{Error, ErrorKind, Result};
