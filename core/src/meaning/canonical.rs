//! The canonical form: one JSON array of strings per line, which begins with the field's name. Fields with default
//! values have no line. Every struct is destructured without `..`, so that a new field does not compile before its
//! effect on rows is decided.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::manifest::{Expectation, History, IntervalUnit, Manifest, OnFail, Read, Refers, Rows, Sink, Source, Unique};
use crate::project::Job;
use crate::sources::{
    Ambiguous, Bar, BarLabel, Column, Csv, Encoding, Feed, FileSource, FixedField, FixedWidth, Format, Json,
    JsonLayout, JsonLines, Matching, Ragged, Unknown,
};

/// The query, and the fields of the manifest that decide which rows the table holds.
pub(super) fn job(job: &Job) -> String {
    let mut lines = Lines::default();
    lines.add("query", &words(&job.query.text));
    lines.manifest(&job.manifest);
    lines.text
}

/// The fields that decide the rows of a feed's files.
pub(super) fn feed(source: &FileSource, feed: &Feed) -> String {
    // The treatment of deleted files and limits are decided separately from the rows' contents.
    let FileSource { root: _, written_root: _, columns, on_missing: _, max_rejected: _, follow_links: _, feed: _ } =
        source;
    let mut lines = Lines::default();
    columns.iter().for_each(|column| lines.column(column));
    lines.feed(feed);
    lines.text
}

/// The tokens of an SQL text. Equal tokens are equal queries to the parser: it ignores white space, comments and the
/// case of keywords, and folds unquoted names to lower case.
pub(super) fn words(text: &str) -> Vec<String> {
    // The text was parsed before, so this does not fail.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else { return vec![text.to_owned()] };
    tokens.iter().filter_map(word).collect()
}

