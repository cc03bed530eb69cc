//! Maps errors of libraries to error kinds; no other module inspects them.

mod words;

use arrow::error::ArrowError;
use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use deltalake_core::DeltaTableError;
use pulse_core::{Error, ErrorKind};

pub use words::{literals, plain};

/// `doing` describes the operation that failed.
pub fn from_datafusion(doing: &str, error: DataFusionError) -> Error {
    let root = root(&error);
    if let Some(ours) = find_ours(root) {
        return Error::new(ours.kind(), format!("{doing}: {}", ours.message()));
    }
    let kind = match root {
        DataFusionError::ObjectStore(store) => store_kind(store),
        DataFusionError::IoError(io) => io_kind(io),
        // Parquet's readers wrap the store's error in their own.
        other if find_cause::<object_store::Error>(other).is_some() => {
            find_cause(other).map_or(ErrorKind::Internal, store_kind)
        }
        DataFusionError::ParquetError(error) => quoted_store_kind(&error.to_string()).unwrap_or(ErrorKind::Data),
        DataFusionError::ResourcesExhausted(_) => ErrorKind::Exhausted,
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => ErrorKind::Invalid,
        other if is_broken_ipc(other) => ErrorKind::Unavailable,
        other if io_of(other).is_some() => io_of(other).map_or(ErrorKind::Internal, io_kind),
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => ErrorKind::Data,
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::ArrowError(_)) => ErrorKind::Data,
            _ => ErrorKind::Internal,
        },
        _ => ErrorKind::Internal,
    };
    let remedy = match kind {
        ErrorKind::Exhausted if matches!(root, DataFusionError::ResourcesExhausted(_)) => {
            "; raise `memory_mib`, or give the spill directory more room"
        }
        ErrorKind::Exhausted => "; give `work_dir` and `spill_dir` more room",
        _ => "",
    };
    let words = match kind {
        ErrorKind::Invalid | ErrorKind::Data => plain(&root.strip_backtrace()),
        _ => first_line(&root.strip_backtrace()).to_owned(),
    };
    Error::new(kind, format!("{doing}: {words}{remedy}"))
}

/// The root cause, even if Ballista has wrapped it.
fn root(error: &DataFusionError) -> &DataFusionError {
    let root = error.find_root();
    let DataFusionError::External(inner) = root else { return root };
    match inner.downcast_ref::<BallistaError>() {
        Some(BallistaError::DataFusionError(inner)) => self::root(inner),
        Some(BallistaError::ArrowError(inner)) => match inner.as_ref() {
            ArrowError::ExternalError(inner) => inner.downcast_ref::<DataFusionError>().map_or(root, self::root),
            _ => root,
        },
        _ => root,
    }
}

/// Whether a local disk is full: another machine's may have room.
pub fn is_storage_full(error: &DataFusionError) -> bool {
    io_of(root(error)).is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull)
}

/// Only shuffles and spills use Arrow's own format: if it is corrupt, user data is not affected, and a retry may help.
fn is_broken_ipc(root: &DataFusionError) -> bool {
    matches!(arrow_of(root), Some(ArrowError::IpcError(_)))
}

/// The operating system's error, below those of Arrow and Ballista.
fn io_of(root: &DataFusionError) -> Option<&std::io::Error> {
    match (root, arrow_of(root)) {
        (DataFusionError::IoError(io), _) | (_, Some(ArrowError::IoError(_, io))) => Some(io),
        (DataFusionError::External(inner), _) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::IoError(io)) => Some(io),
            _ => None,
        },
        _ => None,
    }
}

fn arrow_of(root: &DataFusionError) -> Option<&ArrowError> {
    match root {
        DataFusionError::ArrowError(error, _) => Some(error.as_ref()),
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::ArrowError(error)) => Some(error.as_ref()),
            _ => inner.downcast_ref::<ArrowError>(),
        },
        _ => None,
    }
}

fn find_ours(error: &DataFusionError) -> Option<&Error> {
    match error {
        DataFusionError::External(inner) => inner.downcast_ref::<Error>(),
        _ => None,
    }
}

/// Wraps our own error to pass it through DataFusion.
pub fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

pub fn from_delta(doing: &str, error: DeltaTableError) -> Error {
    let kind = match &error {
        DeltaTableError::ObjectStore { source } => store_kind(source),
        DeltaTableError::Io { source } => io_kind(source),
        other => {
            // Parquet's writer wraps the store's error in its own.
            if let Some(store) = find_cause::<object_store::Error>(other) {
                return from_store(doing, store);
            }
            find_cause::<std::io::Error>(other).map_or(ErrorKind::Data, io_kind)
        }
    };
    Error::new(kind, format!("{doing}: {}{}", first_line(&error.to_string()), room(kind)))
}

pub fn from_store(doing: &str, error: &object_store::Error) -> Error {
    let kind = store_kind(error);
    Error::new(kind, format!("{doing}: {}{}", first_line(&store_text(error)), room(kind)))
}

pub fn from_io(doing: &str, error: &std::io::Error) -> Error {
    Error::new(io_kind(error), format!("{doing}: {error}"))
}

