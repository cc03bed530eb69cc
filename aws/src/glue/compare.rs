//! Compares an entry with its table.

use pulse_engine::catalog::{CatalogColumn, Difference, TableDescription};

use super::entry::{Entry, TABLE_ID, VERSION, entry_of};
use super::folder;

/// Returns `None` if nothing differs, or if another process registered a later version of the same table.
pub fn difference(table: &TableDescription, found: Option<&Entry>) -> Option<Difference> {
    let Some(found) = found else { return Some(Difference::Missing) };
    let wanted = entry_of(table);
    let registered = found.parameters.get(VERSION).and_then(|version| version.parse::<u64>().ok());
    let same_table = found.parameters.get(TABLE_ID) == Some(&table.table_id);
    let same_place = folder(&found.location) == folder(&wanted.location);
    if same_table && same_place && registered.is_some_and(|version| version > table.version) {
        return None;
    }
    let wrong = wrong(&wanted, found);
    if !wrong.is_empty() {
        return Some(Difference::Wrong(wrong));
    }
    match registered {
        Some(version) if version == table.version => None,
        version => Some(Difference::Behind { registered: version.unwrap_or_default() }),
    }
}

fn wrong(wanted: &Entry, found: &Entry) -> Vec<String> {
    let mut wrong = Vec::new();
    if folder(&found.location) != folder(&wanted.location) {
        wrong.push(format!("registered at `{}`, the table is at `{}`", found.location, wanted.location));
    }
    if found.table_type != wanted.table_type || folder(&found.serde_path) != folder(&wanted.serde_path) {
        wrong.push("registered as another kind of table".to_owned());
    }
    wrong.extend(columns("column", &wanted.columns, &found.columns));
    wrong.extend(columns("partition column", &wanted.partition_by, &found.partition_by));
    let of_version = |key: &&String| *key == VERSION;
    let keys = wanted.parameters.keys().chain(found.parameters.keys()).filter(|key| !of_version(key));
    let mut keys: Vec<&String> = keys.filter(|key| wanted.parameters.get(*key) != found.parameters.get(*key)).collect();
    keys.sort();
    keys.dedup();
    if let [first, ..] = keys[..] {
        let value = |entry: &Entry| match entry.parameters.get(first) {
            Some(value) => format!("`{}`", value.chars().take(40).collect::<String>()),
            None => "missing".to_owned(),
        };
        let more = if keys.len() > 1 { format!(" and {} more", keys.len() - 1) } else { String::new() };
        wrong.push(format!("parameter `{first}` is {} instead of {}{more}", value(found), value(wanted)));
    }
    wrong
}

fn columns(what: &str, wanted: &[CatalogColumn], found: &[CatalogColumn]) -> Vec<String> {
    let mut wrong = Vec::new();
    for column in wanted {
        match found.iter().find(|other| other.name == column.name) {
            None => wrong.push(format!("{what} `{}` is not registered", column.name)),
            Some(other) if other.kind != column.kind => {
                wrong.push(format!(
                    "{what} `{}` is registered as {}, the table has {}",
                    column.name, other.kind, column.kind
                ));
            }
            Some(_) => {}
        }
    }
    for column in found {
        if !wanted.iter().any(|other| other.name == column.name) {
            wrong.push(format!("{what} `{}` is registered, the table does not have it", column.name));
        }
    }
    if wrong.is_empty() && wanted != found {
        wrong.push(format!("{what}s are registered in another order"));
    }
    wrong
}
