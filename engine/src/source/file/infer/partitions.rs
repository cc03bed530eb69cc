//! Columns of folders named `column=value`.

use std::collections::BTreeMap;

use super::text::{Marks, guess};
use super::{FEED, LINE, Proposal, Proposed, SOURCE_FILE, column_name};
use crate::source::file::pattern::value;

impl Proposal {
    /// With the columns that folders say beside the file: each with the texts behind `=`, as the folders spell them. A field of the file
    /// that has the name of a folder is not read.
    #[must_use]
    pub fn with_partitions(mut self, folders: &[(String, Vec<String>)]) -> Self {
        let is_said = |field: &str| folders.iter().any(|(key, _)| key == field);
        let in_both = self.columns.iter().filter(|column| is_said(&column.field));
        self.unread.extend(in_both.map(|column| format!("`{}` of the file, which folders say", column.field)));
        self.columns.retain(|column| !is_said(&column.field));
        let own = [FEED, LINE, SOURCE_FILE].map(str::to_owned);
        let taken = own.into_iter().chain(self.columns.iter().map(|column| column.name.clone()));
        let mut names: BTreeMap<String, u32> = taken.map(|name| (name, 1)).collect();
        for (key, texts) in folders {
            let decoded: Vec<String> = texts.iter().map(|text| value(text).unwrap_or_default()).collect();
            let guess = guess(key, &decoded.iter().map(String::as_str).collect::<Vec<_>>(), Marks::ALL[0]);
            let name = column_name(key, &mut names);
            self.partitions.push(name.clone());
            self.nulls.extend(guess.nulls);
            self.columns.push(Proposed {
                name,
                field: key.clone(),
                data_type: guess.data_type,
                pattern: guess.pattern,
                round: false,
                evidence: format!("folders `{key}=..`: {}", guess.evidence),
            });
        }
        self
    }
}
