//! Reads the first rows of a file source, and those that its contract rejects.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use pulse_core::Result;
use pulse_core::notes::Notes;
use pulse_core::reasons::{Reasons, RejectedRows};

use super::Workbench;
use super::pin::raw_files;
use super::query::{Sources, context};
use super::roots::{declared_files, listed};
use crate::error::from_datafusion;
use crate::sink::{RAW, REASON, without_notes};
use crate::source::file::{LINE, SOURCE_FILE, is_of_rejected_lines};

/// How much of a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSize {
    /// Files of each feed, in the order of their paths.
    pub files: usize,
    /// Rows that are returned.
    pub rows: usize,
}

/// The result of reading some files of a source.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The first good rows, with all columns visible to a query.
    pub rows: Vec<RecordBatch>,
    /// Number of good rows.
    pub kept: u64,
    /// Rejected rows of the files that were read, by reason, the most frequent first.
    pub rejected: Vec<RejectedRows>,
    /// The first rejected rows.
    pub examples: Vec<Rejected>,
    /// Fields in which the files that were read and the contract differ.
    pub notes: Vec<String>,
    pub files_read: usize,
    pub files: usize,
    /// Feeds without files.
    pub warnings: Vec<String>,
}

/// A row that violates the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub file: String,
    /// Line or record, from 1.
    pub line: i64,
    pub reason: String,
    pub raw: String,
}

/// Reads the first files of each feed of the source `raw.<name>`.
///
/// # Errors
/// `Invalid` when the project has no such source or its root does not exist; otherwise by the kind of the store's error.
pub async fn sample(bench: &Workbench, name: &str, size: SampleSize) -> Result<Sample> {
    let name = name.strip_prefix("raw.").unwrap_or(name);
    let source = declared_files(&bench.project, name)?;
    let (root, listing) = listed(bench, name, source).await?;
    let mut sample = Sample { files: listing.files.len(), warnings: listing.warnings, ..Sample::default() };
    let mut files = listing.files;
    let (mut feed, mut of_feed) = (String::new(), 0);
    files.retain(|file| {
        of_feed = if file.feed == feed { of_feed + 1 } else { 1 };
        feed.clone_from(&file.feed);
        of_feed <= size.files
    });
    sample.files_read = files.len();
    let sources =
        Sources::from([(format!("raw.{name}"), Arc::new(raw_files(bench, name, &root, files)?.with_notes()) as _)]);
    let rows = context(&bench.state, &sources)?.sql(&format!("select * from raw.\"{name}\"")).await;
    let failed = |e| from_datafusion(&format!("read raw.{name}"), e);
    let rows = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
    sample.fill(rows, size.rows).await.map_err(failed)?;
    Ok(sample)
}

impl Sample {
    async fn fill(&mut self, mut rows: SendableRecordBatchStream, wanted: usize) -> datafusion::error::Result<()> {
        let mut reasons = Reasons::default();
        let mut left = wanted;
        let mut notes = Notes::default();
        while let Some(batch) = rows.try_next().await? {
            let batch =
                without_notes(&batch, &[], &mut notes).map_err(|error| DataFusionError::External(Box::new(error)))?;
            let is_good = arrow::compute::is_null(&column(&batch, REASON)?)?;
            self.kept += is_good.true_count() as u64;
            self.take_rejected(&batch, &mut reasons, wanted)?;
            if left > 0 {
                let good = arrow::compute::filter_record_batch(&batch, &is_good)?;
                let shown = good.slice(0, left.min(good.num_rows()));
                left -= shown.num_rows();
                self.rows.push(without_rejects(&shown)?);
            }
        }
        self.rejected = reasons.most_frequent();
        self.notes = notes.lines();
        Ok(())
    }

    fn take_rejected(
        &mut self,
        batch: &RecordBatch,
        reasons: &mut Reasons,
        wanted: usize,
    ) -> datafusion::error::Result<()> {
        let [reason, raw, file] = [REASON, RAW, SOURCE_FILE].map(|name| column(batch, name));
        let (reason, raw, file, line) = (reason?, raw?, file?, column(batch, LINE)?);
        let text = |array: &arrow::array::ArrayRef, row| match array.as_string::<i32>() {
            texts if texts.is_valid(row) => texts.value(row).to_owned(),
            _ => String::new(),
        };
        for row in (0..batch.num_rows()).filter(|row| reason.is_valid(*row)) {
            reasons.add(reason.as_string::<i32>().value(row), 1);
            if self.examples.len() < wanted {
                self.examples.push(Rejected {
                    file: text(&file, row),
                    line: line.as_primitive::<Int64Type>().value(row),
                    reason: text(&reason, row),
                    raw: text(&raw, row),
                });
            }
        }
        Ok(())
    }
}

fn column(batch: &RecordBatch, name: &str) -> datafusion::error::Result<arrow::array::ArrayRef> {
    batch
        .column_by_name(name)
        .cloned()
        .ok_or_else(|| DataFusionError::Internal(format!("the rows of a source of files have no column {name}")))
}

fn without_rejects(rows: &RecordBatch) -> datafusion::error::Result<RecordBatch> {
    let schema = rows.schema();
    let shown = (0..schema.fields().len()).filter(|place| !is_of_rejected_lines(schema.field(*place).name()));
    Ok(rows.project(&shown.collect::<Vec<_>>())?)
}
