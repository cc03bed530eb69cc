//! Sinks that keep versions of keys.

use super::Checks;
use crate::manifest::{History, Manifest, RECORDED_FROM, Read, Sink, VALID_FROM};
use crate::sql::{self, Query, RAW};

impl Checks<'_> {
    pub(super) fn history(&mut self, manifest: &Manifest, query: &Query) {
        let (name, history) = match &manifest.sink {
            Sink::Scd2(history) => ("scd2", history),
            Sink::Bitemporal(history) => ("bitemporal", history),
            Sink::Append {} | Sink::Overwrite {} | Sink::OverwritePartitions { .. } | Sink::Merge { .. } => return,
        };
        self.versions(name, history);
        if manifest.interval.is_some() {
            let help = "remove `interval` and `start`: a history is cut from all rows of a key";
            self.key(&["interval".into()], format!("`{name}` does not work by interval"), help);
        }
        self.history_grain(manifest, name, history);
        self.history_sources(manifest, query, name, history);
        for (index, expectation) in manifest.expect.iter().enumerate() {
            if expectation.unique.is_some() && expectation.removes_rows() {
                let at = ["expect".into(), index.into(), "on_fail".into()];
                let help = "set it to `warn` or `fail`, or take the rows out in a job before";
                self.value(&at, format!("`unique` would take versions out of the history that `{name}` cuts"), help);
            }
        }
    }

    fn versions(&mut self, name: &'static str, history: &History) {
        let at = |key: &'static str| ["sink".into(), name.into(), key.into()];
        self.columns(&at("keys"), &history.keys, "name the columns that say whose version a row is");
        if let Some(compare) = &history.compare {
            self.columns(&at("compare"), compare, "name the columns whose change makes a version, or remove it");
            for (index, column) in compare.iter().enumerate().filter(|(_, column)| history.keys.contains(column)) {
                let place = ["sink".into(), name.into(), "compare".into(), index.into()];
                self.value(&place, format!("`{column}` is a key, and the same in all versions of it"), "remove it");
            }
        }
        if history.effective.trim().is_empty() || history.keys.contains(&history.effective) {
            let help = "name the date or timestamp column that says since when a row holds; it is no key";
            self.value(&at("effective"), "`effective` does not say since when a version holds", help);
        }
        if name == "bitemporal" && history.is_observed() {
            let help = "name a column, or use `scd2`: what was observed when is all that such an extract tells";
            self.value(&at("effective"), "`bitemporal` needs the time that the rows say", help);
        }
        if let Some(deleted) = &history.deleted
            && let Err(message) = sql::check_condition(deleted)
        {
            self.problems.push(self.document.at_value(&at("deleted"), message));
        }
    }

    fn history_grain(&mut self, manifest: &Manifest, name: &str, history: &History) {
        let grain = &manifest.grain;
        let has = |column: &str| grain.iter().any(|name| name == column);
        if !grain.is_empty() && grain.iter().all(|column| history.keys.contains(column)) {
            let message = format!("a key has several rows in a table of `{name}`");
            self.value(&["grain".into()], message, &format!("add `{VALID_FROM}`"));
        } else if name == "bitemporal" && !has(RECORDED_FROM) {
            let message = "a version has several rows where it was corrected";
            self.value(&["grain".into()], message, &format!("add `{RECORDED_FROM}`"));
        }
    }

    /// A part of a key's rows has another history than all of them.
    fn history_sources(&mut self, manifest: &Manifest, query: &Query, name: &str, history: &History) {
        for (source, read) in &manifest.source {
            if read.read != Read::Changed || query.references.iter().all(|reference| reference.name != *source) {
                continue;
            }
            let place = ["source".into(), source.as_str().into()];
            let at = |key: &'static str| [place[0], place[1], key.into()];
            let is_files = source.split('.').next() == Some(RAW);
            if manifest.sink.remembers() || is_files {
                let message = format!("`{name}` reads all rows where something changed");
                self.value(&at("read"), message, "remove it: what did not change stays as it is in the table");
            } else if read.by.is_empty() {
                let help =
                    format!("set `by = [..]` to columns of the source that are the keys ({})", history.keys.join(", "));
                self.value(&at("read"), format!("`{name}` needs all rows of a key to cut its history"), &help);
            } else if read.lookback.is_some() {
                let message = format!("`{name}` needs all rows of a key, and `lookback` leaves out earlier ones");
                self.key(&at("lookback"), message, "remove it");
            }
        }
    }
}
