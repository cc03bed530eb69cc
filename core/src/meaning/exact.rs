//! Numbers of a job's text, as every build before [`super`] computed them. Lakes store them, so they must not change. A
//! new manifest field is left out while it has its default.

use std::collections::BTreeMap;

use crate::fnv::hash_of;
use crate::manifest::Manifest;
use crate::project::Job;
use crate::sources::{Feed, FileSource};
use crate::{Error, Result};

/// Covers the text of the query, and the manifest except its documentation, tags and limits.
pub(super) fn job(job: &Job) -> Result<i64> {
    let (owner, description, renamed) = <(String, String, BTreeMap<_, _>)>::default();
    let (columns, tags) = (BTreeMap::new(), Vec::new());
    let manifest = Manifest {
        owner,
        description,
        tags,
        renamed,
        columns,
        max_rejected: None,
        run_attempts: None,
        run_timeout_s: None,
        ..job.manifest.clone()
    };
    Ok(hash_of(&[&as_json(&manifest)?, &job.query.text]))
}

pub(super) fn feed(source: &FileSource, feed: &Feed) -> Result<i64> {
    Ok(hash_of(&[&as_json(&source.columns)?, &as_json(feed)?]))
}

fn as_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("a manifest is not JSON").with_source(e))
}
