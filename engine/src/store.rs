//! Object stores: one cached client per bucket, the same in every process.

mod limited;
mod local;
mod places;
mod private;
mod table_files;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use pulse_core::{Error, Result};
use url::Url;

use crate::catalog::{ForeignCatalog, delta_location};
use limited::Limited;
use table_files::TableFiles;

pub use local::{LEFT_LINK, LocalFiles, UNSHOWN};
pub use places::Places;
pub(crate) use private::LEDGER;
pub(crate) use table_files::delete_below;
pub use walk::{Links, remove_empty_folders};
pub(crate) use walk::{link_below, shown_path};

/// Delay before the first retry of a request. Each further delay is random, up to `BACKOFF_GROWTH` times the last one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(15);
const BACKOFF_GROWTH: f64 = 2.0;
/// Time limit for a request, retries included: its signature is not renewed.
const RETRY_LIMIT: Duration = Duration::from_secs(180);
/// Connect timeout.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Retries and timeout after which a store counts as unavailable.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub retries: usize,
    pub timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { retries: 10, timeout: Duration::from_secs(60) }
    }
}

/// Stores for `file://`, `s3://` and `s3a://`; credentials and endpoint come from the environment or the instance.
///
/// Ballista's own registry creates a new client for every call and panics on registration, so it is not used.
#[derive(Debug, Default)]
pub struct Stores {
    options: StoreOptions,
    clients: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    catalog: Option<Arc<dyn ForeignCatalog>>,
    /// `None` if every place may be used.
    places: Option<Arc<Places>>,
}

