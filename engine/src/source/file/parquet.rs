//! Rows of Parquet files, column by name, each value held to what the source declares.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{FieldRef, Schema};
use arrow::util::display::array_value_to_string;
use pulse_core::{Error, Result};

use super::absent::{Names, absent, places, unread};
use super::arrow_values::Values;
use super::cell::Cell;
use super::legacy_calendar::Legacy;
use super::repeated::Occurrences;
use super::rows::Rows;
use super::unknown::{Policy, RescuedColumns};

/// Turns the batches of one Parquet file into rows.
#[derive(Debug)]
pub(super) struct ParquetRows {
    rows: Rows,
    row: i64,
    /// Columns of the file that no declared column is read from and that are kept.
    rescued: Vec<String>,
    /// Rows of the file, if it says so.
    total: Option<u64>,
    legacy: Legacy,
}

impl ParquetRows {
    pub(super) fn new(rows: Rows) -> Self {
        Self { rows, row: 1, rescued: Vec::new(), total: None, legacy: Legacy::default() }
    }

    /// Takes how many rows the file says that it has.
    pub(super) fn expect(&mut self, rows: Option<u64>) {
        self.total = rows;
    }

    /// Takes which values of the file are in the legacy calendar.
    pub(super) fn set_legacy(&mut self, legacy: Legacy) {
        self.legacy = legacy;
    }

    /// Where the declared columns are in the file; `None` for one that the file does not have.
    ///
    /// # Errors
    /// A reason when the file cannot be read without one.
    pub(super) fn places(&self, schema: &Schema) -> Result<Vec<Option<usize>>, String> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        places(&self.rows.columns, &names, Names::OF_PARQUET)
    }

    /// Takes the file's fields; of these `entered` are read in part.
    ///
    /// # Errors
    /// A reason when the file cannot be read with them.
    pub(super) fn meet(&mut self, schema: &Schema, entered: &[&str]) -> Result<(), String> {
        let places = self.places(schema)?;
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let is_unknown = |name: &&str| !entered.contains(name);
        let unread: Vec<&str> = unread(&places, &names).into_iter().map(|(_, name)| name).filter(is_unknown).collect();
        self.rows.fields().meet(Names::OF_PARQUET.whole(), &unread)?;
        if self.rows.policy() == Policy::Rescue {
            self.rescued = unread.into_iter().map(str::to_owned).collect();
        }
        self.rows.miss(&absent(&places));
        Ok(())
    }

    /// Where the columns of the file are that are read.
    ///
    /// # Errors
    /// As [`ParquetRows::places`].
    pub(super) fn read_places(&self, schema: &Schema) -> Result<Vec<usize>, String> {
        let rescued = self.rescued.iter().filter_map(|name| schema.index_of(name).ok());
        Ok(self.places(schema)?.into_iter().flatten().chain(rescued).collect())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// `Internal` when the rows cannot be put together.
    pub(super) fn end(&mut self) -> Result<Option<RecordBatch>> {
        self.rows.end();
        self.rows.take()
    }

    /// Takes the next batch of the file, whose rows [`ParquetRows::take`] returns.
    ///
    /// # Errors
    /// `Internal` when the batch has other columns than its file.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let places = self.places(&batch.schema()).map_err(Error::internal)?;
        let columns: Vec<Option<Values>> =
            places.iter().map(|place| place.map(|place| Values::new(batch.column(place)))).collect();
        let rescued = (!self.rescued.is_empty()).then(|| RescuedColumns::of(batch, &self.rescued));
        for row in 0..batch.num_rows() {
            self.rows.rescue(rescued.as_ref().and_then(|columns| columns.object(row)));
            self.push_row(batch, &columns, row);
            self.row += 1;
        }
        Ok(())
    }

    /// # Errors
    /// `Internal` when the rows cannot be put together.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>> {
        self.rows.take()
    }

    /// See [`Rows::take_occurrences`].
    pub(super) fn take_occurrences(&mut self) -> Option<Occurrences> {
        self.rows.take_occurrences()
    }

    /// See [`Rows::set_occurrences`].
    pub(super) fn set_occurrences(&mut self, occurrences: Arc<Occurrences>) {
        self.rows.set_occurrences(occurrences);
    }

    /// Rejects what cannot be read from here on.
    ///
    /// # Errors
    /// `Internal` when the rows cannot be put together.
    pub(super) fn break_off(&mut self, reason: &str) -> Result<Option<RecordBatch>> {
        let read = u64::try_from(self.row - 1).unwrap_or_default();
        match self.total.map(|total| total.saturating_sub(read)) {
            None | Some(0) => self.rows.reject(self.row, reason, b""),
            Some(1) => self.rows.reject(self.row, format!("{reason}; 1 row of the file is not read"), b""),
            Some(unread) => {
                self.rows.reject(self.row, format!("{reason}; {unread} rows of the file are not read"), b"");
                self.rows.leave_unread(unread - 1);
            }
        }
        self.rows.take()
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(super) fn rows_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// Rejects `count` rows of the file as one.
    pub(super) fn skip(&mut self, count: u64, reason: &str, raw: &[u8]) {
        self.rows.reject(self.row, reason, raw);
        self.row = self.row.saturating_add_unsigned(count);
    }

    fn push_row(&mut self, batch: &RecordBatch, columns: &[Option<Values>], row: usize) {
        if let Some(reason) = self.legacy.fault(batch, row) {
            return self.rows.reject(self.row, reason, json_of(&batch.slice(row, 1)).as_bytes());
        }
        for (at, values) in columns.iter().enumerate() {
            let cell = values.as_ref().map_or(Cell::Null, |values| values.cell(row));
            if let Some(Err(fault)) = self.rows.columns.get_mut(at).map(|column| column.push_cell(&cell)) {
                let raw = json_of(&batch.slice(row, 1));
                return self.rows.reject_value(self.row, at, fault, &cell.shown(), raw.as_bytes());
            }
        }
        self.rows.keep(self.row, || json_of(&batch.slice(row, 1)));
    }
}

