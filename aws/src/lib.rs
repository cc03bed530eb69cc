//! AWS: tables in Glue, clusters on EMR, secrets in the Parameter Store. The engine's own stores read and write S3.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clients;
pub mod emr;
mod error;
#[cfg(test)]
mod fake;
pub mod glue;
pub mod parameter;
