//! The folder of a provider: landed files, and what processes share.
//!
//! | object below `<root>/<provider>` | holds |
//! |---|---|
//! | `<request>/<symbol>/<period>/<time>-<hash>.json` or `.csv` | an answer with data |
//! | the same with `.none` or `.bad` | an answer without data, or one that is not what was asked for |
//! | `_log/<day>/<time>-<hash>.json` | a request: its URL without the key, status, bytes, SHA-256 |
//! | `_usage/<number>.json` | what was sent, and by whom; the greatest number counts |

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use pulse_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::object::{Answered, hash, parse, stamp, symbol_folder};
use crate::plan::{Answers, Wanted};
use crate::usage::Usage;

/// Older objects of the chain are deleted. A process that knows an older one would make its successor once more.
const KEPT: u64 = 1_000;
/// Attempts at an object of the chain that exists and is not shown.
const LOOKS: u32 = 5;

/// Where the answers of a provider are.
#[derive(Debug, Clone)]
pub struct ProviderFolder {
    store: Arc<dyn ObjectStore>,
    root: Path,
    name: String,
}

/// A request that was sent, for people and for audits.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// When the answer was received, or the request had failed.
    pub(crate) time: DateTime<Utc>,
    /// The URL without the key.
    pub(crate) request: &'a str,
    pub(crate) status: Option<u16>,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<String>,
    /// The file, unless the answer was not kept.
    pub(crate) file: Option<&'a str>,
    /// Why the answer holds no data.
    pub(crate) why: Option<&'a str>,
}

impl ProviderFolder {
    /// The folder of provider `name` below the folder `root` of a store.
    pub fn new(store: Arc<dyn ObjectStore>, root: &Path, name: &str) -> Self {
        Self { store, root: root.clone().join(name), name: name.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self, below: &str) -> Result<Path> {
        let text = format!("{}/{below}", self.root);
        Path::parse(&text).map_err(|error| Error::internal(format!("`{text}` is no path")).with_source(error))
    }

    fn failed(&self, doing: &str, error: &object_store::Error) -> Error {
        use object_store::Error as Store;
        let kind = match error {
            Store::PermissionDenied { .. } | Store::Unauthenticated { .. } | Store::InvalidPath { .. } => {
                ErrorKind::Invalid
            }
            Store::NotFound { .. } => ErrorKind::Data,
            Store::AlreadyExists { .. } | Store::Precondition { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{doing} of provider `{}`: {error}", self.name))
    }

    /// What was answered to all requests of one kind.
    pub(crate) async fn answers(&self, request: &str, ending: &str) -> Result<Answers> {
        self.list(request, request, ending).await.map(Answers::new)
    }

    /// What was answered to the requests for one symbol.
    pub(crate) async fn answers_to(&self, request: &str, wanted: &Wanted, ending: &str) -> Result<Vec<Answered>> {
        let folder = format!("{request}/{}", symbol_folder(wanted.symbol.as_deref()));
        Ok(Answers::new(self.list(request, &folder, ending).await?).of(wanted))
    }

    async fn list(&self, request: &str, folder: &str, ending: &str) -> Result<Vec<(String, String, Answered)>> {
        let base = self.path(request)?;
        let objects = self.store.list(Some(&self.path(folder)?));
        let parsed = objects.try_filter_map(|object| {
            let below = object.location.as_ref().strip_prefix(base.as_ref()).and_then(|rest| rest.strip_prefix('/'));
            let parsed = below.and_then(|below| parse(below, ending));
            std::future::ready(Ok(parsed))
        });
        let found: std::result::Result<Vec<_>, object_store::Error> = parsed.try_collect().await;
        match found {
            Ok(found) => Ok(found),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.failed("list the answers", &error)),
        }
    }

    /// Puts an answer where there is none. The name says the content, so that one that is there is the same.
    pub(crate) async fn put(&self, path: &str, body: Vec<u8>) -> Result<()> {
        self.create(path, body).await.map(drop)
    }

    async fn create(&self, path: &str, body: Vec<u8>) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.path(path)?, PutPayload::from(body), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed("write into the folder", &error)),
        }
    }

    /// Writes the record of a request.
    pub(crate) async fn record(&self, record: &Record<'_>) -> Result<()> {
        let body =
            serde_json::to_vec(record).map_err(|error| Error::internal("a record is no JSON").with_source(error))?;
        let short: String = hash(&body).chars().take(8).collect();
        let path = format!("_log/{}/{}-{short}.json", record.time.date_naive(), stamp(record.time));
        self.create(&path, body).await.map(drop)
    }

    /// The newest usage, with its number; 0 when there is none.
    pub(crate) async fn usage(&self) -> Result<(u64, Usage)> {
        // Between the listing and the reading, others may delete what is old.
        for _ in 0..LOOKS {
            let objects: std::result::Result<Vec<_>, _> =
                self.store.list(Some(&self.path("_usage")?)).try_collect().await;
            let objects = match objects {
                Err(object_store::Error::NotFound { .. }) => return Ok((0, Usage::default())),
                other => other.map_err(|error| self.failed("list the usage", &error))?,
            };
            let numbers = objects.iter().filter_map(|object| number(&object.location));
            let Some(newest) = numbers.max() else { return Ok((0, Usage::default())) };
            let bytes = match self.store.get(&self.path(&usage_path(newest))?).await {
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(self.failed("read the usage", &error)),
                Ok(found) => found.bytes().await.map_err(|error| self.failed("read the usage", &error))?,
            };
            let usage = serde_json::from_slice(&bytes).map_err(|error| {
                let path = format!("{}/{}", self.root, usage_path(newest));
                Error::data(format!("`{path}` cannot be understood; remove it to count from zero")).with_source(error)
            })?;
            return Ok((newest, usage));
        }
        Err(Error::conflict(format!("others always changed the usage of provider `{}` first; try again", self.name)))
    }

    /// Stores the usage with this number; false when another process did so first.
    pub(crate) async fn store_usage(&self, number: u64, usage: &Usage) -> Result<bool> {
        let body = serde_json::to_vec(usage).map_err(|error| Error::internal("usage is no JSON").with_source(error))?;
        if !self.create(&usage_path(number), body).await? {
            return Ok(false);
        }
        if let Some(old) = number.checked_sub(KEPT)
            && let Err(error) = self.store.delete(&self.path(&usage_path(old))?).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            log::debug!("an old usage of provider `{}` stays: {error}", self.name);
        }
        Ok(true)
    }
}

fn usage_path(number: u64) -> String {
    format!("_usage/{number:012}.json")
}

fn number(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}
