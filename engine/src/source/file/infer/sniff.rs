//! How a CSV file is cut into records, as its first lines suggest.

use std::collections::BTreeMap;

use pulse_core::sources::{ColumnType, Csv, Format};

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
    let cut = DELIMITERS.iter().map(|delimiter| Cut::new(text, delimiter, comment.is_some()));
    // Of equal ones the first.
    let best = cut.rev().max_by_key(|cut| (cut.fields > 1, cut.agreeing, cut.fields))?;
    let first = best.records.iter().position(|record| record.len() == best.fields).filter(|at| *at <= PREAMBLE)?;
    let records = best.records.get(first..)?;
    let header = is_header(records);
    let names = match records.first() {
        Some(names) if header => names.iter().map(|name| name.trim().to_owned()).collect(),
        _ => (1..=best.fields).map(|number| format!("c{number}")).collect::<Vec<String>>(),
    };
    let mut csv = plain()?;
    csv.delimiter = best.delimiter.to_owned();
    csv.header = header;
    if !header {
        csv.fields.clone_from(&names);
    }
    csv.skip_lines = if comment.is_none() { u32::try_from(first).ok()? } else { 0 };
    csv.comment = comment;
    csv.escape = is_escaped(text).then(|| "\\".to_owned());
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
    records: Vec<Vec<String>>,
    /// Fields of most records.
    fields: usize,
    /// Records with so many.
    agreeing: usize,
}

impl Cut {
    fn new(text: &str, delimiter: &'static str, has_comments: bool) -> Self {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter.as_bytes().first().copied().unwrap_or(b','))
            .comment(has_comments.then_some(b'#'))
            .from_reader(text.as_bytes());
        let records = reader.records().take(RECORDS).map_while(Result::ok);
        let records: Vec<Vec<String>> = records.map(|record| record.iter().map(str::to_owned).collect()).collect();
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in &records {
            *counts.entry(record.len()).or_default() += 1;
        }
        let (fields, agreeing) = counts.into_iter().max_by_key(|(_, agreeing)| *agreeing).unwrap_or_default();
        Self { delimiter, records, fields, agreeing }
    }
}

/// Names are distinct texts that are no values; below them are values, or nothing tells.
fn is_header(records: &[Vec<String>]) -> bool {
    let Some(names) = records.first() else { return false };
    let is_name = |name: &String| {
        !name.trim().is_empty() && guess("", &[name.trim()], Marks::ALL[0]).data_type == ColumnType::String
    };
    let distinct = names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
    distinct && names.iter().all(is_name)
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
    }
}
