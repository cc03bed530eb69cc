//! `scd2` and `bitemporal`: deletes the history of keys whose groups changed, or rows that no longer hold.

use super::{Goes, Rest, SinkRules, With};
use crate::job::history::SystemTime;

pub(super) struct Versions<'a> {
    pub(super) keys: &'a [String],
    /// Set for a table that remembers.
    pub(super) time: Option<SystemTime>,
}

impl SinkRules for Versions<'_> {
    fn goes(&self) -> Goes {
        match &self.time {
            None => Goes::Agreeing { columns: self.keys.to_vec(), with: With::NewAndEarlierRows, rest: Rest::Stays },
            // Closed rows are rewritten with the time at which they were added. No row of the table has the time of new
            // rows.
            Some(time) => {
                let columns = time.identity.iter().cloned().chain([time.from.to_owned()]).collect();
                Goes::Agreeing { columns, with: With::NewRows, rest: Rest::Stays }
            }
        }
    }
}
