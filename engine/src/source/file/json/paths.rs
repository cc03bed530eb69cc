//! Which values of a JSON record the columns take, as a tree of paths that one pass over the record follows.

use std::borrow::Cow;
use std::fmt;

use pulse_core::sources::{is_pointer, pointer_steps};
use pulse_core::{Error, Result};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::record::{Name, NameSeed};
use super::strays::Strays;
use crate::source::file::cell::Cell;
use crate::source::file::json_value::cell_for;
use crate::source::file::unknown::Policy;

/// The record itself among the nodes.
const ROOT: usize = 0;

/// A place in a record, and what is read there.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Name of the field in an object, or place in an array.
    name: String,
    index: Option<usize>,
    /// How the contract calls it.
    path: String,
    id: usize,
    /// Cells that take the value.
    values: Vec<usize>,
    /// Cells that take the value's JSON text.
    texts: Vec<usize>,
    children: Vec<Node>,
}

/// One value to find.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Name of a field of the record, or a JSON pointer.
    pub(super) field: &'a str,
    /// Whether its JSON text is wanted, rather than the value.
    pub(super) is_text: bool,
    /// Whether its column takes any JSON as it stands.
    pub(super) takes_json: bool,
}

/// The values to find in records of one shape.
#[derive(Debug)]
pub(super) struct Tree {
    root: Node,
    shape: Shape,
    /// For each cell, whether its column takes any JSON as it stands.
    takes_json: Vec<bool>,
    marks: Marks,
    strays: Strays,
}

/// What a record may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Object,
    /// An array of so many items.
    Array(usize),
    ObjectOrArray,
}

/// The places that were met in a record, to see the second of two fields of one name.
#[derive(Debug, Default)]
struct Marks {
    record: u64,
    met: Vec<u64>,
    /// Whether any record was whole.
    any: bool,
}

/// What a record holds.
#[derive(Debug)]
pub(super) struct Values<'de> {
    /// One for each wanted value, in their order.
    pub(super) cells: Vec<Cell<'de>>,
    /// Whether any of them is there.
    pub(super) any: bool,
    /// Why the record cannot be read, although it is JSON.
    pub(super) wrong: Option<String>,
    /// An object of fields that no column is read from, where they are kept.
    pub(super) rescued: Option<String>,
}

impl Tree {
    /// `fields` are the names of the items of records that are arrays; empty for other records. `policy` is for fields of the record itself that
    /// are not wanted and that no pointer leads into.
    ///
    /// # Errors
    /// `Invalid` when a field begins with `/` and is no JSON pointer.
    pub(super) fn new<'a>(
        wanted: impl IntoIterator<Item = Wanted<'a>>,
        fields: &[String],
        policy: Policy,
    ) -> Result<Self> {
        let mut root = Node::default();
        let mut nodes = 1;
        let mut takes = Vec::new();
        for (cell, Wanted { field, is_text, takes_json }) in wanted.into_iter().enumerate() {
            takes.push(takes_json);
            let steps = match fields.iter().position(|name| name == field) {
                Some(place) => vec![place.to_string()],
                None if is_pointer(field) => pointer_steps(field).map_err(Error::invalid)?,
                // Items have names, and this is none of them.
                None if !fields.is_empty() => continue,
                None => vec![field.to_owned()],
            };
            root.add(
                &steps,
                fields,
                &mut nodes,
                |node| if is_text { node.texts.push(cell) } else { node.values.push(cell) },
            );
        }
        let shape = match fields.len() {
            0 if root.children.is_empty() || root.takes_items() => Shape::ObjectOrArray,
            0 => Shape::Object,
            items => Shape::Array(items),
        };
        let marks = Marks { record: 0, met: vec![0; nodes], any: false };
        // A column that takes the whole record reads every field.
        let strays = Strays::new(if root.texts.is_empty() && root.values.is_empty() { policy } else { Policy::Skip });
        Ok(Self { root, shape, takes_json: takes, marks, strays })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is not JSON, or neither an object nor an array as is wanted.
    pub(super) fn read<'de>(&mut self, text: &'de str) -> serde_json::Result<Values<'de>> {
        self.marks.record += 1;
        let cells = vec![Cell::Null; self.takes_json.len()];
        let values = Values { cells, any: false, wrong: None, rescued: None };
        self.strays.begin();
        let mut found =
            Found { values, takes_json: &self.takes_json, marks: &mut self.marks, strays: &mut self.strays };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let record = Record { node: &self.root, shape: self.shape, found: &mut found };
        match self.shape {
            Shape::Object => deserializer.deserialize_map(record)?,
            Shape::Array(_) => deserializer.deserialize_seq(record)?,
            Shape::ObjectOrArray => deserializer.deserialize_any(record)?,
        }
        deserializer.end()?;
        found.put_text(&self.root.texts, text.trim_ascii());
        found.put_values(&self.root, text.trim_ascii());
        found.marks.any = true;
        Ok(Values { rescued: found.strays.take_object(), ..found.values })
    }

    /// Fields that records have and no column is read from.
    pub(super) fn take_unknown(&mut self) -> Vec<String> {
        self.strays.take_names()
    }

    /// Cells whose value no record had a place for, if there was a record.
    pub(super) fn absent(&self) -> Vec<usize> {
        let mut met = vec![!self.marks.any; self.takes_json.len()];
        self.root.mark_met(&self.marks, &mut met);
        met.iter().enumerate().filter(|(_, met)| !**met).map(|(cell, _)| cell).collect()
    }

    /// What a record is called.
    pub(super) fn record_word(&self) -> &'static str {
        match self.shape {
            Shape::Object => "object",
            Shape::Array(_) => "array",
            Shape::ObjectOrArray => "object or array",
        }
    }
}

