//! Walks a parsed query: table names outside the scope of CTEs, and what a job's query may not hold.

use std::ops::ControlFlow;

use sqlparser::ast::Value;
use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query as Ast, Select, SetExpr, Spanned,
    Statement, TableFactor, TableWithJoins, ValueWithSpan, Visit, Visitor,
};

use super::limits::Cost;
use super::{SqlText, TableReference};
use crate::diagnostic::{self, Diagnostic};

/// Table names of the query in the order of the text, and what is wrong with it.
pub(super) fn references(source: &SqlText<'_>, query: &Ast) -> (Vec<TableReference>, Vec<Diagnostic>) {
    let mut visitor = QueryVisitor::new(source);
    let ControlFlow::Continue(()) = query.visit(&mut visitor);
    visitor.problems.extend(visitor.too_much());
    visitor.references.sort_by_key(|reference| reference.span.start);
    (visitor.references, visitor.problems)
}

/// # Errors
/// What a condition on one row may not hold.
pub(super) fn condition(expression: &Expr) -> Result<(), String> {
    match expression.visit(&mut ConditionVisitor) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(problem),
    }
}

/// # Errors
/// What the parser reads in another way than SQL says, and what the planner passes over.
pub(super) fn reading(source: &SqlText<'_>, statement: &Statement) -> Result<(), Diagnostic> {
    match statement.visit(&mut ReadingVisitor { source }) {
        ControlFlow::Break(problem) => Err(problem),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// # Errors
/// What is too much to plan. A job's query has the same limits ([`references`]).
pub(super) fn cost(source: &SqlText<'_>, statement: &Statement) -> Result<(), Diagnostic> {
    let mut visitor = QueryVisitor::new(source);
    let ControlFlow::Continue(()) = statement.visit(&mut visitor);
    visitor.too_much().map_or(Ok(()), Err)
}

struct ReadingVisitor<'a> {
    source: &'a SqlText<'a>,
}

impl ReadingVisitor<'_> {
    fn joins(&self, from: &TableWithJoins) -> ControlFlow<Diagnostic> {
        match from.joins.iter().find(|join| merges_keys(&join.join_operator)) {
            Some(join) => ControlFlow::Break(self.source.at(join.relation.span(), MERGED).with_help(KEYS)),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for ReadingVisitor<'_> {
    type Break = Diagnostic;

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        select.from.iter().try_for_each(|from| self.joins(from))
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        match is_swallowed(expression) {
            true => ControlFlow::Break(self.source.at(expression.span(), SWALLOWED).with_help(PARENTHESES)),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let Some((clause, help)) = ignored(factor) {
            let message = format!("`{clause}` would be ignored");
            return ControlFlow::Break(self.source.at(factor.span(), message).with_help(help));
        }
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins(table_with_joins),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct QueryVisitor<'a> {
    source: &'a SqlText<'a>,
    scopes: Vec<Scope>,
    references: Vec<TableReference>,
    problems: Vec<Diagnostic>,
    /// Of the whole query, once it is visited.
    cost: Cost,
}

/// One query's CTEs. A CTE is visible after its own query, or from the start with `recursive`.
struct Scope {
    visible: Vec<(String, Cost)>,
    /// Not yet visible, the next one last; a CTE is known by the place of its query in memory.
    pending: Vec<(*const Ast, String)>,
    cost: Cost,
}

impl<'a> QueryVisitor<'a> {
    fn new(source: &'a SqlText<'a>) -> Self {
        Self { source, scopes: Vec::new(), references: Vec::new(), problems: Vec::new(), cost: Cost::default() }
    }

    fn too_much(&self) -> Option<Diagnostic> {
        let help = "split the query into jobs: a table is computed once, and a step as often as it is named";
        let (path, text) = (self.source.path, &self.source.text);
        self.cost.problem().map(|problem| Diagnostic::new(path, text, 0..text.len(), problem).with_help(help))
    }

    /// What the step costs that a name means here.
    fn cte(&self, name: &str) -> Option<Cost> {
        let mut visible = self.scopes.iter().rev().flat_map(|scope| scope.visible.iter().rev());
        visible.find(|(step, _)| step == name).map(|(_, cost)| *cost)
    }

    fn spend(&mut self, cost: Cost) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.cost.add(cost);
        }
    }

    fn relation(&mut self, name: &ObjectName) {
        let parts: Option<Vec<&Ident>> = name.0.iter().map(ObjectNamePart::as_ident).collect();
        let span = name.0.iter().map(Spanned::span).reduce(|all, part| all.union(&part));
        let bytes = span.map_or(0..0, |span| self.source.bytes(span));
        match parts.as_deref() {
            Some([only]) if self.cte(&fold(only)).is_some() => {
                let cost = self.cte(&fold(only)).unwrap_or_default();
                self.spend(cost);
            }
            Some([layer, table]) => {
                self.spend(Cost::TABLE);
                let (line, column) = diagnostic::position(&self.source.text, bytes.start);
                let name = format!("{}.{}", fold(layer), fold(table));
                self.references.push(TableReference { name, span: bytes, line, column });
            }
            Some(_) | None => {
                self.spend(Cost::TABLE);
                let problem =
                    Diagnostic::new(self.source.path, &self.source.text, bytes, format!("`{name}` is not a table"));
                let help =
                    "write `<layer>.<table>`, `raw.<name>` of a source of files, or the name of a `with` step above";
                self.problems.push(problem.with_help(help));
            }
        }
    }

    fn joins(&mut self, from: &TableWithJoins) {
        for join in from.joins.iter().filter(|join| merges_keys(&join.join_operator)) {
            self.refuse(join.relation.span(), MERGED.to_owned(), KEYS);
        }
    }

    fn refuse(&mut self, span: sqlparser::tokenizer::Span, message: String, help: &str) {
        self.problems.push(self.source.at(span, message).with_help(help));
    }
}

impl Visitor for QueryVisitor<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Ast) -> ControlFlow<Self::Break> {
        let mut scope = Scope { visible: Vec::new(), pending: Vec::new(), cost: Cost::default() };
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = fold(&cte.alias.name);
                match with.recursive {
                    true => scope.visible.push((name, Cost::TABLE)),
                    false => scope.pending.insert(0, (std::ptr::from_ref(&*cte.query), name)),
                }
            }
        }
        self.scopes.push(scope);
        if let SetExpr::Table(_) = &*query.body {
            self.refuse(query.span(), "`table` is not a query".to_owned(), "write `select` and the columns");
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Ast) -> ControlFlow<Self::Break> {
        let cost = self.scopes.pop().map(|scope| scope.cost).unwrap_or_default();
        let Some(scope) = self.scopes.last_mut() else {
            self.cost.add(cost);
            return ControlFlow::Continue(());
        };
        if scope.pending.last().is_some_and(|(place, _)| std::ptr::eq(*place, query))
            && let Some((_, name)) = scope.pending.pop()
        {
            scope.visible.push((name, cost.of_step()));
        } else {
            scope.cost.add(cost);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if let Some(into) = &select.into {
            let message = "`select into` writes a table".to_owned();
            self.refuse(into.name.span(), message, "remove it: the sink in job.toml says how rows reach the table");
        }
        for from in &select.from {
            self.joins(from);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        let help = "a job's query only reads; the sink in job.toml says how its rows reach the table";
        self.refuse(statement.span(), "this statement writes".to_owned(), help);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        if is_swallowed(expression) {
            self.refuse(expression.span(), SWALLOWED.to_owned(), PARENTHESES);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let Some((clause, help)) = ignored(factor) {
            self.refuse(factor.span(), format!("`{clause}` would be ignored"), help);
        }
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.joins(table_with_joins);
        }
        // With arguments it is a table function, such as `generate_series(1, 3)`.
        if let TableFactor::Table { name, args: None, .. } = factor {
            self.relation(name);
        }
        ControlFlow::Continue(())
    }
}

/// Where `is distinct from` took more for its right side than SQL says: the parser reads on to the end of the whole condition.
fn is_swallowed(expression: &Expr) -> bool {
    use sqlparser::ast::{BinaryOperator as Op, UnaryOperator};
    let (Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right)) = expression else { return false };
    match right.as_ref() {
        Expr::BinaryOp { op, .. } => {
            matches!(op, Op::And | Op::Or | Op::Xor | Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq)
        }
        Expr::UnaryOp { op, .. } => *op == UnaryOperator::Not,
        Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. } => true,
        _ => false,
    }
}

