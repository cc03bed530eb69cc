//! Deletion vectors: numbers of a file's rows that are deleted, as Delta's PROTOCOL.md lays them out.

use std::iter::Peekable;
use std::ops::Range;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pulse_core::{Error, Result};
use roaring::RoaringTreemap;
use url::Url;

use crate::error::from_store;
use crate::store::{store_path, store_url};
use crate::table::{DeletionPlace, DeletionVector};

/// Before a portable bitmap.
const MAGIC: u32 = 1_681_511_377;
const WORD: u64 = 4;

/// The deleted rows of a file, from its first one.
pub(super) struct Deleted {
    next: Peekable<roaring::treemap::IntoIter>,
    /// Number of the next batch's first row.
    row: u64,
}

impl Deleted {
    /// Reads the vector. `store` is the one that the table lies in, at `root`.
    ///
    /// # Errors
    /// `Data` for a vector that is damaged or not of a file with `rows` rows, otherwise by the kind of the store's error.
    pub(super) async fn read(
        store: &dyn ObjectStore,
        root: &Path,
        of_store: &str,
        vector: &DeletionVector,
        rows: u64,
    ) -> Result<Self> {
        let deleted = match &vector.place {
            DeletionPlace::Inline(text) => inline(text, vector.bytes).map_err(|why| damaged("in the log", &why))?,
            DeletionPlace::Below { path, offset } => {
                let path = Path::from_iter(root.parts().chain(Path::from(path.as_str()).parts()));
                stored(store, &path, *offset, vector.bytes).await?
            }
            DeletionPlace::Elsewhere { url, offset } => {
                let path = within_store(url, of_store)?;
                stored(store, &path, *offset, vector.bytes).await?
            }
        };
        if deleted.len() != vector.rows || deleted.max().is_some_and(|last| last >= rows) {
            let why = format!("it has {} rows up to {:?}, of {rows}", deleted.len(), deleted.max());
            return Err(damaged(&format!("of {} rows", vector.rows), &why));
        }
        Ok(Self { next: deleted.into_iter().peekable(), row: 0 })
    }

    /// The rows of the file's next batch that are left.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn filter(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let first = self.row;
        self.row += batch.num_rows() as u64;
        if self.next.peek().is_none_or(|row| *row >= self.row) {
            return Ok(batch.clone());
        }
        let mut kept = vec![true; batch.num_rows()];
        while let Some(row) = self.next.next_if(|row| *row < self.row) {
            if let Some(kept) = usize::try_from(row - first).ok().and_then(|at| kept.get_mut(at)) {
                *kept = false;
            }
        }
        filter_record_batch(batch, &BooleanArray::from(kept))
    }
}

fn inline(text: &str, bytes: u64) -> Result<RoaringTreemap, String> {
    let decoded = z85::decode(text).map_err(|e| e.to_string())?;
    // Four bytes are five characters, so that some may be there for nothing.
    let length = usize::try_from(bytes).map_err(|e| e.to_string())?;
    bitmap(decoded.get(..length).ok_or("it is cut off")?)
}

async fn stored(store: &dyn ObjectStore, path: &Path, offset: u64, bytes: u64) -> Result<RoaringTreemap> {
    let place = format!("`{path}` at {offset}");
    let range: Range<u64> = offset..offset + WORD + bytes + WORD;
    let framed =
        store.get_range(path, range).await.map_err(|e| from_store(&format!("read the deletion vector {place}"), &e))?;
    unframed(&framed, bytes).and_then(bitmap).map_err(|why| damaged(&place, &why))
}

/// Without the length before it and the checksum behind it.
fn unframed(bytes: &[u8], length: u64) -> Result<&[u8], String> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
    let length = usize::try_from(length).map_err(|e| e.to_string())?;
    let (Some(found), Some(sum), Some(body)) = (word(0), word(4 + length), bytes.get(4..4 + length)) else {
        return Err("it is cut off".to_owned());
    };
    if usize::try_from(found) != Ok(length) {
        return Err(format!("the log says that it has {length} bytes, and its file {found}"));
    }
    if crc32fast::hash(body) != sum {
        return Err("its checksum is another one".to_owned());
    }
    Ok(body)
}

