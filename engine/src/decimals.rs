//! A number with a point that is compared with a decimal is the decimal that is written, and not the double next to it. DataFusion compares
//! both as doubles, where 75412.09 misses itself.

mod number;
mod of_double;

use arrow::datatypes::{DataType, Decimal256Type, DecimalType as _};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable as _, LogicalPlan, Operator, TryCast, binary_expr, cast, lit,
    not,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::expressions::rewritten;
use crate::microseconds::compares;
pub(crate) use number::Number;
pub(crate) use of_double::decimal_of_double;

/// Before both sides get one type.
#[derive(Debug)]
pub(crate) struct DecimalLiterals;

impl AnalyzerRule for DecimalLiterals {
    fn name(&self) -> &'static str {
        "decimal_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewritten(plan, |expression, schema| match exact(&expression, schema) {
            Some(exact) => Transformed::yes(exact),
            None => Transformed::no(expression),
        })
    }
}

/// `None` where nothing is to be changed.
fn exact(expression: &Expr, schema: &DFSchema) -> Option<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => comparison(left, *op, right, schema),
        Expr::Between(Between { expr, negated, low, high }) => {
            let low = either(expr, Operator::GtEq, low, schema);
            let high = either(expr, Operator::LtEq, high, schema);
            let is_changed = low.1 || high.1;
            let within = low.0.and(high.0);
            is_changed.then(|| if *negated { not(within) } else { within })
        }
        Expr::InList(InList { expr, list, negated }) => {
            let parts: Vec<(Expr, bool)> = list.iter().map(|item| either(expr, Operator::Eq, item, schema)).collect();
            if !parts.iter().any(|part| part.1) {
                return None;
            }
            let found =
                in_one_list(expr, list, schema).or_else(|| parts.into_iter().map(|part| part.0).reduce(Expr::or))?;
            Some(if *negated { not(found) } else { found })
        }
        Expr::Case(Case { expr: Some(of), when_then_expr, else_expr }) => {
            let compared = |when: &Expr| either(of, Operator::Eq, when, schema);
            let whens: Vec<(Expr, bool)> = when_then_expr.iter().map(|(when, _)| compared(when)).collect();
            if !whens.iter().any(|when| when.1) {
                return None;
            }
            let thens = when_then_expr.iter().map(|(_, then)| then.clone());
            let when_then_expr = whens.into_iter().zip(thens).map(|((when, _), then)| (Box::new(when), then)).collect();
            Some(Expr::Case(Case { expr: None, when_then_expr, else_expr: else_expr.clone() }))
        }
        Expr::Cast(Cast { expr, field }) => {
            let DataType::Decimal128(precision, scale) = field.data_type() else { return None };
            match written(expr) {
                Some(number) => {
                    Some(lit(ScalarValue::Decimal128(Some(number.rounded(*precision, *scale)?), *precision, *scale)))
                }
                None => of_doubles(expr, field.data_type(), false, schema),
            }
        }
        Expr::TryCast(TryCast { expr, field }) => of_doubles(expr, field.data_type(), true, schema),
        _ => None,
    }
}

/// A cast of a double or a float to a decimal.
fn of_doubles(value: &Expr, to: &DataType, is_tried: bool, schema: &DFSchema) -> Option<Expr> {
    let DataType::Decimal128(precision, scale) = to else { return None };
    let is_double = matches!(value.get_type(schema), Ok(DataType::Float64 | DataType::Float32));
    is_double.then(|| of_double::cast(value.clone(), *precision, *scale, is_tried))
}

