//! Functions of a query that returned something else in earlier builds.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _, LogicalPlan, TryCast};
use pulse_core::meaning::Function;
use pulse_core::project::Job;

const fn changed(name: &'static str, reason: &'static str) -> Function {
    Function { name, version: 1, reason }
}

/// By the names that the planner gives them; a release that changes what a function returns counts its version up.
static CHANGED: [Function; 16] = [
    changed("divide_integers", "`/` of two whole numbers is a fraction, and was a whole number in earlier builds"),
    changed("date_format", "`date_format` takes patterns of Spark, and took others in earlier builds"),
    changed("concat", "`concat` with a null is null, and left it out in earlier builds"),
    changed("substring", "`substring` counts a start below 1 from the end, and did not in earlier builds"),
    changed(
        "regexp_replace",
        "`regexp_replace` replaces all places and reads `$1_` as a group, and replaced the first place in earlier builds",
    ),
    changed("initcap", "words of `initcap` end at blanks alone, and ended at other marks in earlier builds"),
    changed(
        "spark_position",
        "`position(part, text)` has its arguments in this order, and had them in the other one in earlier builds",
    ),
    changed("array_agg", "`array_agg` leaves nulls out, and kept them in earlier builds"),
    changed("array_append", "`array_append` to a null is null, and was a list in earlier builds"),
    changed("array_contains", "`array_contains` may be null, and was false in earlier builds"),
    changed("array_position", "`array_position` is 0 where nothing is found, and was null in earlier builds"),
    changed(
        "array_remove",
        "`array_remove` removes all items that are equal, and removed the first one in earlier builds",
    ),
    changed("array_sort", "`array_sort` puts nulls last, and put them first in earlier builds"),
    changed("size", "`size` of a null is null, and was -1 in earlier builds"),
    changed(
        "round",
        "`round` of a double rounds the number that is shown, and rounded the binary one in earlier builds",
    ),
    changed(
        DECIMAL_OF_DOUBLE,
        "a cast of a double to a decimal rounds the number that is shown, and rounded the binary one in earlier builds",
    ),
];

/// The planner puts it in the place of such a cast.
const DECIMAL_OF_DOUBLE: &str = "__decimal_of_double";

/// Whether a call with these arguments may return something else now.
fn may_differ(name: &str, arguments: &[Expr]) -> bool {
    match name {
        "substring" => !matches!(arguments.get(1), Some(Expr::Literal(ScalarValue::Int64(Some(1..)), _))),
        // Of the first place alone, and of groups that end in a letter.
        "regexp_replace" => arguments.len() == 3 || !arguments.get(2).is_some_and(is_without_groups),
        "array_sort" => arguments.len() == 1,
        _ => true,
    }
}

fn is_without_groups(replacement: &Expr) -> bool {
    let Expr::Literal(value, _) = replacement else { return false };
    value.try_as_str().flatten().is_some_and(|text| !text.contains('$'))
}

/// Whether a double or a float is cast to a decimal. A literal always was the decimal that is written.
fn casts_double(expression: &Expr, schemas: &[&DFSchema]) -> bool {
    let (value, to) = match expression {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field.data_type()),
        _ => return false,
    };
    let is_double = |schema: &&DFSchema| value.get_type(*schema).is_ok_and(|from| from.is_floating());
    matches!(to, DataType::Decimal128(..)) && !matches!(**value, Expr::Literal(..)) && schemas.iter().any(is_double)
}

