//! Ad-hoc queries over everything that jobs may read: tables of the lake, sources of files, and external tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::{DataFrame, SQLOptions};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use pulse_core::diagnostic::{Diagnostic, closest};
use pulse_core::name::TableName;
use pulse_core::sql::{EXTERNAL, RAW};
use pulse_core::{Error, Result};

use super::Workbench;
use super::external::{existing, warning, with_one_nan};
use super::meant::refuse_casts;
use super::pin::raw_files;
use super::pointing::{find_word, planned, pointed};
use super::query::{Sources, context};
use super::roots::{declared_files, listed};
use crate::error::{from_datafusion, literals};
use crate::sink::REASON;
use crate::source::delta::DeltaScan;
use crate::stoppable;
use crate::table::{Snapshot, Table};

/// The name of the text in messages.
const QUERY: &str = "query";
/// Number of names that an error lists.
const SHOWN_NAMES: usize = 20;
/// The schema in which DataFusion describes tables.
const DESCRIPTIONS: &str = "information_schema";

/// The result rows, and warnings about their sources.
#[derive(Debug)]
pub struct Answer {
    pub rows: DataFrame,
    pub warnings: Vec<String>,
}

/// Tables that a statement refers to, by layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    tables: BTreeSet<(String, String)>,
    /// Names without a layer.
    bare: BTreeSet<String>,
}

impl Named {
    /// # Errors
    /// `Invalid` when the text is not SQL.
    pub fn of(state: &SessionState, sql: &str) -> Result<Self> {
        let failed = |e| from_datafusion("query", e);
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect).map_err(failed)?;
        let mut named = Self::default();
        // Other statements may name tables that do not exist.
        let asks = match &statement {
            Statement::Explain(_) => true,
            Statement::Statement(statement) => {
                matches!(**statement, ast::Statement::Query(_) | ast::Statement::ExplainTable { .. })
            }
            _ => false,
        };
        if !asks {
            return Ok(named);
        }
        for reference in state.resolve_table_references(&statement).map_err(failed)? {
            match reference {
                TableReference::Bare { table } => named.bare.insert(table.to_string()),
                TableReference::Partial { schema, table } | TableReference::Full { schema, table, .. } => {
                    schema.as_ref() != DESCRIPTIONS && named.tables.insert((schema.to_string(), table.to_string()))
                }
            };
        }
        Ok(named)
    }

    /// Names of sources of files, without `raw.`.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.of_layer(RAW)
    }

    /// Names of external tables, without `external.`.
    pub fn external(&self) -> impl Iterator<Item = &str> {
        self.of_layer(EXTERNAL)
    }

    fn of_layer(&self, layer: &str) -> impl Iterator<Item = &str> {
        self.tables.iter().filter(move |(of, _)| of == layer).map(|(_, table)| table.as_str())
    }
}

/// Plans a query over the newest versions of the tables that it names. Reads only their logs, and lists only their
/// folders.
///
/// # Errors
/// `Invalid` when a table does not exist, with those that do, or when the text is not a query; otherwise by the store's
/// error.
pub async fn ask(bench: &Workbench, sql: &str) -> Result<Answer> {
    let named = Named::of(&bench.state, sql)?;
    let (mut sources, mut warnings) = (Sources::new(), Vec::new());
    for (layer, table) in &named.tables {
        let name = format!("{layer}.{table}");
        let found: Arc<dyn datafusion::catalog::TableProvider> = match layer.as_str() {
            RAW => {
                let source = declared_files(&bench.project, table)?;
                let (root, listing) = listed(bench, table, source).await?;
                warnings.extend(listing.warnings.iter().map(|warning| format!("{name}: {warning}")));
                if !sql.to_lowercase().contains(REASON) {
                    warnings.push(format!(
                        "{name} has a row for each rejected record, too: add `{REASON} is null` to leave them out"
                    ));
                }
                Arc::new(raw_files(bench, table, &root, listing.files)?)
            }
            EXTERNAL => {
                let (table, snapshot) = external(bench, table).await?;
                warnings.extend(warning(&snapshot, &table));
                let name = table.name().clone();
                with_one_nan(&name, Arc::new(scan(bench, table, &snapshot)))?
            }
            _ => {
                let (table, snapshot) = of_lake(bench, &name, sql).await?;
                Arc::new(scan(bench, table, &snapshot))
            }
        };
        sources.insert(name, found);
    }
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let rows = context(&bench.state, &sources)?.sql_with_options(sql, only_queries).await;
    let rows = rows.and_then(|rows| refuse_casts(rows.logical_plan()).map(|()| rows));
    let rows = match rows.and_then(with_plain_names) {
        Ok(rows) => rows,
        // Where the lake cannot be listed, a layer is suggested all the same.
        Err(error) => return Err(refused(sql, &named, &bench.lake.tables().await.unwrap_or_default(), error)),
    };
    if rows.schema().fields().is_empty() {
        return Err(Error::invalid("query: it selects no column: write `select *`, or name the columns"));
    }
    Ok(Answer { rows, warnings })
}

