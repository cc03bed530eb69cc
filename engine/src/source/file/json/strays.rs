//! Fields of JSON records that no column is read from.

use std::collections::HashSet;

use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use crate::source::file::unknown::{MOST_NAMES, Object, Policy, reason};

/// The unknown fields of a file, and those of a record that are kept.
#[derive(Debug)]
pub(super) struct Strays {
    policy: Policy,
    names: Vec<String>,
    /// Place of the next name, since records of one file mostly have their fields in one order.
    next: usize,
    object: Object,
    kept: HashSet<String>,
}

impl Strays {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, names: Vec::new(), next: 0, object: Object::default(), kept: HashSet::new() }
    }

    pub(super) fn are_skipped(&self) -> bool {
        self.policy == Policy::Skip
    }

    /// Begins a record.
    pub(super) fn begin(&mut self) {
        self.next = 0;
        self.object = Object::default();
        self.kept.clear();
    }

    /// Takes a field's value. Returns why the record is no row.
    pub(super) fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<Option<String>, A::Error> {
        if self.policy == Policy::Rescue {
            let value = map.next_value::<&'de RawValue>()?.get();
            if !self.kept.insert(name.to_owned()) {
                return Ok(Some(format!("`{name}` is there twice")));
            }
            self.object.add_json(name, value);
            return Ok(None);
        }
        map.next_value::<IgnoredAny>()?;
        if self.policy == Policy::Reject {
            return Ok(Some(reason("the record", &[name])));
        }
        self.note(name);
        Ok(None)
    }

    fn note(&mut self, name: &str) {
        if self.names.get(self.next).is_some_and(|next| next == name) {
            self.next += 1;
        } else if let Some(place) = self.names.iter().position(|known| known == name) {
            self.next = place + 1;
        } else if self.names.len() < MOST_NAMES {
            self.names.push(name.to_owned());
            self.next = self.names.len();
        }
    }

    /// An object of the record's unknown fields that are kept; `None` when there are none.
    pub(super) fn take_object(&mut self) -> Option<String> {
        std::mem::take(&mut self.object).finish()
    }

    pub(super) fn take_names(&mut self) -> Vec<String> {
        std::mem::take(&mut self.names)
    }
}
