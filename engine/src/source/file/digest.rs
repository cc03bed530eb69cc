//! Checksums of whole files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt as _};
use pulse_core::{Error, Result};

use super::chunks::unreadable;
use super::listing::{SourceFile, below};
use super::read::check_unchanged;

/// Files that are read at once.
const FILES: usize = 8;
const BUFFER_BYTES: usize = 1 << 20;

/// CRC-32 of each file by its path: no correction within four bytes escapes it, and one of four billion others.
///
/// # Errors
/// `Conflict` when a file is not the one that was listed, otherwise by the kind of the store's error.
pub async fn digests(store: &dyn ObjectStore, root: &Path, files: Vec<SourceFile>) -> Result<HashMap<String, u32>> {
    let one = |file: SourceFile| async move { Ok((file.path.clone(), digest(store, root, &file).await?)) };
    stream::iter(files).map(one).buffer_unordered(FILES).try_collect().await
}

async fn digest(store: &dyn ObjectStore, root: &Path, file: &SourceFile) -> Result<u32> {
    let location = below(root, &file.path)?;
    let response = store.get(&location).await.map_err(|error| unreadable(&location, error))?;
    check_unchanged(&response.meta, file)?;
    match response.payload {
        GetResultPayload::File(file, _) => tokio::task::spawn_blocking(move || of_file(file))
            .await
            .map_err(|e| Error::internal("a checksum stopped").with_source(e))?
            .map_err(|error| unreadable(&location, error)),
        GetResultPayload::Stream(mut chunks) => {
            let mut hasher = crc32fast::Hasher::new();
            while let Some(chunk) = chunks.try_next().await.map_err(|error| unreadable(&location, error))? {
                hasher.update(&chunk);
            }
            Ok(hasher.finalize())
        }
    }
}

fn of_file(file: File) -> std::io::Result<u32> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut hasher = crc32fast::Hasher::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(hasher.finalize());
        }
        let bytes = chunk.len();
        hasher.update(chunk);
        reader.consume(bytes);
    }
}
