//! A Delta table as another engine writes it, by Delta's PROTOCOL.md: for tests. All columns are whole numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::table::Mapping;

/// Values by the columns' names in SQL; what is not there is null.
pub(crate) type Row = BTreeMap<String, i64>;

#[derive(Debug, Clone)]
struct ForeignColumn {
    name: String,
    id: i64,
    /// `integer` or `long`.
    data_type: &'static str,
}

#[derive(Debug, Clone)]
struct ForeignFile {
    path: String,
    bytes: u64,
    /// By the columns' numbers.
    rows: Vec<BTreeMap<i64, i64>>,
    partition: BTreeMap<i64, Option<i64>>,
    deleted: BTreeSet<u64>,
    vector: Option<Value>,
}

#[derive(Debug)]
pub(crate) struct Foreign {
    root: PathBuf,
    id: u32,
    /// Of the next commit.
    version: u64,
    mapping: Mapping,
    partition_by: Option<i64>,
    columns: Vec<ForeignColumn>,
    files: Vec<ForeignFile>,
    /// Whether commits say which rows they changed, in files of their own.
    has_change_feed: bool,
    /// Numbers of files, columns and tables.
    next: u32,
}

impl Foreign {
    /// With the columns `k` and `id` as `long`, and `v` as `integer`; perhaps partitioned by `k`.
    pub(crate) fn new(root: PathBuf, mapping: Mapping, partitioned: bool) -> Self {
        let column = |(id, (name, data_type)): (i64, (&str, &'static str))| ForeignColumn {
            name: name.to_owned(),
            id,
            data_type,
        };
        let columns = (1..).zip([("k", "long"), ("id", "long"), ("v", "integer")]).map(column).collect();
        let partition_by = partitioned.then_some(1);
        let files = Vec::new();
        let has_change_feed = false;
        let mut table =
            Self { root, id: 0, version: 0, mapping, partition_by, columns, files, has_change_feed, next: 10 };
        table.create();
        table
    }

    /// Another table in the same place.
    pub(crate) fn recreate(&mut self) {
        std::fs::remove_dir_all(&self.root).unwrap();
        self.files.clear();
        self.version = 0;
        self.id += 1;
        self.create();
    }

    fn create(&mut self) {
        let features = ["deletionVectors", "columnMapping", "typeWidening", "timestampNtz"];
        let of_writers = [&["changeDataFeed"], features.as_slice()].concat();
        let protocol = json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features,
            "writerFeatures": of_writers } });
        let metadata = self.metadata();
        self.commit(&[protocol, metadata]);
    }

    fn commit(&mut self, actions: &[Value]) {
        let folder = self.root.join("_delta_log");
        std::fs::create_dir_all(&folder).unwrap();
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        std::fs::write(folder.join(format!("{:020}.json", self.version)), lines.join("\n")).unwrap();
        self.version += 1;
    }

    fn physical(&self, column: &ForeignColumn) -> String {
        if self.mapping == Mapping::None { column.name.clone() } else { format!("col-{}", column.id) }
    }

    fn metadata(&self) -> Value {
        let field = |column: &ForeignColumn| {
            let metadata = match self.mapping {
                Mapping::None => json!({}),
                Mapping::Name | Mapping::Id => json!({ "delta.columnMapping.id": column.id,
                    "delta.columnMapping.physicalName": self.physical(column) }),
            };
            json!({ "name": column.name, "type": column.data_type, "nullable": true, "metadata": metadata })
        };
        let fields: Vec<Value> = self.columns.iter().map(field).collect();
        let mode = match self.mapping {
            Mapping::None => "none",
            Mapping::Name => "name",
            Mapping::Id => "id",
        };
        let by: Vec<&str> = self
            .columns
            .iter()
            .filter(|column| Some(column.id) == self.partition_by)
            .map(|c| c.name.as_str())
            .collect();
        json!({ "metaData": { "id": format!("table-{}", self.id), "format": { "provider": "parquet", "options": {} },
            "schemaString": json!({ "type": "struct", "fields": fields }).to_string(), "partitionColumns": by,
            "configuration": { "delta.columnMapping.mode": mode, "delta.enableDeletionVectors": "true",
                "delta.enableChangeDataFeed": self.has_change_feed.to_string() },
            "createdTime": 0 } })
    }

    /// From now on, files below `_change_data` hold the rows that commits change.
    pub(crate) fn with_change_feed(mut self) -> Self {
        self.has_change_feed = true;
        let metadata = self.metadata();
        self.commit(&[metadata]);
        self
    }

    /// What a commit says of the rows that it deletes from a file.
    fn change_data(&mut self, file: &ForeignFile, rows: &BTreeSet<u64>) -> Vec<Value> {
        if !self.has_change_feed {
            return Vec::new();
        }
        let rows: Vec<_> =
            (0..).zip(&file.rows).filter(|(at, _)| rows.contains(at)).map(|(_, row)| row.clone()).collect();
        std::fs::create_dir_all(self.root.join("_change_data")).unwrap();
        let path = format!("_change_data/cdc-{}.parquet", self.number());
        let bytes = self.write_parquet(&path, &rows);
        let mut described = description(&ForeignFile { path, bytes, vector: None, ..file.clone() }, self, false);
        described["size"] = json!(bytes);
        vec![json!({ "cdc": described })]
    }

    /// Rows as they are to be read now.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.files.iter().flat_map(|file| self.live(file)).map(|row| self.named(&row)).collect();
        rows.sort();
        rows
    }

    fn live(&self, file: &ForeignFile) -> Vec<BTreeMap<i64, i64>> {
        let live = (0..).zip(&file.rows).filter(|(at, _)| !file.deleted.contains(at));
        live.map(|(_, row)| row.clone()).collect()
    }

    fn named(&self, row: &BTreeMap<i64, i64>) -> Row {
        let named = |column: &ForeignColumn| Some((column.name.clone(), *row.get(&column.id)?));
        self.columns.iter().filter_map(named).collect()
    }

    fn numbered(&self, row: &Row) -> BTreeMap<i64, i64> {
        let numbered = |column: &ForeignColumn| Some((column.id, *row.get(&column.name)?));
        self.columns.iter().filter_map(numbered).collect()
    }

    pub(crate) fn append(&mut self, rows: &[Row]) {
        let rows: Vec<_> = rows.iter().map(|row| self.numbered(row)).collect();
        let adds = self.write(&rows, true);
        self.commit(&adds);
    }

    pub(crate) fn overwrite(&mut self, rows: &[Row]) {
        let rows: Vec<_> = rows.iter().map(|row| self.numbered(row)).collect();
        let mut actions: Vec<Value> = self.files.drain(..).map(|file| remove(&file, true)).collect();
        actions.extend(self.write(&rows, true));
        self.commit(&actions);
    }

    /// All rows in other files.
    pub(crate) fn compact(&mut self) {
        let rows: Vec<_> = self.files.iter().flat_map(|file| self.live(file)).collect();
        let mut actions: Vec<Value> = self.files.drain(..).map(|file| remove(&file, false)).collect();
        actions.extend(self.write(&rows, false));
        self.commit(&actions);
    }

    /// Removes a file, by its place.
    pub(crate) fn remove_file(&mut self, at: usize) {
        if !self.files.is_empty() {
            let file = self.files.remove(at % self.files.len());
            self.commit(&[remove(&file, true)]);
        }
    }

    /// Deletes rows of a file without writing it again; the vector is in the log or in a file of its own.
    pub(crate) fn delete_rows(&mut self, at: usize, rows: &BTreeSet<u64>, inline: bool) {
        if self.files.is_empty() {
            return;
        }
        let at = at % self.files.len();
        let before = remove(&self.files[at], true);
        let count = self.files[at].rows.len() as u64;
        let deleted: BTreeSet<u64> =
            self.files[at].deleted.iter().copied().chain(rows.iter().map(|row| row % count)).collect();
        if deleted == self.files[at].deleted {
            return;
        }
        let file = self.files[at].clone();
        let changes = self.change_data(&file, &(&deleted - &file.deleted));
        let vector = self.vector(&deleted, inline);
        self.files[at].deleted = deleted;
        self.files[at].vector = Some(vector);
        let add = self.add(&self.files[at].clone(), true);
        // Engines write the two in either order.
        let actions = if inline { [add, before] } else { [before, add] };
        self.commit(&[actions.as_slice(), &changes].concat());
    }

    fn vector(&mut self, rows: &BTreeSet<u64>, inline: bool) -> Value {
        let mut bytes = 1_681_511_377_u32.to_le_bytes().to_vec();
        rows.iter().copied().collect::<RoaringTreemap>().serialize_into(&mut bytes).unwrap();
        let size = bytes.len();
        if inline {
            bytes.resize(size.next_multiple_of(4), 0);
            return json!({ "storageType": "i", "pathOrInlineDv": z85::encode(bytes), "sizeInBytes": size,
                "cardinality": rows.len() });
        }
        let uuid = uuid::Uuid::from_u128(u128::from(self.number()));
        let size_word = u32::try_from(size).unwrap().to_be_bytes();
        let framed = [&[1][..], &size_word, &bytes, &crc32fast::hash(&bytes).to_be_bytes()].concat();
        std::fs::create_dir_all(self.root.join("dv")).unwrap();
        std::fs::write(self.root.join(format!("dv/deletion_vector_{uuid}.bin")), framed).unwrap();
        json!({ "storageType": "u", "pathOrInlineDv": format!("dv{}", z85::encode(uuid.as_bytes())), "offset": 1,
            "sizeInBytes": size, "cardinality": rows.len() })
    }

    /// Only with a mapping.
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.name == old) {
            column.name = new.to_owned();
            let metadata = self.metadata();
            self.commit(&[metadata]);
        }
    }

    /// Drops a column and adds another one of the same name, whose values are null. Only with a mapping.
    pub(crate) fn replace_column(&mut self, name: &str) {
        let id = i64::from(self.number());
        if let Some(column) = self.columns.iter_mut().find(|column| column.name == name) {
            column.id = id;
            let metadata = self.metadata();
            self.commit(&[metadata]);
        }
    }

    pub(crate) fn add_column(&mut self) {
        let id = i64::from(self.number());
        self.columns.push(ForeignColumn { name: format!("more_{id}"), id, data_type: "long" });
        let metadata = self.metadata();
        self.commit(&[metadata]);
    }

    pub(crate) fn widen(&mut self, name: &str) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.name == name) {
            column.data_type = "long";
            let metadata = self.metadata();
            self.commit(&[metadata]);
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// One file for each value of the partition column.
    fn write(&mut self, rows: &[BTreeMap<i64, i64>], data_change: bool) -> Vec<Value> {
        let mut parts: BTreeMap<Option<i64>, Vec<BTreeMap<i64, i64>>> = BTreeMap::new();
        for row in rows {
            let value = self.partition_by.and_then(|by| row.get(&by).copied());
            parts.entry(value).or_default().push(row.clone());
        }
        let mut adds = Vec::new();
        for (value, rows) in parts {
            let partition = self.partition_by.map(|by| (by, value)).into_iter().collect();
            let path = format!("part {}.parquet", self.number());
            let bytes = self.write_parquet(&path, &rows);
            let file = ForeignFile { path, bytes, rows, partition, deleted: BTreeSet::new(), vector: None };
            adds.push(self.add(&file, data_change));
            self.files.push(file);
        }
        adds
    }

    fn write_parquet(&self, path: &str, rows: &[BTreeMap<i64, i64>]) -> u64 {
        let stored: Vec<&ForeignColumn> =
            self.columns.iter().filter(|column| Some(column.id) != self.partition_by).collect();
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for column in stored {
            let values = rows.iter().map(|row| row.get(&column.id).copied());
            let (data_type, array): (DataType, ArrayRef) = match column.data_type {
                "integer" => {
                    let values = values.map(|value| value.map(|value| i32::try_from(value).unwrap()));
                    (DataType::Int32, Arc::new(values.collect::<Int32Array>()))
                }
                _ => (DataType::Int64, Arc::new(values.collect::<Int64Array>())),
            };
            // By number, the names of a file say nothing.
            let name = if self.mapping == Mapping::Id { format!("x{}", 99 - column.id) } else { self.physical(column) };
            let id = [("PARQUET:field_id".to_owned(), column.id.to_string())];
            fields.push(Field::new(name, data_type, true).with_metadata(id.into()));
            arrays.push(array);
        }
        let schema = Arc::new(Schema::new(fields));
        let file = self.root.join(path);
        // So small that batches and row groups begin within a file.
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&file).unwrap(), Arc::clone(&schema), Some(properties)).unwrap();
        writer.write(&RecordBatch::try_new(schema, arrays).unwrap()).unwrap();
        writer.close().unwrap();
        std::fs::metadata(file).unwrap().len()
    }

    fn add(&self, file: &ForeignFile, data_change: bool) -> Value {
        let (mut min, mut max, mut nulls) = (json!({}), json!({}), json!({}));
        for column in self.columns.iter().filter(|column| !file.partition.contains_key(&column.id)) {
            let values: Vec<i64> = file.rows.iter().filter_map(|row| row.get(&column.id).copied()).collect();
            let name = self.physical(column);
            if let (Some(least), Some(most)) = (values.iter().min(), values.iter().max()) {
                min[&name] = json!(least);
                max[&name] = json!(most);
            }
            nulls[&name] = json!(file.rows.len() - values.len());
        }
        let stats = json!({ "numRecords": file.rows.len(), "minValues": min, "maxValues": max, "nullCount": nulls,
            "tightBounds": file.vector.is_none() });
        let mut add = description(file, self, data_change);
        add["stats"] = json!(stats.to_string());
        add["modificationTime"] = json!(0);
        json!({ "add": add })
    }
}

fn description(file: &ForeignFile, table: &Foreign, data_change: bool) -> Value {
    let name = |id: i64| table.columns.iter().find(|column| column.id == id).map(|column| table.physical(column));
    let values =
        file.partition.iter().filter_map(|(id, value)| Some((name(*id)?, value.map(|value| value.to_string()))));
    let values: BTreeMap<String, Option<String>> = values.collect();
    let mut described = json!({ "path": file.path.replace(' ', "%20"), "partitionValues": values, "size": file.bytes,
        "dataChange": data_change });
    if let Some(vector) = &file.vector {
        described["deletionVector"] = vector.clone();
    }
    described
}

fn remove(file: &ForeignFile, data_change: bool) -> Value {
    let mut removed =
        json!({ "path": file.path.replace(' ', "%20"), "deletionTimestamp": 0, "dataChange": data_change });
    if let Some(vector) = &file.vector {
        removed["deletionVector"] = vector.clone();
    }
    json!({ "remove": removed })
}
