//! `append`: rows of files whose content changed since they were read.

use super::{Goes, SinkRules};
use crate::table::Removal;

pub(super) struct Append;

impl SinkRules for Append {
    fn goes(&self) -> Goes {
        Goes::OfFiles
    }

    /// The new rows do not depend on those that the table has.
    fn conflicts(&self) -> Removal {
        Removal::Independent
    }
}
