//! Differences between the fields of files and their contract, reported once per run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Maximum number of recorded fields per feed.
const MOST_FIELDS: usize = 100;
/// Number of field names that one note lists.
const SHOWN_FIELDS: usize = 20;

/// Length limit for displayed names.
const SHOWN_CHARACTERS: usize = 60;

/// The differences of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    pub feed: String,
    pub file: String,
    /// Fields that no column reads.
    pub ignored: Vec<String>,
    /// Columns whose field no record of the file has, with that field.
    pub absent: Vec<(String, String)>,
    /// Rows that are not read, beside the rejected one that stands for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
}

/// The differences of all files of a run, independent of the order in which they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// By feed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    feeds: BTreeMap<String, Fields>,
    /// Rows that are not read, beside the rejected ones that stand for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    unread: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Fields {
    /// Fields that no column reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ignored: BTreeMap<String, Files>,
    /// By column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    absent: BTreeMap<String, Absent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Absent {
    field: String,
    files: Files,
}

/// The first of several files by name, and whether there are others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Files {
    first: String,
    others: bool,
}

impl Notes {
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.unread == 0
    }

    /// Rows of unreadable files that are not read, beside the rejected ones that stand for them.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    pub fn add(&mut self, note: FileNote) {
        let FileNote { feed, file, ignored, absent, unread } = note;
        self.unread = self.unread.saturating_add(unread);
        if ignored.is_empty() && absent.is_empty() {
            return;
        }
        let files = Files { first: file, others: false };
        let fields = Fields {
            ignored: ignored.into_iter().map(|field| (field, files.clone())).collect(),
            absent: absent
                .into_iter()
                .map(|(column, field)| (column, Absent { field, files: files.clone() }))
                .collect(),
        };
        self.feeds.entry(feed).or_default().merge(fields);
    }

    pub fn merge(&mut self, other: Self) {
        self.unread = self.unread.saturating_add(other.unread);
        for (feed, fields) in other.feeds {
            self.feeds.entry(feed).or_default().merge(fields);
        }
    }

    /// One sentence per note.
    pub fn lines(&self) -> Vec<String> {
        self.feeds.iter().flat_map(|(feed, fields)| fields.lines(feed)).collect()
    }
}

impl Fields {
    fn merge(&mut self, other: Self) {
        for (field, files) in other.ignored {
            match self.ignored.get_mut(&field) {
                Some(known) => known.merge(files),
                None => drop(self.ignored.insert(field, files)),
            }
        }
        for (column, absent) in other.absent {
            match self.absent.get_mut(&column) {
                Some(known) => known.files.merge(absent.files),
                None => drop(self.absent.insert(column, absent)),
            }
        }
        // Keeps the first ones by name, independent of arrival order, and one more to show that there are others.
        while self.ignored.len() > MOST_FIELDS + 1 {
            self.ignored.pop_last();
        }
        while self.absent.len() > MOST_FIELDS {
            self.absent.pop_last();
        }
    }

    fn lines(&self, feed: &str) -> Vec<String> {
        let ignored = self.ignored.values().cloned().reduce(|mut all, files| {
            all.merge(files);
            all
        });
        let ignored = ignored.map(|files| {
            let names: Vec<String> = self.ignored.keys().take(SHOWN_FIELDS).map(|field| shown(field)).collect();
            let rest = match self.ignored.len() {
                count if count > MOST_FIELDS => format!(" and more than {} others", MOST_FIELDS - SHOWN_FIELDS),
                count if count > SHOWN_FIELDS => format!(" and {} others", count - SHOWN_FIELDS),
                _ => String::new(),
            };
            let (fields, are) = if self.ignored.len() == 1 { ("field", "is") } else { ("fields", "are") };
            format!(
                "feed `{feed}`: the {fields} {}{rest} of {} {are} ignored, because no column is read from there",
                names.join(", "),
                files.shown()
            )
        });
        let absent = self.absent.iter().map(|(column, Absent { field, files })| {
            format!(
                "feed `{feed}`: no record of {} has the field {} of the column `{column}`, which is null there",
                files.shown(),
                shown(field)
            )
        });
        ignored.into_iter().chain(absent).collect()
    }
}

impl Files {
    fn merge(&mut self, other: Self) {
        self.others |= other.others || self.first != other.first;
        if other.first < self.first {
            self.first = other.first;
        }
    }

    fn shown(&self) -> String {
        format!("`{}`{}", self.first, if self.others { " and of other files" } else { "" })
    }
}

/// A name for display: on one line, truncated.
fn shown(field: &str) -> String {
    if field.is_empty() {
        return "without a name".to_owned();
    }
    let one_line = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    let name: String = field.chars().take(SHOWN_CHARACTERS).map(one_line).collect();
    let rest = if field.chars().nth(SHOWN_CHARACTERS).is_some() { ".." } else { "" };
    format!("`{name}{rest}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(feed: &str, file: &str, ignored: &[&str], absent: &[(&str, &str)]) -> FileNote {
        FileNote {
            feed: feed.to_owned(),
            file: file.to_owned(),
            ignored: ignored.iter().map(|name| (*name).to_owned()).collect(),
            absent: absent.iter().map(|(column, field)| ((*column).to_owned(), (*field).to_owned())).collect(),
            unread: 0,
        }
    }

    fn of(notes: &[FileNote]) -> Notes {
        let mut all = Notes::default();
        notes.iter().for_each(|note| all.add(note.clone()));
        all
    }

    #[test]
    fn each_field_is_named_once() {
        let notes = of(&[
            note("b", "b/2", &["x", ""], &[("price", "/p/q")]),
            note("b", "b/1", &["x"], &[]),
            note("a", "a/1", &["z"], &[("ts", "time")]),
            note("a", "a/1", &["z"], &[]),
        ]);
        assert_eq!(
            notes.lines(),
            [
                "feed `a`: the field `z` of `a/1` is ignored, because no column is read from there",
                "feed `a`: no record of `a/1` has the field `time` of the column `ts`, which is null there",
                "feed `b`: the fields without a name, `x` of `b/1` and of other files are ignored, because no column is \
                 read from there",
                "feed `b`: no record of `b/2` has the field `/p/q` of the column `price`, which is null there",
            ]
        );
        assert!(of(&[]).lines().is_empty());
        assert_eq!(shown("a\nb"), "`a\\nb`");
        assert_eq!(shown(&"x".repeat(61)), format!("`{}..`", "x".repeat(60)));
    }

    #[test]
    fn the_order_of_tasks_does_not_matter() {
        let name = |at: usize| format!("f{:03}", at * 7 % 250);
        let notes: Vec<FileNote> =
            (0..250).map(|at| note("a", &format!("file{}", at % 3), &[&name(at)], &[(&name(at), "f")])).collect();
        let forth = of(&notes);
        let mut back = Notes::default();
        notes.rchunks(7).for_each(|part| back.merge(of(part)));
        assert_eq!(forth, back);
        let lines = forth.lines();
        assert!(
            lines[0].contains("`f000`, `f001`") && lines[0].contains(" and more than 80 others of"),
            "{}",
            lines[0]
        );
        assert_eq!(lines.len(), 1 + MOST_FIELDS);
    }

    #[test]
    fn notes_travel_as_json() {
        let notes = of(&[note("a", "f", &["x"], &[("c", "d")])]);
        assert_eq!(serde_json::from_str::<Notes>(&serde_json::to_string(&notes).unwrap()).unwrap(), notes);
        assert_eq!(serde_json::to_string(&Notes::default()).unwrap(), "{}");
    }
}