fn bitmap(bytes: &[u8]) -> Result<RoaringTreemap, String> {
    match bytes.split_first_chunk() {
        Some((magic, body)) if u32::from_le_bytes(*magic) == MAGIC => {
            RoaringTreemap::deserialize_from(body).map_err(|e| e.to_string())
        }
        Some((magic, _)) => Err(format!("its format is {}", u32::from_le_bytes(*magic))),
        None => Err("it is cut off".to_owned()),
    }
}

fn within_store(url: &str, of_store: &str) -> Result<Path> {
    let parsed = Url::parse(url).ok().and_then(|url| Some((store_url(&url).ok()?, store_path(&url).ok()?)));
    match parsed {
        Some((store, path)) if store.as_str() == of_store => Ok(path),
        _ => Err(Error::invalid(format!("the deletion vector `{url}` lies in another store than its table"))),
    }
}

fn damaged(place: &str, why: &str) -> Error {
    Error::data(format!("the deletion vector {place} is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray as _, Int64Array};
    use arrow::datatypes::Int64Type;
    use object_store::PutPayload;
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::*;

    fn body(rows: &[u64]) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        rows.iter().copied().collect::<RoaringTreemap>().serialize_into(&mut bytes).unwrap();
        bytes
    }

    async fn read(rows: &[u64], total: u64, spoil: impl Fn(&mut Vec<u8>)) -> Result<Deleted> {
        let body = body(rows);
        let size = u32::try_from(body.len()).unwrap();
        let mut bytes = [&[1][..], &size.to_be_bytes(), &body, &crc32fast::hash(&body).to_be_bytes()].concat();
        spoil(&mut bytes);
        let store = InMemory::new();
        store.put(&Path::from("t/x.bin"), PutPayload::from(bytes)).await.unwrap();
        let place = DeletionPlace::Below { path: "x.bin".to_owned(), offset: 1 };
        let vector = DeletionVector { place, bytes: size.into(), rows: rows.len() as u64 };
        Deleted::read(&store, &Path::from("t"), "memory:///", &vector, total).await
    }

    #[tokio::test]
    async fn a_damaged_vector_is_an_error() {
        assert!(read(&[1, 5], 6, |_| ()).await.is_ok());
        for spoil in [
            (|bytes| bytes[12] ^= 1) as fn(&mut Vec<u8>),
            |bytes| bytes[5] ^= 1,
            |bytes| bytes[2] ^= 1,
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            |bytes| bytes.truncate(bytes.len() - 1),
        ] {
            let error = read(&[1, 5], 6, spoil).await.err().unwrap();
            assert!(error.to_string().contains("deletion vector"), "{error}");
        }
        let error = read(&[1, 5], 5, |_| ()).await.err().unwrap();
        assert_eq!(error.kind(), pulse_core::ErrorKind::Data);
    }

    #[test]
    fn rows_that_are_left_do_not_depend_on_batches() {
        let rows = prop::collection::btree_set(0..200_u64, 0..60);
        let sizes = prop::collection::vec(0..50_usize, 1..20);
        proptest!(ProptestConfig::with_cases(64), |(deleted in rows, sizes in sizes)| {
            let total: usize = sizes.iter().sum();
            let deleted: Vec<u64> = deleted.into_iter().filter(|row| *row < total as u64).collect();
            let vector = body(&deleted);
            let mut text = vector.clone();
            text.resize(vector.len().next_multiple_of(4), 0);
            let decoded = inline(&z85::encode(text), vector.len() as u64).unwrap();
            let mut rows = Deleted { next: decoded.into_iter().peekable(), row: 0 };
            let (mut left, mut first) = (Vec::new(), 0);
            for size in sizes {
                let numbers = Int64Array::from_iter_values(first..first + i64::try_from(size).unwrap());
                first += i64::try_from(size).unwrap();
                let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)]).unwrap();
                let batch = rows.filter(&batch).unwrap();
                left.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().map(|n| u64::try_from(*n).unwrap()));
            }
            let expected: Vec<u64> = (0..total as u64).filter(|row| !deleted.contains(row)).collect();
            prop_assert_eq!(left, expected);
        });
    }
}
