//! Proves properties of a query with intervals, before `$interval_start` and `$interval_end` have values: which source
//! rows an interval reads, and whether several intervals may be computed at once. Constructs that are not recognized
//! count as not proven.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, TableScan};
use datafusion::scalar::ScalarValue;
use pulse_core::interval::Interval;
use pulse_core::interval_set::IntervalSet;
use pulse_core::manifest::IntervalUnit;

use crate::table::DataFile;

/// Proven properties of one query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IntervalScope {
    /// By source (`layer.table`): the column by which every scan of it is filtered with both ends of the interval.
    columns: BTreeMap<String, String>,
    /// Every row of the result is computed from rows of one unit, so that a query over several units is their union.
    pub(super) decomposes: bool,
}

impl IntervalScope {
    /// # Errors
    /// DataFusion's, when the plan cannot be traversed.
    pub(super) fn of(plan: &LogicalPlan, unit: IntervalUnit) -> DataFusionResult<Self> {
        let filters = bounded_scans(plan)?;
        let mut columns: BTreeMap<String, Option<String>> = BTreeMap::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let found = filters.get(&address(scan)).cloned();
                let entry = columns.entry(name(&scan.table_name)).or_insert_with(|| found.clone());
                if *entry != found {
                    *entry = None;
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let decomposes = decomposes(plan, &filters, unit)?;
        let columns = columns.into_iter().filter_map(|(name, column)| Some((name, column?))).collect();
        Ok(Self { columns, decomposes })
    }

    pub(super) fn column(&self, table: &str) -> Option<&str> {
        self.columns.get(table).map(String::as_str)
    }
}

/// Whether equal values of these result columns belong to one unit.
pub(super) fn columns_within(plan: &LogicalPlan, columns: &[String], unit: IntervalUnit) -> DataFusionResult<bool> {
    let filters = bounded_scans(plan)?;
    let fields = plan.schema().fields();
    let position = |column: &String| fields.iter().position(|field| field.name() == column);
    Ok(columns.iter().filter_map(position).any(|at| {
        origin(plan, at).is_some_and(|origin| decides_unit(&origin.expression, &origin.scan_column(&filters), unit))
    }))
}

/// The time range of the rows in these files; `None` if the statistics are incomplete.
pub(super) fn times(files: &[&DataFile], column: &str, data_type: &DataType) -> Option<IntervalSet> {
    let mut times = IntervalSet::default();
    for file in files {
        if file.rows() == Some(0) || (file.rows().is_some() && file.null_count(column) == file.rows()) {
            continue;
        }
        let start = micros(&file.min(column, data_type)?)?;
        // Other writers truncate statistics to milliseconds, and the end of an interval is exclusive.
        let end = micros(&file.max(column, data_type)?)?.checked_add_signed(chrono::TimeDelta::milliseconds(1))?;
        times.insert(Interval::new(start, end).ok()?);
    }
    Some(times)
}

fn micros(value: &ScalarValue) -> Option<DateTime<Utc>> {
    match value {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => DateTime::from_timestamp_micros(*micros),
        ScalarValue::Date32(Some(day)) => DateTime::from_timestamp(i64::from(*day) * 86_400, 0),
        _ => None,
    }
}

pub(super) fn name(table: &TableReference) -> String {
    match table.schema() {
        Some(schema) => format!("{schema}.{}", table.table()),
        None => table.table().to_owned(),
    }
}

/// Identity of a scan: one source may be scanned several times.
fn address(scan: &TableScan) -> usize {
    std::ptr::from_ref(scan) as usize
}

/// An expression of the result in terms of one scan's columns.
struct Origin {
    expression: Expr,
    scan: usize,
}

impl Origin {
    /// The column that this scan is filtered by.
    fn scan_column(&self, filters: &BTreeMap<usize, String>) -> Option<String> {
        filters.get(&self.scan).cloned()
    }
}

/// Traces the expression at an output index down to the scan. `None` if it derives from no scan, or from several.
fn origin(plan: &LogicalPlan, at: usize) -> Option<Origin> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let column = Column::from_name(scan.projected_schema.field(at).name());
            Some(Origin { expression: Expr::Column(column), scan: address(scan) })
        }
        LogicalPlan::Projection(projection) => substituted(projection.expr.get(at)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => substituted(aggregate.group_expr.get(at)?, &aggregate.input),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, at),
        LogicalPlan::Filter(filter) => origin(&filter.input, at),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => origin(&sort.input, at),
        _ => None,
    }
}

fn substituted(expression: &Expr, input: &LogicalPlan) -> Option<Origin> {
    let mut scan = None;
    let lost = || DataFusionError::Plan("not of one scan".to_owned());
    let replaced = expression.clone().unalias().transform(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let below = input.schema().maybe_index_of_column(column).and_then(|at| origin(input, at)).ok_or_else(lost)?;
        if *scan.get_or_insert(below.scan) != below.scan {
            return Err(lost());
        }
        Ok(Transformed::new(below.expression, true, TreeNodeRecursion::Jump))
    });
    Some(Origin { expression: replaced.ok()?.data, scan: scan? })
}