/// The rows as JSON. Values of a type that has no JSON, such as a union or a map by numbers, are texts in it.
fn json_of(rows: &RecordBatch) -> String {
    written(rows).unwrap_or_else(|| {
        let of_one = |(field, column): (&FieldRef, &ArrayRef)| -> Option<(String, ArrayRef)> {
            let alone = RecordBatch::try_from_iter([(field.name(), Arc::clone(column))]).ok()?;
            let column = match written(&alone) {
                Some(_) => Arc::clone(column),
                None => {
                    let texts = (0..column.len()).map(|row| array_value_to_string(column, row).ok());
                    Arc::new(texts.collect::<StringArray>())
                }
            };
            Some((field.name().clone(), column))
        };
        let columns = rows.schema_ref().fields().iter().zip(rows.columns()).filter_map(of_one);
        RecordBatch::try_from_iter(columns).ok().and_then(|shown| written(&shown)).unwrap_or_default()
    })
}

fn written(rows: &RecordBatch) -> Option<String> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(rows).and_then(|()| writer.finish()).ok()?;
    Some(String::from_utf8_lossy(&writer.into_inner()).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Builder, Int64Array, MapBuilder, StringBuilder};

    use super::*;

    #[test]
    fn every_row_has_a_text() {
        let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
        map.keys().append_value(7);
        map.values().append_value("x");
        map.append(true).unwrap();
        let map: ArrayRef = Arc::new(map.finish());
        let number: ArrayRef = Arc::new(Int64Array::from(vec![5]));
        let rows = RecordBatch::try_from_iter([("m", map), ("n", number)]).unwrap();
        assert_eq!(json_of(&rows), r#"{"m":"{7: x}","n":5}"#);
    }
}
