//! Nested values from JSON, in one pass over the text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Node, Shape, Trouble, push_key, push_leaf};
use crate::source::file::cell::{Cell, Fault};
use crate::source::file::json_value::cell_for;

/// Replaced by the trouble that was found.
const TROUBLE: &str = "a value inside does not fit";

impl Node {
    /// Takes a value from its text of JSON.
    pub(in super::super) fn push_json(&mut self, text: &[u8], trouble: &mut Trouble) -> Result<(), Fault> {
        let text = std::str::from_utf8(text).map_err(|_| Fault::NotJson)?;
        *trouble = Trouble::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = Seed { node: self, trouble: &mut *trouble };
        match seed.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
            Ok(()) => Ok(()),
            Err(_) if !trouble.complaint.is_empty() => Err(Fault::Inside),
            Err(error) => {
                let text = error.to_string();
                let what = text.split(" at line ").next().unwrap_or(&text);
                Err(trouble.set(format!(" is not JSON: {what} at column {}", error.column())))
            }
        }
    }
}

struct Seed<'n> {
    node: &'n mut Node,
    trouble: &'n mut Trouble,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Shape::Leaf(leaf) = &mut self.node.shape else { return deserializer.deserialize_any(self) };
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let cell = cell_for(raw, leaf.takes_json())
            .ok_or_else(|| D::Error::custom("a text has an escape that no text has"))?;
        push_leaf(leaf, &cell, self.trouble).map_err(|_| D::Error::custom(TROUBLE))
    }
}

impl Seed<'_> {
    #[cold]
    fn wrong<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.node.wrong_type(value, self.trouble);
        Err(E::custom(TROUBLE))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.node.expected())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.node.push_null();
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.wrong(&value.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.wrong(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.wrong(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.wrong(&value.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.wrong(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { node, trouble } = self;
        let Shape::List { ends, item } = &mut node.shape else { return Seed { node, trouble }.wrong("an array") };
        let mut place = 0_usize;
        loop {
            match items.next_element_seed(Seed { node: &mut *item, trouble: &mut *trouble }) {
                Ok(Some(())) => place += 1,
                Ok(None) => break,
                Err(error) => {
                    trouble.within(&format!("[{place}]"));
                    return Err(error);
                }
            }
        }
        ends.push(item.len() as i32);
        node.valid.push(true);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { node, trouble } = self;
        match &mut node.shape {
            Shape::Map { ends, keys, values } => {
                let start = keys.len();
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    let key = Cell::Text(name);
                    let pushed = match push_key(keys, start, &key, trouble) {
                        Ok(()) => map.next_value_seed(Seed { node: &mut *values, trouble: &mut *trouble }),
                        Err(_) => Err(A::Error::custom(TROUBLE)),
                    };
                    pushed.inspect_err(|_| trouble.within(&format!("[\"{}\"]", key.shown())))?;
                }
                ends.push(values.len() as i32);
            }
            Shape::Struct(fields) => {
                let rows = node.valid.len();
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    let Some((name, field)) = fields.iter_mut().find(|(field, _)| *field == name) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let pushed = if field.len() > rows {
                        trouble.set(" is there twice".to_owned());
                        Err(A::Error::custom(TROUBLE))
                    } else {
                        map.next_value_seed(Seed { node: &mut *field, trouble: &mut *trouble })
                    };
                    pushed.inspect_err(|_| trouble.within(&format!(".{name}")))?;
                }
                fields.iter_mut().filter(|(_, field)| field.len() == rows).for_each(|(_, field)| field.push_null());
            }
            Shape::Leaf(_) | Shape::List { .. } => return Seed { node, trouble }.wrong("an object"),
        }
        node.valid.push(true);
        Ok(())
    }
}

struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