impl Node {
    /// Goes to the place below, which is made if there is none.
    fn add(&mut self, steps: &[String], fields: &[String], nodes: &mut usize, put: impl FnOnce(&mut Node)) {
        let [step, steps @ ..] = steps else { return put(self) };
        if let Some(child) = self.children.iter_mut().find(|child| child.name == *step) {
            return child.add(steps, fields, nodes, put);
        }
        let index = array_index(step);
        let named = index.filter(|_| self.path.is_empty()).and_then(|index| fields.get(index));
        let escaped = step.replace('~', "~0").replace('/', "~1");
        let path = named.cloned().unwrap_or_else(|| format!("{}/{escaped}", self.path));
        let mut child = Node { name: step.clone(), index, path, id: *nodes, ..Node::default() };
        *nodes += 1;
        child.add(steps, fields, nodes, put);
        self.children.push(child);
    }

    fn mark_met(&self, marks: &Marks, cells: &mut [bool]) {
        if self.id == ROOT || marks.met.get(self.id).is_some_and(|met| *met > 0) {
            for cell in self.values.iter().chain(&self.texts) {
                cells.get_mut(*cell).into_iter().for_each(|met| *met = true);
            }
            self.children.iter().for_each(|child| child.mark_met(marks, cells));
        }
    }

    fn takes_items(&self) -> bool {
        self.children.iter().any(|child| child.index.is_some())
    }

    fn child_named(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    fn child_at(&self, index: usize) -> Option<&Node> {
        self.children.iter().find(|child| child.index == Some(index))
    }
}

/// The place in an array that a step of a pointer stands for.
fn array_index(step: &str) -> Option<usize> {
    let is_plain = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| is_plain)
}

struct Found<'t, 'de> {
    values: Values<'de>,
    takes_json: &'t [bool],
    marks: &'t mut Marks,
    strays: &'t mut Strays,
}

