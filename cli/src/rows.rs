//! Rows of a query, as they come: for people a table of the first ones with the count, for programs all of them in bounded memory.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write};
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use console::style;
use datafusion::arrow;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt as _;
use pulse_core::{Error, Result};
use pulse_engine::error::from_datafusion;
use pulse_engine::type_name::type_name;

use crate::args::Output;
use crate::output::{count, csv_field, json_writer, plural, with_nested_as_json};

/// Rows whose cells say how wide columns are, where all rows are printed.
const SAMPLE: usize = 1000;
/// Narrower than this no cell is cut.
const LEAST_WIDTH: usize = 12;
/// What stands for no value, so that it is not an empty text.
const NULL: &str = "NULL";

/// How rows are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) output: Output,
    /// Rows to print; none for all.
    pub(crate) limit: Option<usize>,
    /// Columns of the terminal; none off a terminal.
    pub(crate) width: Option<usize>,
}

/// Prints the rows, and returns how many there are in all.
///
/// # Errors
/// By what went wrong while they were computed.
pub(crate) async fn print(rows: SendableRecordBatchStream, shown: Shown) -> Result<u64> {
    let mut out = std::io::BufWriter::new(crate::output::Stdout);
    let all = match shown.output {
        Output::Table => table(rows, shown, &mut out).await?,
        Output::Csv => csv(rows, shown, &mut out).await?,
        Output::Json => json(rows, shown, &mut out).await?,
    };
    // A reader that went away is no error.
    let _ = out.flush();
    Ok(all)
}

/// Prints rows that are at hand, as those of a query.
///
/// # Errors
/// As [`print`].
pub(crate) async fn print_batches(batches: Vec<RecordBatch>, output: Output) -> Result<()> {
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let rows = RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok)));
    let width = if std::io::stdout().is_terminal() { crate::output::width() } else { None };
    print(Box::pin(rows), Shown { output, limit: None, width }).await.map(|_| ())
}

/// Hands on at most `limit` rows, and counts all.
async fn each(
    mut rows: SendableRecordBatchStream,
    limit: Option<usize>,
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<u64> {
    let mut all = 0_usize;
    while let Some(batch) = rows.try_next().await.map_err(|e| from_datafusion("query", e))? {
        let left = limit.map_or(batch.num_rows(), |limit| limit.saturating_sub(all).min(batch.num_rows()));
        if left > 0 {
            take(&batch.slice(0, left))?;
        }
        all += batch.num_rows();
    }
    Ok(all as u64)
}

/// Lines of JSON.
async fn json(rows: SendableRecordBatchStream, shown: Shown, out: &mut impl Write) -> Result<u64> {
    let mut writer = json_writer(out);
    let all = each(rows, shown.limit, |batch| writer.write(batch).or_else(gone)).await?;
    writer.finish().or_else(gone)?;
    Ok(all)
}

/// By RFC 4180. No value is an empty field, and an empty text is `""`.
async fn csv(rows: SendableRecordBatchStream, shown: Shown, out: &mut impl Write) -> Result<u64> {
    let schema = rows.schema();
    let head: Vec<Cow<'_, str>> = schema.fields().iter().map(|field| csv_value(field.name())).collect();
    let _ = writeln!(out, "{}", head.join(","));
    each(rows, shown.limit, |batch| {
        let unprintable = |e| Error::data("the answer cannot be printed").with_source(e);
        let batch = with_nested_as_json(batch).map_err(unprintable)?;
        for row in texts(&batch)? {
            let cells: Vec<Cow<'_, str>> =
                row.iter().map(|cell| cell.as_deref().map(csv_value).unwrap_or_default()).collect();
            if writeln!(out, "{}", cells.join(",")).is_err() {
                return Ok(());
            }
        }
        Ok(())
    })
    .await
}

/// A field of a value, so that an empty text is not taken for none.
fn csv_value(text: &str) -> Cow<'_, str> {
    if text.is_empty() { "\"\"".into() } else { csv_field(text) }
}

async fn table(rows: SendableRecordBatchStream, shown: Shown, out: &mut impl Write) -> Result<u64> {
    let schema = rows.schema();
    let sample = shown.limit.unwrap_or(SAMPLE);
    let mut first: Vec<Vec<Option<String>>> = Vec::new();
    let mut frame: Option<Frame> = None;
    let all = each(rows, shown.limit, |batch| {
        for row in texts(batch)? {
            match &frame {
                Some(frame) => frame.row(&row, out),
                None => first.push(row),
            }
            if frame.is_none() && first.len() >= sample {
                frame = Some(Frame::begin(&schema, &first, shown.width, out));
                first.clear();
            }
        }
        Ok(())
    })
    .await?;
    let frame = frame.unwrap_or_else(|| Frame::begin(&schema, &first, shown.width, out));
    frame.end(out);
    let printed = shown.limit.map_or(all, |limit| all.min(limit as u64));
    let _ = out.flush();
    match printed == all {
        true => eprintln!("{}{}", plural(all, "row"), frame.note()),
        false => eprintln!("{} of {}{}; --limit 0 prints all", count(printed), plural(all, "row"), frame.note()),
    }
    Ok(all)
}

