//! What a metric is, as the reference shows it.

use std::fmt::Write as _;

use crate::families::FAMILIES;

/// A family of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// The name without labels, and of a histogram without `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub unit: &'static str,
    pub on: Shows,
    /// One sentence, without a full stop.
    pub meaning: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The processes that show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    Scheduler,
    Executor,
    Both,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// `docs/reference/metrics.md`.
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         A scheduler shows its metrics at `GET /metrics` of its API, an executor at `metrics_port`\n\
         ([how to scrape them](../guide/metrics.md)). Names, labels and units are stable: one that changes keeps its old name\n\
         beside the new one for a release. This page is generated from `metrics/src/families.rs`.\n\n\
         The label `table` is a job's name, which is that of its table. A process names the first 1,000 tables it sees; those of\n\
         further ones are added up under `other`. No label holds the id of a run or of a trigger. Counters begin at zero when the process\n\
         starts.\n",
    );
    for (title, shows) in
        [("Scheduler", Shows::Scheduler), ("Executor", Shows::Executor), ("Scheduler and executor", Shows::Both)]
    {
        page.push_str(&format!("\n## {title}\n\n| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n"));
        for family in FAMILIES.iter().filter(|family| family.on == shows) {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            // Writing to a string does not fail.
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {}. |",
                family.name,
                family.kind.word(),
                labels.join(", "),
                family.unit,
                family.meaning
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_is_current() {
        let page = include_str!("../../docs/reference/metrics.md");
        assert_eq!(page, reference_markdown(), "`pulse reference metrics > docs/reference/metrics.md` writes it");
    }

    /// <https://prometheus.io/docs/practices/naming/>
    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "a name is used twice");
        for Described { name, kind, labels, unit, meaning, .. } in FAMILIES {
            assert!(name.starts_with("pulse_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            let base = name.strip_suffix("_total").unwrap_or(name);
            for measured in ["seconds", "bytes"] {
                assert_eq!(base.ends_with(measured), *unit == measured, "{name}");
            }
            assert!(!meaning.is_empty() && !meaning.ends_with('.') && !meaning.contains('|'), "{name}");
            // Prometheus names what it scrapes by these two; runs and triggers have no end.
            assert!(!labels.iter().any(|label| ["job", "instance", "run", "trigger", "le"].contains(label)), "{name}");
        }
    }
}
