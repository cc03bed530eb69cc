//! Footers of Parquet files that strangers wrote, judged before they are decoded: the decoder recurses over groups within groups,
//! and ends the process when its stack is used up.

use std::ops::Range;

use bytes::Bytes;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader};
use datafusion::parquet::schema::types::SchemaDescPtr;
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// Groups within each other; a manifest's types have eight levels, of at most two groups each.
const DEPTH: usize = 100;
/// Structures within each other in the footer itself; the decoder allows as many.
const NESTING: usize = 64;
/// Bytes that are read at once from the end of a file: the whole footer of most files.
const TAIL: u64 = 64 << 10;
/// The footer's length and the magic bytes.
const ENDING: u64 = 8;

/// Reads the footer of an object.
///
/// # Errors
/// The object's; for a footer that is damaged, or whose groups lie too deep.
pub(super) async fn load<R: AsyncFileReader>(
    object: &mut R,
    size: u64,
    options: Option<ParquetMetaDataOptions>,
) -> Result<ParquetMetaData> {
    let mut tail = match size {
        // Stores refuse to read nothing.
        0 => Bytes::new(),
        size => object.get_bytes(size.saturating_sub(TAIL)..size).await?,
    };
    if let Some(length) = length(&tail)
        && length > tail.len() as u64
        && length <= size
    {
        tail = object.get_bytes(size - length..size).await?;
    }
    let options = match schema(&tail)? {
        Some(schema) => Some(options.unwrap_or_default().with_schema(schema)),
        None => options,
    };
    let reader = ParquetMetaDataReader::new().with_metadata_options(options);
    reader.load_and_finish(Tail { object, start: size.saturating_sub(tail.len() as u64), bytes: tail }, size).await
}

/// How to read a file that is in memory.
///
/// # Errors
/// As [`load`].
pub(super) fn options(content: &[u8]) -> Result<ArrowReaderOptions> {
    Ok(match schema(content)? {
        Some(schema) => ArrowReaderOptions::default().with_parquet_schema(schema),
        None => ArrowReaderOptions::default(),
    })
}

/// The schema in the footer at the end of `content`. The decoder is given it, and then reads none from the footer. `None` for what is
/// no footer: the decoder says so.
fn schema(content: &[u8]) -> Result<Option<SchemaDescPtr>> {
    let Some(start) = length(content).and_then(|length| content.len().checked_sub(usize::try_from(length).ok()?))
    else {
        return Ok(None);
    };
    let footer = content.get(start..content.len().saturating_sub(8)).unwrap_or_default();
    match depth(&mut Thrift(footer)) {
        Some(depth) if depth <= DEPTH => ParquetMetaDataReader::decode_schema(footer).map(Some),
        Some(depth) => Err(ParquetError::General(format!(
            "its schema has {depth} groups within each other, and at most {DEPTH} are read"
        ))),
        None => Err(ParquetError::General("its footer is damaged: it has no schema that can be read".to_owned())),
    }
}

/// Bytes of the footer with its ending.
fn length(content: &[u8]) -> Option<u64> {
    let ending = content.last_chunk::<8>()?;
    let tail = FooterTail::try_from(ending.as_slice()).ok().filter(|tail| !tail.is_encrypted_footer())?;
    u64::try_from(tail.metadata_length()).ok()?.checked_add(ENDING)
}

/// The end of an object that is in memory, before the rest of it.
struct Tail<'a, R> {
    object: &'a mut R,
    start: u64,
    bytes: Bytes,
}

impl<R: AsyncFileReader> MetadataFetch for Tail<'_, R> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        let part = || {
            let start = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
            let end = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
            (start <= end && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
        };
        match part() {
            Some(bytes) => async move { Ok(bytes) }.boxed(),
            None => self.object.get_bytes(range),
        }
    }
}

/// Fields of `FileMetaData` and of `SchemaElement`.
const SCHEMA: i16 = 2;
const NAME: i16 = 4;
const CHILDREN: i16 = 5;
const LOGICAL_TYPE: i16 = 10;

