//! Reads Prometheus' text format back, as far as [`Registry`](crate::Registry) writes it: tests compare it with [`FAMILIES`].

use std::collections::{BTreeMap, BTreeSet};

use crate::described::{Kind, Shows};
use crate::families::FAMILIES;

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// An answer to a scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scraped {
    /// Families with the word of their kind.
    pub kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

impl Scraped {
    /// `None` where a line is none of the format.
    pub fn parse(text: &str) -> Option<Self> {
        let mut scraped = Self::default();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ')?;
                scraped.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with("# HELP ") {
                scraped.samples.push(sample(line)?);
            }
        }
        Some(scraped)
    }

    /// The value of the series with exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.samples.iter().find(|sample| sample.name == name && sample.labels == labels).map(|sample| sample.value)
    }

    /// In what it differs from the reference, for a process that has a series of each family.
    pub fn differences(&self, shows: Shows) -> Vec<String> {
        let described = FAMILIES.iter().filter(|family| family.on == shows || family.on == Shows::Both);
        let described: BTreeSet<String> =
            described.map(|family| line(family.name, family.kind.word(), family.labels.iter().copied())).collect();
        let shown: BTreeSet<String> = self.kinds.iter().map(|(name, kind)| self.family(name, kind)).collect();
        let missing = described.difference(&shown).map(|family| format!("not shown: {family}"));
        missing.chain(shown.difference(&described).map(|family| format!("not described: {family}"))).collect()
    }

    fn family(&self, name: &str, kind: &str) -> String {
        let is_of = |sample: &&Sample| match kind == Kind::Histogram.word() {
            true => ["_bucket", "_sum", "_count"].iter().any(|end| sample.name.strip_suffix(end) == Some(name)),
            false => sample.name == name,
        };
        let samples: Vec<&Sample> = self.samples.iter().filter(is_of).collect();
        let labels: BTreeSet<&str> =
            samples.iter().flat_map(|sample| sample.labels.keys().map(String::as_str)).collect();
        // `le` is the label of a histogram's buckets.
        line(name, kind, labels.into_iter().filter(|label| *label != "le"))
    }
}

fn line<'a>(name: &str, kind: &str, labels: impl Iterator<Item = &'a str>) -> String {
    let mut labels: Vec<&str> = labels.collect();
    labels.sort_unstable();
    format!("{kind} {name}{labels:?}")
}

/// Such as `name{a="b"} 1`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (key, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.insert(key.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// A label's value up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_prometheus_reads_them() {
        let text =
            "# HELP a Some \"help\".\n# TYPE a counter\na{b=\"c\\\"d\\\\ }\",e=\"f g\"} 1.5\nh_bucket{le=\"+Inf\"} 3\n";
        let scraped = Scraped::parse(text).unwrap();
        assert_eq!(scraped.kinds, BTreeMap::from([("a".to_owned(), "counter".to_owned())]));
        assert_eq!(scraped.value("a", &[("b", "c\"d\\ }"), ("e", "f g")]), Some(1.5));
        assert_eq!(scraped.value("h_bucket", &[("le", "+Inf")]), Some(3.0));
        assert_eq!(scraped.value("a", &[]), None);
        for wrong in ["a", "a x", "a{b} 1", "a{b=\"c} 1"] {
            assert_eq!(Scraped::parse(wrong), None, "{wrong}");
        }
    }
}
