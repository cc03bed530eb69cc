//! A job whose manifest has a mistake: its query is looked at all the same, so that all mistakes are found at once.

use std::collections::BTreeMap;

use crate::manifest::{Manifest, Sink};

/// In place of one that cannot be read: it asks nothing of the query.
pub(super) fn manifest() -> Manifest {
    Manifest {
        owner: "unknown".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        interval: None,
        start: None,
        grain: Vec::new(),
        order: None,
        partition_by: Vec::new(),
        renamed: BTreeMap::new(),
        source: BTreeMap::new(),
        sink: Sink::Overwrite {},
        expect: Vec::new(),
        expect_groups: Vec::new(),
        max_rejected: None,
        run_attempts: None,
        run_timeout_s: None,
        target_file_mib: 1,
        columns: BTreeMap::new(),
    }
}
