//! How the processes of a cluster know each other: certificates with roles, and the doors that ask for them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod authority;
mod door;
mod files;
mod keys;
mod own;
mod pending;
mod role;
mod tls;

pub use authority::{Authority, Issued};
pub use door::{Door, callers, is_this_machine, keyring, leads_to_this_machine};
pub use files::{Step, init, issue, rotate};
pub use keys::{Keyring, Keys};
pub use pending::{Known, Pending};
pub use role::Role;
pub use tls::{Connection, Incoming, Shown, incoming, shown};
