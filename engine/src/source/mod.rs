//! Where rows come from: files from outside and tables of the lake.

pub mod delta;
pub mod file;
