//! Describes a table of the database, and how its rows are read as declared.

use pulse_core::sources::DatabaseTable;
use pulse_core::{Error, Result};
use pulse_engine::landing::TableRequest;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column};

use crate::column::{item, row};
use crate::error::from_postgres;
use crate::ranges::{Mark, MarkType};

/// From this version on, a range of pages is read without scanning the others.
const READS_PAGES: i32 = 140_000;

/// The relation to read, in SQL.
#[derive(Debug)]
pub(crate) struct Relation {
    /// `"public"."orders"`, or the query in parentheses.
    from: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Query,
    /// A table without partitions and children.
    Table {
        oid: u32,
    },
    /// Partitions, children or a view: the pages of its rows are unknown.
    Other {
        can_lock: bool,
    },
}

impl Relation {
    /// Looks a table up, in its current state and not in that of the snapshot.
    ///
    /// # Errors
    /// `Invalid` when there is no such table.
    pub(crate) async fn find(client: &Client, request: &TableRequest) -> Result<Self> {
        if let Some(query) = &request.table.query {
            // The newline keeps a comment at its end from swallowing the parenthesis.
            return Ok(Self { from: format!("({query}\n)"), kind: Kind::Query });
        }
        let name = request.table.table_name(&request.name);
        let from = name.split('.').map(quoted).collect::<Vec<_>>().join(".");
        let doing = format!("look for table `{name}` of raw.{}", request.name);
        let found = client
            .query_opt(
                "select c.oid, c.relkind::text, c.relhassubclass or c.relrowsecurity from pg_class c where c.oid = to_regclass($1)",
                &[&from],
            )
            .await
            .map_err(|e| from_postgres(&doing, &e))?;
        let Some(found) = found else {
            return Err(Error::invalid(format!(
                "raw.{}: the database has no table `{name}` that the user may see; check `table` in sources.toml, with its schema",
                request.name
            )));
        };
        let (kind, has_others): (String, bool) = (found.get(1), found.get(2));
        let kind = match kind.as_str() {
            "r" if !has_others => Kind::Table { oid: found.get(0) },
            "r" | "p" | "v" => Kind::Other { can_lock: true },
            "m" | "f" => Kind::Other { can_lock: false },
            _ => return Err(Error::invalid(format!("raw.{}: `{name}` is neither a table nor a view", request.name))),
        };
        Ok(Self { from, kind })
    }

    /// Must be taken before the snapshot: otherwise a table that is rewritten or truncated in between would be read as
    /// empty.
    pub(crate) fn lock(&self) -> Option<String> {
        let locks = matches!(self.kind, Kind::Table { .. } | Kind::Other { can_lock: true });
        locks.then(|| format!("lock table {} in access share mode", self.from))
    }

    /// Whether its rows depend only on the snapshot.
    pub(crate) fn is_of_snapshot(&self) -> bool {
        matches!(self.kind, Kind::Table { .. })
    }

    pub(crate) fn from(&self) -> String {
        format!("{} as q", self.from)
    }

    /// Its page count, if it can be read in ranges.
    pub(crate) async fn pages(&self, client: &Client, version: i32) -> Result<Option<i64>, tokio_postgres::Error> {
        match self.kind {
            Kind::Table { oid } if version >= READS_PAGES => {
                let pages = "select pg_relation_size($1::oid) / current_setting('block_size')::int8";
                Ok(Some(client.query_one(pages, &[&oid]).await?.get(0)))
            }
            _ => Ok(None),
        }
    }

    /// How its rows are read.
    ///
    /// # Errors
    /// `Invalid`, listing every column that is missing or cannot be read as declared.
    pub(crate) async fn describe(&self, client: &Client, request: &TableRequest) -> Result<Described> {
        let doing = format!("look at raw.{}", request.name);
        let query = format!("select * from {}", self.from());
        let statement = client.prepare(&query).await.map_err(|e| from_postgres(&doing, &e))?;
        described(request, statement.columns())
    }
}

/// The selected expressions.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) row: String,
    pub(crate) mark: Option<Mark>,
}

fn described(request: &TableRequest, found: &[Column]) -> Result<Described> {
    let table = &request.table;
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    for column in &table.columns {
        let field = table.field(&column.name);
        match type_of(field, found) {
            Ok(data_type) => match item(&format!("q.{}", quoted(field)), data_type, &column.data_type) {
                Ok(item) => items.push(item),
                Err(why) => {
                    problems.push(format!("column `{}` cannot be read as `{}`: {why}", column.name, column.data_type))
                }
            },
            Err(why) => problems.push(why),
        }
    }
    let mark = match mark(table, found) {
        Ok(mark) => mark,
        Err(why) => {
            problems.push(why);
            None
        }
    };
    match problems.is_empty() {
        true => Ok(Described { row: row(&items), mark }),
        false => Err(Error::invalid(format!("raw.{}: {}", request.name, problems.join("\n")))),
    }
}

fn type_of<'a>(field: &str, found: &'a [Column]) -> Result<&'a Type, String> {
    let mut named = found.iter().filter(|column| column.name() == field);
    match (named.next(), named.next()) {
        (Some(column), None) => Ok(column.type_()),
        (Some(_), Some(_)) => Err(format!("`query` yields two columns `{field}`: give one another name")),
        (None, _) => {
            let names: Vec<String> = found.iter().map(|column| format!("`{}`", column.name())).collect();
            Err(format!(
                "the database has no column `{field}`; it has {}; `rename` says what the database calls a column",
                names.join(", ")
            ))
        }
    }
}

fn mark(table: &DatabaseTable, found: &[Column]) -> Result<Option<Mark>, String> {
    let (Some(field), Some(margin)) = (&table.bookmark, table.margin) else { return Ok(None) };
    let data_type = match *type_of(field, found).map_err(|why| format!("`bookmark`: {why}"))? {
        Type::INT2 | Type::INT4 | Type::INT8 => MarkType::Whole,
        Type::DATE => MarkType::Date,
        Type::TIMESTAMP => MarkType::Timestamp,
        Type::TIMESTAMPTZ => MarkType::Timestamptz,
        ref other => {
            return Err(format!(
                "`bookmark`: `{field}` is a `{}`, and a bookmark is a whole number, a date or a stamp; cast it in `query`, or leave \
                 `bookmark` out to read all rows in each run",
                other.name()
            ));
        }
    };
    Ok(Some(Mark { field: format!("q.{}", quoted(field)), data_type, margin }))
}

/// Quotes a name for SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        assert_eq!(quoted("a\"; drop"), "\"a\"\"; drop\"");
    }
}
