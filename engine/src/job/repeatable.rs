//! Finds queries that are not repeatable: they use random or time-dependent functions, functions of rows in an order that
//! nothing gives, or limits that cut through ties in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::logical_plan::{DistinctOn, FetchType, SkipType};
use datafusion::logical_expr::{
    Distinct, Expr, Limit, LogicalPlan, Projection, SortExpr, Volatility, WindowFunctionDefinition,
};
use pulse_core::diagnostic::Diagnostic;
use pulse_core::name::TableName;
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::pointing::find_word;
use crate::error::from_datafusion;

/// Declared as time-dependent, although they depend only on options that are the same in each run.
const STEADY: [&str; 1] = ["spark_cast"];

/// Aggregates whose result depends on the order of their rows.
const ORDERED: [&str; 5] = ["array_agg", "first_value", "last_value", "nth_value", "string_agg"];
/// Window functions that number rows or look at their neighbours.
const ORDERED_OVER: [&str; 4] = ["lag", "lead", "ntile", "row_number"];

/// # Errors
/// `Invalid` with a function or limit that may make a repeated run write different rows.
pub(super) fn refuse_unrepeatable(plan: &LogicalPlan, job: &Job) -> Result<()> {
    let problems = problems(plan, &job.keys_of_inputs).map_err(|e| from_datafusion(&job.query_path(), e))?;
    if problems.is_empty() {
        return Ok(());
    }
    let text: Arc<str> = Arc::from(job.query.text.as_str());
    let diagnostics = problems.into_iter().map(|problem| {
        let (word, span) = problem.place(&text);
        let message = format!("`{word}` {}", problem.message);
        Diagnostic::new(&job.query_path(), &text, span, message).with_help(problem.help)
    });
    Err(Error::from_diagnostics(diagnostics.collect()))
}

