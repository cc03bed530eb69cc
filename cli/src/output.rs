//! What people and programs read.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field, Schema};
use datafusion::arrow;
use pulse_core::shown::shown;
use pulse_core::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Colour, Output};

/// Whether a person follows on stderr.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Columns of the terminal; none off a terminal.
pub(crate) fn width() -> Option<usize> {
    console::Term::stderr().size_checked().map(|(_, columns)| usize::from(columns))
}

/// What `--color` and `NO_COLOR` say for both streams.
pub(crate) fn set_colours(colour: Colour) {
    let wanted = |is_terminal: bool| match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    console::set_colors_enabled(wanted(std::io::stdout().is_terminal()));
    console::set_colors_enabled_stderr(wanted(std::io::stderr().is_terminal()));
}

/// `1 row`, `2,000 rows`.
pub(crate) fn plural(value: u64, noun: &str) -> String {
    let ending = if value == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(value))
}

/// An error with its snippets and its root cause, on stderr.
pub(crate) fn error(error: &Error) {
    let text = if console::colors_enabled_stderr() { error.render_coloured() } else { error.render() };
    let mut source = std::error::Error::source(error);
    let mut causes = String::new();
    while let Some(inner) = source {
        causes = format!("{causes}\n  caused by: {inner}");
        source = inner.source();
    }
    let text = text.trim_end();
    eprintln!("{text}{}", shown(&causes));
}

/// All of them, and the exit code of the first; none when there are none.
pub(crate) fn errors<'a>(errors: impl IntoIterator<Item = &'a Error>) -> Option<ExitCode> {
    let mut code = None;
    for error in errors {
        self::error(error);
        code.get_or_insert(ExitCode::from(exit_code(error)));
    }
    code
}

/// 2 for what the user can mend in what was typed, 1 for everything else.
pub(crate) fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Invalid => 2,
        ErrorKind::Cancelled => 130,
        ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Data | ErrorKind::Exhausted | ErrorKind::Internal => {
            1
        }
    }
}

/// Text to stdout.
pub(crate) fn data(text: &str) {
    // The end of the process reports what could not be written.
    let _ = Stdout.write_all(text.as_bytes()).and_then(|()| Stdout.flush());
}

/// Text to stderr. Nothing can be said of an error.
pub(crate) fn words(text: std::fmt::Arguments<'_>) {
    // Tests capture what the standard library's macro prints.
    if cfg!(test) {
        std::eprint!("{text}");
        return;
    }
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Why stdout could not be written.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// What was not written to stdout, as on a full disk: the answer is not whole. A reader that went away is no error.
pub(crate) fn unwritten() -> Option<Error> {
    UNWRITTEN.get().map(|why| Error::unavailable(format!("the answer could not be written to stdout: {why}")))
}

/// The process's stdout, which remembers its first error.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        remembered(std::io::stdout().lock().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        remembered(std::io::stdout().lock().flush())
    }
}

fn remembered<T>(written: std::io::Result<T>) -> std::io::Result<T> {
    if let Err(error) = &written
        && !matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::Interrupted)
    {
        UNWRITTEN.get_or_init(|| error.to_string());
    }
    written
}

pub(crate) fn line(text: &str) {
    data(&format!("{text}\n"));
}

/// An object for each line; every key is there, with null for no value.
pub(crate) fn json_writer<W: std::io::Write>(out: W) -> arrow::json::LineDelimitedWriter<W> {
    arrow::json::WriterBuilder::new().with_explicit_nulls(true).build(out)
}

/// CSV has no lists and structs: they are texts in JSON.
pub(crate) fn with_nested_as_json(batch: &RecordBatch) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let is_nested = |column: &ArrayRef| column.data_type().is_nested();
    if !batch.columns().iter().any(is_nested) {
        return Ok(batch.clone());
    }
    let mut columns = Vec::with_capacity(batch.num_columns());
    let mut fields = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = if is_nested(column) { json_texts(column)? } else { Arc::clone(column) };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn json_texts(column: &ArrayRef) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    const BEFORE: &str = "{\"v\":";
    let batch = RecordBatch::try_from_iter_with_nullable([("v", Arc::clone(column), true)])?;
    let mut writer = json_writer(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let lines = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    let texts = lines.lines().enumerate().map(|(row, line)| {
        let text = line.strip_prefix(BEFORE).and_then(|line| line.strip_suffix('}'));
        text.filter(|_| column.is_valid(row)).map(str::to_owned)
    });
    Ok(Arc::new(texts.collect::<StringArray>()))
}

/// Rows of text in columns; the first row is the head. JSON and CSV take their own forms.
pub(crate) fn table<T: Serialize>(head: &[&str], rows: &[Vec<String>], values: &[T], output: Output) -> Result<()> {
    match output {
        Output::Json => {
            for value in values {
                let text = serde_json::to_string(value)
                    .map_err(|e| Error::internal("an answer is not JSON").with_source(e))?;
                line(&text);
            }
        }
        Output::Csv => {
            line(&head.join(","));
            for row in rows {
                line(&row.iter().map(|cell| csv_field(cell)).collect::<Vec<_>>().join(","));
            }
        }
        Output::Table => data(&aligned(head, rows)),
    }
    Ok(())
}

/// A table for people. Programs get values of these keys in CSV, and whole ones in JSON: numbers and stamps, and no words for people.
pub(crate) fn listing<T: Serialize>(
    (head, keys): (&[&str], &[&str]),
    rows: &[Vec<String>],
    given: &[T],
    output: Output,
) -> Result<()> {
    match output {
        Output::Table => table(head, rows, given, output),
        Output::Json | Output::Csv => values(keys, given, output),
    }
}

/// What programs ask for of a command whose words are on stderr: JSON, or CSV with these keys; nothing for people.
pub(crate) fn values<T: Serialize>(keys: &[&str], values: &[T], output: Output) -> Result<()> {
    if output == Output::Table {
        return Ok(());
    }
    let no_json = |e| Error::internal("an answer is not JSON").with_source(e);
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = |value: &T| {
        let object = serde_json::to_value(value).map_err(no_json)?;
        Ok(keys.iter().map(|key| cell(&object[*key])).collect())
    };
    let rows = values.iter().map(row).collect::<Result<Vec<Vec<String>>>>()?;
    table(keys, &rows, values, output)
}

/// JSON where it is asked for, of a command that says all else on stderr.
pub(crate) fn jsons<T: Serialize>(values: &[T], output: Output) -> Result<()> {
    match output {
        Output::Json => table(&[], &[], values, output),
        Output::Table | Output::Csv => Ok(()),
    }
}

/// `2024-01-31 14:30:00` of a stamp in ISO 8601.
pub(crate) fn short_stamp(stamp: &str) -> String {
    stamp.get(..19).unwrap_or(stamp).replace('T', " ")
}

/// RFC 4180.
pub(crate) fn csv_field(text: &str) -> std::borrow::Cow<'_, str> {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

/// Columns as wide as their widest cell, two spaces between; numbers to the right.
pub(crate) fn aligned(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let numeric = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .all(|cell| cell.chars().all(|c| !c.is_alphabetic() || "KMGiB".contains(c)))
    };
    let right: Vec<bool> = (0..head.len()).map(numeric).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .zip(&right)
            .map(|((cell, width), right)| if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `185,996`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