/// Cells of a batch as text, by row; none for no value.
fn texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let unprintable = |e| Error::data("the answer cannot be printed").with_source(e);
    // Of items of lists and fields of structs; an empty text shows nothing.
    let options = FormatOptions::default().with_null(NULL);
    let columns = batch.columns().iter();
    let formatters = columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters.collect::<std::result::Result<Vec<_>, _>>().map_err(unprintable)?;
    // Also of a column of nothing but nulls, which has no type and no list of them.
    let nulls: Vec<_> = batch.columns().iter().map(|column| column.logical_nulls()).collect();
    let cell = |row: usize, column: usize| -> Result<Option<String>> {
        if nulls[column].as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(None);
        }
        formatters[column].value(row).try_to_string().map(Some).map_err(unprintable)
    };
    (0..batch.num_rows()).map(|row| (0..formatters.len()).map(|column| cell(row, column)).collect()).collect()
}

fn gone(error: arrow::error::ArrowError) -> Result<()> {
    match error {
        arrow::error::ArrowError::IoError(..) => Ok(()),
        other => Err(Error::data("the answer cannot be printed").with_source(other)),
    }
}

/// Widths and alignment of a table's columns.
struct Frame {
    widths: Vec<usize>,
    right: Vec<bool>,
    /// Columns that do not fit.
    left_out: usize,
    /// Whether longer values are cut, with a sign: on a terminal only, as programs would take a part for the value.
    cuts: bool,
}

impl Frame {
    /// Prints the head and the first rows.
    fn begin(schema: &SchemaRef, rows: &[Vec<Option<String>>], width: Option<usize>, out: &mut impl Write) -> Self {
        let types: Vec<String> = schema.fields().iter().map(|field| type_name(field.data_type())).collect();
        let widths = schema.fields().iter().zip(&types).enumerate().map(|(column, (field, name))| {
            let cells =
                rows.iter().filter_map(|row| row.get(column)).map(|cell| shown(cell.as_deref()).chars().count());
            // On a terminal the types stand below the names.
            let name = if width.is_some() { name.chars().count() } else { 0 };
            cells.chain([field.name().chars().count(), name]).max().unwrap_or_default()
        });
        let (widths, left_out) = fitted(widths.collect(), width);
        let right = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        let frame = Self { widths, right, left_out, cuts: width.is_some() };
        frame.line(out);
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        frame.cells(&names, out, |text| text.to_owned());
        if width.is_some() {
            frame.cells(&types, out, |text| style(text).dim().to_string());
        }
        frame.line(out);
        rows.iter().for_each(|row| frame.row(row, out));
        frame
    }

    fn row(&self, row: &[Option<String>], out: &mut impl Write) {
        let texts: Vec<String> = row.iter().map(|cell| shown(cell.as_deref())).collect();
        let is_null: Vec<bool> = row.iter().map(Option::is_none).collect();
        let mut column = 0;
        self.cells(&texts, out, |text| {
            column += 1;
            match is_null.get(column - 1) {
                Some(true) => style(text).dim().to_string(),
                _ => text.to_owned(),
            }
        });
    }

    fn cells(&self, texts: &[String], out: &mut impl Write, mut styled: impl FnMut(&str) -> String) {
        let mut line = String::from("|");
        for ((text, width), right) in texts.iter().zip(&self.widths).zip(&self.right) {
            let text = if self.cuts { cut(text, *width) } else { text.clone() };
            let padding = " ".repeat(width.saturating_sub(text.chars().count()));
            let text = styled(&text);
            line.push_str(&if *right { format!(" {padding}{text} |") } else { format!(" {text}{padding} |") });
        }
        let _ = writeln!(out, "{line}");
    }

    fn line(&self, out: &mut impl Write) {
        let parts: Vec<String> = self.widths.iter().map(|width| "-".repeat(width + 2)).collect();
        let _ = writeln!(out, "+{}+", parts.join("+"));
    }

    fn end(&self, out: &mut impl Write) {
        self.line(out);
    }

    fn note(&self) -> String {
        match self.left_out {
            0 => String::new(),
            left_out => format!("; {} not shown, --output csv has all", plural(left_out as u64, "column")),
        }
    }
}

