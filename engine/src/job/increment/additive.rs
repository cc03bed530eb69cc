//! Whether a query is additive: for any split of some sources' rows into groups, its result is the union of the results
//! of the groups. Then the rows of some groups can be replaced without reading the others. Pure, on plans; unknown
//! constructs count as obstacles.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Join, LogicalPlan, Operator, TableScan, Union, Unnest, Window,
};

use crate::job::distinct::{keeps_values_apart, shown_column};
use crate::job::interval_scope::name;

/// Names of source columns.
pub(super) type Names = BTreeSet<String>;

/// The sources of which a query sees only some groups.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// As `layer.table`.
    pub(super) sources: BTreeSet<String>,
    /// Rows of these sources with equal values in these columns are one group. Without columns, each row may be seen
    /// alone.
    pub(super) by: &'a [String],
}

/// A construct that looks across groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) clause: String,
    /// Source columns: grouping by any of them would avoid the obstacle.
    pub(super) enough: Names,
}

impl Obstacle {
    pub(super) fn new(clause: impl Into<String>, enough: Names) -> Self {
        Self { clause: clause.into(), enough }
    }

    fn hopeless(clause: impl Into<String>) -> Self {
        Self::new(clause, Names::new())
    }
}

/// Properties of a plan's rows.
#[derive(Debug)]
pub(super) struct Rows {
    /// Whether they depend on which groups are seen.
    partial: bool,
    /// By index: the source columns that this column is equivalent to within the row's group.
    columns: Vec<Names>,
}

impl Rows {
    fn unknown(plan: &LogicalPlan, partial: bool) -> Self {
        Self { partial, columns: vec![Names::new(); plan.schema().fields().len()] }
    }

    pub(super) fn column(&self, place: usize) -> &Names {
        &self.columns[place]
    }

    fn names(&self, places: impl IntoIterator<Item = usize>) -> Names {
        places.into_iter().flat_map(|place| self.columns[place].iter().cloned()).collect()
    }

    /// Checks that rows with equal values at these indices belong to one group.
    ///
    /// # Errors
    /// The columns for which this does hold.
    pub(super) fn cover(&self, parts: &Parts<'_>, places: impl IntoIterator<Item = usize>) -> Result<(), Names> {
        let names = self.names(places);
        if parts.cover(&names) { Ok(()) } else { Err(names) }
    }
}

