//! Which fields of a CSV record the declared columns are read from.

use std::borrow::Cow;
use std::collections::HashSet;

use pulse_core::sources::{Csv, Matching};
use pulse_core::{Error, Result};

use super::super::absent::{Names, absent, places};
use super::super::rows::Rows;
use super::super::unknown::{Object, Policy};
use super::super::value::ColumnBuilder;
use super::quoted::Quoted;

/// What is known of the fields.
#[derive(Debug)]
pub(super) enum Header {
    /// The next record names them.
    Expected(Names),
    /// The next record must have as many, and is no row.
    ReadPast(Fields),
    Read(Fields),
    /// Why no line of the file can be read.
    Broken(String),
}

/// Where a record's fields go.
#[derive(Debug)]
pub(super) struct Fields {
    /// For each field of a record, the column that it goes to.
    pub(super) targets: Vec<Option<usize>>,
    /// Columns that the file does not have.
    pub(super) absent: Vec<usize>,
    /// Fields that no column is read from and that are kept, with their names.
    pub(super) rescued: Vec<(usize, String)>,
}

impl Header {
    /// # Errors
    /// `Invalid` when nothing names the fields, or the names do not serve the columns.
    pub(super) fn new(csv: &Csv, columns: &[ColumnBuilder]) -> Result<Self> {
        let named = || {
            let names: Vec<&str> = csv.fields.iter().map(String::as_str).collect();
            Fields::named(columns, &names, Names::OF_LIST).map_err(Error::invalid)
        };
        Ok(match (csv.header, csv.matching, csv.fields.is_empty()) {
            (true, Matching::Name, true) => Self::Expected(Names::OF_CSV),
            (true, Matching::NameIgnoringCase, true) => Self::Expected(Names::OF_CSV.ignoring_case()),
            (true, Matching::Position, true) => Self::ReadPast(Fields::in_order(columns.len())),
            (true, Matching::Position, false) => Self::ReadPast(named()?),
            (false, Matching::Position, true) => Self::Read(Fields::in_order(columns.len())),
            (false, Matching::Name, false) => Self::Read(named()?),
            (true, Matching::Name | Matching::NameIgnoringCase, false)
            | (false, Matching::Name, true)
            | (false, Matching::NameIgnoringCase, _)
            | (false, Matching::Position, false) => {
                return Err(Error::invalid("`header`, `fields` and `match` of a format contradict each other"));
            }
        })
    }

    /// Whether each record is one field.
    pub(super) fn names_one_field(&self) -> bool {
        matches!(self, Self::Read(fields) if fields.targets.len() == 1)
    }

    /// The header behind the record `found`.
    ///
    /// # Errors
    /// Why no line of the file can be read.
    pub(super) fn behind(self, rows: &mut Rows, found: &Quoted) -> Result<Fields, String> {
        match self {
            Self::Expected(names) => Fields::of_header(rows, found, names),
            Self::ReadPast(fields) if fields.targets.len() == found.count() => Ok(fields),
            Self::ReadPast(fields) => {
                let (expected, found) = (fields.targets.len(), found.count());
                Err(format!("the header has {found} fields, and there should be {expected}"))
            }
            Self::Read(fields) => Ok(fields),
            Self::Broken(reason) => Err(reason),
        }
    }

    /// Fields of a record; 0 while that is not known.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Read(fields) => fields.targets.len(),
            Self::Expected(_) | Self::ReadPast(_) | Self::Broken(_) => 0,
        }
    }
}

impl Fields {
    fn of_header(rows: &mut Rows, header: &Quoted, names: Names) -> Result<Self, String> {
        let found: Vec<Cow<'_, str>> = (0..header.count())
            .map(|field| String::from_utf8_lossy(header.field(field).unwrap_or_default().trim_ascii()))
            .collect();
        let found: Vec<&str> = found.iter().map(Cow::as_ref).collect();
        let mut fields = Self::named(&rows.columns, &found, names)?;
        let unread: Vec<usize> = (0..found.len()).filter(|field| fields.targets.get(*field) == Some(&None)).collect();
        let names_of_unread: Vec<&str> = unread.iter().filter_map(|field| found.get(*field).copied()).collect();
        rows.fields().meet(names.whole(), &names_of_unread)?;
        if rows.policy() == Policy::Rescue {
            let mut known = HashSet::new();
            if let Some(twice) = names_of_unread.iter().find(|name| !known.insert(**name)) {
                return Err(format!("{} has the field `{twice}` twice", names.whole()));
            }
            fields.rescued = unread.into_iter().zip(names_of_unread).map(|(at, name)| (at, name.to_owned())).collect();
        }
        rows.miss(&fields.absent);
        Ok(fields)
    }

    fn named(columns: &[ColumnBuilder], found: &[&str], names: Names) -> Result<Self, String> {
        let places = places(columns, found, names)?;
        let mut targets = vec![None; found.len()];
        for (column, place) in places.iter().enumerate() {
            if let Some(target) = place.and_then(|field| targets.get_mut(field)) {
                *target = Some(column);
            }
        }
        Ok(Self { targets, absent: absent(&places), rescued: Vec::new() })
    }

    fn in_order(columns: usize) -> Self {
        Self { targets: (0..columns).map(Some).collect(), absent: Vec::new(), rescued: Vec::new() }
    }

    /// Reads a row whose fields are known; one without a text is null.
    pub(super) fn read<'a>(&self, rows: &mut Rows, line: i64, raw: &[u8], text: impl Fn(usize) -> Option<&'a [u8]>) {
        for (field, target) in self.targets.iter().enumerate() {
            let Some(at) = *target else { continue };
            let value = text(field);
            let pushed = rows.columns.get_mut(at).map(|column| match value {
                Some(value) => column.push_text(value),
                None => column.push_null(),
            });
            if let Some(Err(fault)) = pushed {
                let value = String::from_utf8_lossy(value.unwrap_or_default());
                rows.reject_value(line, at, fault, &value, raw);
                return;
            }
        }
        rows.leave_null(&self.absent);
        if !self.rescued.is_empty() {
            rows.rescue(self.rescued_object(text));
        }
        rows.keep(line, || raw);
    }

    /// The fields of a row that are kept beside its columns; one without a text is not there.
    #[cold]
    pub(super) fn rescued_object<'a>(&self, text: impl Fn(usize) -> Option<&'a [u8]>) -> Option<String> {
        let mut object = Object::default();
        for (field, name) in &self.rescued {
            if let Some(value) = text(*field) {
                object.add_text(name, &String::from_utf8_lossy(value));
            }
        }
        object.finish()
    }
}