/// The deepest group of the schema; `None` where the footer has none that can be read. The decoder reads a field that it knows as what it
/// should be, whatever the footer says of its kind; where these differ, it could find another schema than this.
fn depth(footer: &mut Thrift<'_>) -> Option<usize> {
    let mut id = 0;
    loop {
        let kind = footer.field(&mut id)??;
        match (id, kind) {
            (SCHEMA, Kind::List) => break,
            (SCHEMA, _) => return None,
            (_, kind) => footer.skip(kind, NESTING)?,
        }
    }
    let (count, Kind::Struct) = footer.list()? else { return None };
    let mut groups = Groups::default();
    for _ in 0..count {
        groups.meet(children(footer)?);
    }
    Some(groups.deepest)
}

/// Reads an element of the schema, and returns the number of its children.
fn children(footer: &mut Thrift<'_>) -> Option<u64> {
    let (mut id, mut children) = (0, 0);
    while let Some(kind) = footer.field(&mut id)? {
        match (id, kind) {
            (CHILDREN, Kind::Integer) => children = footer.integer()?,
            (NAME, Kind::Binary) => footer.skip(kind, NESTING)?,
            (LOGICAL_TYPE, Kind::Struct) => logical_type(footer)?,
            (NAME | LOGICAL_TYPE, _) => return None,
            (1..LOGICAL_TYPE, Kind::Integer) => footer.skip(kind, NESTING)?,
            (1..LOGICAL_TYPE, _) => return None,
            _ => footer.skip(kind, NESTING)?,
        }
    }
    Some(u64::try_from(children).unwrap_or_default())
}

/// A union: each member is a structure.
fn logical_type(footer: &mut Thrift<'_>) -> Option<()> {
    let mut id = 0;
    while let Some(kind) = footer.field(&mut id)? {
        let fields: &[(i16, Kind)] = match id {
            // Decimal; time and timestamp; integer; variant; geometry; geography.
            5 => &[(1, Kind::Integer), (2, Kind::Integer)],
            7 | 8 => &[(1, Kind::Bool), (2, Kind::Struct)],
            10 => &[(1, Kind::Byte), (2, Kind::Bool)],
            16 => &[(1, Kind::Byte)],
            17 => &[(1, Kind::Binary)],
            18 => &[(1, Kind::Binary), (2, Kind::Integer)],
            _ => &[],
        };
        if kind != Kind::Struct {
            return None;
        }
        let mut field = 0;
        while let Some(kind) = footer.field(&mut field)? {
            if fields.iter().any(|(known, of)| *known == field && *of != kind) {
                return None;
            }
            footer.skip(kind, NESTING)?;
        }
    }
    Some(())
}

/// A schema is the list of its nodes, each before its children.
#[derive(Default)]
struct Groups {
    /// Children that are still to come, of each group that is open.
    open: Vec<u64>,
    deepest: usize,
}

impl Groups {
    fn meet(&mut self, children: u64) {
        if let Some(left) = self.open.last_mut() {
            *left = left.saturating_sub(1);
        }
        if children > 0 {
            self.open.push(children);
            self.deepest = self.deepest.max(self.open.len());
        }
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
    }
}

/// Kinds of values, as far as their bytes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Byte,
    Integer,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

impl Kind {
    fn of(code: u8) -> Option<Self> {
        Some(match code {
            1 | 2 => Self::Bool,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            _ => return None,
        })
    }
}