fn word(token: &Token) -> Option<String> {
    match token {
        // There is only one statement, so a semicolon can only end it.
        Token::Whitespace(_) | Token::EOF | Token::SemiColon => None,
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
        Token::Word(word) => Some(format!("\"{}\"", word.value)),
        token => Some(token.to_string()),
    }
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add<T: AsRef<str>>(&mut self, field: &str, values: &[T]) {
        let values: Vec<&str> = std::iter::once(field).chain(values.iter().map(AsRef::as_ref)).collect();
        self.text.push_str(&serde_json::Value::from(values).to_string());
        self.text.push('\n');
    }

    /// Adds a list of `owner`, unless it is empty.
    fn list(&mut self, field: &str, owner: &str, values: &[String]) {
        if !values.is_empty() {
            let all: Vec<&str> = std::iter::once(owner).chain(values.iter().map(String::as_str)).collect();
            self.add(field, &all);
        }
    }

    fn manifest(&mut self, manifest: &Manifest) {
        let Manifest {
            owner: _,
            description: _,
            tags: _,
            interval,
            // Decides which intervals are due, not what rows they hold.
            start: _,
            grain,
            order: _,
            partition_by,
            // Affects the table's former columns, not the query's rows.
            renamed: _,
            columns: _,
            source,
            sink,
            expect,
            // Loading a project has merged the groups' expectations into those of the job.
            expect_groups: _,
            max_rejected: _,
            run_attempts: _,
            run_timeout_s: _,
            target_file_mib: _,
        } = manifest;
        if let Some(unit) = interval {
            self.add("interval", &[unit_name(*unit)]);
        }
        self.add("grain", grain);
        if !partition_by.is_empty() {
            self.add("partition_by", partition_by);
        }
        self.sink(sink);
        for (name, source) in source {
            self.source(name, source);
        }
        let removing: Vec<&Expectation> = expect.iter().filter(|expectation| expectation.removes_rows()).collect();
        // Rows that are equal in `keep_first_by` are taken in this order.
        if removing.iter().any(|expectation| expectation.unique.is_some()) && manifest.order() != grain.as_slice() {
            self.add("order", manifest.order());
        }
        for (place, expectation) in removing.into_iter().enumerate() {
            self.expectation(&place.to_string(), expectation);
        }
    }

    fn sink(&mut self, sink: &Sink) {
        match sink {
            Sink::Append {} => self.add("sink", &["append"]),
            Sink::Overwrite {} => self.add("sink", &["overwrite"]),
            Sink::OverwritePartitions { by } => {
                self.add("sink", &["overwrite_partitions"]);
                self.add("sink.by", by);
            }
            Sink::Merge { keys, latest_by } => {
                self.add("sink", &["merge"]);
                self.add("sink.keys", keys);
                if !latest_by.is_empty() {
                    self.add("sink.latest_by", &latest_by.iter().map(|text| one_space(text)).collect::<Vec<_>>());
                }
            }
            Sink::Scd2(history) => self.history("scd2", history),
            Sink::Bitemporal(history) => self.history("bitemporal", history),
        }
    }

    fn history(&mut self, sink: &str, history: &History) {
        let History { keys, compare, effective, deleted } = history;
        self.add("sink", &[sink]);
        self.add("sink.keys", keys);
        if let Some(compare) = compare {
            self.add("sink.compare", compare);
        }
        self.add("sink.effective", &[effective]);
        if let Some(deleted) = deleted {
            self.add("sink.deleted", &words(deleted));
        }
    }

    fn source(&mut self, name: &str, source: &Source) {
        let Source { read, by, lookback } = source;
        match read {
            Read::All => {}
            Read::Changed => self.add("source.read", &[name, "changed"]),
        }
        self.list("source.by", name, by);
        if let Some(lookback) = lookback {
            self.add("source.lookback", &[name, &lookback.column, &lookback.days.to_string()]);
        }
    }

    /// Adds an expectation that removes rows from the table.
    fn expectation(&mut self, place: &str, expectation: &Expectation) {
        let Expectation { name, on_fail, check, unique, rows, fresh, refers } = expectation;
        let action = match on_fail {
            OnFail::Warn => "warn",
            OnFail::Drop => "drop",
            OnFail::Quarantine => "quarantine",
            OnFail::Fail => "fail",
        };
        self.add("expect", &[place, name, action]);
        if let Some(check) = check {
            self.list("expect.check", place, &words(check));
        }
        if let Some(Unique { columns, keep_first_by }) = unique {
            self.list("expect.unique", place, columns);
            self.list(
                "expect.keep_first_by",
                place,
                &keep_first_by.iter().map(|text| one_space(text)).collect::<Vec<_>>(),
            );
        }
        if let Some(Rows { at_least, at_most }) = rows {
            let bound = |bound: &Option<u64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
            self.add("expect.rows", &[place, &bound(at_least), &bound(at_most)]);
        }
        if let Some(fresh) = fresh {
            self.add("expect.fresh", &[place, &fresh.column, &fresh.hours.to_string()]);
        }
        if let Some(Refers { column, to }) = refers {
            self.add("expect.refers", &[place, column, to]);
        }
    }

    fn column(&mut self, column: &Column) {
        let Column { name, data_type, required, round } = column;
        self.add("column", &[name, &data_type.to_string()]);
        if *required {
            self.add("column.required", &[name]);
        }
        if *round {
            self.add("column.round", &[name]);
        }
    }

    fn feed(&mut self, feed: &Feed) {
        let Feed {
            path,
            format,
            partitions,
            rename,
            nulls,
            pattern,
            decimal,
            thousands,
            time_zone,
            ambiguous,
            bar,
            unknown,
        } = feed;
        self.add("path", &[path]);
        self.format(format);
        if !partitions.is_empty() {
            let mut partitions: Vec<&String> = partitions.iter().collect();
            partitions.sort();
            self.add("partitions", &partitions);
        }
        for (column, field) in rename {
            self.add("rename", &[column, field]);
        }
        if let Some(nulls) = nulls.as_deref().filter(|nulls| *nulls != [""]) {
            self.add("nulls", nulls);
        }
        for (column, text) in pattern {
            self.add("pattern", &[column, text]);
        }
        if *decimal != '.' {
            self.add("decimal", &[decimal.to_string()]);
        }
        if let Some(mark) = thousands {
            self.add("thousands", &[mark.to_string()]);
        }
        if time_zone != "UTC" {
            self.add("time_zone", &[time_zone]);
        }
        match ambiguous {
            Ambiguous::ByOrder => {}
            Ambiguous::ByStrictOrder => self.add("ambiguous", &["by_strict_order"]),
            Ambiguous::Earlier => self.add("ambiguous", &["earlier"]),
            Ambiguous::Later => self.add("ambiguous", &["later"]),
            Ambiguous::Reject => self.add("ambiguous", &["reject"]),
        }
        if let Some(Bar { column, label, seconds }) = bar {
            let label = match label {
                BarLabel::Start => "start",
                BarLabel::End => "end",
            };
            self.add("bar", &[column, label, &seconds.to_string()]);
        }
        if *unknown != Unknown::default() {
            self.add("unknown", &[unknown.word()]);
        }
    }

    fn format(&mut self, format: &Format) {
        self.add("format", &[format.key()]);
        match format {
            Format::Csv(csv) => self.csv(csv),
            Format::FixedWidth(fixed) => self.fixed_width(fixed),
            Format::JsonLines(lines) => self.json_lines(lines),
            Format::Json(json) => self.json(json),
            Format::Parquet {} | Format::Avro {} => {}
        }
    }

    fn csv(&mut self, csv: &Csv) {
        let Csv { delimiter, quote, escape, header, fields, matching, skip_lines, comment, ragged, encoding } = csv;
        if delimiter != "," {
            self.add("format.delimiter", &[delimiter]);
        }
        if quote != "\"" {
            self.add("format.quote", &[quote]);
        }
        if let Some(escape) = escape {
            self.add("format.escape", &[escape]);
        }
        if !header {
            self.add("format.header", &["false"]);
        }
        if !fields.is_empty() {
            self.add("format.fields", fields);
        }
        match matching {
            Matching::Name => {}
            Matching::NameIgnoringCase => self.add("format.match", &["name_ignoring_case"]),
            Matching::Position => self.add("format.match", &["position"]),
        }
        self.lines(*skip_lines, comment.as_deref(), *ragged, *encoding);
    }

    fn fixed_width(&mut self, fixed: &FixedWidth) {
        let FixedWidth { fields, skip_lines, comment, ragged, encoding } = fixed;
        for FixedField { name, start, width } in fields {
            self.add("format.field", &[name, &start.to_string(), &width.to_string()]);
        }
        self.lines(*skip_lines, comment.as_deref(), *ragged, *encoding);
    }

    fn lines(&mut self, skip_lines: u32, comment: Option<&str>, ragged: Ragged, encoding: Encoding) {
        if skip_lines != 0 {
            self.add("format.skip_lines", &[skip_lines.to_string()]);
        }
        if let Some(comment) = comment {
            self.add("format.comment", &[comment]);
        }
        match ragged {
            Ragged::Reject => {}
            Ragged::Null => self.add("format.ragged", &["null"]),
        }
        if encoding != Encoding::default() {
            self.add("format.encoding", &[encoding.name()]);
        }
    }
}

impl Lines {
    fn json_lines(&mut self, lines: &JsonLines) {
        let JsonLines { joined, fields } = lines;
        if *joined {
            self.add("format.joined", &["true"]);
        }
        self.list("format.fields", "", fields);
    }

    fn json(&mut self, json: &Json) {
        let Json { records, key, layout, fields, outer } = json;
        if !records.is_empty() {
            self.add("format.records", &[records]);
        }
        if let Some(key) = key {
            self.add("format.key", &[key]);
        }
        match layout {
            JsonLayout::Rows => {}
            JsonLayout::Columns => self.add("format.layout", &["columns"]),
        }
        self.list("format.fields", "", fields);
        for (column, pointer) in outer {
            self.add("format.outer", &[column, pointer]);
        }
    }
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unit_name(unit: IntervalUnit) -> &'static str {
    match unit {
        IntervalUnit::Hour => "hour",
        IntervalUnit::Day => "day",
        IntervalUnit::Month => "month",
        IntervalUnit::Year => "year",
    }
}
