//! Counts the reasons of quarantined rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Maximum number of reason kinds that are counted separately. Rows of further kinds are counted together.
const MOST_KINDS: usize = 20;
const OTHERS: &str = "other reasons";

/// Quarantined rows by kind of reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(BTreeMap<String, Kind>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kind {
    rows: u64,
    example: String,
}

/// Rows of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRows {
    pub rows: u64,
    /// An example reason, with its value.
    pub reason: String,
}

impl Reasons {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts `rows` rows with this reason.
    pub fn add(&mut self, reason: &str, rows: u64) {
        self.count(&kind(reason), reason, rows);
    }

    pub fn merge(&mut self, other: Self) {
        for (kind, Kind { rows, example }) in other.0 {
            self.count(&kind, &example, rows);
        }
    }

    /// The kinds, the most frequent first.
    pub fn most_frequent(&self) -> Vec<RejectedRows> {
        let row = |kind: &Kind| RejectedRows { rows: kind.rows, reason: kind.example.clone() };
        let mut all: Vec<RejectedRows> = self.0.values().map(row).collect();
        all.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.reason.cmp(&b.reason)));
        all
    }

    fn count(&mut self, kind: &str, example: &str, rows: u64) {
        let is_known = self.0.contains_key(kind);
        let (kind, example) = if is_known || self.0.len() < MOST_KINDS { (kind, example) } else { (OTHERS, OTHERS) };
        match self.0.get_mut(kind) {
            Some(known) => {
                known.rows += rows;
                // Keeps the same example in whatever order tasks are counted.
                if example < known.example.as_str() {
                    example.clone_into(&mut known.example);
                }
            }
            None => {
                self.0.insert(kind.to_owned(), Kind { rows, example: example.to_owned() });
            }
        }
    }
}

/// A reason without its trailing value, and without numbers, such as those of columns and items.
fn kind(reason: &str) -> String {
    let kind = reason.split_once(": `").map_or(reason, |(kind, _)| kind);
    let mut plain = String::with_capacity(kind.len());
    for letter in kind.chars() {
        match letter {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reasons: &[(&str, u64)]) -> Reasons {
        let mut all = Reasons::default();
        reasons.iter().for_each(|(reason, rows)| all.add(reason, *rows));
        all
    }

    fn shown(reasons: &Reasons) -> Vec<String> {
        reasons.most_frequent().iter().map(|one| format!("{} {}", one.rows, one.reason)).collect()
    }

    #[test]
    fn reasons_of_one_kind_differ_in_their_values() {
        let reasons = of(&[("`v` is not a number: `b`", 1), ("`v` is empty", 3), ("`v` is not a number: `a: `x``", 1)]);
        assert_eq!(shown(&reasons), ["3 `v` is empty", "2 `v` is not a number: `a: `x``"]);
        let places = of(&[("`d[0].q` is empty", 1), ("`d[17].q` is empty", 1)]);
        assert_eq!(shown(&places), ["2 `d[0].q` is empty"]);
    }

    #[test]
    fn the_order_of_tasks_does_not_matter() {
        let parts = [of(&[("a: `2`", 1), ("b", 2)]), of(&[("a: `1`", 2)]), of(&[("c", 1), ("b", 5)])];
        let mut forth = Reasons::default();
        parts.iter().for_each(|part| forth.merge(part.clone()));
        let mut back = Reasons::default();
        parts.iter().rev().for_each(|part| back.merge(part.clone()));
        assert_eq!(forth, back);
        assert_eq!(shown(&forth), ["7 b", "3 a: `1`", "1 c"]);
    }

    #[test]
    fn no_row_is_left_out_where_kinds_are_many() {
        let mut reasons = Reasons::default();
        (0..100).for_each(|number| reasons.add(&"x".repeat(number), 2));
        let all = reasons.most_frequent();
        assert_eq!(all.iter().map(|one| one.rows).sum::<u64>(), 200);
        assert_eq!((all.len(), all[0].reason.as_str()), (MOST_KINDS + 1, OTHERS));
    }
}
