//! `overwrite`: deletes all rows.

use super::{Goes, SinkRules};

pub(super) struct Overwrite;

impl SinkRules for Overwrite {
    fn goes(&self) -> Goes {
        Goes::All
    }
}
