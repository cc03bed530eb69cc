//! A contract that the bytes of a file suggest, as a proposal for a person: pure.

mod aligned;
mod json;
mod magic;
mod partitions;
mod render;
mod sniff;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema, TimeUnit};
use bytes::Bytes;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use pulse_core::sources::{ColumnType, Encoding, Format};
use pulse_core::{Error, Result};

use self::text::{Guess, Marks, guess};
use super::compression::Compression;
use super::damage::caught;
use super::encoding::Transcoder;
use super::layout::{FEED, LINE, SOURCE_FILE};
use crate::source::footer;
use crate::type_name::type_name;

/// Bytes of a file that a proposal is made from.
pub const SAMPLE_BYTES: usize = 4 << 20;
/// Bytes that a compressed sample may yield.
const MOST_TEXT: usize = 16 << 20;
/// Records that types are guessed from.
const RECORDS: usize = 20_000;

/// A source of one feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    format: Format,
    columns: Vec<Proposed>,
    marks: Marks,
    nulls: BTreeSet<String>,
    /// Fields that it does not read, and why.
    unread: Vec<String>,
    /// Names of columns that folders say.
    partitions: Vec<String>,
    /// Lines that are no records: the number of each, from 1, and why.
    broken: Vec<(usize, String)>,
}

/// A column with what speaks for it.
#[derive(Debug, Clone, PartialEq)]
struct Proposed {
    name: String,
    field: String,
    data_type: ColumnType,
    pattern: Option<String>,
    /// Values are rounded to what the type holds.
    round: bool,
    evidence: String,
}

impl Proposal {
    /// What of the file it does not read, and why.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// Columns whose values lose digits.
    pub fn rounded(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.round).map(|column| column.name.as_str())
    }

    /// Lines of the sample that are no records: the number of each, from 1, and why.
    pub fn broken(&self) -> &[(usize, String)] {
        &self.broken
    }

    /// Columns that may be something else, and what: a person decides.
    pub fn doubts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().filter_map(|column| {
            let (_, doubt) = column.evidence.split_once("AMBIGUOUS: ")?;
            Some((column.name.as_str(), doubt))
        })
    }

    /// A name for a source of a file of this name.
    pub fn source_name(&self, file: &str) -> String {
        column_name(file.split('.').next().unwrap_or_default(), &mut BTreeMap::new())
    }
}

/// `bytes` are the front of the file, or all of it.
///
/// # Errors
/// `Invalid` when no format is recognised.
pub fn infer(path: &str, bytes: &[u8], is_whole: bool) -> Result<Proposal> {
    let unknown =
        |why: String| Error::invalid(format!("{path}: {why}; describe it by hand (docs/guide/describe-your-files.md)"));
    if bytes.starts_with(b"PAR1") {
        if !is_whole {
            return Err(unknown(
                "a Parquet file is read from its end, and this one is too large to be looked at".to_owned(),
            ));
        }
        let read = caught(|| ArrowReaderMetadata::load(&Bytes::copy_from_slice(bytes), footer::options(bytes)?));
        let read = read.map_err(unknown)?.map_err(|error| unknown(error.to_string()))?;
        return Ok(of_schema(read.schema()));
    }
    if let Some(why) = magic::other_format(path, bytes) {
        return Err(unknown(why));
    }
    let (bytes, is_whole) = decompressed(path, bytes, is_whole).map_err(unknown)?;
    let (text, encoding) =
        decoded(&bytes, is_whole).ok_or_else(|| unknown("it is neither text nor Parquet".to_owned()))?;
    if text.trim().is_empty() {
        return Err(unknown("it is empty".to_owned()));
    }
    if let Some(why) = magic::other_text(&text) {
        return Err(unknown(why));
    }
    if text.contains('\r') && !text.contains('\n') {
        let why =
            "its lines end with a carriage return alone, which is not read; convert it, such as by `tr '\\r' '\\n'`";
        return Err(unknown(why.to_owned()));
    }
    let proposal = match text.trim_start().starts_with(['{', '[']) {
        true => of_json(&text, is_whole),
        false => of_csv(&text, encoding),
    };
    proposal.map_err(unknown)
}

fn decompressed(path: &str, bytes: &[u8], is_whole: bool) -> Result<(Vec<u8>, bool), String> {
    let decompressor = Compression::of(path).decompressor(MOST_TEXT).map_err(|error| error.to_string())?;
    let Some(mut decompressor) = decompressor else { return Ok((bytes.to_vec(), is_whole)) };
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() && out.len() < MOST_TEXT {
        at += decompressor.push(bytes.get(at..).unwrap_or_default(), &mut out)?;
    }
    let is_read = at >= bytes.len();
    while is_whole && is_read && out.len() < MOST_TEXT {
        if decompressor.finish(&mut out)? {
            return Ok((out, true));
        }
    }
    // What the last bytes of a part still hold is not needed.
    while !is_whole && out.is_empty() && !decompressor.finish(&mut out)? {}
    Ok((out, false))
}

