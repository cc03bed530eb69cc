//! The state of a table at one version.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use delta_kernel::engine::arrow_conversion::TryIntoArrow as _;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::schema::{DataType as DeltaType, StructType};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::{Action, Add, Metadata, Protocol, Snapshot as DeltaSnapshot};
use futures::TryStreamExt;
use pulse_core::{Error, ErrorKind, Result};

use super::commit::DROPPED;
use super::deletion::DeletionVector;
use super::physical::{Mapping, Physical, plain};
use super::{DataFile, Table, Writer};
use crate::error::from_delta;
use crate::store::{link_below, shown_path};

/// The contents of a table at `version`, which a run pins.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub version: u64,
    /// Columns in the table's order, partition columns included.
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    pub configuration: BTreeMap<String, String>,
    pub files: Vec<DataFile>,
    /// Newest version of every `txn` application id, as stored. [`Table::bookmarks`] interprets them.
    pub transactions: HashMap<String, i64>,
    pub(super) metadata: Metadata,
    pub(super) protocol: Protocol,
    /// As [`Self::schema`], with the columns' metadata in the log.
    pub(super) columns: Arc<StructType>,
    /// How its columns are found in its files.
    pub(crate) physical: Arc<Physical>,
}

/// Maximum number of log entries searched for the reason why a log cannot be read.
const LOOKED_AT: usize = 1000;

/// Reader features that scans of external tables support.
const READ_FEATURES: [&str; 7] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    // Concerns only the log, which the Delta kernel reads.
    "v2Checkpoint",
    // Concerns only programs that delete files.
    "vacuumProtocolCheck",
];

/// Reader features that tables of jobs may have.
const OWN_FEATURES: [&str; 1] = ["timestampNtz"];

/// Features for a column type that is not read. An external table may have them without such a column.
const VARIANT_FEATURES: [&str; 4] =
    ["variantType", "variantType-preview", "variantShredding", "variantShredding-preview"];

impl Snapshot {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Id of the table. A table that is recreated at the same location has another one.
    pub fn id(&self) -> &str {
        self.metadata.id()
    }

    /// The table's metadata in the log.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// `None` if the statistics of a file have no row count.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(DataFile::rows).sum()
    }
}

impl Table {
    /// Reads the table at `version`, or its newest version. Returns `None` if the table does not exist or was dropped.
    ///
    /// # Errors
    /// `Data` for a broken log, `Invalid` for a table feature that we do not read.
    pub async fn snapshot(&self, version: Option<u64>) -> Result<Option<Snapshot>> {
        if !self.exists().await? {
            return Ok(None);
        }
        let doing = self.doing("read the log of");
        let delta = match DeltaSnapshot::try_new(self.log().as_ref(), version).await {
            Ok(delta) => delta,
            Err(error) => return Err(self.unreadable(&doing, error).await),
        };
        // Some of its files may be deleted.
        if self.writer == Writer::Jobs && delta.metadata().configuration().contains_key(DROPPED) {
            return Ok(None);
        }
        let mapping = self.mapping(&delta)?;
        let schema = self.columns_of(&delta)?;
        let physical = Physical::new(mapping, delta.schema(), &schema).map_err(|e| self.damaged(&doing, &e))?;
        let files = self.data_files(&delta, &physical).await?;
        let transactions = self.transactions(&delta).await?;
        Ok(Some(Snapshot {
            version: delta.version(),
            partition_by: delta.metadata().partition_columns().to_vec(),
            configuration: delta.metadata().configuration().clone().into_iter().collect(),
            metadata: delta.metadata().clone(),
            protocol: delta.protocol().clone(),
            columns: delta.schema(),
            physical: Arc::new(physical),
            schema,
            files,
            transactions,
        }))
    }

    /// Reads the table at a version that an earlier run read. Returns `None` if the log no longer reaches that version, because it was
    /// cleaned up or the table was recreated.
    ///
    /// # Errors
    /// As [`Self::snapshot`]. An existing log that cannot be read is an error.
    pub async fn past_snapshot(&self, version: u64) -> Result<Option<Snapshot>> {
        match self.snapshot(Some(version)).await {
            Err(error) if error.kind() == ErrorKind::Data && !self.log_files().await?.reach(version) => {
                log::info!("version {version} of table {} is gone: {error}", self.name());
                Ok(None)
            }
            other => other,
        }
    }

    /// The `add` actions of a version's files.
    ///
    /// # Errors
    /// `Data` for a broken log, `Unavailable` when the store does not answer.
    pub(crate) async fn adds(&self, version: u64) -> Result<Vec<Add>> {
        let doing = self.doing("read the files of");
        let log = self.log();
        let delta = DeltaSnapshot::try_new(log.as_ref(), Some(version)).await.map_err(|e| self.broken(&doing, e))?;
        let views: Vec<_> =
            delta.file_views(log.as_ref(), None).try_collect().await.map_err(|e| self.broken(&doing, e))?;
        // As in `data_files`.
        #[allow(deprecated)]
        Ok(views.iter().map(|view| view.add_action()).collect())
    }

