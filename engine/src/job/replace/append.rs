//! `append`: deletes rows of files whose content changed.

use super::{Goes, SinkRules};
use crate::table::Removal;

pub(super) struct Append;

impl SinkRules for Append {
    fn goes(&self) -> Goes {
        Goes::OfFiles
    }

    /// The new rows do not depend on existing ones.
    fn conflicts(&self) -> Removal {
        Removal::Independent
    }
}