/// The comparison, and whether it had to be changed.
fn either(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> (Expr, bool) {
    match comparison(left, op, right, schema) {
        Some(exact) => (exact, true),
        None => (binary_expr(left.clone(), op, right.clone()), false),
    }
}

fn comparison(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    if let (Some(number), Some((precision, scale))) = (written(right), decimal(left, schema))
        && let Some((left, right)) = sides(left, number, precision, scale)
    {
        return Some(binary_expr(left, op, right));
    }
    if let (Some(number), Some((precision, scale))) = (written(left), decimal(right, schema))
        && let Some((right, left)) = sides(right, number, precision, scale)
    {
        return Some(binary_expr(left, op, right));
    }
    as_doubles(left, op, right, schema)
}

/// A double that is no literal, or is far from all decimals: both are doubles, as in Spark. DataFusion would make a decimal of 15 places of
/// it.
fn as_doubles(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let is_double =
        |side: &Expr| matches!(side.get_type(schema), Ok(DataType::Float16 | DataType::Float32 | DataType::Float64));
    let double = |side: &Expr| cast(side.clone(), DataType::Float64);
    match (decimal(left, schema).is_some(), decimal(right, schema).is_some()) {
        (true, false) if is_double(right) => Some(binary_expr(double(left), op, right.clone())),
        (false, true) if is_double(left) => Some(binary_expr(left.clone(), op, double(right))),
        _ => None,
    }
}

/// As one list where all of its items are numbers: scans skip files by it. An item that the column cannot hold is left out.
fn in_one_list(expr: &Expr, list: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let (precision, scale) = decimal(expr, schema)?;
    let numbers: Vec<Number> = list.iter().map(written).collect::<Option<_>>()?;
    let held = numbers.iter().filter_map(|number| number.held(precision, scale));
    let held: Vec<Expr> = held.map(|value| lit(ScalarValue::Decimal128(Some(value), precision, scale))).collect();
    (!held.is_empty()).then(|| expr.clone().in_list(held, false))
}

fn decimal(expression: &Expr, schema: &DFSchema) -> Option<(u8, i8)> {
    match expression.get_type(schema).ok()? {
        DataType::Decimal128(precision, scale) => Some((precision, scale)),
        _ => None,
    }
}

/// The decimal and the number in one type that holds both. `None` for a number that is far from all decimals, which doubles
/// compare rightly.
fn sides(side: &Expr, number: Number, precision: u8, scale: i8) -> Option<(Expr, Expr)> {
    /// Of all decimals: digits before the point, and after it.
    const WIDE: (u8, i8) = (76, 38);
    if let Some(value) = number.held(precision, scale) {
        return Some((side.clone(), lit(ScalarValue::Decimal128(Some(value), precision, scale))));
    }
    if scale < 0 {
        return None;
    }
    let value = number.wide(WIDE.1).filter(|value| Decimal256Type::is_valid_decimal_precision(*value, WIDE.0))?;
    let wide = cast(side.clone(), DataType::Decimal256(WIDE.0, WIDE.1));
    Some((wide, lit(ScalarValue::Decimal256(Some(value), WIDE.0, WIDE.1))))
}

/// The number of a literal of a double: the shortest decimal that reads as the same double, which is what was written.
fn written(expression: &Expr) -> Option<Number> {
    match expression {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) if value.is_finite() => Number::of(*value),
        Expr::Negative(inner) => {
            let Number { digits, scale } = written(inner)?;
            Some(Number { digits: -digits, scale })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::checked::tests::{answer, answers};

    type Holds = fn(Ordering) -> bool;

    /// The text of a decimal.
    fn text(digits: i64, places: usize) -> String {
        let sign = if digits < 0 { "-" } else { "" };
        let all = format!("{:0>width$}", digits.unsigned_abs(), width = places + 1);
        let (whole, fraction) = all.split_at(all.len() - places);
        if places == 0 { format!("{sign}{whole}.0") } else { format!("{sign}{whole}.{fraction}") }
    }

    /// Both with nine places.
    fn order(one: (i64, usize), other: (i64, usize)) -> Ordering {
        let nine =
            |(digits, places): (i64, usize)| i128::from(digits) * 10_i128.pow(9 - u32::try_from(places).unwrap());
        nine(one).cmp(&nine(other))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The model compares whole numbers. Literals have at most 15 digits, which doubles tell apart.
        #[test]
        fn a_comparison_is_that_of_the_decimals(
            prices in prop::collection::vec(-99_999_999_i64..99_999_999, 1..20),
            other in -999_999_999_i64..999_999_999,
            places in 0_usize..7,
            own in prop::option::of(0_usize..20),
            scale in prop_oneof![Just((10, 2)), Just((38, 2)), Just((38, 30)), Just((8, 2))],
        ) {
            // Often one of the prices themselves, with their two places.
            let literal = own.and_then(|at| prices.get(at)).map_or((other, places), |price| (*price, 2));
            let number = text(literal.0, literal.1);
            let rows: Vec<String> = prices.iter().enumerate().map(|(at, price)| format!("({at}, '{}')", text(*price, 2))).collect();
            let from = format!(
                "(select at, cast(x as decimal({}, {})) as px from (values {}) t(at, x)) order by at",
                scale.0, scale.1, rows.join(", ")
            );
            let orders: Vec<Ordering> = prices.iter().map(|price| order((*price, 2), literal)).collect();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let checks: [(&str, Holds); 13] = [
                ("px = {}", Ordering::is_eq),
                ("px <> {}", Ordering::is_ne),
                ("px < {}", Ordering::is_lt),
                ("px <= {}", Ordering::is_le),
                ("px > {}", Ordering::is_gt),
                ("{} < px", Ordering::is_gt),
                ("px is not distinct from {}", Ordering::is_eq),
                ("px between {} and 1e30", Ordering::is_ge),
                ("px not between -1e30 and {}", Ordering::is_gt),
                ("px in ({}, 1234567.89)", Ordering::is_eq),
                ("px not in ({})", Ordering::is_ne),
                ("{} in (px)", Ordering::is_eq),
                ("case px when {} then true else false end", Ordering::is_eq),
            ];
            for (check, holds) in checks {
                let sql = format!("select {} from {from}", check.replace("{}", &number));
                let found = runtime.block_on(answers(&sql));
                let expected: Vec<String> = orders.iter().zip(&prices).map(|(order, price)| {
                    (holds(*order) || (check.contains("1234567.89") && *price == 123_456_789)).to_string()
                }).collect();
                prop_assert_eq!(found, Ok(expected), "{}", sql);
            }
        }
    }

    #[tokio::test]
    async fn a_literal_is_the_decimal_that_is_written() {
        for (sql, value) in [
            ("select cast(0.07 as decimal(38,18))", "0.070000000000000000"),
            ("select cast(1.005 as decimal(10,2))", "1.01"),
            ("select cast(-1.005 as decimal(10,2))", "-1.01"),
            ("select cast(1e-40 as decimal(10,2))", "0.00"),
            ("select cast(1e3 as decimal(10,2))", "1000.00"),
            ("select x in (0.5, null) from (values (cast(0.25 as decimal(10,2)))) t(x)", "NULL"),
            ("select x in (0.125) from (values (cast(null as decimal(10,2)))) t(x)", "NULL"),
            ("select x < 1e300 from (values (cast(0.25 as decimal(10,2)))) t(x)", "true"),
            // As Spark: of a double, too, that is no literal.
            ("select x = d from (values (cast('75412.09' as decimal(10,2)), 75412.09)) t(x, d)", "true"),
            ("select x between d and d from (values (cast('75412.09' as decimal(10,2)), 75412.09)) t(x, d)", "true"),
            ("select x < d from (values (cast(1 as decimal(10,2)), 1e300)) t(x, d)", "true"),
            ("select x in (d) from (values (cast(0 as decimal(10,2)), 1e-20)) t(x, d)", "false"),
            ("select x > 1e-50 from (values (cast(0 as decimal(10,2)))) t(x)", "false"),
        ] {
            assert_eq!(answer(sql).await, Ok(value.to_owned()), "{sql}");
        }
        assert!(answer("select cast(1e9 as decimal(4,2))").await.is_err());
    }

    #[test]
    fn numbers_have_the_digits_of_their_text() {
        for (value, digits, scale) in
            [(75412.09, 7_541_209, 2), (0.07, 7, 2), (-2.5, -25, 1), (1e3, 1, -3), (0.0, 0, 0)]
        {
            assert_eq!(Number::of(value), Some(Number { digits, scale }), "{value}");
        }
    }
}
