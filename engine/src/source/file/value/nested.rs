//! Lists, maps and structs in one another, built as they are read.

mod json;

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use pulse_core::sources::{Ambiguous, Column, ColumnType, Feed};
use pulse_core::{Error, Result};

use super::reason::shown;
use super::{ColumnBuilder, Wanted};
use crate::source::file::cell::{Cell, Fault};
use crate::source::file::data::take;
use crate::source::file::layout::arrow_type;

/// Values of one place of a nested type.
#[derive(Debug)]
pub(in super::super) struct Node {
    data_type: ColumnType,
    shape: Shape,
    /// Whether each value is there; a leaf knows that itself.
    valid: Vec<bool>,
}

#[derive(Debug)]
enum Shape {
    Leaf(Box<ColumnBuilder>),
    List { ends: Vec<i32>, item: Box<Node> },
    Map { ends: Vec<i32>, keys: Box<ColumnBuilder>, values: Box<Node> },
    Struct(Vec<(String, Node)>),
}

/// What was wrong inside of a value, and where.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Such as `[2].price`.
    pub(super) path: String,
    pub(super) complaint: String,
}

impl Trouble {
    #[cold]
    fn set(&mut self, complaint: String) -> Fault {
        *self = Trouble { path: String::new(), complaint };
        Fault::Inside
    }

    /// What was wrong is in this place of the value around it.
    #[cold]
    fn within(&mut self, place: &str) {
        self.path.insert_str(0, place);
    }
}

impl Node {
    /// # Errors
    /// As [`ColumnBuilder::new`].
    pub(in super::super) fn new(data_type: &ColumnType, column: &Column, feed: &Feed) -> Result<Self> {
        let shape = match data_type {
            ColumnType::Array(item) => Shape::List { ends: vec![0], item: Box::new(Self::new(item, column, feed)?) },
            ColumnType::Map(value) => Shape::Map {
                ends: vec![0],
                keys: Box::new(key_leaf(column, feed)?),
                values: Box::new(Self::new(value, column, feed)?),
            },
            ColumnType::Struct(fields) => {
                let nodes = fields.iter().map(|(name, inner)| Ok((name.clone(), Self::new(inner, column, feed)?)));
                Shape::Struct(nodes.collect::<Result<_>>()?)
            }
            scalar => Shape::Leaf(Box::new(leaf(scalar, column, feed)?)),
        };
        Ok(Self { data_type: data_type.clone(), shape, valid: Vec::new() })
    }

    pub(in super::super) fn len(&self) -> usize {
        match &self.shape {
            Shape::Leaf(leaf) => leaf.len(),
            Shape::List { .. } | Shape::Map { .. } | Shape::Struct(_) => self.valid.len(),
        }
    }

    pub(in super::super) fn bytes(&self) -> usize {
        match &self.shape {
            Shape::Leaf(leaf) => leaf.bytes() + leaf.len() * size_of::<i64>(),
            Shape::List { item, .. } => item.bytes(),
            Shape::Map { keys, values, .. } => keys.bytes() + values.bytes(),
            Shape::Struct(fields) => fields.iter().map(|(_, node)| node.bytes()).sum(),
        }
    }

    pub(in super::super) fn push_null(&mut self) {
        match &mut self.shape {
            Shape::Leaf(leaf) => return leaf.keep_null(),
            Shape::List { ends, item } => ends.push(item.len() as i32),
            Shape::Map { ends, values, .. } => ends.push(values.len() as i32),
            Shape::Struct(fields) => fields.iter_mut().for_each(|(_, node)| node.push_null()),
        }
        self.valid.push(false);
    }

    pub(in super::super) fn make_null(&mut self, row: usize) {
        if let Some(valid) = self.valid.get_mut(row) {
            *valid = false;
        }
    }