    async fn data_files(&self, delta: &DeltaSnapshot, physical: &Physical) -> Result<Vec<DataFile>> {
        let doing = self.doing("read the files of");
        let views: Vec<_> =
            delta.file_views(self.log().as_ref(), None).try_collect().await.map_err(|e| self.broken(&doing, e))?;
        let mut files = Vec::with_capacity(views.len());
        for view in views {
            // The typed accessors leave out tags and parse statistics of all columns at every call.
            #[allow(deprecated)]
            files.push(self.data_file(&view.add_action(), physical)?);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        self.refuse_links(&files)?;
        Ok(files)
    }

    /// # Errors
    /// `Invalid` if a path below the table's folder contains a link: one file would have two names.
    fn refuse_links(&self, files: &[DataFile]) -> Result<()> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let mut known = HashSet::new();
        for file in files {
            let parent = file.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let path = folder.join(&file.path);
            let is_link = path.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
            let link = match known.insert(parent) {
                _ if is_link => Some(path),
                true => link_below(&folder, &folder.join(parent)),
                false => None,
            };
            if let Some(link) = link {
                return Err(self.refused(&format!("the symbolic link `{}`", shown_path(&link))));
            }
        }
        Ok(())
    }

    /// # Errors
    /// `Invalid` for a file that a scan would misread, `Data` if the log describes a file wrongly.
    pub(super) fn data_file(&self, add: &Add, physical: &Physical) -> Result<DataFile> {
        if is_absolute(&add.path) {
            return Err(self.refused(&format!("a file outside its folder (`{}`), as shallow clones do", add.path)));
        }
        let file = physical.data_file(add);
        match &add.deletion_vector {
            None => Ok(file),
            Some(_) if self.writer == Writer::Jobs => Err(self.refused("deletion vectors")),
            Some(descriptor) => {
                let deleted = DeletionVector::new(descriptor);
                Ok(file.without_rows(deleted.map_err(|e| self.damaged(&self.doing("read the files of"), &e))?))
            }
        }
    }

    /// The columns that queries see.
    fn columns_of(&self, delta: &DeltaSnapshot) -> Result<SchemaRef> {
        match self.writer {
            Writer::Jobs => Ok(delta.arrow_schema()),
            Writer::Others => {
                let doing = self.doing("read the columns of");
                let schema: Schema = delta.schema().as_ref().try_into_arrow().map_err(|e| {
                    Error::invalid(format!("{doing}: a column has a type that pulse does not read: {e}"))
                })?;
                Ok(plain(&schema))
            }
        }
    }

    /// Reads all `txn` actions in one replay; delta-rs needs one replay for each application id.
    async fn transactions(&self, delta: &DeltaSnapshot) -> Result<HashMap<String, i64>> {
        let doing = self.doing("read the transactions of");
        let engine = self.log().engine(None);
        let scan = delta.scan_builder().build().map_err(|e| from_delta(&doing, e))?;
        let kernel = Arc::clone(scan.snapshot());
        let replay = move || -> Result<HashMap<String, i64>, delta_kernel::Error> {
            let schema = delta_kernel::actions::LOG_TXN_SCHEMA.clone();
            let mut newest = HashMap::new();
            for batch in kernel.log_segment().read_actions(engine.as_ref(), schema)? {
                let data = ArrowEngineData::try_from_engine_data(batch?.actions)?;
                collect_transactions(data.record_batch(), &mut newest);
            }
            Ok(newest)
        };
        tokio::task::spawn_blocking(replay)
            .await
            .map_err(|e| Error::internal(format!("{doing}: replay stopped")).with_source(e))?
            .map_err(|e| from_delta(&doing, e.into()))
    }

    /// The column mapping.
    ///
    /// # Errors
    /// `Invalid` if the table has a feature that is not supported.
    fn mapping(&self, delta: &DeltaSnapshot) -> Result<Mapping> {
        let protocol = delta.protocol();
        let has_feature = |wanted: &str| features(protocol).iter().any(|feature| feature == wanted);
        let maps = protocol.min_reader_version() == 2 || has_feature("columnMapping");
        let mode = delta.metadata().configuration().get("delta.columnMapping.mode");
        let mapping = match Mapping::parse(mode.map(String::as_str)) {
            Some(Mapping::None) => Mapping::None,
            Some(mapping) if maps && self.writer == Writer::Others => mapping,
            Some(_) | None => return Err(self.refused(&format!("column mapping `{}`", mode.map_or("", |mode| mode)))),
        };
        self.refuse_unknown_features(protocol)?;
        match variant_in(&delta.schema()) {
            Some(column) => Err(self.refused(&format!("the type `variant` in column `{column}`"))),
            None => Ok(mapping),
        }
    }

