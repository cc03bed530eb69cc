//! The locations of a lake's tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake_core::logstore::{StorageConfig, default_logstore};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pulse_core::name::TableName;
use pulse_core::{Error, Result};
use url::Url;

use super::{Table, Writer};
use crate::error::from_store;
use crate::store::{Stores, folder_url, of_table, store_path};

/// Below the root: folders of layers that lie elsewhere, as `{"gold": "s3://bucket/folder"}`. A property of the lake and not a setting: two
/// machines that looked in different places would make every table twice.
const LAYERS_FILE: &str = "_pulse/layers.json";

/// A folder of tables: `<root>/<layer>/<table>`, or `<folder of the layer>/<table>` where the lake says so.
#[derive(Debug, Clone)]
pub struct Lake {
    root: Url,
    layers: BTreeMap<String, Url>,
    stores: Arc<Stores>,
}

impl Lake {
    /// A lake with all of its layers below the root; also for what lies there in any case, as the run ledger does.
    pub fn new(root: Url, stores: Arc<Stores>) -> Self {
        Self { root, layers: BTreeMap::new(), stores }
    }

    /// Reads the locations of the lake's layers.
    ///
    /// # Errors
    /// `Invalid` when the lake says it in a way that is not understood, otherwise by the kind of the store's error.
    pub async fn open(root: Url, stores: Arc<Stores>) -> Result<Self> {
        let path = store_path(&root)?;
        let path = LAYERS_FILE.split('/').fold(path, |path, part| path.join(part));
        let doing = format!("read {LAYERS_FILE} of lake {root}");
        let layers = match stores.client(&root)?.get(&path).await {
            Ok(found) => parse(&found.bytes().await.map_err(|e| from_store(&doing, &e))?).map_err(|why| {
                Error::invalid(format!("{doing}: {why}; write {{\"layer\": \"s3://bucket/folder\"}}"))
            })?,
            Err(object_store::Error::NotFound { .. }) => BTreeMap::new(),
            Err(error) => return Err(from_store(&doing, &error)),
        };
        Ok(Self { root, layers, stores })
    }

    pub fn root(&self) -> &Url {
        &self.root
    }

    /// Folders of layers that are not below the root.
    pub fn elsewhere(&self) -> impl Iterator<Item = &Url> {
        self.layers.values()
    }

    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// The folder of a layer's tables.
    ///
    /// # Errors
    /// `Invalid` when the lake's URL cannot hold tables.
    pub fn layer(&self, layer: &str) -> Result<Url> {
        let cannot = |e| Error::invalid(format!("lake `{}` cannot hold tables", self.root)).with_source(e);
        self.layers.get(layer).cloned().map_or_else(|| self.root.join(&format!("{layer}/")).map_err(cannot), Ok)
    }

    /// # Errors
    /// `Invalid` when the lake's URL cannot hold tables.
    pub fn table(&self, name: &TableName) -> Result<Table> {
        let layer = self.layer(name.layer())?;
        let url = layer
            .join(&format!("{}/", name.table()))
            .map_err(|e| Error::invalid(format!("`{layer}` cannot hold tables")).with_source(e))?;
        let above = if self.layers.contains_key(name.layer()) { layer } else { self.root.clone() };
        open(name, url, above, &self.stores, Writer::Jobs)
    }

