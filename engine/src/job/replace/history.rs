//! `scd2` and `bitemporal`: the history of the keys whose groups changed, or the rows that hold no longer.

use super::{Goes, Rest, SinkRules, With};
use crate::job::history::SystemTime;

pub(super) struct Versions<'a> {
    pub(super) keys: &'a [String],
    /// Of a table that remembers.
    pub(super) time: Option<SystemTime>,
}

impl SinkRules for Versions<'_> {
    fn goes(&self) -> Goes {
        match &self.time {
            None => Goes::Agreeing { columns: self.keys.to_vec(), with: With::NewAndEarlierRows, rest: Rest::Stays },
            // Closed rows are written again, with the time at which they were added. That of new rows is in no row of the table.
            Some(time) => {
                let columns = time.identity.iter().cloned().chain([time.from.to_owned()]).collect();
                Goes::Agreeing { columns, with: With::NewRows, rest: Rest::Stays }
            }
        }
    }
}