    /// Reader features change what a scan would have to do, so an unknown one is refused.
    fn refuse_unknown_features(&self, protocol: &Protocol) -> Result<()> {
        let is_read = |feature: &str| READ_FEATURES.contains(&feature) || VARIANT_FEATURES.contains(&feature);
        let is_known = |feature: &str| match self.writer {
            Writer::Others => is_read(feature),
            Writer::Jobs => OWN_FEATURES.contains(&feature),
        };
        if let Some(feature) = features(protocol).iter().find(|feature| !is_known(feature)) {
            return Err(self.refused(&format!("the reader feature `{feature}`")));
        }
        match protocol.min_reader_version() {
            1 | 3 => Ok(()),
            2 if self.writer == Writer::Others => Ok(()),
            version => Err(self.refused(&format!("reader version {version}"))),
        }
    }

    /// Explains why a log cannot be read. For some unsupported features, the Delta kernel has messages of its own.
    async fn unreadable(&self, doing: &str, error: DeltaTableError) -> Error {
        let versions = self.log_files().await.map(|files| files.entries()).unwrap_or_default();
        for version in versions.into_iter().rev().take(LOOKED_AT) {
            let Ok(Some(actions)) = self.entry(version).await else { break };
            let protocol = actions.iter().find_map(|action| match action {
                Action::Protocol(protocol) => Some(protocol),
                _ => None,
            });
            if let Some(protocol) = protocol {
                return self.refuse_unknown_features(protocol).err().unwrap_or_else(|| self.broken(doing, error));
            }
        }
        self.broken(doing, error)
    }

    fn refused(&self, what: &str) -> Error {
        Error::invalid(format!(
            "table {} at {} uses {what}, which pulse does not read; rewrite it without (Delta protocol 1,2)",
            self.name(),
            self.url()
        ))
    }

    fn damaged(&self, doing: &str, error: &Error) -> Error {
        Error::data(format!("{doing}: {}; the log is damaged", error.message()))
    }

    pub(crate) fn doing(&self, what: &str) -> String {
        format!("{what} table {} at {}", self.name(), self.url())
    }

    pub(crate) fn broken(&self, doing: &str, error: DeltaTableError) -> Error {
        let mapped = from_delta(doing, error);
        match mapped.kind() {
            ErrorKind::Data if self.writer == Writer::Others => Error::data(format!(
                "{}; the log is damaged, or asks more of its readers than pulse knows: ask those who write the table",
                mapped.message()
            )),
            ErrorKind::Data => Error::data(format!(
                "{}; the log is damaged: restore `_delta_log` from a backup or remove the table and run its job again",
                mapped.message()
            )),
            _ => mapped,
        }
    }
}

/// The path of the first column of the type `variant`.
fn variant_in(schema: &StructType) -> Option<String> {
    fn within(data_type: &DeltaType) -> Option<String> {
        match data_type {
            DeltaType::Variant(_) => Some(String::new()),
            DeltaType::Primitive(_) => None,
            DeltaType::Array(array) => within(array.element_type()),
            DeltaType::Map(map) => within(map.key_type()).or_else(|| within(map.value_type())),
            DeltaType::Struct(fields) => variant_in(fields).map(|name| format!(".{name}")),
        }
    }
    schema.fields().find_map(|field| Some(format!("{}{}", field.name(), within(field.data_type())?)))
}

fn features(protocol: &Protocol) -> Vec<String> {
    protocol.reader_features().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Whether a path in the log is a URL or starts at a store's root.
pub(super) fn is_absolute(path: &str) -> bool {
    let scheme = path.split_once(":/").map(|(scheme, _)| scheme).unwrap_or_default();
    path.starts_with('/')
        || (!scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')))
}

/// Batches come newest first, so the first occurrence of an id counts.
fn collect_transactions(batch: &RecordBatch, newest: &mut HashMap<String, i64>) {
    let Some(txn) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else { return };
    let (Some(ids), Some(versions)) = (
        txn.column_by_name("appId").and_then(|column| column.as_string_opt::<i32>()),
        txn.column_by_name("version").and_then(|column| column.as_primitive_opt::<Int64Type>()),
    ) else {
        return;
    };
    // Within one commit file the last action wins, hence backwards.
    for row in (0..batch.num_rows()).rev() {
        if txn.is_valid(row) && ids.is_valid(row) {
            newest.entry(ids.value(row).to_owned()).or_insert_with(|| versions.value(row));
        }
    }
}