/// Text up to its last whole line, and its encoding; `None` for bytes that are no text.
fn decoded(bytes: &[u8], is_whole: bool) -> Option<(String, Encoding)> {
    // Every byte is a character of the last one.
    for encoding in [Encoding::Utf8, Encoding::Windows1252, Encoding::Latin1] {
        let (mut transcoder, mut text) = (Transcoder::new(encoding), Vec::new());
        transcoder.push(bytes, &mut text).and_then(|()| transcoder.finish(&mut text)).ok()?;
        let whole = if is_whole { None } else { memchr::memrchr(b'\n', &text) };
        text.truncate(whole.map_or(text.len(), |at| at + 1));
        if let Ok(text) = String::from_utf8(text) {
            return (!text.contains('\0')).then_some((text, encoding));
        }
    }
    None
}

fn of_csv(text: &str, encoding: Encoding) -> Result<Proposal, String> {
    let sniffed = sniff::sniff(text);
    if sniffed.as_ref().is_none_or(|sniffed| sniffed.names.len() < 2)
        && let Some(aligned) = aligned::aligned(text)
    {
        return Ok(of_aligned(aligned, encoding));
    }
    let sniff::Sniffed { mut csv, names } = sniffed.ok_or("no delimiter cuts its lines into records alike")?;
    csv.encoding = encoding;
    let rest = text.split_inclusive('\n').skip(csv.skip_lines as usize).collect::<String>();
    let byte = |text: &str| text.as_bytes().first().copied();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(csv.header)
        .flexible(true)
        .delimiter(byte(&csv.delimiter).unwrap_or(b','))
        .quote(byte(&csv.quote).unwrap_or(b'"'))
        .escape(csv.escape.as_deref().and_then(byte))
        .double_quote(csv.escape.is_none())
        .comment(csv.comment.as_deref().and_then(byte))
        .from_reader(rest.as_bytes());
    let mut values: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    for record in
        reader.records().take(RECORDS).filter_map(std::result::Result::ok).filter(|record| record.len() == names.len())
    {
        for (column, value) in values.iter_mut().zip(&record) {
            column.push(value.to_owned());
        }
    }
    let (mut guesses, marks) = guesses(&names, &values);
    if csv.delimiter == ";" {
        text::name_unclear_marks(&mut guesses, &values, marks);
    }
    Ok(proposal(Format::Csv(Box::new(csv)), names.into_iter().zip(guesses), marks))
}

fn of_aligned(aligned: aligned::Aligned, encoding: Encoding) -> Proposal {
    let aligned::Aligned { mut fixed, names, values } = aligned;
    fixed.encoding = encoding;
    let (guesses, marks) = guesses(&names, &values);
    proposal(Format::FixedWidth(Box::new(fixed)), names.into_iter().zip(guesses), marks)
}

/// What the columns hold, and with which marks of numbers.
fn guesses(names: &[String], values: &[Vec<String>]) -> (Vec<Guess>, Marks) {
    let guesses = |marks: Marks| -> Vec<Guess> {
        let one = |(name, values): (&String, &Vec<String>)| {
            guess(name, &values.iter().map(String::as_str).collect::<Vec<_>>(), marks)
        };
        names.iter().zip(values).map(one).collect()
    };
    let numbers = |marks: &Marks| guesses(*marks).iter().filter(|guess| guess.is_number()).count();
    // Of marks with which equally many columns are numbers, the first.
    let marks = Marks::ALL.into_iter().rev().max_by_key(numbers).unwrap_or(Marks::ALL[0]);
    (guesses(marks), marks)
}

fn of_json(text: &str, is_whole: bool) -> Result<Proposal, String> {
    let json::Records { format, fields, count, broken, unread } = json::records(text, is_whole)?;
    let mut guesses =
        json::guesses(fields.iter().map(|(name, values)| (name, values.get(..RECORDS).unwrap_or(values))));
    for ((_, guess), values) in guesses.iter_mut().zip(fields.values()).filter(|(_, values)| values.len() < count) {
        let seen = guess.evidence.replace(", never empty", "");
        guess.evidence = format!("{seen}; {} of {count} records do not have it", count - values.len());
    }
    let mut proposal = proposal(format, guesses.into_iter(), Marks::ALL[0]);
    proposal.unread.extend(unread);
    Ok(Proposal { broken, ..proposal })
}

fn proposal(format: Format, guesses: impl Iterator<Item = (String, Guess)>, marks: Marks) -> Proposal {
    // Every source has these.
    let mut names: BTreeMap<String, u32> = [FEED, SOURCE_FILE, LINE].map(|name| (name.to_owned(), 1)).into();
    let (mut nulls, mut columns, mut unread) = (BTreeSet::new(), Vec::new(), Vec::new());
    let guesses: Vec<(String, Guess)> = guesses.collect();
    // What means null in one column of a feed means null in all of them.
    let kept: BTreeSet<String> = guesses.iter().flat_map(|(_, guess)| guess.kept.iter().cloned()).collect();
    for (name, guess) in guesses {
        let guess = match guess.nulls.intersection(&kept).next().cloned() {
            Some(text) => guess.into_text(&format!(
                "AMBIGUOUS: `{text}` seems to be null here, and is a value of another column; the column stays text"
            )),
            None => guess,
        };
        if name.is_empty() {
            unread.push(format!("a field without a name: {}", guess.evidence));
            continue;
        }
        let column = column_name(&name, &mut names);
        // A pointer begins so.
        let is_json = matches!(format, Format::Json(_) | Format::JsonLines(_));
        let field = match name.starts_with('/') && is_json {
            true => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            false => name,
        };
        nulls.extend(guess.nulls);
        let Guess { data_type, pattern, evidence, .. } = guess;
        columns.push(Proposed { name: column, field, data_type, pattern, round: false, evidence });
    }
    Proposal { format, columns, marks, nulls, unread, partitions: Vec::new(), broken: Vec::new() }
}