/// Scans that are filtered by both ends of the interval, with the compared column.
fn bounded_scans(plan: &LogicalPlan) -> DataFusionResult<BTreeMap<usize, String>> {
    let mut bounds: BTreeMap<(usize, String), (bool, bool)> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(TreeNodeRecursion::Continue) };
        for condition in split_conjunction(&filter.predicate) {
            let Some((column, is_start)) = bound(condition) else { continue };
            let below = filter.input.schema().maybe_index_of_column(column).and_then(|at| origin(&filter.input, at));
            if let Some(Origin { expression: Expr::Column(column), scan }) = below {
                let (start, end) = bounds.entry((scan, column.name)).or_default();
                *start |= is_start;
                *end |= !is_start;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bounds.into_iter().filter(|(_, both)| *both == (true, true)).map(|(scan, _)| scan).collect())
}

/// Matches `column >= $interval_start` and `column < $interval_end`, also reversed: the column, and whether it is the
/// start.
fn bound(condition: &Expr) -> Option<(&Column, bool)> {
    let Expr::BinaryExpr(binary) = condition else { return None };
    let (column, operator, parameter) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (Expr::Column(column), right) => (column, binary.op, right),
        (left, Expr::Column(column)) => (column, binary.op.swap()?, left),
        _ => return None,
    };
    match (parameter_name(parameter)?, operator) {
        ("$interval_start", Operator::GtEq) => Some((column, true)),
        ("$interval_end", Operator::Lt) => Some((column, false)),
        _ => None,
    }
}

fn parameter_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Placeholder(placeholder) => Some(&placeholder.id),
        Expr::Cast(cast) => parameter_name(&cast.expr),
        _ => None,
    }
}

/// Whether the expression's value determines the unit of the column.
fn decides_unit(expression: &Expr, column: &Option<String>, unit: IntervalUnit) -> bool {
    let Some(name) = column else { return false };
    let is_column = |expression: &Expr| matches!(expression, Expr::Column(found) if found.name == *name);
    match expression {
        Expr::Alias(alias) => decides_unit(&alias.expr, column, unit),
        Expr::Column(_) => is_column(expression),
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Date32 => {
            is_column(&cast.expr) && unit != IntervalUnit::Hour
        }
        Expr::ScalarFunction(call) if call.name() == "date_trunc" => match call.args.as_slice() {
            [Expr::Literal(ScalarValue::Utf8(Some(part)), _), inner] => is_column(inner) && fits(part, unit),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a `date_trunc` part lies within one unit.
fn fits(part: &str, unit: IntervalUnit) -> bool {
    let units: &[&str] = match unit {
        IntervalUnit::Hour => &["minute", "hour"],
        IntervalUnit::Day => &["minute", "hour", "day"],
        IntervalUnit::Month => &["minute", "hour", "day", "month"],
        IntervalUnit::Year => &["minute", "hour", "day", "month", "quarter", "year"],
    };
    units.contains(&part.to_lowercase().as_str())
}

/// Whether the plan works row by row, or groups by something that determines the unit.
fn decomposes(plan: &LogicalPlan, filters: &BTreeMap<usize, String>, unit: IntervalUnit) -> DataFusionResult<bool> {
    let below = match plan {
        // A scan without the filter is the same for every unit, so its rows belong to none.
        LogicalPlan::TableScan(scan) => return Ok(filters.contains_key(&address(scan))),
        LogicalPlan::SubqueryAlias(_) => true,
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate)
            .into_iter()
            .all(|condition| bound(condition).is_some() || is_plain(condition)),
        LogicalPlan::Projection(projection) => projection.expr.iter().all(is_plain),
        LogicalPlan::Aggregate(aggregate) => {
            let decides = |expression: &Expr| {
                substituted(expression, &aggregate.input)
                    .is_some_and(|origin| decides_unit(&origin.expression, &origin.scan_column(filters), unit))
            };
            aggregate.group_expr.iter().all(|expression| !matches!(expression, Expr::GroupingSet(_)))
                && aggregate.group_expr.iter().any(decides)
                && aggregate.group_expr.iter().chain(&aggregate.aggr_expr).all(is_plain)
        }
        _ => false,
    };
    let [input] = plan.inputs()[..] else { return Ok(false) };
    Ok(below && decomposes(input, filters, unit)?)
}

/// Has no parameters, subqueries or windows.
fn is_plain(expression: &Expr) -> bool {
    !expression
        .exists(|part| {
            Ok(matches!(
                part,
                Expr::Placeholder(_)
                    | Expr::WindowFunction(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
            ))
        })
        .unwrap_or(true)
}

#[cfg(test)]
mod tests;
