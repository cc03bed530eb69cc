//! A file a command.

pub(crate) mod alert;
pub(crate) mod backfill;
pub(crate) mod catalog;
pub(crate) mod certs;
pub(crate) mod check;
pub(crate) mod docs;
pub(crate) mod generate;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod land;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod reference;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod source;
pub(crate) mod submit;
pub(crate) mod table;
pub(crate) mod test;