/// The first volatile function in an expression.
pub(super) fn volatile_function(expression: &Expr) -> Option<String> {
    let mut found = None;
    let _ = expression.apply(|expression| {
        found = function_of(expression).filter(|f| f.volatility == Volatility::Volatile).map(|f| f.name.to_owned());
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

#[derive(Debug, PartialEq, Eq)]
struct Problem {
    /// Its possible names in the query.
    words: Vec<String>,
    /// Continues after the name.
    message: String,
    help: String,
}

impl Problem {
    /// The name that occurs in the query, and its first position.
    fn place(&self, text: &str) -> (&str, std::ops::Range<usize>) {
        let found = self.words.iter().find_map(|word| Some((word.as_str(), find_word(text, word)?)));
        let first = self.words.first().map_or("", String::as_str);
        found.unwrap_or((first, 0..text.trim_end().len().min(1)))
    }
}

/// Columns that identify a row of a table, by table.
type Keys = BTreeMap<TableName, Vec<String>>;

fn problems(plan: &LogicalPlan, keys: &Keys) -> datafusion::error::Result<Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    plan.apply_with_subqueries(|node| {
        let mut found = Vec::new();
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                found.extend(function_problem(expression));
                found.extend(order_problem(expression));
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        match node {
            LogicalPlan::Limit(limit) => found.extend(limit_problem(limit, keys)),
            LogicalPlan::Distinct(Distinct::On(distinct)) => found.extend(distinct_problem(distinct, keys)),
            _ => {}
        }
        problems.extend(found);
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut once = Vec::new();
    for problem in problems {
        if !once.contains(&problem) {
            once.push(problem);
        }
    }
    Ok(once)
}

struct Function<'a> {
    name: &'a str,
    aliases: &'a [String],
    volatility: Volatility,
}

fn function_of(expression: &Expr) -> Option<Function<'_>> {
    let (name, aliases, volatility) = match expression {
        Expr::ScalarFunction(call) => (call.func.name(), call.func.aliases(), call.func.signature().volatility),
        Expr::HigherOrderFunction(call) => (call.func.name(), call.func.aliases(), call.func.signature().volatility),
        Expr::AggregateFunction(call) => (call.func.name(), call.func.aliases(), call.func.signature().volatility),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(fun) => (fun.name(), fun.aliases(), fun.signature().volatility),
            WindowFunctionDefinition::WindowUDF(fun) => (fun.name(), fun.aliases(), fun.signature().volatility),
        },
        _ => return None,
    };
    Some(Function { name, aliases, volatility })
}

fn function_problem(expression: &Expr) -> Option<Problem> {
    let function = function_of(expression)?;
    let help = match function.volatility {
        Volatility::Immutable => return None,
        Volatility::Stable if STEADY.contains(&function.name) => return None,
        Volatility::Stable => "use a column, or `$interval_end`",
        Volatility::Volatile => "compute the value from columns of the row",
    };
    Some(Problem {
        words: std::iter::once(function.name.to_owned()).chain(function.aliases.iter().cloned()).collect(),
        message: "has another value in each run".to_owned(),
        help: format!("a run that is repeated must yield the same rows: {help}"),
    })
}

fn order_problem(expression: &Expr) -> Option<Problem> {
    let (is_ordered, order_by, help) = match expression {
        Expr::AggregateFunction(call) => {
            (ORDERED.contains(&call.func.name()), &call.params.order_by, "write `order by` behind its argument")
        }
        Expr::WindowFunction(call) => {
            let name = call.fun.name();
            let is_ordered = ORDERED.contains(&name) || ORDERED_OVER.contains(&name);
            (is_ordered, &call.params.order_by, "write `order by` within `over (..)`")
        }
        _ => return None,
    };
    let function = function_of(expression).filter(|_| is_ordered && order_by.is_empty())?;
    Some(Problem {
        words: std::iter::once(function.name.to_owned()).chain(function.aliases.iter().cloned()).collect(),
        message: "may see its rows in another order in each run: nothing says which come first".to_owned(),
        help: format!("a run that is repeated must yield the same rows: {help}"),
    })
}

/// Columns by their index in a schema.
type Places = BTreeSet<usize>;

fn limit_problem(limit: &Limit, keys: &Keys) -> Option<Problem> {
    if cuts_nothing(limit) {
        return None;
    }
    // Rows that are equal in all columns are interchangeable.
    let whole = (0..limit.input.schema().fields().len()).collect();
    let order = order_below(&limit.input, whole, keys);
    if order.missing.is_empty() {
        return None;
    }
    let words = if limit.fetch.is_some() { ["limit", "fetch"].as_slice() } else { &["offset"] };
    Some(order.problem(words))
}

fn distinct_problem(distinct: &DistinctOn, known: &Keys) -> Option<Problem> {
    let schema = distinct.input.schema();
    let wanted = distinct.select_expr.iter().flat_map(|expression| places_in(expression, schema)).collect();
    let order: Vec<SortExpr> = distinct.sort_expr.clone().unwrap_or_default();
    let plain = order.iter().map(|sort| &sort.expr).chain(&distinct.on_expr);
    let keys: Places = plain.filter_map(|expression| plain_place(expression, schema)).collect();
    if determines(&distinct.input, &keys, &wanted, known) {
        return None;
    }
    let order = match order.is_empty() {
        true => distinct.on_expr.iter().map(|expression| expression.clone().sort(true, false)).collect(),
        false => order,
    };
    Some(Order { missing: names(schema, wanted.difference(&keys)), sorts: order }.problem(&["distinct"]))
}

/// Keeps none or all of its input's rows, whatever their order.
fn cuts_nothing(limit: &Limit) -> bool {
    let skips = !matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
    match limit.get_fetch_type() {
        Ok(FetchType::Literal(Some(0))) => true,
        Ok(FetchType::Literal(None)) if !skips => true,
        _ => is_single_row(&limit.input),
    }
}

fn is_single_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Projection(node) => is_single_row(&node.input),
        LogicalPlan::Filter(node) => is_single_row(&node.input),
        LogicalPlan::Sort(node) => is_single_row(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_single_row(&node.input),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || is_single_row(&limit.input)
        }
        _ => false,
    }
}

/// The sort columns, and the names of columns that are missing for a total order.
struct Order {
    sorts: Vec<SortExpr>,
    missing: Vec<String>,
}

impl Order {
    fn problem(self, words: &[&str]) -> Problem {
        let sorts: Vec<String> = self.sorts.iter().map(sort_text).collect();
        let why = match sorts.is_empty() {
            true => "nothing says which come first".to_owned(),
            false => format!("rows may agree in `{}`", sorts.join(", ")),
        };
        let order: Vec<String> = sorts.into_iter().chain(self.missing).collect();
        Problem {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            message: format!("may keep other rows in each run: {why}"),
            help: format!("a run that is repeated must yield the same rows: write `order by {}`", order.join(", ")),
        }
    }
}

