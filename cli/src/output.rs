//! What people and programs read.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::arrow;
use pulse_core::{Error, ErrorKind, Result};
use serde::Serialize;

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
    eprintln!("{text}{causes}");
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

/// Text to stdout; a reader that went away is no error.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub(crate) fn line(text: &str) {
    data(&format!("{text}\n"));
}

pub(crate) fn batches(batches: &[RecordBatch], output: Output) -> Result<()> {
    let unprintable = |e: arrow::error::ArrowError| Error::data("the answer cannot be printed").with_source(e);
    match output {
        Output::Table => line(&pretty_format_batches(batches).map_err(unprintable)?.to_string()),
        Output::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            for batch in batches {
                writer.write(batch).map_err(unprintable)?;
            }
            writer.finish().map_err(unprintable)?;
            data(&String::from_utf8_lossy(&writer.into_inner()));
        }
        Output::Csv => {
            let mut writer = arrow::csv::Writer::new(Vec::new());
            for batch in batches {
                writer.write(batch).map_err(unprintable)?;
            }
            data(&String::from_utf8_lossy(&writer.into_inner()));
        }
    }
    Ok(())
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

/// RFC 4180.
fn csv_field(text: &str) -> std::borrow::Cow<'_, str> {
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
