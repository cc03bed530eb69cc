//! Where the values of a table's columns are in its files: below their names, or as Delta's column mapping says.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use delta_kernel::schema::{DataType as DeltaType, MetadataValue, StructField, StructType};
use deltalake_core::kernel::Add;
use pulse_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::DataFile;

const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
const FIELD_ID: &str = "delta.columnMapping.id";

/// How a file's columns are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// By the names that SQL has for them.
    #[default]
    None,
    /// By names that stay when a column is renamed.
    Name,
    /// By the numbers of Parquet's fields.
    Id,
}

impl Mapping {
    /// Of the property `delta.columnMapping.mode`.
    pub(super) fn parse(mode: Option<&str>) -> Option<Self> {
        match mode {
            None | Some("none") => Some(Self::None),
            Some("name") => Some(Self::Name),
            Some("id") => Some(Self::Id),
            Some(_) => None,
        }
    }
}

/// The columns of a table as its log has them.
#[derive(Debug, Clone)]
pub struct Physical {
    pub mapping: Mapping,
    pub columns: Arc<StructType>,
    /// Names in SQL, by the names that the log has for them in statistics and partition values.
    logical: HashMap<String, String>,
    /// The columns by those names of the log.
    schema: SchemaRef,
}

impl Physical {
    /// # Errors
    /// `Data` when a column lacks what its mapping needs.
    pub(super) fn new(mapping: Mapping, columns: Arc<StructType>, schema: &Schema) -> Result<Self> {
        let mut logical = HashMap::new();
        let mut fields = Vec::new();
        for field in columns.fields() {
            let name = physical_name(field, mapping)?;
            check_within(&field.data_type, mapping)?;
            logical.insert(name.to_owned(), field.name.clone());
            if let Ok(known) = schema.field_with_name(&field.name) {
                fields.push(Arc::new(known.as_ref().clone().with_name(name)));
            }
        }
        Ok(Self { mapping, columns, logical, schema: Arc::new(Schema::new(fields)) })
    }

    /// A file of the table, by the names of SQL.
    pub(super) fn data_file(&self, add: &Add) -> DataFile {
        let file = DataFile::from_add(add, &self.schema);
        if self.mapping == Mapping::None { file } else { file.renamed(|name| self.logical.get(name).cloned()) }
    }

    /// Whether the columns that both have are found alike in a file.
    pub(crate) fn finds_alike(&self, other: &Self) -> bool {
        let mut shared = self.columns.fields().filter_map(|field| Some((field, other.columns.field(&field.name)?)));
        shared.all(|(field, known)| place(field, self.mapping) == place(known, other.mapping))
    }
}

/// The name of a column in files and in the log.
///
/// # Errors
/// `Data` when the mapping needs one and the column has none.
pub(crate) fn physical_name(field: &StructField, mapping: Mapping) -> Result<&str> {
    match (mapping, field.metadata.get(PHYSICAL_NAME)) {
        (Mapping::None, _) => Ok(&field.name),
        (Mapping::Name | Mapping::Id, Some(MetadataValue::String(name))) => Ok(name),
        (Mapping::Name | Mapping::Id, _) => Err(Error::data(format!(
            "the table maps its columns, and its log has no `{PHYSICAL_NAME}` of the column `{}`",
            field.name
        ))),
    }
}

/// The number of a column's field in Parquet.
///
/// # Errors
/// `Data` when the column has none.
pub(crate) fn field_id(field: &StructField) -> Result<i64> {
    match field.metadata.get(FIELD_ID) {
        Some(MetadataValue::Number(id)) => Ok(*id),
        _ => Err(Error::data(format!(
            "the table maps its columns by number, and its log has no `{FIELD_ID}` of the column `{}`",
            field.name
        ))),
    }
}