/// Those that the query or a check that takes rows out calls.
pub(super) fn changed_functions(state: &SessionState, job: &Job, plan: &LogicalPlan) -> Vec<Function> {
    let mut called: Vec<&Function> = Vec::new();
    let mut look = |expression: &Expr, schemas: &[&DFSchema]| {
        let (name, arguments) = match expression {
            cast if casts_double(cast, schemas) => (DECIMAL_OF_DOUBLE, &Vec::new()),
            Expr::ScalarFunction(call) => (call.func.name(), &call.args),
            Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
            _ => return TreeNodeRecursion::Continue,
        };
        let may_differ = |function: &&Function| function.name == name && may_differ(name, arguments);
        called.extend(CHANGED.iter().find(may_differ));
        TreeNodeRecursion::Continue
    };
    let of_plan = plan.apply_with_subqueries(|node| {
        let schemas: Vec<&DFSchema> = node.inputs().iter().map(|input| input.schema().as_ref()).collect();
        node.apply_expressions(|expression| expression.apply(|inner| Ok(look(inner, &schemas))))
    });
    // The visitor returns no error.
    let _ = of_plan;
    let checks = job.manifest.expect.iter().filter(|expectation| expectation.removes_rows());
    for condition in checks.filter_map(|expectation| expectation.check.as_ref()) {
        if let Ok(condition) = state.create_logical_expr(condition, plan.schema()) {
            let _ = condition.apply(|inner| Ok(look(inner, &[plan.schema()])));
        }
    }
    CHANGED.iter().filter(|function| called.contains(function)).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::prelude::{SessionConfig, SessionContext};
    use pulse_core::project::{Project, ProjectFiles};

    use super::*;
    use crate::session::{session_config, session_state};

    async fn names(query: &str) -> Vec<&'static str> {
        let state = session_state(session_config(SessionConfig::new(), 2, 8192), Arc::default());
        let plan = SessionContext::new_with_state(state.clone()).sql(query).await.unwrap().into_unoptimized_plan();
        let manifest = "owner = \"me\"\ngrain = [\"a\"]\n[sink.overwrite]\n[[expect]]\nname = \"c\"\non_fail = \"drop\"\ncheck = \"a > 0\"\n";
        let files = [("project.toml", "name = \"t\""), ("s/t/job.toml", manifest), ("s/t/query.sql", "select 1 as a")];
        let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect::<ProjectFiles>();
        let job = Project::parse(&files).unwrap().jobs.into_values().next().unwrap();
        changed_functions(&state, &job, &plan).into_iter().map(|function| function.name).collect()
    }

    #[tokio::test]
    async fn a_query_that_rounds_doubles_is_found() {
        let of = |value: &str| format!("select {value} as a from (values (cast(1 as double), 1, 'x')) t(a, b, c)");
        assert_eq!(names(&of("round(a, 2)")).await, ["round"]);
        for cast in [
            "cast(a as decimal(9,2))",
            "try_cast(a as decimal(9,2))",
            "sum(cast(a * 2 as decimal(9,2)))",
            "cast(cast(b as float) as decimal(9,2))",
        ] {
            assert_eq!(names(&of(cast)).await, [DECIMAL_OF_DOUBLE], "{cast}");
        }
        for other in
            ["cast(b as decimal(9,2))", "cast(1.005 as decimal(9,2))", "cast(c as decimal(9,2))", "cast(a as bigint)"]
        {
            assert!(names(&of(other)).await.is_empty(), "{other}");
        }
    }

    #[tokio::test]
    async fn a_query_that_divides_whole_numbers_is_found() {
        assert_eq!(names("select sum(a) / count(*) as a from (values (1)) t(a)").await, ["divide_integers"]);
        assert_eq!(
            names("select a from (values (1)) t(a) where exists (select 1 from (values (1)) u(b) where b / 2 = a)")
                .await,
            ["divide_integers"]
        );
        assert!(names("select a / 2.0 as a from (values (1)) t(a)").await.is_empty());
        assert_eq!(names("select substr('abc', a) as a from (values (1)) t(a)").await, ["substring"]);
        assert!(names("select substr('abc', 1, 2) as a, regexp_replace('a', 'b', 'c', 'g') as b").await.is_empty());
        assert_eq!(names("select regexp_replace('a', '(b)', '$1_', 'g') as a").await, ["regexp_replace"]);
        assert!(names("select div(a, 2) as a, '1 / 2' as b from (values (1)) t(a)").await.is_empty());
    }
}