impl Answer {
    /// Begins to compute the rows of the question `sql`. The work ends when the stream is dropped.
    ///
    /// # Errors
    /// `Invalid` with the place of a constant that cannot be computed; otherwise by what went wrong.
    pub async fn stream(self, sql: &str) -> Result<SendableRecordBatchStream> {
        let context = self.rows.task_ctx();
        let plan = self.rows.create_physical_plan().await.map_err(|e| planned(QUERY, sql, e))?;
        stoppable::stream(plan, Arc::new(context)).map_err(|e| from_datafusion(QUERY, e))
    }
}

/// Columns without a name are called as they are written: `7 / 2`, and not `Int64(7) / Int64(2)`.
fn with_plain_names(rows: DataFrame) -> datafusion::error::Result<DataFrame> {
    let columns = rows.schema().columns();
    let names: Vec<String> = columns.iter().map(|column| literals(&column.name)).collect();
    let is_new = columns.iter().zip(&names).any(|(column, name)| column.name != *name);
    let is_clear = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let is_query = !matches!(rows.logical_plan(), LogicalPlan::Explain(_) | LogicalPlan::Analyze(_));
    match is_new && is_clear && is_query {
        true => rows.select(columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name))),
        false => Ok(rows),
    }
}

/// Points at the error in the text. `known` are the tables of the lake.
fn refused(sql: &str, named: &Named, known: &[TableName], error: DataFusionError) -> Error {
    let bare = named.bare.iter().find(|name| error.to_string().contains(name.as_str()));
    match (bare, &error) {
        (Some(name), _) => {
            let span = find_word(sql, name).unwrap_or_default();
            let problem =
                Diagnostic::new(QUERY, &Arc::from(sql), span, format!("there is no table `{name}` without a layer"));
            let of_name = known.iter().find(|table| table.table() == name);
            let meant = of_name.map_or_else(|| format!("silver.{name}"), ToString::to_string);
            Error::from_diagnostics(vec![problem.with_help(format!("name its layer: `{meant}`"))])
        }
        (
            None,
            DataFusionError::ResourcesExhausted(_) | DataFusionError::ObjectStore(_) | DataFusionError::External(_),
        ) => from_datafusion(QUERY, error),
        (None, _) => pointed(QUERY, sql, error),
    }
}

fn scan(bench: &Workbench, table: Table, snapshot: &Snapshot) -> DeltaScan {
    DeltaScan::new(table, snapshot, bench.options.target_partition_bytes)
}

async fn external(bench: &Workbench, table: &str) -> Result<(Table, Snapshot)> {
    let name = TableName::new(EXTERNAL, table)?;
    let Some(declared) = bench.project.external(&name) else {
        let known = bench.project.sources.tables.keys().map(|known| format!("{EXTERNAL}.{known}"));
        return Err(Error::invalid(format!(
            "sources.toml has no table `{table}` that others write; it has {}",
            in_words(known)
        )));
    };
    let table = bench.readable(&name).await?;
    let snapshot = existing(&table, declared).await?;
    Ok((table, snapshot))
}

/// A table in its newest version, or in the one after `@`.
async fn of_lake(bench: &Workbench, name: &str, sql: &str) -> Result<(Table, Snapshot)> {
    let lake = &bench.lake;
    let (name, version) = match name.split_once('@') {
        None => (name, None),
        Some((name, version)) => {
            let wrong =
                || Error::invalid(format!("`{name}@{version}`: write a version as a number, such as `{name}@3`"));
            (name, Some(version.parse::<u64>().map_err(|_| wrong())?))
        }
    };
    if let Ok(name) = name.parse::<TableName>() {
        let table = lake.table(&name)?;
        if let Some(newest) = table.snapshot(None).await? {
            let snapshot = match version.filter(|version| *version != newest.version) {
                None => newest,
                Some(version) if version > newest.version => {
                    return Err(Error::invalid(format!(
                        "{name} has no version {version}: its newest is {}",
                        newest.version
                    )));
                }
                Some(version) => table.snapshot(Some(version)).await?.unwrap_or(newest),
            };
            return Ok((table, snapshot));
        }
    }
    let known: Vec<String> = lake.tables().await?.iter().map(ToString::to_string).collect();
    let span = find_word(sql, name).unwrap_or_default();
    let message = format!("table {name} does not exist in {}", lake.root());
    let help = match closest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("it has {}", in_words(known.into_iter())),
    };
    Err(Error::from_diagnostics(vec![Diagnostic::new(QUERY, &Arc::from(sql), span, message).with_help(help)]))
}

fn in_words(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.len() {
        0 => "none".to_owned(),
        all if all > SHOWN_NAMES => {
            let shown = names.iter().take(SHOWN_NAMES).cloned().collect::<Vec<_>>().join(", ");
            format!("{shown} and {} more", all - SHOWN_NAMES)
        }
        _ => names.join(", "),
    }
}