impl Stores {
    pub fn new(options: StoreOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Adds the catalog that has the locations of external tables.
    #[must_use]
    pub fn with_catalog(self, catalog: Arc<dyn ForeignCatalog>) -> Self {
        Self { catalog: Some(catalog), ..self }
    }

    /// Refuses everything outside of `places`.
    #[must_use]
    pub fn within(self, places: Places) -> Self {
        let places = match places {
            Places::Any => None,
            places @ Places::Below(_) => Some(Arc::new(places)),
        };
        Self { places, ..self }
    }

    /// The folder of an external Delta table, by its names in the catalog.
    ///
    /// # Errors
    /// `Invalid` when there is no such catalog or table, or it is not a Delta table; other errors of the catalog by
    /// kind.
    pub async fn registered(&self, database: &str, table: &str) -> Result<String> {
        let name = format!("{database}.{table}");
        let catalog = self.catalog.as_ref().ok_or_else(|| {
            Error::invalid(format!(
                "Glue's `{name}` is needed, and this build of pulse has no clients of AWS: build it with `cargo build --bin pulse`, or \
                 declare the table's `location`"
            ))
        })?;
        let entry = catalog.entry(database, table).await?.ok_or_else(|| {
            Error::invalid(format!("Glue has no table `{name}` in the account and region of the environment"))
        })?;
        delta_location(&name, &entry)
    }

    /// The client of the bucket or file system of `url`.
    ///
    /// # Errors
    /// `Invalid` for an unknown scheme or a bucket whose client cannot be configured.
    pub fn client(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let key = store_url(url)?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(key.as_str()) {
            return Ok(Arc::clone(client));
        }
        let client = self.limited(key.as_ref(), self.connect(url)?);
        clients.insert(key.as_str().to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// The client for a source of files below `root`.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn source_client(&self, root: &Url, links: Links) -> Result<Arc<dyn ObjectStore>> {
        match local_path(root) {
            Some(folder) => {
                let key = store_url(root)?;
                Ok(self.limited(key.as_ref(), Arc::new(LocalFiles::of_source(folder, links))))
            }
            None => self.client(root),
        }
    }

    fn limited(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        match &self.places {
            Some(places) => Arc::new(Limited { store, url: url.clone(), places: Arc::clone(places) }),
            None => store,
        }
    }

    fn connect(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match url.scheme() {
            "file" => Ok(Arc::new(LocalFiles::default())),
            "s3" | "s3a" => self.connect_s3(url),
            scheme => Err(unknown_scheme(url, scheme)),
        }
    }

    fn connect_s3(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let bucket =
            url.host_str().ok_or_else(|| Error::invalid(format!("`{url}` names no bucket: write s3://bucket/path")))?;
        let backoff = BackoffConfig { init_backoff: BACKOFF_FIRST, max_backoff: BACKOFF_MOST, base: BACKOFF_GROWTH };
        let retry = RetryConfig { backoff, max_retries: self.options.retries, retry_timeout: RETRY_LIMIT };
        let timeouts = ClientOptions::new().with_timeout(self.options.timeout).with_connect_timeout(CONNECT_LIMIT);
        let http = std::env::var("AWS_ENDPOINT_URL").is_ok_and(|endpoint| endpoint.starts_with("http://"));
        AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_client_options(timeouts.with_allow_http(http))
            .build()
            .map(|store| Arc::new(store) as _)
            .map_err(|e| {
                Error::invalid(format!("bucket `{bucket}` cannot be opened; check AWS_REGION and credentials"))
                    .with_source(e)
            })
    }
}

/// `store` for the files of a table: on this machine it follows no link below `lake`, in which the table lies.
pub(crate) fn of_table(store: Arc<dyn ObjectStore>, lake: &Url) -> Arc<dyn ObjectStore> {
    match local_path(lake) {
        Some(lake) => Arc::new(TableFiles { files: store, lake }),
        None => store,
    }
}

/// A folder on this machine.
pub(crate) fn local_path(url: &Url) -> Option<std::path::PathBuf> {
    (url.scheme() == "file").then(|| url.to_file_path().ok()).flatten()
}

fn unknown_scheme(url: &Url, scheme: &str) -> Error {
    Error::invalid(format!("`{url}` has the scheme `{scheme}`: use file://, s3:// or a path"))
}

/// The part of a URL that names the store: `file:///` or `s3://bucket/`.
///
/// # Errors
/// `Invalid` when DataFusion does not accept it as a store.
pub fn store_url(url: &Url) -> Result<ObjectStoreUrl> {
    let text = match url.scheme() {
        "file" => "file:///".to_owned(),
        scheme => format!("{scheme}://{}/", url.host_str().unwrap_or_default()),
    };
    ObjectStoreUrl::parse(text).map_err(|e| Error::invalid(format!("`{url}` is not the URL of a store")).with_source(e))
}

/// The path of a URL within its store.
///
/// # Errors
/// `Invalid` when the path has parts that object stores refuse, such as `..`.
pub fn store_path(url: &Url) -> Result<Path> {
    Path::from_url_path(url.path()).map_err(|e| Error::invalid(format!("`{url}` is not a usable path")).with_source(e))
}

/// Parses a folder's URL from user input: a URL or a path, absolute or relative to `base`. In a URL, `%20` is a space;
/// in a path, every character stands for itself.
///
/// # Errors
/// `Invalid` for text that is neither, and for a URL with a query or a fragment, which would not be part of the folder's name.
pub fn folder_url(text: &str, base: &std::path::Path) -> Result<Url> {
    if names_a_user(text) {
        return Err(Error::invalid(
            "a URL of a folder names a user or a password, which would be seen wherever it is shown: write `scheme://bucket/path`, \
             and give credentials as AWS's clients take them (docs/guide/cluster.md)",
        ));
    }
    let url = match Url::parse(text) {
        // A one-letter scheme is a Windows drive, not a store.
        Ok(url) if url.scheme().len() > 1 => url,
        _ => Url::from_directory_path(normalized(&base.join(text)))
            .map_err(|()| Error::invalid(format!("`{text}` is neither a URL nor a path")))?,
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid(format!(
            "`{text}` is a URL with `?` or `#`: write %3F or %23 for it in a folder's name"
        )));
    }
    let folder = if url.path().ends_with('/') {
        url
    } else {
        let mut folder = url.clone();
        folder.set_path(&format!("{}/", url.path()));
        folder
    };
    match folder.scheme() {
        "file" | "s3" | "s3a" => Ok(folder),
        scheme => Err(unknown_scheme(&folder, scheme)),
    }
}

/// Whether a user or password precedes the host. This looks at the text, as it may not be a valid URL.
fn names_a_user(text: &str) -> bool {
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.contains(['@', ':']))
}

/// Removes `.` and `..`: object stores refuse them, and the folder need not exist yet.
fn normalized(path: &std::path::Path) -> std::path::PathBuf {
    use std::path::Component;
    let mut parts = std::path::PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        let key = url.as_str().to_owned();
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(key, store)
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        self.client(url).map_err(|e| DataFusionError::External(Box::new(e)))
    }
}

#[cfg(test)]
mod user_tests {
    use super::*;

    #[test]
    fn a_url_with_a_user_is_refused_without_being_shown() {
        let base = std::path::Path::new("/work");
        for text in [
            "s3://AKID:CANARY@bucket/x/",
            "s3://CANARY@bucket",
            "s3://AKID:CANARY/with/slash@bucket/x",
            "s3://:CANARY@bucket/",
            "file://root:CANARY@host/x",
        ] {
            let error = folder_url(text, base).unwrap_err();
            assert!(!error.render().contains("CANARY") && error.message().contains("password"), "{text}");
        }
        for text in ["s3://bucket/a@b:c/", "file:///a@b/", "a@b", "/x/a:b@c"] {
            folder_url(text, base).unwrap();
        }
    }
}
