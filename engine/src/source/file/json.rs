//! JSON: records one behind the other, or one document with the records somewhere in it.

mod columns;
mod document;
mod joined;
mod lines;
mod paths;
mod record;
mod strays;

pub(super) use document::Document;
pub(super) use joined::JoinedRecords;
pub(super) use lines::LineRecords;
