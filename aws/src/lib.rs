//! AWS: tables registered in Glue, clusters on EMR, secrets of the Parameter Store. Objects in S3 are read and written by the
//! engine's own stores.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clients;
pub mod emr;
mod error;
#[cfg(test)]
mod fake;
pub mod glue;
pub mod parameter;
