//! The binary from outside: what it is given, what it says, what is in the lake afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alerts;
mod asking;
mod backfill;
mod bad_input;
mod bad_lake;
mod bad_project;
mod changes;
mod cluster;
mod crash;
mod databases;
mod environments;
mod evolution;
mod formats;
mod former_lake;
mod gone;
mod guide;
mod histories;
mod increments;
mod init;
mod jobs;
mod landing;
mod late;
mod life;
mod looking;
mod maintenance;
mod metrics;
mod mistakes;
mod pipeline;
mod quarantine;
mod queues;
mod rules;
mod schedules;
mod sources;
mod strangers;
mod streaming;
mod structure;
mod submissions;
mod support;
mod survival;
mod taken_port;
mod together;
