//! What a job means, as numbers that its table's log keeps: another number, and the table is computed from all inputs.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use pulse_core::manifest::Manifest;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::Workbench;

const JOB_ID: &str = "pulse/job";

/// Hashes of the query, the manifest and the contracts of its feeds, by bookmark.
pub(super) fn meaning(bench: &Workbench, job: &Job) -> Result<BTreeMap<String, i64>> {
    let mut meaning: BTreeMap<String, i64> = feed_versions(bench, job)?.into_iter().collect();
    meaning.insert(JOB_ID.to_owned(), job_version(job)?);
    Ok(meaning)
}

/// Changes when the query or the manifest does, except for its words to people and its limits, which change no row; the same
/// in every process and build.
fn job_version(job: &Job) -> Result<i64> {
    let (owner, description) = (String::new(), String::new());
    let manifest = Manifest { owner, description, max_rejected: None, ..job.manifest.clone() };
    Ok(hash_of(&[&as_json(&manifest)?, &job.query.text]))
}

/// The contract of each feed that the job reads. Not where its files lie: a folder may move, and its files are known by what
/// they hold. A feed that is new has no version in the table and only brings new files.
fn feed_versions(bench: &Workbench, job: &Job) -> Result<Vec<(String, i64)>> {
    let mut versions = Vec::new();
    for name in job.query.files() {
        let Some(source) = bench.project.sources.files.get(name) else { continue };
        let columns = as_json(&source.columns)?;
        for (feed, contract) in &source.feed {
            versions.push((format!("pulse/feed/{name}/{feed}"), hash_of(&[&columns, &as_json(contract)?])));
        }
    }
    Ok(versions)
}

fn as_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("a manifest is not JSON").with_source(e))
}

/// 63 bits.
pub(super) fn hash_of(texts: &[&str]) -> i64 {
    let mut hash = Fnv::default();
    texts.iter().for_each(|text| hash.write(text.as_bytes()));
    (hash.finish() & (u64::MAX >> 1)).cast_signed()
}

/// FNV-1a: stable across releases, which the standard library's hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
