//! Databases whose tables are read: how they are reached, and what is read of them.

mod address;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use address::Address;

use super::{Column, ColumnType, Feed, FileSource, Format, JsonLines, OnMissing};
use crate::fnv::hash_of;

/// A PostgreSQL database. Each of its `tables` is a source, which SQL names `raw.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgresql://user@host:5432/database`, without a password; `$name` takes the value of `--var name=VALUE`.
    pub url: String,
    /// `url` as sources.toml has it, once variables got their values.
    #[serde(skip)]
    pub written_url: Option<String>,
    /// Where the password is, as the process that drives the run sees it: `env:NAME` or `file:/path`. Without it, none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `verify-full`: TLS, with a certificate that is valid for the host. `disable`: no TLS. The default is `verify-full`, and `disable` for
    /// the machine itself (`localhost`, `127.0.0.1`, `[::1]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sslmode: Option<SslMode>,
    /// Path of a PEM file with the certificates that the server's certificate must come from. Without it, those of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_certificate: Option<String>,
    /// Connections that read at once, 1 to 32, by default 4; one more holds the snapshot.
    #[serde(default = "four", skip_serializing_if = "is_four")]
    pub connections: u8,
    /// What is read, by its name in SQL: `[databases.shop.tables.orders]` is `raw.orders`.
    pub tables: BTreeMap<String, DatabaseTable>,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS, with a certificate that is valid for the host.
    VerifyFull,
}

/// Rows of a database, with their contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseTable {
    /// The table or view, `schema.name` or `name`. The default is the source's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// A `select` that yields the rows, in place of `table`: the place for casts, joins and conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Columns in the order in which the query of a job sees them. A value that its type cannot hold exactly goes to quarantine with its row.
    pub columns: Vec<Column>,
    /// Column name to the database's own name of it, where they differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// A column of the database that grows with each insert or update: `smallint`, `integer`, `bigint`, `date`, `timestamp` or `timestamptz`. Each
    /// run then reads only the rows from the greatest value read so far, less `margin`. Without it, each run reads all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<String>,
    /// How far behind the greatest value rows may still appear, in seconds for stamps, days for dates, units for numbers. Rows within the
    /// margin are read again in each run and replace what was read of them. It must be longer than the longest transaction that writes. Required
    /// with `bookmark`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<u32>,
}

impl Database {
    /// Whether the connection must be verified.
    pub fn is_verified(&self, address: &Address) -> bool {
        match self.sslmode {
            Some(mode) => mode == SslMode::VerifyFull,
            None => !address.is_loopback(),
        }
    }
}

impl DatabaseTable {
    /// The contract of the rows as they are landed: lines of JSON arrays, whose items are texts of the database in the columns' order.
    pub(crate) fn landed(&self, database: &str, name: &str) -> FileSource {
        let feed = Feed {
            path: "*.jsonl.zst".to_owned(),
            format: Format::JsonLines(JsonLines {
                joined: false,
                fields: self.columns.iter().map(|column| column.name.clone()).collect(),
            }),
            // An empty text of a database is not null.
            nulls: Some(Vec::new()),
            ..Feed::parquet("")
        };
        let text = |column: &Column| Column {
            data_type: match &column.data_type {
                ColumnType::Json => ColumnType::String,
                other => other.clone(),
            },
            ..column.clone()
        };
        FileSource {
            root: Self::folder(database, name),
            written_root: None,
            columns: self.columns.iter().map(text).collect(),
            on_missing: OnMissing::Remove,
            max_rejected: None,
            follow_links: false,
            feed: BTreeMap::from([(name.to_owned(), feed)]),
        }
    }

    /// Where the rows are landed, below the lake.
    pub fn folder(database: &str, name: &str) -> String {
        format!("_pulse/databases/{database}/{name}")
    }

    /// The table's name in the database, unless there is a query.
    pub fn table_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.table.as_deref().unwrap_or(name)
    }

    /// What the database calls a column.
    pub fn field<'a>(&'a self, column: &'a str) -> &'a str {
        self.rename.get(column).map_or(column, String::as_str)
    }

    /// Rows that were landed by another definition cannot be read by this one, or are others.
    pub fn definition(&self, address: &Address) -> String {
        let Address { user: _, host, port, database } = address;
        // Version of what is landed.
        let mut parts = vec!["1".to_owned(), format!("{host} {port} {database}")];
        parts.extend([&self.table, &self.query, &self.bookmark].map(|part| format!("{part:?}")));
        parts.extend(self.columns.iter().map(|c| format!("{} {} {}", c.name, c.data_type, self.field(&c.name))));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        format!("{:016x}", hash_of(&parts))
    }
}

fn four() -> u8 {
    4
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_four(connections: &u8) -> bool {
    *connections == four()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Sources;

    const SHOP: &str = "[databases.shop]\nurl = \"postgresql://r@h/d\"\n[databases.shop.tables.orders]\ncolumns = [\
                        { name = \"id\", type = \"bigint\", required = true }, { name = \"doc\", type = \"json\" }]\n";

    fn sources(text: &str) -> Sources {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_table_is_read_as_the_files_that_its_rows_are_landed_in() {
        let sources = sources(SHOP).with_landed();
        let source = &sources.files["orders"];
        let types: Vec<String> = source.columns.iter().map(|column| column.data_type.to_string()).collect();
        assert_eq!(types, ["bigint", "string"]);
        assert!(source.columns[0].required);
        let feed = &source.feed["orders"];
        assert_eq!(feed.nulls.as_deref(), Some(&[][..]));
        let Format::JsonLines(lines) = &feed.format else { panic!("{:?}", feed.format) };
        assert_eq!(lines.fields, ["id", "doc"]);
        assert_eq!(sources.database_of("orders").map(|(name, ..)| name), Some("shop"));
        assert!(sources.database_of("other").is_none());
    }

    #[test]
    fn whatever_makes_other_rows_is_another_definition() {
        let definition = |text: &str| {
            let sources = sources(text);
            let (_, database, table) = sources.database_of("orders").unwrap();
            table.definition(&Address::parse(&database.url).unwrap())
        };
        let plain = definition(SHOP);
        for (from, to) in [
            ("@h/", "@other/"),
            ("/d\"", "/e\""),
            ("@h/", "@h:5433/"),
            ("orders]", "orders]\ntable = \"x\""),
            ("orders]", "orders]\nquery = \"x\""),
            ("orders]", "orders]\nbookmark = \"id\"\nmargin = 1"),
            ("orders]", "orders]\nrename = { id = \"x\" }"),
            ("bigint", "int"),
            ("\"doc\"", "\"docs\""),
        ] {
            assert!(SHOP.contains(from), "{from}");
            assert_ne!(definition(&SHOP.replace(from, to)), plain, "{to}");
        }
        // How it is reached, and by whom, says nothing of the rows.
        for (from, to) in [("//r@", "//other@"), ("@h/", "@h:5432/"), (", required = true", "")] {
            assert_eq!(definition(&SHOP.replace(from, to)), plain, "{to}");
        }
        let margin = |n| definition(&SHOP.replace("orders]", &format!("orders]\nbookmark = \"id\"\nmargin = {n}")));
        assert_eq!(margin(1), margin(2));
    }
}