fn check_within(data_type: &DeltaType, mapping: Mapping) -> Result<()> {
    match data_type {
        DeltaType::Struct(inner) => inner.fields().try_for_each(|field| {
            physical_name(field, mapping)?;
            check_within(&field.data_type, mapping)
        }),
        DeltaType::Array(array) => check_within(&array.element_type, mapping),
        DeltaType::Map(map) => {
            check_within(&map.key_type, mapping).and_then(|()| check_within(&map.value_type, mapping))
        }
        DeltaType::Primitive(_) | DeltaType::Variant(_) => Ok(()),
    }
}

/// How a column and those within it are found, as text.
fn place(field: &StructField, mapping: Mapping) -> String {
    let name = match (mapping, field.metadata.get(FIELD_ID)) {
        (Mapping::Id, Some(MetadataValue::Number(id))) => format!("#{id}"),
        _ => physical_name(field, mapping).unwrap_or(&field.name).to_owned(),
    };
    format!("{name:?}{}", place_within(&field.data_type, mapping))
}

fn place_within(data_type: &DeltaType, mapping: Mapping) -> String {
    match data_type {
        DeltaType::Struct(inner) => {
            let fields = inner.fields().map(|field| format!("{:?}:{}", field.name, place(field, mapping)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        DeltaType::Array(array) => format!("[{}]", place_within(&array.element_type, mapping)),
        DeltaType::Map(map) => {
            format!("<{},{}>", place_within(&map.key_type, mapping), place_within(&map.value_type, mapping))
        }
        DeltaType::Primitive(_) | DeltaType::Variant(_) => String::new(),
    }
}

/// The columns without what the log says beside their types, which tables made from them would inherit. Each may be null: that none is
/// must hold of what is written, and engines differ in what they check within columns.
pub(crate) fn plain(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Vec<_>>()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), plain_type(field.data_type()), true))
}

/// Keys of a map are there.
fn plain_entries(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else { return Arc::clone(entries) };
    let plain = |(at, field): (usize, &FieldRef)| {
        let field = plain_field(field);
        if at == 0 { Arc::new(field.as_ref().clone().with_nullable(false)) } else { field }
    };
    let fields: Fields = fields.iter().enumerate().map(plain).collect();
    Arc::new(Field::new(entries.name(), DataType::Struct(fields), false))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect::<Fields>()),
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(plain_entries(entries), *sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(json: &str) -> Physical {
        let columns: StructType = serde_json::from_str(json).unwrap();
        Physical::new(Mapping::Name, Arc::new(columns), &Schema::empty()).unwrap()
    }

    fn field(name: &str, physical: &str) -> String {
        format!(
            r#"{{"name":"{name}","type":"long","nullable":true,"metadata":{{"delta.columnMapping.id":1,
                "delta.columnMapping.physicalName":"{physical}"}}}}"#
        )
    }

    fn table(fields: &[String]) -> Physical {
        columns(&format!(r#"{{"type":"struct","fields":[{}]}}"#, fields.join(",")))
    }

    #[test]
    fn a_renamed_column_is_found_alike_and_one_made_again_is_not() {
        let before = table(&[field("a", "p1"), field("b", "p2")]);
        assert!(before.finds_alike(&table(&[field("a", "p1"), field("c", "p2")])));
        assert!(before.finds_alike(&table(&[field("b", "p2"), field("a", "p1")])));
        assert!(!before.finds_alike(&table(&[field("a", "p3"), field("b", "p2")])));
        assert!(!before.finds_alike(&table(&[field("a", "p2"), field("b", "p1")])));
        let nested = |physical: &str| {
            let inner = format!(r#"{{"type":"struct","fields":[{}]}}"#, field("x", physical));
            table(&[field("a", "p1").replace("\"long\"", &inner)])
        };
        assert!(nested("p5").finds_alike(&nested("p5")));
        assert!(!nested("p5").finds_alike(&nested("p6")));
    }

    #[test]
    fn a_mapped_column_without_its_name_is_an_error() {
        let json = r#"{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":{}}]}"#;
        let columns: StructType = serde_json::from_str(json).unwrap();
        let error = Physical::new(Mapping::Name, Arc::new(columns), &Schema::empty()).unwrap_err();
        assert!(error.message().contains("`a`"), "{error}");
    }
}