    /// Forgets values beyond the first `rows`, and what was begun of the next.
    pub(in super::super) fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        let cut = |ends: &mut Vec<i32>| {
            ends.truncate(rows + 1);
            ends.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or_default()
        };
        match &mut self.shape {
            Shape::Leaf(leaf) => leaf.truncate(rows),
            Shape::List { ends, item } => item.truncate(cut(ends)),
            Shape::Map { ends, keys, values } => {
                let inner = cut(ends);
                keys.truncate(inner);
                values.truncate(inner);
            }
            Shape::Struct(fields) => fields.iter_mut().for_each(|(_, node)| node.truncate(rows)),
        }
    }

    /// Takes a value of a columnar file.
    pub(super) fn push_cell(&mut self, cell: &Cell<'_>, trouble: &mut Trouble) -> Result<(), Fault> {
        match (&mut self.shape, cell) {
            (Shape::Leaf(leaf), cell) => return push_leaf(leaf, cell, trouble),
            (_, cell) if cell.is_null() => {
                self.push_null();
                return Ok(());
            }
            (Shape::List { ends, item }, Cell::Nested(values, row)) => {
                let Some((items, range)) = values.list(*row) else { return Err(self.wrong(cell, trouble)) };
                for (place, at) in range.enumerate() {
                    item.push_cell(&items.cell(at), trouble).inspect_err(|_| trouble.within(&format!("[{place}]")))?;
                }
                ends.push(item.len() as i32);
            }
            (Shape::Map { ends, keys, values }, Cell::Nested(found, row)) => {
                let Some((names, items, range)) = found.map(*row) else { return Err(self.wrong(cell, trouble)) };
                let start = keys.len();
                for at in range {
                    let name = names.cell(at);
                    let place = |trouble: &mut Trouble| trouble.within(&format!("[\"{}\"]", shown(&name.shown())));
                    push_key(keys, start, &name, trouble).inspect_err(|_| place(trouble))?;
                    values.push_cell(&items.cell(at), trouble).inspect_err(|_| place(trouble))?;
                }
                ends.push(values.len() as i32);
            }
            (Shape::Struct(fields), Cell::Nested(values, row)) => {
                if !values.is_struct() {
                    return Err(self.wrong(cell, trouble));
                }
                for (name, node) in fields {
                    let cell = match values.field(name) {
                        Some(field) => field.cell(*row),
                        None => match values.field_alike(name) {
                            // To read it as null would lose its values.
                            Some(alike) => return Err(trouble.set(format!(" has no field `{name}` but `{alike}`"))),
                            None => Cell::Null,
                        },
                    };
                    node.push_cell(&cell, trouble).inspect_err(|_| trouble.within(&format!(".{name}")))?;
                }
            }
            _ => return Err(self.wrong(cell, trouble)),
        }
        self.valid.push(true);
        Ok(())
    }

    #[cold]
    fn wrong(&self, cell: &Cell<'_>, trouble: &mut Trouble) -> Fault {
        self.wrong_type(&cell.shown(), trouble)
    }

    #[cold]
    fn wrong_type(&self, value: &str, trouble: &mut Trouble) -> Fault {
        trouble.set(format!(" is not {}: `{}`", self.expected(), shown(value)))
    }

    fn expected(&self) -> &'static str {
        match self.shape {
            Shape::Leaf(_) => "a value",
            Shape::List { .. } => "an array",
            Shape::Map { .. } | Shape::Struct(_) => "an object",
        }
    }

    /// # Errors
    /// When parts are not equally long.
    pub(in super::super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let valid = take(&mut self.valid);
        let rows = valid.len();
        let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
        match (&mut self.shape, arrow_type(&self.data_type)) {
            (Shape::Leaf(leaf), _) => leaf.finish_leaf(),
            (Shape::List { ends, item }, DataType::List(field)) => {
                Ok(Arc::new(ListArray::try_new(field, offsets(ends), item.finish()?, nulls)?))
            }
            (Shape::Map { ends, keys, values }, DataType::Map(field, sorted)) => {
                let DataType::Struct(fields) = field.data_type() else { return Err(not_built()) };
                let entries = StructArray::try_new(fields.clone(), vec![keys.finish_leaf()?, values.finish()?], None)?;
                Ok(Arc::new(MapArray::try_new(field, offsets(ends), entries, nulls, sorted)?))
            }
            (Shape::Struct(nodes), DataType::Struct(fields)) => {
                let arrays = nodes.iter_mut().map(|(_, node)| node.finish()).collect::<Result<Vec<_>, _>>()?;
                let array = StructArray::try_new_with_length(fields, arrays, nulls, rows)?;
                Ok(Arc::new(array))
            }
            _ => Err(not_built()),
        }
    }
}

fn not_built() -> ArrowError {
    ArrowError::InvalidArgumentError("the type of a nested column is not its shape".to_owned())
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])))
}

fn push_leaf(leaf: &mut ColumnBuilder, cell: &Cell<'_>, trouble: &mut Trouble) -> Result<(), Fault> {
    leaf.push_cell(cell).map_err(|fault| trouble.set(leaf.complaint(fault, &cell.shown())))
}

/// A key of the map whose keys start at `start`.
fn push_key(keys: &mut ColumnBuilder, start: usize, key: &Cell<'_>, trouble: &mut Trouble) -> Result<(), Fault> {
    let at = keys.len();
    match key {
        // An empty key is one.
        Cell::Text(text) => keys.keep_text(text.as_bytes()),
        other => return Err(trouble.set(keys.complaint(Fault::WrongType, &other.shown()))),
    }
    let is_twice = (start..at).any(|other| keys.text(other) == keys.text(at));
    if is_twice { Err(trouble.set(keys.complaint(Fault::Twice, &key.shown()))) } else { Ok(()) }
}

/// A leaf has no name: it is not renamed, is no bar's stamp and has no pattern.
fn leaf(data_type: &ColumnType, column: &Column, feed: &Feed) -> Result<ColumnBuilder> {
    let column = Column { name: String::new(), data_type: data_type.clone(), required: false, round: column.round };
    // Rows are told apart by their order, values inside of a row are not.
    let ambiguous = match feed.ambiguous {
        Ambiguous::ByOrder | Ambiguous::ByStrictOrder => Ambiguous::Reject,
        other => other,
    };
    ColumnBuilder::new(&column, &Feed { ambiguous, ..feed.clone() }, Wanted::Kept)
}

fn key_leaf(column: &Column, feed: &Feed) -> Result<ColumnBuilder> {
    leaf(&ColumnType::String, column, feed)
}

impl ColumnBuilder {
    fn len(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.data.len())
    }

    fn finish_leaf(&mut self) -> Result<ArrayRef, ArrowError> {
        let array = self.finish().map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        array.ok_or_else(|| ArrowError::ExternalError(Box::new(Error::internal("a nested value was not kept"))))
    }
}

/// The type of a nested column as tables have it: names of parts as Delta's own.
pub(in super::super) fn nested_arrow_type(data_type: &ColumnType) -> Option<DataType> {
    let field = |name: &str, data_type: &ColumnType| Field::new(name, arrow_type(data_type), true);
    Some(match data_type {
        ColumnType::Array(item) => DataType::List(Arc::new(field("element", item))),
        ColumnType::Map(value) => {
            let key = Field::new("key", DataType::Utf8, false);
            let entries: Fields = vec![key, field("value", value)].into();
            let entries: FieldRef = Arc::new(Field::new("key_value", DataType::Struct(entries), false));
            DataType::Map(entries, false)
        }
        ColumnType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|(name, data_type)| field(name, data_type)).collect())
        }
        _ => return None,
    })
}
