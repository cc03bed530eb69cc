//! `merge`: deletes rows with a key that was just written, or that the changed groups yielded before.

use super::{Goes, Rest, SinkRules, With};

pub(super) struct Merge<'a> {
    pub(super) keys: &'a [String],
}

impl SinkRules for Merge<'_> {
    fn goes(&self) -> Goes {
        Goes::Agreeing { columns: self.keys.to_vec(), with: With::NewAndEarlierRows, rest: Rest::Stays }
    }
}