pub(super) const SWALLOWED: &str = "`is distinct from` would take all that follows for its right side";
const PARENTHESES: &str = "put parentheses around the comparison: `(a is distinct from b) and ..`";

/// Of a join that keeps rows which only its right side has.
fn merges_keys(join: &JoinOperator) -> bool {
    match join {
        JoinOperator::Right(by) | JoinOperator::RightOuter(by) | JoinOperator::FullOuter(by) => {
            matches!(by, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        _ => false,
    }
}

const MERGED: &str =
    "`using` and `natural` take a key from the left side alone: it is null in rows of the right side only";
const KEYS: &str = "write `on a.key = b.key`, and `coalesce(a.key, b.key) as key` among the columns";

/// A clause that the planner does not look at, and what to write instead.
fn ignored(factor: &TableFactor) -> Option<(&'static str, &'static str)> {
    const SAMPLE: (&str, &str) = (
        "tablesample",
        "remove it: a job's rows do not depend on chance; `where` on a hash of the key takes a part of them",
    );
    match factor {
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => Some(SAMPLE),
        TableFactor::Table { version: Some(_), .. } => Some(("as of", "remove it: a query reads the newest version")),
        TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => Some(("with (..)", "remove it")),
        TableFactor::Table { partitions, .. } if !partitions.is_empty() => {
            Some(("partition (..)", "write a condition on the column after `where`"))
        }
        _ => None,
    }
}

struct ConditionVisitor;

impl Visitor for ConditionVisitor {
    type Break = String;

    fn pre_visit_query(&mut self, _query: &Ast) -> ControlFlow<Self::Break> {
        ControlFlow::Break(
            "a check is a condition on one row and holds no subquery: use `refers`, or join in the query".to_owned(),
        )
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        match is_swallowed(expression) {
            true => ControlFlow::Break(format!("{SWALLOWED}: {PARENTHESES}")),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<Self::Break> {
        match &value.value {
            Value::Placeholder(name) => ControlFlow::Break(format!(
                "a check knows no parameters, so not `{name}`: make it a column of the query"
            )),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// SQL folds names to lower case unless they are quoted.
fn fold(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}