    /// Names of all tables, quarantine tables included, sorted.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid` when the lake cannot be listed.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        let below = self.folders(&self.root).await?;
        let layers = below.iter().filter(|layer| !self.layers.contains_key(*layer)).chain(self.layers.keys());
        let mut names = Vec::new();
        for layer in layers {
            for table in self.folders(&self.layer(layer)?).await? {
                let Ok(name) = TableName::new(layer, &table) else { continue };
                if self.table(&name)?.exists().await? {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Names of the folders in a folder.
    async fn folders(&self, url: &Url) -> Result<Vec<String>> {
        let listed = self.stores.client(url)?.list_with_delimiter(Some(&store_path(url)?)).await;
        let listed = listed.map_err(|e| from_store(&format!("list lake {url}"), &e))?;
        Ok(listed.common_prefixes.iter().filter_map(Path::filename).map(str::to_owned).collect())
    }
}

impl Table {
    /// An external table, in any folder.
    ///
    /// # Errors
    /// `Invalid` when the URL cannot hold a table.
    pub fn of_others(name: &TableName, folder: Url, stores: &Stores) -> Result<Self> {
        open(name, folder.clone(), folder, stores, Writer::Others)
    }
}

/// `url` ends with a slash and lies in `lake`, below which no link is followed.
fn open(name: &TableName, url: Url, lake: Url, stores: &Stores, writer: Writer) -> Result<Table> {
    let store = of_table(stores.client(&url)?, &lake);
    // Not by scheme: delta-rs knows `s3://` only once its own S3 crate is registered. Both kinds of store put if absent.
    let folder: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, store_path(&url)?));
    // The table's folder is the root of the store that delta-rs sees. The Delta kernel builds URLs from the names of listed
    // files without encoding them, and so reads another folder where a name in the path contains `%` or a backslash.
    let mut root = url.clone();
    root.set_path("/");
    let log = default_logstore(Arc::clone(&folder), folder, &root, &StorageConfig::default());
    Ok(Table { name: name.clone(), url, lake, log, writer })
}

fn parse(text: &[u8]) -> std::result::Result<BTreeMap<String, Url>, String> {
    let layers: BTreeMap<String, String> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let url = |(layer, folder): (String, String)| match Url::parse(&folder) {
        Ok(_) => folder_url(&folder, "/".as_ref()).map(|url| (layer, url)).map_err(|e| e.to_string()),
        Err(e) => Err(format!("`{folder}` of layer {layer} is no URL: {e}")),
    };
    layers.into_iter().map(url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_layer_may_lie_elsewhere() {
        let (lake, gold) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = Url::from_directory_path(lake.path()).unwrap();
        let elsewhere = Url::from_directory_path(gold.path()).unwrap();
        for folder in [lake.path().join("silver/bars"), gold.path().join("trends"), lake.path().join("gold/old")] {
            std::fs::create_dir_all(folder.join("_delta_log")).unwrap();
            std::fs::write(folder.join("_delta_log/00000000000000000000.json"), "{}").unwrap();
        }
        let open = async || Lake::open(root.clone(), Arc::new(Stores::default())).await;
        assert_eq!(open().await.unwrap().tables().await.unwrap(), [name("gold.old"), name("silver.bars")]);

        std::fs::create_dir(lake.path().join("_pulse")).unwrap();
        let file = lake.path().join(LAYERS_FILE);
        std::fs::write(&file, format!("{{\"gold\": \"{}\"}}", elsewhere.as_str().trim_end_matches('/'))).unwrap();
        let opened = open().await.unwrap();
        assert_eq!(opened.tables().await.unwrap(), [name("gold.trends"), name("silver.bars")]);
        assert_eq!(*opened.table(&name("gold.trends")).unwrap().url(), elsewhere.join("trends/").unwrap());
        assert_eq!(*opened.table(&name("silver.bars")).unwrap().url(), root.join("silver/bars/").unwrap());
    }

    #[tokio::test]
    async fn what_says_where_layers_are_and_is_not_understood_is_an_error() {
        let lake = tempfile::tempdir().unwrap();
        std::fs::create_dir(lake.path().join("_pulse")).unwrap();
        for (text, why) in
            [("[]", "expected a map"), ("{\"gold\": \"x\"}", "no URL"), ("{\"gold\": \"ftp://x\"}", "ftp")]
        {
            std::fs::write(lake.path().join(LAYERS_FILE), text).unwrap();
            let root = Url::from_directory_path(lake.path()).unwrap();
            let error = Lake::open(root, Arc::new(Stores::default())).await.unwrap_err();
            assert_eq!(error.kind(), pulse_core::ErrorKind::Invalid);
            let error = error.to_string();
            assert!(error.contains(why) && error.contains(LAYERS_FILE), "{error}");
        }
    }
}