fn of_schema(schema: &Schema) -> Proposal {
    // A contract names fields of structs by letters, digits and `_`.
    let declared =
        |data_type: &DataType| column_type(data_type).filter(|found| found.to_string().parse() == Ok(found.clone()));
    let fields = schema.fields().iter().map(|field| (field, declared(field.data_type())));
    let guesses = fields.clone().filter_map(|(field, data_type)| {
        let seen = format!("{} in the file", seen_type(field.data_type()));
        let evidence = match is_finer(field.data_type()) {
            true => format!("{seen}; rounded to microseconds, and a row with more digits is rejected without `round`"),
            false => seen,
        };
        Some((
            field.name().clone(),
            Guess { data_type: data_type?, pattern: None, nulls: BTreeSet::new(), kept: BTreeSet::new(), evidence },
        ))
    });
    let mut proposal = proposal(Format::Parquet {}, guesses, Marks::ALL[0]);
    for column in &mut proposal.columns {
        column.round = schema.field_with_name(&column.field).is_ok_and(|field| is_finer(field.data_type()));
    }
    let unread = fields.filter(|(_, data_type)| data_type.is_none());
    let reason = |(field, _): (&std::sync::Arc<arrow::datatypes::Field>, _)| {
        format!("`{}`: {} in the file, which no type of a column holds", field.name(), seen_type(field.data_type()))
    };
    proposal.unread.extend(unread.map(reason));
    proposal
}

/// In the words of manifests, with the unit of stamps.
fn seen_type(data_type: &DataType) -> String {
    let unit = match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => "seconds",
        DataType::Timestamp(TimeUnit::Millisecond, _) => "milliseconds",
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "nanoseconds",
        other => return type_name(other),
    };
    let zone = if matches!(data_type, DataType::Timestamp(_, None)) { "timestamp_ntz" } else { "timestamp" };
    format!("{zone} in {unit}")
}

/// Digits that a decimal column has at least, as many as fit into 64 bits.
const DIGITS: u8 = 18;

/// Whether values may have digits behind the microsecond, which no table has.
fn is_finer(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(unit, _) => *unit == TimeUnit::Nanosecond,
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => is_finer(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| is_finer(field.data_type())),
        DataType::Dictionary(_, values) => is_finer(values),
        _ => false,
    }
}

/// The type of a contract that holds all values of a type of Arrow; `None` when there is none.
fn column_type(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 => ColumnType::Tinyint,
        DataType::Int16 | DataType::UInt8 => ColumnType::Smallint,
        DataType::Int32 | DataType::UInt16 => ColumnType::Int,
        DataType::Int64 | DataType::UInt32 => ColumnType::Bigint,
        DataType::UInt64 => ColumnType::Decimal { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => ColumnType::Float,
        DataType::Float64 => ColumnType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            // Writers such as pandas take the fewest digits that one file needs, and the next file has more.
            ColumnType::Decimal { precision: (*precision).max(DIGITS), scale: u8::try_from(*scale).ok()? }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Binary
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, Some(_)) => ColumnType::Timestamp,
        DataType::Timestamp(_, None) => ColumnType::TimestampNtz,
        DataType::Dictionary(_, values) => column_type(values)?,
        DataType::List(item) | DataType::LargeList(item) => ColumnType::Array(Box::new(column_type(item.data_type())?)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => ColumnType::Map(Box::new(column_type(fields.get(1)?.data_type())?)),
            _ => return None,
        },
        DataType::Struct(fields) => {
            let field = |field: &std::sync::Arc<arrow::datatypes::Field>| {
                Some((field.name().clone(), column_type(field.data_type())?))
            };
            ColumnType::Struct(fields.iter().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Lower-case letters, digits and `_`, a letter first; none twice.
fn column_name(field: &str, used: &mut BTreeMap<String, u32>) -> String {
    let mut name = String::new();
    for letter in field.trim().chars() {
        match letter.to_ascii_lowercase() {
            letter if letter.is_ascii_alphanumeric() => name.push(letter),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    let mut name = name.trim_end_matches('_').to_owned();
    if !name.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        name = format!("c{name}");
    }
    let count = used.entry(name.clone()).or_default();
    *count += 1;
    if *count > 1 { format!("{name}_{count}") } else { name }
}

#[cfg(test)]
mod tests;
