//! How a CSV file is cut into records, as its first lines suggest.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::sources::{ColumnType, Csv, Format, Matching};

use super::text::{Marks, guess};

const DELIMITERS: [&str; 4] = [",", ";", "\t", "|"];
/// Records that are looked at.
const RECORDS: usize = 500;
/// Lines before the header that are taken for a preamble.
const PREAMBLE: usize = 20;

/// Options of a file, and the names of its fields in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sniffed {
    pub(super) csv: Csv,
    pub(super) names: Vec<String>,
}

pub(super) fn sniff(text: &str) -> Option<Sniffed> {
    let comment = text.starts_with('#').then(|| "#".to_owned());
    let is_escaped = is_escaped(text);
    let cut = DELIMITERS.iter().map(|delimiter| Cut::new(text, delimiter, comment.is_some(), is_escaped));
    // Of equal ones the first.
    let best = cut.rev().max_by_key(|cut| (cut.fields > 1, cut.agreeing, cut.fields))?;
    let first = best.records.iter().position(|record| record.len() == best.fields).filter(|at| *at <= PREAMBLE)?;
    let records = best.records.get(first..)?;
    let header = is_header(records);
    let mut names = match records.first() {
        Some(names) if header => names.iter().map(|name| name.trim().to_owned()).collect(),
        _ => (1..=best.fields).map(|number| format!("c{number}")).collect::<Vec<String>>(),
    };
    let mut csv = plain()?;
    csv.delimiter = best.delimiter.to_owned();
    csv.quote = best.quote.to_string();
    csv.header = header;
    if header && !is_distinct(&names) {
        // A name that is there twice is no field's own: the places tell them apart.
        names = told_apart(&names);
        csv.matching = Matching::Position;
    }
    if !header || csv.matching == Matching::Position {
        csv.fields.clone_from(&names);
    }
    csv.skip_lines = if comment.is_none() { u32::try_from(first).ok()? } else { 0 };
    csv.comment = comment;
    csv.escape = is_escaped.then(|| "\\".to_owned());
    Some(Sniffed { csv, names })
}

/// Quotes within quotes follow a backslash, and none is doubled.
fn is_escaped(text: &str) -> bool {
    let rest = text.replace("\\\"", "");
    let doubled = |(at, _): (usize, &str)| {
        let before = rest.get(..at).and_then(|before| before.chars().next_back());
        before.is_some_and(|letter| !matches!(letter, ',' | ';' | '\t' | '|' | '\n'))
    };
    text.contains("\\\"") && !rest.match_indices("\"\"").any(doubled)
}

/// CSV without an option.
fn plain() -> Option<Csv> {
    match serde_json::from_value(serde_json::json!({"csv": {}})) {
        Ok(Format::Csv(csv)) => Some(*csv),
        _ => None,
    }
}

/// The records as one delimiter cuts them.
struct Cut {
    delimiter: &'static str,
    quote: char,
    records: Vec<Vec<String>>,
    /// Fields of most records.
    fields: usize,
    /// Records with so many.
    agreeing: usize,
}

impl Cut {
    fn new(text: &str, delimiter: &'static str, has_comments: bool, is_escaped: bool) -> Self {
        let quote = if is_single_quoted(text, delimiter) { '\'' } else { '"' };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter.as_bytes().first().copied().unwrap_or(b','))
            .comment(has_comments.then_some(b'#'))
            .quote(u8::try_from(quote).unwrap_or(b'"'))
            .escape(is_escaped.then_some(b'\\'))
            .double_quote(!is_escaped)
            .from_reader(text.as_bytes());
        let records = reader.records().take(RECORDS).map_while(Result::ok);
        let records: Vec<Vec<String>> = records.map(|record| record.iter().map(str::to_owned).collect()).collect();
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in &records {
            *counts.entry(record.len()).or_default() += 1;
        }
        let (fields, agreeing) = counts.into_iter().max_by_key(|(_, agreeing)| *agreeing).unwrap_or_default();
        Self { delimiter, quote, records, fields, agreeing }
    }
}

/// Whether fields stand between single quotes: there are no others, and each that opens one closes it.
fn is_single_quoted(text: &str, delimiter: &str) -> bool {
    let (mut opened, mut closed) = (0, 0);
    for line in text.lines() {
        for field in line.split(delimiter) {
            let field = field.trim();
            opened += usize::from(field.starts_with('\''));
            closed += usize::from(field.ends_with('\'') && field != "'");
        }
    }
    opened > 1 && opened == closed && !text.contains('"')
}

fn is_distinct(names: &[String]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

/// Whether all names differ and none is empty.
pub(super) fn told_apart(names: &[String]) -> Vec<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut apart = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let name = if name.is_empty() { format!("c{}", at + 1) } else { name.clone() };
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !known.contains(name) && (names.get(at) == Some(name) || !names.contains(name)));
        let free = free.unwrap_or(name);
        known.insert(free.clone());
        apart.push(free);
    }
    apart
}