impl<'de> Found<'_, 'de> {
    fn put(&mut self, cells: &[usize], cell: Cell<'de>) {
        self.values.any |= !cells.is_empty();
        if let [only] = cells {
            if let Some(place) = self.values.cells.get_mut(*only) {
                *place = cell;
            }
            return;
        }
        for at in cells {
            if let Some(place) = self.values.cells.get_mut(*at) {
                *place = cell.clone();
            }
        }
    }

    fn put_values(&mut self, node: &Node, raw: &'de str) {
        for at in &node.values {
            match cell_for(raw, self.takes_json.get(*at).copied().unwrap_or_default()) {
                Some(cell) => self.put(&[*at], cell),
                None => self.refuse(format!("`{}` has an escape that no text has", node.shown())),
            }
        }
    }

    fn put_text(&mut self, cells: &[usize], text: &'de str) {
        if !cells.is_empty() {
            self.put(cells, if text == "null" { Cell::Null } else { Cell::Text(Cow::Borrowed(text)) });
        }
    }

    #[cold]
    fn refuse(&mut self, reason: String) {
        self.values.wrong.get_or_insert(reason);
    }

    /// False for the second field of one name.
    fn meet(&mut self, node: &Node) -> bool {
        let record = self.marks.record;
        match self.marks.met.get_mut(node.id) {
            Some(met) if *met == record => {
                self.refuse(format!("`{}` is there twice", node.shown()));
                false
            }
            Some(met) => {
                *met = record;
                true
            }
            None => false,
        }
    }

    fn read_object<A: MapAccess<'de>>(&mut self, node: &Node, mut map: A) -> Result<(), A::Error> {
        // Records of one file mostly have their fields in one order.
        let mut next = 0;
        while let Some(Name(name)) = map.next_key_seed(NameSeed)? {
            let expected = node.children.get(next).filter(|child| child.name == *name);
            match expected.or_else(|| node.child_named(&name)) {
                Some(child) if self.meet(child) => {
                    next += 1;
                    map.next_value_seed(NodeSeed { node: child, found: self })?;
                }
                None if node.id == ROOT && !self.strays.are_skipped() => {
                    if let Some(reason) = self.strays.take(&name, &mut map)? {
                        self.refuse(reason);
                    }
                }
                Some(_) | None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    /// Returns how many items there are.
    fn read_array<A: SeqAccess<'de>>(&mut self, node: &Node, mut items: A) -> Result<usize, A::Error> {
        for index in 0.. {
            let is_there = match node.child_at(index) {
                Some(child) => {
                    self.meet(child);
                    items.next_element_seed(NodeSeed { node: child, found: self })?.is_some()
                }
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                return Ok(index);
            }
        }
        Ok(0)
    }
}

impl Node {
    /// Its name in reasons: that of the record's own field is the name alone.
    fn shown(&self) -> &str {
        match self.path.strip_prefix('/') {
            Some(name) if name == self.name => name,
            _ => &self.path,
        }
    }
}

/// The record itself.
struct Record<'a, 't, 'de> {
    node: &'a Node,
    shape: Shape,
    found: &'a mut Found<'t, 'de>,
}

impl<'de> Visitor<'de> for Record<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Object => f.write_str("an object"),
            Shape::Array(items) => write!(f, "an array of {items} items"),
            Shape::ObjectOrArray => f.write_str("an object or an array"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.found.read_object(self.node, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        let items = self.found.read_array(self.node, items)?;
        if let Shape::Array(expected) = self.shape
            && items != expected
        {
            self.found.refuse(format!("the array has {items} items, and `fields` names {expected}"));
        }
        // A short array is not the row that was declared. What has no place in an array is absent, as a field is that no record has.
        let beyond = self.node.children.iter().find(|child| child.index.is_some_and(|index| index >= items));
        if let Some(child) = beyond {
            self.found.refuse(format!("the array has {items} items, and none at `{}`", child.shown()));
        }
        Ok(())
    }
}

/// A value within the record.
struct NodeSeed<'a, 't, 'de> {
    node: &'a Node,
    found: &'a mut Found<'t, 'de>,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Node { values, texts, children, .. } = self.node;
        if texts.is_empty() && values.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let text = <&'de RawValue>::deserialize(deserializer)?.get();
        self.found.put_text(texts, text);
        self.found.put_values(self.node, text);
        if !children.is_empty() {
            let mut again = serde_json::Deserializer::from_str(text);
            again.deserialize_any(self).map_err(D::Error::custom)?;
        }
        Ok(())
    }
}

/// Goes on to the places below.
impl<'de> Visitor<'de> for NodeSeed<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.found.read_object(self.node, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        for child in self.node.children.iter().filter(|child| child.index.is_none()) {
            self.found.refuse(format!("`{}` is an array, so that there is no `{}`", self.node.shown(), child.path));
        }
        self.found.read_array(self.node, items).map(|_| ())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(&value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(&value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(&value.to_string())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }
}

impl NodeSeed<'_, '_, '_> {
    #[cold]
    fn scalar<E>(self, value: &str) -> Result<(), E> {
        const SHOWN_CHARACTERS: usize = 80;
        let value: String = value.chars().take(SHOWN_CHARACTERS).collect();
        let child = self.node.children.first().map_or("", |child| &child.path);
        self.found.refuse(format!("`{}` is `{value}`, so that there is no `{child}`", self.node.shown()));
        Ok(())
    }
}
