//! Control plane: drives triggers, keeps the run ledger, and schedules tasks on executors.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod alerts;
pub mod api;
pub mod busy;
pub mod clock;
pub mod cluster;
pub mod driver;
pub mod ledger;
pub mod metrics;
pub mod scaler;
