//! Objects of a ledger and bodies of the API, mutated: an answer, or an error that names the object.

use std::sync::Arc;

use pulse_core::ErrorKind;
use pulse_core::run::TriggerId;
use pulse_engine::store::Stores;
use pulse_engine::table::Lake;
use url::Url;

use super::RunStore;
use crate::api::SubmitRequest;
use tools::{fuzz, mutated};

#[path = "../../../engine/src/fuzz.rs"]
pub(crate) mod tools;

const SUBMISSION: &str = include_str!("fuzz/trigger.json");
const LEASE: &str = include_str!("fuzz/lease.json");
const RECORD: &str = include_str!("fuzz/record.json");
const ID: &str = "20240131T143000-0a1b2c3d";

const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551616",
    "1e400",
    "\"\"",
    "[]",
    "{}",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\"format\":99",
    "\"state\":\"running\"",
    "\"epoch\":",
    "../",
    "file:///etc/",
    "\"20240131T143000-0a1b2c3d\"",
];

#[test]
fn ledger_objects() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let lake = Lake::new(Url::from_directory_path(kept.path()).unwrap(), Arc::new(Stores::default()));
    let (ledger, id) = (RunStore::new(&lake).unwrap(), ID.parse::<TriggerId>().unwrap());
    let folder = kept.path().join("_pulse/runs").join(ID);
    let objects = [
        (folder.join("trigger.json"), SUBMISSION),
        (folder.join("lease/00000001.json"), LEASE),
        (folder.join("records/00000001/silver.one.json"), RECORD),
    ];
    for (path, _) in &objects {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    let mut read = 0;
    fuzz("ledger objects", |random, tried| {
        for (path, text) in &objects {
            let (_, other) = random.of(&objects);
            let text = match random.below(3) {
                0 => text.as_bytes().to_vec(),
                _ => mutated(random, text.as_bytes(), other.as_bytes(), WORDS),
            };
            *tried += &format!("{}\n", String::from_utf8_lossy(&text));
            std::fs::write(path, text).unwrap();
        }
        let errors = [
            runtime.block_on(ledger.submission(&id)).err(),
            runtime.block_on(ledger.newest_lease(&id)).err(),
            runtime.block_on(ledger.records(&id)).err(),
            runtime.block_on(ledger.exit(&id)).err(),
        ];
        read += usize::from(errors.iter().all(Option::is_none));
        for error in errors.iter().flatten() {
            assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Invalid | ErrorKind::Internal), "{error:?}");
        }
    });
    assert!(read > 0, "no ledger was read");
}

#[test]
fn bodies_of_the_api() {
    let request = serde_json::from_str::<serde_json::Value>(SUBMISSION).unwrap()["request"].to_string();
    assert!(serde_json::from_str::<SubmitRequest>(&request).is_ok());
    fuzz("bodies", |random, tried| {
        let body = mutated(random, request.as_bytes(), RECORD.as_bytes(), WORDS);
        *tried = String::from_utf8_lossy(&body).into_owned();
        if let Ok(request) = serde_json::from_slice::<SubmitRequest>(&body) {
            let _ = crate::api::asked(&request);
        }
    });
}