impl Parts<'_> {
    fn cover(&self, names: &Names) -> bool {
        !self.by.is_empty() && self.by.iter().all(|column| names.contains(column))
    }

    fn has(&self, scan: &TableScan) -> bool {
        self.sources.contains(&name(&scan.table_name))
    }

    fn reach(&self, plan: &LogicalPlan) -> bool {
        let mut reached = false;
        let walked = plan.apply_with_subqueries(|node| {
            reached |= matches!(node, LogicalPlan::TableScan(scan) if self.has(scan));
            Ok(if reached { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        walked.is_err() || reached
    }

    /// # Errors
    /// Why the plan is not additive.
    pub(super) fn additive(&self, plan: &LogicalPlan) -> Result<Rows, Obstacle> {
        let rows = self.rows(plan, &[])?;
        if rows.partial { Ok(rows) } else { Err(Obstacle::hopeless("a query that does not select its rows")) }
    }

    /// `known` are conditions that hold for each row that the nodes above keep.
    fn rows(&self, plan: &LogicalPlan, known: &[&Expr]) -> Result<Rows, Obstacle> {
        self.refuse_subqueries(plan)?;
        let same = |input: &LogicalPlan| self.rows(input, &[]);
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, plan),
            LogicalPlan::SubqueryAlias(alias) => same(&alias.input),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => same(&sort.input),
            LogicalPlan::Filter(filter) => {
                let mut known = known.to_vec();
                known.extend(split_conjunction(&filter.predicate));
                let mut rows = self.rows(&filter.input, &known)?;
                equate(&mut rows, filter.input.schema(), &known);
                Ok(rows)
            }
            LogicalPlan::Projection(projection) => {
                let below = same(&projection.input)?;
                let columns = shown(&projection.expr, &below, &projection.input);
                Ok(Rows { partial: below.partial, columns })
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => self.join(join, known),
            LogicalPlan::Unnest(unnest) => Ok(unnested(unnest, same(&unnest.input)?)),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if self.reach(plan) => Err(Obstacle::hopeless("`limit`")),
            other if self.reach(other) => Err(Obstacle::hopeless("a clause that is not known to be additive")),
            other => Ok(Rows::unknown(other, false)),
        }
    }

    fn refuse_subqueries(&self, plan: &LogicalPlan) -> Result<(), Obstacle> {
        let mut reached = false;
        let walked = plan.apply_subqueries(|subquery| {
            reached |= self.reach(subquery);
            Ok(TreeNodeRecursion::Continue)
        });
        match walked.is_err() || reached {
            true => Err(Obstacle::hopeless("a subquery in an expression")),
            false => Ok(()),
        }
    }

    /// Floating-point columns are left out: zero has two representations, which groups may not distinguish as rows do.
    fn scan(&self, scan: &TableScan, plan: &LogicalPlan) -> Result<Rows, Obstacle> {
        let partial = self.has(scan);
        if partial && scan.fetch.is_some() {
            return Err(Obstacle::hopeless("`limit`"));
        }
        let names = plan.schema().fields().iter().map(|field| match field.data_type().is_floating() {
            true => Names::new(),
            false => Names::from([field.name().clone()]),
        });
        Ok(Rows { partial, columns: names.collect() })
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<Rows, Obstacle> {
        let below = self.rows(&aggregate.input, &[])?;
        let has_sets = aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_)));
        let mut columns = shown(&aggregate.group_expr, &below, &aggregate.input);
        if has_sets {
            columns.clear();
        }
        let names = columns.iter().flatten().cloned().collect();
        if below.partial && !self.cover(&names) {
            let clause = match (aggregate.group_expr.is_empty(), has_sets) {
                (true, _) => "an aggregate without `group by`".to_owned(),
                (false, true) => "`group by` of several sets".to_owned(),
                (false, false) => format!("`group by {}`", texts(&aggregate.group_expr)),
            };
            return Err(Obstacle::new(clause, names));
        }
        columns.resize(aggregate.schema.fields().len(), Names::new());
        Ok(Rows { partial: below.partial, columns })
    }

    fn window(&self, window: &Window) -> Result<Rows, Obstacle> {
        let mut rows = self.rows(&window.input, &[])?;
        for expression in window.window_expr.iter().filter(|_| rows.partial) {
            let Expr::WindowFunction(call) = unaliased(expression) else {
                return Err(Obstacle::hopeless("a window that is not known to be additive"));
            };
            let by = &call.params.partition_by;
            let names = shown(by, &rows, &window.input).into_iter().flatten().collect();
            if !self.cover(&names) {
                let clause = match by.is_empty() {
                    true => format!("`{}` over a window without `partition by`", call.fun.name()),
                    false => format!("`{}` over (partition by {})", call.fun.name(), texts(by)),
                };
                return Err(Obstacle::new(clause, names));
            }
        }
        rows.columns.resize(window.schema.fields().len(), Names::new());
        Ok(rows)
    }

    fn distinct(&self, distinct: &Distinct) -> Result<Rows, Obstacle> {
        match distinct {
            Distinct::All(input) => {
                let rows = self.rows(input, &[])?;
                match rows.cover(self, 0..rows.columns.len()) {
                    Err(names) if rows.partial => Err(Obstacle::new("`distinct`", names)),
                    Ok(()) | Err(_) => Ok(rows),
                }
            }
            Distinct::On(on) => {
                let rows = self.rows(&on.input, &[])?;
                let names = shown(&on.on_expr, &rows, &on.input).into_iter().flatten().collect();
                if rows.partial && !self.cover(&names) {
                    return Err(Obstacle::new(format!("`distinct on ({})`", texts(&on.on_expr)), names));
                }
                Ok(Rows { partial: rows.partial, columns: shown(&on.select_expr, &rows, &on.input) })
            }
        }
    }

    fn union(&self, union: &Union) -> Result<Rows, Obstacle> {
        let inputs = union.inputs.iter().map(|input| self.rows(input, &[])).collect::<Result<Vec<_>, _>>()?;
        let partial = inputs.iter().any(|rows| rows.partial);
        if partial && inputs.iter().any(|rows| !rows.partial) {
            return Err(Obstacle::hopeless("`union` with rows of a source that is read whole"));
        }
        let in_all = |place: usize| {
            let mut names = inputs.iter().map(|rows| rows.columns.get(place).cloned().unwrap_or_default());
            let first = names.next().unwrap_or_default();
            names.fold(first, |all, names| &all & &names)
        };
        Ok(Rows { partial, columns: (0..union.schema.fields().len()).map(in_all).collect() })
    }

    fn join(&self, join: &Join, known: &[&Expr]) -> Result<Rows, Obstacle> {
        let is_inner = join.join_type == JoinType::Inner;
        let known = if is_inner { known } else { &[] };
        let (left, right) = (self.rows(&join.left, known)?, self.rows(&join.right, known)?);
        let pairs = pairs(join, known);
        let text = || match join.on.is_empty() && join.filter.is_none() {
            true => "a join without equal columns".to_owned(),
            false => format!("the {} join", join.join_type.to_string().to_lowercase()),
        };
        // Grouping columns by which matching rows would be read together.
        let shared = || pairs.iter().flat_map(|(a, b)| &left.columns[*a] & &right.columns[*b]).collect::<Names>();
        match (left.partial, right.partial) {
            (true, true) if join.null_aware || !self.cover(&shared()) => {
                return Err(Obstacle::new(
                    format!("{} of two sources that are both read by changes", text()),
                    shared(),
                ));
            }
            (true, false) if !keeps_to_left(join.join_type) => {
                return Err(Obstacle::new(format!("{} to a source that is read by changes", text()), shared()));
            }
            (false, true) if !keeps_to_left(join.join_type.swap()) => {
                return Err(Obstacle::new(format!("{} to a source that is read by changes", text()), shared()));
            }
            _ => {}
        }
        Ok(joined(join, left, right, &pairs))
    }
}