/// The order of the rows that a limit cuts: a sort below projections only.
fn order_below(input: &LogicalPlan, mut wanted: Places, known: &Keys) -> Order {
    let mut node = input;
    while let LogicalPlan::Projection(projection) = node {
        wanted = through(projection, &wanted);
        node = &projection.input;
    }
    let LogicalPlan::Sort(sort) = node else {
        return Order { sorts: Vec::new(), missing: names(node.schema(), &wanted) };
    };
    let schema = sort.input.schema();
    let keys: Places = sort.expr.iter().filter_map(|sort| plain_place(&sort.expr, schema)).collect();
    let missing = match determines(&sort.input, &keys, &wanted, known) {
        true => Vec::new(),
        false => names(schema, wanted.difference(&keys)),
    };
    Order { sorts: sort.expr.clone(), missing }
}

/// Whether equal `keys` imply equal `wanted` in the rows of `plan`. `known` are keys of tables.
fn determines(plan: &LogicalPlan, keys: &Places, wanted: &Places, known: &Keys) -> bool {
    let open: Places = wanted.difference(keys).copied().collect();
    if open.is_empty() {
        return true;
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            let keys = keys.iter().filter_map(|key| plain_place(&projection.expr[*key], schema)).collect();
            determines(&projection.input, &keys, &through(projection, &open), known)
        }
        LogicalPlan::SubqueryAlias(node) => determines(&node.input, keys, &open, known),
        LogicalPlan::Filter(node) => determines(&node.input, keys, &open, known),
        LogicalPlan::Sort(node) => determines(&node.input, keys, &open, known),
        LogicalPlan::Distinct(Distinct::All(input)) => determines(input, keys, &open, known),
        LogicalPlan::TableScan(scan) => {
            let name = TableName::new(scan.table_name.schema().unwrap_or_default(), scan.table_name.table());
            let key = name.ok().and_then(|name| known.get(&name)).filter(|key| !key.is_empty());
            let place = |name: &String| plan.schema().index_of_column_by_name(None, name);
            key.is_some_and(|key| key.iter().all(|name| place(name).is_some_and(|place| keys.contains(&place))))
        }
        LogicalPlan::Aggregate(node) => {
            let sets = node.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_)));
            !sets && (0..node.group_expr.len()).all(|place| keys.contains(&place))
        }
        _ => false,
    }
}

/// Input columns of a projection that determine its output columns `wanted`.
fn through(projection: &Projection, wanted: &Places) -> Places {
    wanted.iter().flat_map(|place| places_in(&projection.expr[*place], projection.input.schema())).collect()
}

/// A subquery may depend on any column of the row.
fn places_in(expression: &Expr, schema: &DFSchema) -> Places {
    let is_subquery = |part: &Expr| matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    let places: Option<Places> =
        expression.column_refs().into_iter().map(|column| schema.maybe_index_of_column(column)).collect();
    let opaque = expression.exists(|part| Ok(is_subquery(part))).unwrap_or(true);
    places.filter(|_| !opaque).unwrap_or_else(|| (0..schema.fields().len()).collect())
}

/// The index of a plain column; different rows may be equal in a computed value.
fn plain_place(expression: &Expr, schema: &DFSchema) -> Option<usize> {
    match expression {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        Expr::Alias(alias) => plain_place(&alias.expr, schema),
        _ => None,
    }
}

fn names<'a>(schema: &DFSchema, places: impl IntoIterator<Item = &'a usize>) -> Vec<String> {
    let name = |place: &usize| Column::new_unqualified(schema.field(*place).name()).quoted_flat_name();
    places.into_iter().map(name).collect()
}

fn sort_text(sort: &SortExpr) -> String {
    let expression = match &sort.expr {
        Expr::Column(column) => Column::new_unqualified(&column.name).quoted_flat_name(),
        other => other.human_display().to_string(),
    };
    let direction = if sort.asc { "" } else { " desc" };
    let nulls = match (sort.asc, sort.nulls_first) {
        (true, true) => " nulls first",
        (false, false) => " nulls last",
        (true, false) | (false, true) => "",
    };
    format!("{expression}{direction}{nulls}")
}

#[cfg(test)]
mod tests;