/// Names are texts that are no values; below them are values, or nothing tells. The first may be empty, as that of the index which pandas
/// writes. A name that is there twice is one only where a column of values stands below a text.
pub(super) fn is_header(records: &[Vec<String>]) -> bool {
    let Some(names) = records.first() else { return false };
    let is_text = |text: &str| guess("", &[text.trim()], Marks::ALL[0]).data_type == ColumnType::String;
    let is_name = |(at, name): (usize, &String)| match name.trim() {
        "" => at == 0 && names.len() > 1,
        name => is_text(name),
    };
    if !names.iter().enumerate().all(is_name) {
        return false;
    }
    let has_values = |at: usize| {
        let mut values = records
            .iter()
            .skip(1)
            .filter_map(|record| record.get(at))
            .filter(|value| !value.trim().is_empty())
            .peekable();
        values.peek().is_some() && values.all(|value| !is_text(value))
    };
    let is_index = names.first().is_some_and(|name| name.trim().is_empty());
    let tells = is_distinct(names) && !is_index;
    tells || (0..names.len()).any(has_values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let Sniffed { csv, names } = sniff(text).unwrap();
        format!(
            "{:?} header={} skip={} {:?} {}",
            csv.delimiter,
            csv.header,
            csv.skip_lines,
            csv.comment,
            names.join(" ")
        )
    }

    #[test]
    fn the_delimiter_with_which_records_agree() {
        assert_eq!(shown("a,b\n1,2\n3,4\n"), "\",\" header=true skip=0 None a b");
        assert_eq!(shown("a;b\n1,5;2,5\n3,5;4,5\n"), "\";\" header=true skip=0 None a b");
        assert_eq!(shown("a\tb c\n\"x\ty\"\t2\n"), "\"\\t\" header=true skip=0 None a b c");
        assert_eq!(shown("only\n1\n2\n"), "\",\" header=true skip=0 None only");
    }

    #[test]
    fn preambles_comments_and_files_without_names() {
        assert_eq!(
            shown("Report of 2024\n\nday,close\n2024-01-01,1\n2024-01-02,2\n"),
            "\",\" header=true skip=1 None day close"
        );
        assert_eq!(shown("# a, b\nday,close\n2024-01-01,1\n"), "\",\" header=true skip=0 Some(\"#\") day close");
        assert_eq!(shown("1700000000,1.5,2\n1700000060,1.6,3\n"), "\",\" header=false skip=0 None c1 c2 c3");
    }

    #[test]
    fn a_backslash_before_a_quote_escapes_it() {
        assert_eq!(sniff("a,b\n\"x \\\"y\\\"\",2\n").unwrap().csv.escape.as_deref(), Some("\\"));
        assert_eq!(sniff("a,b\n\"x \"\"y\"\"\",2\n").unwrap().csv.escape, None);
        // In every row, with delimiters within.
        let all = "\"a\",\"b\"\n\"{\\\"k\\\":1,\\\"v\\\":2}\",\"1\"\n\"{\\\"k\\\":3}\",\"2\"\n";
        let sniffed = sniff(all).unwrap();
        assert_eq!((sniffed.csv.escape.as_deref(), sniffed.names.join(" ").as_str()), (Some("\\"), "a b"));
    }

    #[test]
    fn names_of_pandas_and_names_that_are_there_twice() {
        assert_eq!(shown(",day,close\n0,2024-01-01,1\n1,2024-01-02,2\n"), "\",\" header=true skip=0 None  day close");
        assert_eq!(shown(",day\nx,y\n"), "\",\" header=false skip=0 None c1 c2");
        let twice = sniff("day,px,px\n2024-01-01,1,2\n2024-01-02,3,4\n").unwrap();
        assert_eq!((twice.csv.header, twice.csv.matching), (true, Matching::Position));
        assert_eq!(twice.csv.fields, ["day", "px", "px_2"]);
        assert_eq!(told_apart(&["a", "a", "a_2", ""].map(str::to_owned)), ["a", "a_3", "a_2", "c4"]);
        // Texts alone may be values.
        assert_eq!(shown("a,b,a\nc,d,e\n"), "\",\" header=false skip=0 None c1 c2 c3");
    }

    #[test]
    fn single_quotes_are_quotes_if_all_of_them_close() {
        let quoted = sniff("'a','b'\n'x, y','1'\n'z','2'\n").unwrap();
        assert_eq!((quoted.csv.quote.as_str(), quoted.names.join(" ").as_str()), ("'", "a b"));
        assert_eq!(sniff("a,b\n'tis,1\nit's,2\n").unwrap().csv.quote, "\"");
    }
}
