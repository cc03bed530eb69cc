//! A version that is gone, a log that is damaged and a store that does not answer are three things.

use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreRegistry as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};
use proptest::prelude::*;
use pulse_core::ErrorKind;
use url::Url;

use super::*;
use crate::store::Stores;
use crate::table::Lake;

/// The files of this machine, unless a path holds the word: then the store has no answer.
#[derive(Debug)]
struct Failing {
    files: LocalFileSystem,
    word: &'static str,
    lists: bool,
}

impl Failing {
    fn refuse(&self, path: &Path) -> object_store::Result<()> {
        match path.as_ref().contains(self.word) {
            true => Err(unavailable()),
            false => Ok(()),
        }
    }
}

fn unavailable() -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: "503 SlowDown".into() }
}

impl Display for Failing {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "failing at {}", self.word)
    }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, path: &Path, what: PutPayload, how: PutOptions) -> object_store::Result<PutResult> {
        self.files.put_opts(path, what, how).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        how: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(path, how).await
    }

    async fn get_opts(&self, path: &Path, how: GetOptions) -> object_store::Result<GetResult> {
        self.refuse(path)?;
        self.files.get_opts(path, how).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.refuse(path)?;
        self.files.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.files.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.lists {
            true => self.files.list(prefix),
            false => futures::stream::once(async { Err(unavailable()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> object_store::Result<()> {
        self.files.copy_opts(from, to, how).await
    }
}

/// A table of three versions without rows, as its log's JSON.
fn write_log(folder: &std::path::Path) {
    let log = folder.join("silver/bars/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let schema =
        r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"x\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}"#;
    let first = format!(
        "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n{{\"metaData\":{{\"id\":\"6f1b9a6e-9a7c-4b57-8b5c-\
         0d9d3f6b1a11\",\"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\"schemaString\":\"{schema}\",\
         \"partitionColumns\":[],\"configuration\":{{}},\"createdTime\":1600000000000}}}}\n"
    );
    let later = |version: u32| format!("{{\"txn\":{{\"appId\":\"test\",\"version\":{version}}}}}\n");
    for (version, text) in [(0, first), (1, later(1)), (2, later(2))] {
        std::fs::write(log.join(format!("{version:020}.json")), text).unwrap();
    }
}

fn table(folder: &std::path::Path, word: &'static str, lists: bool) -> Table {
    let stores = Arc::new(Stores::default());
    let store = Failing { files: LocalFileSystem::new(), word, lists };
    stores.register_store(&Url::parse("file:///").unwrap(), Arc::new(store));
    let lake = Lake::new(Url::from_directory_path(folder).unwrap(), stores);
    lake.table(&"silver.bars".parse().unwrap()).unwrap()
}

/// The version that comes back, or the kind of the error.
async fn past(table: &Table, version: u64) -> Result<Option<u64>, ErrorKind> {
    let read = table.past_snapshot(version).await;
    read.map(|found| found.map(|snapshot| snapshot.version)).map_err(|error| error.kind())
}

const NOTHING: &str = "no path holds this";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_the_error() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    let healthy = table(folder.path(), NOTHING, true);
    for version in 0..3 {
        assert_eq!(past(&healthy, version).await, Ok(Some(version)));
    }
    for failing in [table(folder.path(), "00000000000000000001.json", true), table(folder.path(), NOTHING, false)] {
        assert_eq!(past(&failing, 1).await, Err(ErrorKind::Unavailable));
        assert_eq!(failing.snapshot(None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_gone_only_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    let table = table(folder.path(), NOTHING, true);
    let entry = |version: u64| folder.path().join(format!("silver/bars/_delta_log/{version:020}.json"));
    // Never written by this table, as when it was removed and made again.
    assert_eq!(past(&table, 7).await, Ok(None));
    let text = std::fs::read_to_string(entry(1)).unwrap();
    std::fs::write(entry(1), "{\"txn\": garbage").unwrap();
    assert_eq!(past(&table, 1).await, Err(ErrorKind::Data));
    std::fs::write(entry(1), text).unwrap();
    table.checkpoint(2).await.unwrap();
    std::fs::remove_file(entry(0)).unwrap();
    std::fs::remove_file(entry(1)).unwrap();
    assert_eq!([past(&table, 0).await, past(&table, 1).await], [Ok(None), Ok(None)]);
    assert_eq!(past(&table, 2).await, Ok(Some(2)));
}

/// What a reader of the protocol can put together, by trying each way.
fn readable(entries: &BTreeSet<u64>, checkpoints: &BTreeSet<u64>, version: u64) -> bool {
    let begins = checkpoints.iter().filter(|checkpoint| **checkpoint <= version).map(|checkpoint| checkpoint + 1);
    begins.chain([0]).any(|first| (first..=version).all(|version| entries.contains(&version)))
}

proptest! {
    #[test]
    fn a_log_reaches_what_its_files_tell(
        entries in prop::collection::btree_set(0..12_u64, 0..12),
        checkpoints in prop::collection::btree_set(0..12_u64, 0..3),
        version in 0..12_u64,
    ) {
        let object = |name: String| ObjectMeta {
            location: Path::from(format!("_delta_log/{name}")),
            last_modified: DateTime::UNIX_EPOCH,
            size: 1,
            e_tag: None,
            version: None,
        };
        let names = entries.iter().map(|version| format!("{version:020}.json"));
        let names = names.chain(checkpoints.iter().map(|version| format!("{version:020}.checkpoint.parquet")));
        let objects: Vec<ObjectMeta> = names.chain(["_last_checkpoint".to_owned()]).map(object).collect();
        prop_assert_eq!(LogFiles::among(&objects).reach(version), readable(&entries, &checkpoints, version));
    }
}
