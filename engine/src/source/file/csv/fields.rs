//! Which fields of a CSV record the declared columns are read from.

use std::borrow::Cow;

use pulse_core::sources::{Csv, Matching};
use pulse_core::{Error, Result};

use super::super::absent::{Names, places};
use super::super::rows::Rows;
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
    pub(super) fn behind(self, columns: &[ColumnBuilder], found: &Quoted) -> Result<Fields, String> {
        match self {
            Self::Expected(names) => Fields::of_header(columns, found, names),
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
    fn of_header(columns: &[ColumnBuilder], header: &Quoted, names: Names) -> Result<Self, String> {
        let found: Vec<Cow<'_, str>> = (0..header.count())
            .map(|field| String::from_utf8_lossy(header.field(field).unwrap_or_default().trim_ascii()))
            .collect();
        let found: Vec<&str> = found.iter().map(Cow::as_ref).collect();
        Self::named(columns, &found, names)
    }

    fn named(columns: &[ColumnBuilder], found: &[&str], names: Names) -> Result<Self, String> {
        let places = places(columns, found, names)?;
        let mut targets = vec![None; found.len()];
        for (column, place) in places.iter().enumerate() {
            if let Some(target) = place.and_then(|field| targets.get_mut(field)) {
                *target = Some(column);
            }
        }
        let absent = places.iter().enumerate().filter(|(_, place)| place.is_none()).map(|(column, _)| column);
        Ok(Self { targets, absent: absent.collect() })
    }

    fn in_order(columns: usize) -> Self {
        Self { targets: (0..columns).map(Some).collect(), absent: Vec::new() }
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
        rows.keep(line, || raw);
    }
}
