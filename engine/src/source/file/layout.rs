//! The columns of a source of files, and what each feed adds to them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use pulse_core::sources::{BarLabel, Column, ColumnType, Feed, FileSource, RESCUED, Unknown};
use pulse_core::{Error, Result};

use super::pattern::Pattern;
use super::stamp::Stamps;
use super::value::nested_arrow_type;

/// Name of the feed that a row came from.
pub const FEED: &str = "feed";
/// Path of the file below the source's root.
pub const SOURCE_FILE: &str = "source_file";
/// Line or record at which the row starts, from 1.
pub const LINE: &str = "line";
/// Why a row was rejected; null on a good row.
pub const REASON: &str = "_reason";
/// Original text of a rejected row; null on a good row.
pub const RAW: &str = "_raw";

/// What a reason begins with that is none: the row is a note of its file, and no row of the source. No reason of a reader begins so.
pub const NOTE: &str = "\0note ";

/// Whether a column is there for rejected lines only.
pub fn is_of_rejected_lines(column: &str) -> bool {
    column == REASON || column == RAW
}

/// Declared columns, placeholders of the feeds' paths, then `feed`, `source_file`, `line`, `_reason` and `_raw`, and `_rescued` if a feed keeps
/// unknown fields.
///
/// Every column may be null: a rejected row has no declared value.
pub fn file_source_schema(source: &FileSource) -> SchemaRef {
    let mut fields: Vec<Field> =
        source.columns.iter().map(|column| Field::new(&column.name, arrow_type(&column.data_type), true)).collect();
    fields.extend(path_columns(source).into_iter().map(|name| Field::new(name, DataType::Utf8, true)));
    fields.push(Field::new(FEED, DataType::Utf8, true));
    fields.push(Field::new(SOURCE_FILE, DataType::Utf8, true));
    fields.push(Field::new(LINE, DataType::Int64, true));
    fields.push(Field::new(REASON, DataType::Utf8, true));
    fields.push(Field::new(RAW, DataType::Utf8, true));
    if source.feed.values().any(|feed| feed.unknown == Unknown::Rescue) {
        fields.push(Field::new(RESCUED, DataType::Utf8, true));
    }
    Arc::new(Schema::new(fields))
}

/// Placeholders of all feeds' paths, each once, in the order in which they are met.
pub fn path_columns(source: &FileSource) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pattern in source.feed.values().filter_map(|feed| Pattern::of(feed).ok()) {
        for name in pattern.names() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// A source whose declaration holds together, with its schema.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: SchemaRef,
    pub(super) columns: Vec<Column>,
    pub(super) path_columns: Vec<String>,
}

impl Layout {
    /// # Errors
    /// `Invalid` when two columns have one name, or a feed names a column or a zone that does not exist.
    pub(super) fn new(source: &FileSource) -> Result<Self> {
        let schema = file_source_schema(source);
        for (at, field) in schema.fields().iter().enumerate() {
            if schema.fields().iter().take(at).any(|other| other.name() == field.name()) {
                return Err(Error::invalid(format!(
                    "the source has two columns named `{}`: rename a declared column or a placeholder of a path",
                    field.name()
                )));
            }
        }
        for (name, feed) in &source.feed {
            Pattern::of(feed)?;
            Stamps::zone(&feed.time_zone)
                .map_err(|error| Error::invalid(format!("feed `{name}`: {}", error.message())))?;
            check_columns(name, feed, &source.columns)?;
        }
        Ok(Self { schema, columns: source.columns.clone(), path_columns: path_columns(source) })
    }
}

fn check_columns(name: &str, feed: &Feed, columns: &[Column]) -> Result<()> {
    let find = |wanted: &str| columns.iter().find(|column| column.name == wanted);
    for partition in &feed.partitions {
        if find(partition).is_none() {
            return Err(Error::invalid(format!(
                "feed `{name}`: `partitions` names `{partition}`, which is not a column"
            )));
        }
    }
    for renamed in feed.rename.keys() {
        if find(renamed).is_none() {
            return Err(Error::invalid(format!("feed `{name}` renames `{renamed}`, which is not a column")));
        }
    }
    match &feed.bar {
        Some(bar) => match find(&bar.column) {
            Some(column) if column.data_type == ColumnType::Timestamp => Ok(()),
            Some(_) => Err(Error::invalid(format!("feed `{name}`: bar column `{}` is not a timestamp", bar.column))),
            None => Err(Error::invalid(format!("feed `{name}`: bar column `{}` is not a column", bar.column))),
        },
        None => Ok(()),
    }
}

/// Name of a column in the feed's files.
pub(super) fn field_name<'a>(feed: &'a Feed, column: &'a Column) -> &'a str {
    feed.field_name(&column.name)
}

/// Seconds from a stamp of `column` back to the bar's start.
pub(super) fn bar_shift_seconds(feed: &Feed, column: &Column) -> u32 {
    match &feed.bar {
        Some(bar) if bar.column == column.name => match bar.label {
            BarLabel::Start => 0,
            BarLabel::End => bar.seconds,
        },
        _ => 0,
    }
}

/// The type of a column as the query sees it, and as tables keep it.
pub(super) fn arrow_type(data_type: &ColumnType) -> DataType {
    match data_type {
        ColumnType::String | ColumnType::Json => DataType::Utf8,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Tinyint => DataType::Int8,
        ColumnType::Smallint => DataType::Int16,
        ColumnType::Int => DataType::Int32,
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Float => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => {
            // A scale is at most 38.
            DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
        }
        ColumnType::Binary => DataType::Binary,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
        // Only these are left, and each has one.
        nested => nested_arrow_type(nested).unwrap_or(DataType::Null),
    }
}
