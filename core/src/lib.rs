//! Nouns and decisions of pulse: no I/O, no clock, no async, no DataFusion.

pub mod error;
pub mod manifest;
pub mod name;
pub mod sources;

pub use error::{Error, ErrorKind, Result};
