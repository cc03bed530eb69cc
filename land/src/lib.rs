//! Answers of providers, landed as files that are never overwritten.
//!
//! | module | holds |
//! |---|---|
//! | `period`, `object`, `plan` | which requests are wanted, which were answered, and which are missing |
//! | `usage` | whether a request may be sent now: limits and claims, which all processes share |
//! | `judge` | whether an answer holds data |
//! | `fetch`, `key` | one request over HTTP, and the key that no text shows |
//! | `store` | the folder of a provider |
//! | `land` | carries a plan out |
//!
//! A request is known by its provider, name, symbol and period. What was answered is read from the names of the files alone, so that
//! a process may end at any time: what has a file is not requested again, and what has none is.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod fetch;
mod judge;
mod key;
mod land;
mod object;
mod period;
mod plan;
mod store;
mod usage;

pub use fetch::{Fetch, Fetched, HttpFetch, Request};
pub use key::Key;
pub use land::{Clock, Ended, Event, LandOptions, Landed, SystemClock, land};
pub use period::{Period, periods};
pub use plan::{Order, Plan, Standing, Wanted};
pub use store::ProviderFolder;
pub use usage::takes;
