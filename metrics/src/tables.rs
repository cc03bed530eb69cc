//! A limit for the values of the label `table`: a submission may name any number of jobs, and each value is a series for the life of
//! the process and of Prometheus.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use pulse_core::name::TableName;

/// Tables of a process that have series of their own. All families of a scheduler are then some 2 MB for a scrape.
const MOST: usize = 1000;
/// No table has this name, which lacks a layer.
const OTHER: &str = "other";

/// The tables that have series of their own: the first ones that were seen.
#[derive(Debug, Default)]
pub struct Tables(Mutex<HashSet<String>>);

impl Tables {
    /// The value of the label.
    pub fn label(&self, table: &TableName) -> String {
        let name = table.to_string();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&name) {
            return name;
        }
        if known.len() >= MOST {
            return OTHER.to_owned();
        }
        known.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_beyond_the_limit_share_a_label_and_earlier_ones_keep_theirs() {
        let tables = Tables::default();
        let table = |number: usize| TableName::new("gold", &format!("t{number}")).unwrap();
        let labels: HashSet<String> = (0..3 * MOST).map(|number| tables.label(&table(number))).collect();
        assert_eq!(labels.len(), MOST + 1);
        assert_eq!(tables.label(&table(MOST - 1)), table(MOST - 1).to_string());
        assert_eq!(tables.label(&table(MOST)), OTHER);
        assert!(OTHER.parse::<TableName>().is_err());
    }
}