/// Thrift's compact protocol, as far as it is needed to find the schema.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some(i64::try_from(value >> 1).ok()? ^ -i64::from(value & 1 == 1))
    }

    /// Number and kind of a list's values. Some writers give an empty list no kind.
    fn list(&mut self) -> Option<(u64, Kind)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            0 if head == 0 => return Some((0, Kind::Byte)),
            15 => self.varint()?,
            count => u64::from(count),
        };
        Some((count, Kind::of(head & 0x0f)?))
    }

    /// The kind of a structure's next field, `None` at its end. `id` is that of the field before, and becomes its own.
    #[allow(clippy::option_option, reason = "the end of the structure, and that of the bytes")]
    fn field(&mut self, id: &mut i16) -> Option<Option<Kind>> {
        let head = self.byte()?;
        if head & 0x0f == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => i16::try_from(self.integer()?).ok()?,
            delta => id.checked_add(i16::from(delta))?,
        };
        Kind::of(head & 0x0f).map(Some)
    }

    /// A truth value of a field is in the field's head.
    fn skip(&mut self, kind: Kind, nesting: usize) -> Option<()> {
        match kind {
            Kind::Bool => Some(()),
            Kind::Byte => self.take(1),
            Kind::Integer => self.varint().map(drop),
            Kind::Double => self.take(8),
            Kind::Binary => {
                let count = self.varint()?;
                self.take(count)
            }
            Kind::Struct => {
                let (mut id, nesting) = (0, nesting.checked_sub(1)?);
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, nesting)?;
                }
                Some(())
            }
            Kind::List => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, nesting))
            }
            Kind::Map => self.skip_map(nesting),
        }
    }

    fn skip_map(&mut self, nesting: usize) -> Option<()> {
        let count = self.varint()?;
        if count == 0 {
            return Some(());
        }
        let kinds = self.byte()?;
        let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
        (0..count).try_for_each(|_| {
            self.skip_element(key, nesting)?;
            self.skip_element(value, nesting)
        })
    }

    /// A truth value of a list is a byte.
    fn skip_element(&mut self, kind: Kind, nesting: usize) -> Option<()> {
        match kind {
            Kind::Bool => self.take(1),
            kind => self.skip(kind, nesting.checked_sub(1)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field, Fields, Schema};
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
    use datafusion::parquet::schema::types::Type;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::source::file::ObjectReader;

    /// A file whose one column has so many structures within each other.
    fn nested(levels: usize, lists: bool) -> Vec<u8> {
        let mut array: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        for _ in 0..levels {
            let field = Arc::new(Field::new("x", array.data_type().clone(), true));
            array = match lists {
                true => Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1, 1]), array, None)),
                false => Arc::new(StructArray::new(Fields::from(vec![field]), vec![array], None)),
            };
        }
        let schema = Arc::new(Schema::new(vec![
            Field::new("plain", DataType::Int64, true),
            Field::new("deep", array.data_type().clone(), true),
        ]));
        let plain: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, Arc::clone(&schema), None).unwrap();
        writer.write(&RecordBatch::try_new(schema, vec![plain, array]).unwrap()).unwrap();
        writer.close().unwrap();
        file
    }

    /// A footer by hand: a chain of groups, with the fields that a decoder demands.
    fn chain(groups: usize) -> Vec<u8> {
        let mut footer = vec![0x15, 0x02];
        footer.extend([0x19, 0xfc]);
        let mut count = groups + 1;
        while count >= 0x80 {
            footer.push(u8::try_from(count & 0x7f).unwrap() | 0x80);
            count >>= 7;
        }
        footer.push(u8::try_from(count).unwrap());
        // Repetition, name, one child.
        footer.extend([0x35, 0x00, 0x18, 0x01, b'g', 0x15, 0x02, 0x00].repeat(groups));
        // A column: type, repetition, name.
        footer.extend([0x15, 0x04, 0x25, 0x00, 0x18, 0x01, b'c', 0x00]);
        // Rows, no row groups.
        footer.extend([0x16, 0x00, 0x19, 0x0c, 0x00]);
        let length = u32::try_from(footer.len()).unwrap();
        [b"PAR1", &footer[..], &length.to_le_bytes(), b"PAR1"].concat()
    }

    fn footer_of(file: &[u8]) -> &[u8] {
        &file[file.len() - usize::try_from(length(file).unwrap()).unwrap()..file.len() - 8]
    }

    fn deepest(group: &Type) -> usize {
        match group {
            Type::PrimitiveType { .. } => 0,
            Type::GroupType { fields, .. } => 1 + fields.iter().map(|field| deepest(field)).max().unwrap_or_default(),
        }
    }

    #[test]
    fn groups_of_real_files_are_counted() {
        let counted = |file: &[u8]| depth(&mut Thrift(footer_of(file)));
        // The root is a group; a list is two.
        assert_eq!(counted(&nested(0, false)), Some(1));
        assert_eq!(counted(&nested(7, false)), Some(8));
        assert_eq!(counted(&nested(7, true)), Some(15));
    }

    #[test]
    fn a_chain_of_groups_is_refused_before_it_is_decoded() {
        for groups in [DEPTH + 1, 10_000, 1_000_000] {
            let error = options(&chain(groups)).unwrap_err().to_string();
            assert!(error.contains(&format!("{groups} groups within each other")), "{error}");
        }
        // What is allowed is what the decoder reads.
        let shallow = Bytes::from(chain(DEPTH));
        let read = ArrowReaderMetadata::load(&shallow, options(&shallow).unwrap()).unwrap();
        assert_eq!(read.parquet_schema().num_columns(), 1);
    }

    /// A footer may repeat the field of the schema: the decoder takes the one that was judged.
    #[test]
    fn a_second_schema_is_not_decoded() {
        let first = chain(3);
        let footer = footer_of(&first);
        let second = chain(20_000);
        let hidden = [&footer[..footer.len() - 5], &[0x09, 0x04], &footer_of(&second)[3..]].concat();
        let length = u32::try_from(hidden.len()).unwrap();
        let file = Bytes::from([b"PAR1", &hidden[..], &length.to_le_bytes(), b"PAR1"].concat());
        let read = ArrowReaderMetadata::load(&file, options(&file).unwrap()).unwrap();
        assert_eq!(deepest(read.parquet_schema().root_schema()), 3);
    }

    #[tokio::test]
    async fn an_object_is_read_as_if_it_were_in_memory() {
        let wide = {
            let fields: Vec<Field> =
                (0..3_000).map(|at| Field::new(format!("column_{at:040}"), DataType::Int64, true)).collect();
            let schema = Arc::new(Schema::new(fields));
            let mut file = Vec::new();
            ArrowWriter::try_new(&mut file, schema, None).unwrap().close().unwrap();
            file
        };
        assert!(footer_of(&wide).len() > usize::try_from(TAIL).unwrap());
        for file in [nested(3, true), wide, Vec::new(), b"PAR1".to_vec(), b"no footer at all".to_vec(), chain(5_000)] {
            let (store, path) = (Arc::new(InMemory::new()), Path::from("a.parquet"));
            store.put(&path, file.clone().into()).await.unwrap();
            let size = file.len() as u64;
            let mut object = ObjectReader::new(store, path, size);
            let read = load(&mut object, size, None).await;
            let expected = options(&file).and_then(|options| ArrowReaderMetadata::load(&Bytes::from(file), options));
            match (read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(&read, expected.metadata().as_ref()),
                (Err(error), Err(_)) => assert!(!matches!(error, ParquetError::External(_)), "{error}"),
                (read, expected) => panic!("{read:?} instead of {expected:?}"),
            }
        }
    }

    /// What is counted is what the decoder builds, whatever a stranger writes into the footer.
    #[test]
    fn the_decoder_finds_the_schema_that_was_judged() {
        let mut judged = 0;
        for file in [nested(3, true), nested(5, false), chain(40)] {
            let start = file.len() - footer_of(&file).len() - 8;
            for at in start..(start + 400).min(file.len() - 8) {
                for value in 0..=255 {
                    let mut damaged = file.clone();
                    damaged[at] = value;
                    let footer = footer_of(&damaged);
                    if let (Some(depth), Ok(schema)) =
                        (depth(&mut Thrift(footer)), ParquetMetaDataReader::decode_schema(footer))
                    {
                        assert_eq!(deepest(schema.root_schema()), depth, "byte {at} as {value:#x}");
                        judged += 1;
                    }
                }
            }
        }
        assert!(judged > 10_000, "{judged}");
    }
}