/// A cell in one line, without characters that move the cursor.
fn shown(cell: Option<&str>) -> String {
    let Some(text) = cell else { return NULL.to_owned() };
    match text.chars().any(char::is_control) {
        true => {
            text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
        }
        false => text.to_owned(),
    }
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Widths that fit into the terminal, and how many columns at the end do not: the widest are cut first.
fn fitted(mut widths: Vec<usize>, width: Option<usize>) -> (Vec<usize>, usize) {
    let Some(width) = width else { return (widths, 0) };
    let total = |widths: &[usize]| widths.iter().map(|width| width + 3).sum::<usize>() + 1;
    while total(&widths) > width {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > LEAST_WIDTH) else { break };
        *widest -= 1;
    }
    let all = widths.len();
    while total(&widths) > width && widths.len() > 1 {
        widths.pop();
    }
    let left_out = all - widths.len();
    (widths, left_out)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, NullArray, StringArray};

    use super::*;

    fn stream(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
        let schema = batches[0].schema();
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok))))
    }

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let n = Int64Array::from_iter_values(from..from + rows);
        let s = StringArray::from_iter((from..from + rows).map(|n| match n % 3 {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("a,\"{n}\"\n")),
        }));
        let x = Float64Array::from_iter((from..from + rows).map(|_| Some(0.5)));
        let columns: [(&str, ArrayRef); 3] = [("n", Arc::new(n)), ("text", Arc::new(s)), ("x", Arc::new(x))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    async fn printed(
        output: Output,
        limit: Option<usize>,
        width: Option<usize>,
        batches: Vec<RecordBatch>,
    ) -> (String, u64) {
        let shown = Shown { output, limit, width };
        let mut out = Vec::new();
        let all = match output {
            Output::Table => table(stream(batches), shown, &mut out).await,
            Output::Csv => csv(stream(batches), shown, &mut out).await,
            Output::Json => json(stream(batches), shown, &mut out).await,
        };
        (String::from_utf8(out).unwrap(), all.unwrap())
    }

    #[tokio::test]
    async fn no_value_and_empty_text_look_different() {
        console::set_colors_enabled(false);
        let (text, all) = printed(Output::Table, None, None, vec![batch(0, 2), batch(2, 1)]).await;
        let line = "+---+---------+-----+\n";
        let rows = "| 0 | NULL    | 0.5 |\n| 1 |         | 0.5 |\n| 2 | a,\"2\"\\n | 0.5 |\n";
        assert_eq!((text, all), (format!("{line}| n | text    |   x |\n{line}{rows}{line}"), 3));
        let (text, _) = printed(Output::Csv, None, None, vec![batch(0, 3)]).await;
        assert_eq!(text, "n,text,x\n0,,0.5\n1,\"\",0.5\n2,\"a,\"\"2\"\"\n\",0.5\n");
        let (text, _) = printed(Output::Json, None, None, vec![batch(0, 2)]).await;
        assert_eq!(text, "{\"n\":0,\"text\":null,\"x\":0.5}\n{\"n\":1,\"text\":\"\",\"x\":0.5}\n");
    }

    #[tokio::test]
    async fn a_column_of_nothing_but_nulls_is_empty() {
        console::set_colors_enabled(false);
        let column: ArrayRef = Arc::new(NullArray::new(1));
        let columns = [("x", Arc::clone(&column), true), ("y", column, true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let (text, _) = printed(Output::Csv, None, None, vec![batch.clone()]).await;
        assert_eq!(text, "x,y\n,\n");
        let (text, _) = printed(Output::Table, None, None, vec![batch]).await;
        assert!(text.contains("| NULL | NULL |"), "{text}");
    }

    #[tokio::test]
    async fn a_limit_prints_the_first_rows_and_counts_all() {
        for output in [Output::Table, Output::Csv, Output::Json] {
            let (text, all) = printed(output, Some(2), None, vec![batch(0, 1), batch(1, 3), batch(4, 5)]).await;
            assert_eq!(all, 9);
            assert!(text.contains('1') && !text.contains("a,"), "{text}");
        }
        let (text, all) =
            printed(Output::Table, None, None, (0..30).map(|part| batch(part * 100, 100)).collect()).await;
        assert_eq!((text.lines().count(), all), (3004, 3000));
    }

    /// The width of a column is that of its first rows.
    #[tokio::test]
    async fn values_are_cut_on_a_terminal_only() {
        console::set_colors_enabled(false);
        let batches = || {
            let texts =
                (0..3_000).map(|n| if n < 2_999 { "short".to_owned() } else { "a much longer text".to_owned() });
            let column: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
            (0..3).map(|part| batch.slice(part * 1_000, 1_000)).collect::<Vec<_>>()
        };
        let (text, _) = printed(Output::Table, None, None, batches()).await;
        assert!(text.contains("| a much longer text |\n"), "{}", &text[text.len() - 100..]);
        let (text, _) = printed(Output::Table, None, Some(80), batches()).await;
        assert!(text.contains("…") && !text.contains("a much longer text"), "{}", &text[text.len() - 100..]);
    }

    #[test]
    fn columns_fit_into_the_terminal() {
        assert_eq!(fitted(vec![5, 40, 9], Some(40)), (vec![5, 16, 9], 0));
        assert_eq!(fitted(vec![12; 10], Some(40)), (vec![12, 12], 8));
        assert_eq!(fitted(vec![50], None), (vec![50], 0));
        assert_eq!(cut("Straße am Wald", 6), "Straß…");
    }
}
