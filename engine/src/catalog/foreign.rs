//! External tables registered in a catalog: their locations, and whether they are Delta tables.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use pulse_core::{Error, Result};

/// A catalog's entry of an external table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignEntry {
    pub location: String,
    /// Such as `EXTERNAL_TABLE` or `VIRTUAL_VIEW`.
    pub kind: String,
    pub parameters: BTreeMap<String, String>,
    /// Parameters of the table's reader, by name.
    pub serde_parameters: BTreeMap<String, String>,
    /// Class names of Hive.
    pub input_format: String,
    pub partition_by: Vec<String>,
}

/// A registry of external tables, such as Glue's.
#[async_trait]
pub trait ForeignCatalog: fmt::Debug + Send + Sync {
    /// `None` if the table is not registered.
    ///
    /// # Errors
    /// By kind: `Invalid` for missing rights, `Unavailable` when the catalog does not answer.
    async fn entry(&self, database: &str, table: &str) -> Result<Option<ForeignEntry>>;
}

/// The folder of the Delta table of `entry`. `name` is the table's name in the catalog.
///
/// # Errors
/// `Invalid` for an entry that is not a Delta table, with what to declare instead.
pub fn delta_location(name: &str, entry: &ForeignEntry) -> Result<String> {
    let refused = |what: &str, remedy: &str| Err(Error::invalid(format!("Glue's `{name}` {what}; {remedy}")));
    if entry.kind.eq_ignore_ascii_case("VIRTUAL_VIEW") {
        return refused("is a view", "name a table that it reads");
    }
    let parameter = |key: &str| {
        let found = entry.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.to_lowercase()).unwrap_or_default()
    };
    let [kind, provider, classification] =
        ["table_type", "spark.sql.sources.provider", "classification"].map(parameter);
    let is = |format: &str| [&kind, &provider, &classification].contains(&&format.to_owned());
    for format in ["iceberg", "hudi"] {
        if is(format) {
            return refused(
                &format!("is of the format {format}, which pulse does not read"),
                "let its owner write a Delta table, or export its rows to files",
            );
        }
    }
    // Spark's entries have the location there, and a meaningless one in the usual place.
    let path = entry.serde_parameters.get("path").filter(|path| !path.is_empty());
    let location = path.unwrap_or(&entry.location);
    if entry.input_format.ends_with("SymlinkTextInputFormat") {
        return refused(
            "is a list of the files of a table at one moment (a symlink manifest)",
            "declare the folder in which that table's `_delta_log` lies as `location`",
        );
    }
    if !is("delta") {
        let format = match [&classification, &provider, &entry.input_format].into_iter().find(|text| !text.is_empty()) {
            Some(format) => format!(" of the format `{format}`"),
            None => String::new(),
        };
        let partitions: Vec<String> = entry.partition_by.iter().map(|column| format!("\"{column}\"")).collect();
        let partitions = match partitions.is_empty() {
            true => String::new(),
            false => format!(" and `partitions = [{}]`", partitions.join(", ")),
        };
        return refused(
            &format!("is a folder of files{format} and no Delta table"),
            &format!("declare a source of files with `root = \"{location}\"`{partitions}, and read `raw.<name>`"),
        );
    }
    match location.is_empty() {
        true => refused("has no location", "name a table of this account itself, and no link to one"),
        false => Ok(location.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(location: &str, parameters: &[(&str, &str)], path: &str, input_format: &str) -> ForeignEntry {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        ForeignEntry {
            location: location.to_owned(),
            kind: "EXTERNAL_TABLE".to_owned(),
            parameters: parameters.iter().map(owned).collect(),
            serde_parameters: [("path".to_owned(), path.to_owned())].into(),
            input_format: input_format.to_owned(),
            partition_by: vec!["day".to_owned(), "venue".to_owned()],
        }
    }

    #[test]
    fn delta_tables_lie_where_those_who_registered_them_say() {
        for (found, expected) in [
            // Athena, a crawler, and pulse.
            (entry("s3://b/t/", &[("table_type", "DELTA")], "", "SequenceFileInputFormat"), "s3://b/t/"),
            (entry("s3://b/t", &[("classification", "delta"), ("EXTERNAL", "TRUE")], "", ""), "s3://b/t"),
            // Spark.
            (
                entry(
                    "s3://b/t-__PLACEHOLDER__",
                    &[("spark.sql.sources.provider", "DELTA")],
                    "s3://b/t",
                    "x.SequenceFile",
                ),
                "s3://b/t",
            ),
        ] {
            assert_eq!(delta_location("d.t", &found).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_delta_table_is_refused_with_what_to_declare() {
        let view = ForeignEntry { kind: "VIRTUAL_VIEW".to_owned(), ..ForeignEntry::default() };
        for (found, expected) in [
            (view, "is a view"),
            (entry("s3://b/t", &[("table_type", "ICEBERG")], "", ""), "is of the format iceberg"),
            (entry("s3://b/t", &[("spark.sql.sources.provider", "hudi")], "", ""), "is of the format hudi"),
            (entry("s3://b/t", &[], "", "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat"), "symlink manifest"),
            (
                entry("s3://b/t", &[("classification", "parquet")], "", "MapredParquetInputFormat"),
                "of the format `parquet` and no Delta table; declare a source of files with `root = \"s3://b/t\"` and \
                 `partitions = [\"day\", \"venue\"]`",
            ),
            (entry("", &[("table_type", "delta")], "", ""), "has no location"),
        ] {
            let error = delta_location("d.t", &found).unwrap_err();
            assert!(error.message().starts_with("Glue's `d.t` ") && error.message().contains(expected), "{error}");
        }
    }
}
