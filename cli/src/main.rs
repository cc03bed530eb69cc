#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[allow(dead_code, reason = "the command line that calls it is not there yet")]
mod generate;

fn main() {}