/// Each row of the result derives from one row of the left side, whatever its matches.
fn keeps_to_left(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => true,
        JoinType::Right | JoinType::Full | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
    }
}

/// Origins of a join's columns. Columns of a side that may be null without a match have none, nor do those of a side
/// that is read whole.
fn joined(join: &Join, left: Rows, right: Rows, pairs: &[(usize, usize)]) -> Rows {
    let partial = left.partial || right.partial;
    let (mut lefts, mut rights) = (left.columns, right.columns);
    let blank = |columns: &mut Vec<Names>| columns.iter_mut().for_each(Names::clear);
    if partial && !left.partial {
        blank(&mut lefts);
    }
    if partial && !right.partial {
        blank(&mut rights);
    }
    match join.join_type {
        JoinType::Inner => {
            for (a, b) in pairs {
                let both = &lefts[*a] | &rights[*b];
                lefts[*a].clone_from(&both);
                rights[*b] = both;
            }
        }
        JoinType::Left => blank(&mut rights),
        JoinType::Right => blank(&mut lefts),
        JoinType::Full => {
            blank(&mut lefts);
            blank(&mut rights);
        }
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => rights.clear(),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => lefts.clear(),
    }
    let mut columns = lefts;
    columns.extend(rights);
    columns.resize(join.schema.fields().len(), Names::new());
    Rows { partial, columns }
}

/// Indices of columns of both sides that are equal in matching rows.
fn pairs(join: &Join, known: &[&Expr]) -> Vec<(usize, usize)> {
    let filters = join.filter.iter().flat_map(|filter| split_conjunction(filter)).chain(known.iter().copied());
    let on = join.on.iter().map(|(a, b)| (a, b)).chain(filters.filter_map(equal));
    let place = |a: &Expr, b: &Expr| {
        let places = (shown_column(a, &join.left)?, shown_column(b, &join.right)?);
        same_values(join.left.schema(), places.0, join.right.schema(), places.1).then_some(places)
    };
    on.filter_map(|(a, b)| place(a, b).or_else(|| place(b, a))).collect()
}

fn equal(condition: &Expr) -> Option<(&Expr, &Expr)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => Some((left, right)),
        _ => None,
    }
}

/// Whether SQL equality of these columns implies identical values: the number 1 equals the texts `1` and `01`.
fn same_values(left: &DFSchema, a: usize, right: &DFSchema, b: usize) -> bool {
    let (a, b) = (left.field(a).data_type(), right.field(b).data_type());
    keeps_values_apart(a, b) && keeps_values_apart(b, a)
}

/// Columns that a filter makes equal share their origins.
fn equate(rows: &mut Rows, schema: &DFSchema, known: &[&Expr]) {
    let plain = |expression: &Expr| match expression {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    };
    for (a, b) in known.iter().filter_map(|condition| equal(condition)) {
        if let (Some(a), Some(b)) = (plain(a), plain(b))
            && same_values(schema, a, schema, b)
        {
            let both = &rows.columns[a] | &rows.columns[b];
            rows.columns[a].clone_from(&both);
            rows.columns[b] = both;
        }
    }
}

fn shown(expressions: &[Expr], below: &Rows, input: &LogicalPlan) -> Vec<Names> {
    let of = |expression: &Expr| shown_column(expression, input).map(|place| below.columns[place].clone());
    expressions.iter().map(|expression| of(expression).unwrap_or_default()).collect()
}

fn unnested(unnest: &Unnest, below: Rows) -> Rows {
    let input = unnest.input.schema();
    let opened: BTreeSet<usize> =
        unnest.exec_columns.iter().filter_map(|column| input.maybe_index_of_column(column)).collect();
    let of = |place: &usize| below.columns.get(*place).filter(|_| !opened.contains(place)).cloned();
    Rows {
        partial: below.partial,
        columns: unnest.dependency_indices.iter().map(|place| of(place).unwrap_or_default()).collect(),
    }
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn texts(expressions: &[Expr]) -> String {
    let text = |expression: &Expr| match unaliased(expression) {
        Expr::Column(column) => column.name.clone(),
        other => other.human_display().to_string(),
    };
    expressions.iter().map(text).collect::<Vec<_>>().join(", ")
}
