//! JSON: one object a line, or one document with the records somewhere in it.

mod document;
mod lines;
mod record;

pub(super) use document::Document;
pub(super) use lines::LineRecords;