fn store_kind(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Store;
    match error {
        Store::NotFound { .. } => ErrorKind::Data,
        // The provider renews expired credentials; a later attempt gets new ones.
        Store::PermissionDenied { source, .. } | Store::Unauthenticated { source, .. }
            if has_expired(source.as_ref()) =>
        {
            ErrorKind::Unavailable
        }
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } | Store::InvalidPath { .. } => {
            ErrorKind::Invalid
        }
        Store::AlreadyExists { .. } | Store::Precondition { .. } => ErrorKind::Conflict,
        Store::Generic { source, .. } => find_cause(source.as_ref()).map_or(ErrorKind::Unavailable, io_kind),
        _ => ErrorKind::Unavailable,
    }
}

/// When a file's footer cannot be read, DataFusion quotes the store's error as text and drops it.
fn quoted_store_kind(text: &str) -> Option<ErrorKind> {
    let (_, quoted) = text.split_once("Object Store error: ")?;
    let says = |words: &str| quoted.contains(words);
    Some(match () {
        () if EXPIRED.into_iter().any(says) => ErrorKind::Unavailable,
        () if says("The operation lacked") => ErrorKind::Invalid,
        () if says(" not found: ") => ErrorKind::Data,
        () => ErrorKind::Unavailable,
    })
}

/// S3's codes for expired credentials.
const EXPIRED: [&str; 3] = ["ExpiredToken", "RequestExpired", "TokenRefreshRequired"];

fn has_expired(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(inner) = current {
        let text = inner.to_string();
        if EXPIRED.iter().any(|word| text.contains(word)) {
            return true;
        }
        current = inner.source();
    }
    false
}

/// The innermost message: object_store's own says only which call failed.
fn store_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// The remedy for exhausted memory or disk.
fn room(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::Exhausted { "; free or add disk space" } else { "" }
}

/// The innermost error of type `E` in the chain of causes.
pub(crate) fn find_cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    std::iter::successors(Some(error), |outer| cause(*outer)).filter_map(|inner| inner.downcast_ref::<E>()).last()
}

/// The next cause, even if the error does not return it as its source: I/O errors and delta-kernel's do not.
fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    use delta_kernel::Error as Kernel;
    if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        return Some(inner);
    }
    match error.downcast_ref::<Kernel>() {
        Some(Kernel::ObjectStore(inner)) => Some(inner),
        Some(Kernel::IOError(inner)) => Some(inner),
        Some(Kernel::Backtraced { source, .. }) => Some(source.as_ref()),
        _ => error.source(),
    }
}

fn io_kind(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::PermissionDenied | Io::NotADirectory | Io::IsADirectory | Io::ReadOnlyFilesystem => ErrorKind::Invalid,
        Io::NotFound | Io::InvalidData | Io::UnexpectedEof => ErrorKind::Data,
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Exhausted,
        _ => ErrorKind::Unavailable,
    }
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::datasource::listing::PartitionedFile;
    use datafusion::datasource::physical_plan::parquet::{
        DefaultParquetFileReaderFactory, ParquetFileReaderFactory as _,
    };
    use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
    use object_store::aws::AmazonS3Builder;
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, RetryConfig};

    use super::*;

    /// The error kinds for a footer and for rows that the store does not return.
    async fn kinds(store: Arc<dyn ObjectStore>) -> [ErrorKind; 2] {
        let file = PartitionedFile::new("silver/bars/part-0.parquet", 1000);
        let factory = DefaultParquetFileReaderFactory::new(store);
        let mut reader = factory.create_reader(0, file, None, &ExecutionPlanMetricsSet::new()).unwrap();
        let errors = [reader.get_metadata(None).await.unwrap_err(), reader.get_bytes(0..10).await.unwrap_err()];
        errors.map(|error| from_datafusion("read", error.into()).kind())
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_no_broken_file() {
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let builder = AmazonS3Builder::new().with_bucket_name("lake").with_region("us-east-1").with_retry(retry);
        let nobody = builder.with_endpoint("http://127.0.0.1:9").with_allow_http(true).with_skip_signature(true);
        assert_eq!(kinds(Arc::new(nobody.build().unwrap())).await, [ErrorKind::Unavailable; 2]);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_stays_one() {
        assert_eq!(kinds(Arc::new(InMemory::new())).await, [ErrorKind::Data; 2]);
    }

    #[test]
    fn the_kind_of_a_quoted_error_is_that_of_the_error() {
        use object_store::Error as Store;
        let path = || "part-0.parquet".to_owned();
        for error in [
            Store::PermissionDenied { path: path(), source: "403 Forbidden".into() },
            Store::PermissionDenied { path: path(), source: "403: <Code>ExpiredToken</Code>".into() },
            Store::Unauthenticated { path: path(), source: "401".into() },
            Store::NotFound { path: path(), source: "404".into() },
            Store::Generic { store: "S3", source: "503 SlowDown".into() },
        ] {
            let kind = store_kind(&error);
            let quoted = format!("Failed to fetch metadata: {}", DataFusionError::ObjectStore(Box::new(error)));
            assert_eq!(quoted_store_kind(&quoted), Some(kind), "{quoted}");
        }
        assert_eq!(quoted_store_kind("Invalid Parquet file. Corrupt footer"), None);
    }
}
