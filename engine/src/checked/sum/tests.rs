use proptest::prelude::*;

use super::super::tests::{answer, answers};

const MAX: &str = "9223372036854775807";

fn rows(values: &[(u8, Option<i64>)]) -> String {
    let row = |(place, (group, value)): (usize, &(u8, Option<i64>))| {
        let value = value.map_or("null".to_owned(), |value| format!("'{value}'"));
        format!("({place}, {group}, cast({value} as bigint))")
    };
    let rows: Vec<String> = values.iter().enumerate().map(row).collect();
    format!("(values {}) t(place, g, v)", rows.join(", "))
}

/// The sum by the model: over i128, null where no value is.
fn model(values: impl Iterator<Item = Option<i64>>) -> Result<Option<i64>, ()> {
    let values: Vec<i128> = values.flatten().map(i128::from).collect();
    match values.is_empty() {
        true => Ok(None),
        false => i64::try_from(values.iter().sum::<i128>()).map(Some).map_err(|_| ()),
    }
}

fn number() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        8 => (-5_i64..5).prop_map(Some),
        2 => Just(Some(i64::MAX / 2)),
        1 => Just(Some(i64::MAX)),
        1 => Just(Some(i64::MIN)),
        2 => Just(None),
    ]
}

fn shown(sum: Option<i64>) -> String {
    sum.map_or("NULL".to_owned(), |sum| sum.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_sum_is_exact_or_an_error(values in prop::collection::vec((0_u8..3, number()), 1..12), frame in 0_usize..4) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let run = |sql: String| runtime.block_on(answers(&sql));
        let from = rows(&values);
        let groups: Vec<u8> = (0..3).filter(|group| values.iter().any(|(of, _)| of == group)).collect();
        let of = |group: &u8| values.iter().filter(move |(of, _)| of == group).map(|(_, value)| *value).collect::<Vec<_>>();
        let distinct = |group: &u8| of(group).into_iter().flatten().collect::<std::collections::BTreeSet<_>>().into_iter().map(Some);
        let checks = [
            (format!("select sum(v) from {from} group by g order by g"), groups.iter().map(|g| model(of(g).into_iter())).collect::<Vec<_>>()),
            (format!("select sum(v) from {from}"), vec![model(values.iter().map(|(_, v)| *v))]),
            (format!("select sum(distinct v) from {from} group by g order by g"), groups.iter().map(|g| model(distinct(g))).collect()),
            (format!("select sum(distinct v) + 0 * count(v) from {from} group by g order by g"), groups.iter().map(|g| model(distinct(g))).collect()),
            (
                format!("select sum(v) filter (where v > 0) from {from} group by g order by g"),
                groups.iter().map(|g| model(of(g).into_iter().map(|v| v.filter(|v| *v > 0)))).collect(),
            ),
            (
                format!("select sum(v) over (order by place rows between {frame} preceding and current row) from {from} order by place"),
                (0..values.len()).map(|at| model(values[at.saturating_sub(frame)..=at].iter().map(|(_, v)| *v))).collect(),
            ),
            (
                format!("select sum(v) over (partition by g) from {from} order by place"),
                values.iter().map(|(g, _)| model(of(g).into_iter())).collect(),
            ),
        ];
        for (sql, expected) in checks {
            let found = run(sql.clone());
            match expected.iter().cloned().collect::<Result<Vec<_>, ()>>() {
                Ok(sums) => prop_assert_eq!(found, Ok(sums.into_iter().map(shown).collect::<Vec<_>>()), "{}", sql),
                Err(()) => prop_assert!(found.as_ref().is_err_and(|error| error.contains("leaves the range")), "{} {:?}", sql, found),
            }
        }
    }
}

/// Decimals have 38 digits; the model counts with more of them.
#[tokio::test]
async fn a_sum_of_decimals_is_exact_or_an_error() {
    let rows = |values: &[&str]| {
        let rows: Vec<String> = values.iter().map(|value| format!("(1, cast({value} as decimal(38,18)))")).collect();
        format!("(values {}) t(g, q)", rows.join(", "))
    };
    let most = "'90000000000000000000'";
    let spellings = [
        "select sum(q) from",
        "select sum(q) over () from",
        "select sum(q) over (order by g rows 1 preceding) from",
        "select sum(q) over (order by g rows unbounded preceding) from",
    ];
    for sql in spellings {
        for values in [vec![most, most], vec!["'50000000000000000000'", "'50000000000000000000'"]] {
            let found = answers(&format!("{sql} {}", rows(&values))).await;
            assert!(found.as_ref().is_err_and(|error| error.contains("leaves the range")), "{sql}: {found:?}");
        }
        let found = answers(&format!("{sql} {}", rows(&["'1.000000000000000001'", "null", "'2.5'"]))).await.unwrap();
        assert_eq!(
            found.last().unwrap(),
            match sql.contains("1 preceding") {
                true => "2.500000000000000000",
                false => "3.500000000000000001",
            }
        );
    }
    for sql in ["select sum(q) from {} group by g", "select sum(distinct q) from {} group by g"] {
        let found = answers(&sql.replace("{}", &rows(&[most, "'80000000000000000000'"]))).await;
        assert!(found.as_ref().is_err_and(|error| error.contains("leaves the range")), "{sql}: {found:?}");
    }
    let distinct = answers(&format!("select sum(distinct q) from {} group by g", rows(&[most, most, "'1'"]))).await;
    assert_eq!(distinct.unwrap(), ["90000000000000000001.000000000000000000"]);
    assert_eq!(
        answer("select arrow_typeof(sum(x)) from (values (cast(1 as decimal(10,2)))) t(x)").await.unwrap(),
        "Decimal128(20, 2)"
    );
}

#[tokio::test]
async fn other_sums_are_as_ever() {
    assert_eq!(answer("select sum(x) from (values (1.5), (2.25)) t(x)").await.unwrap(), "3.75");
    assert_eq!(answer("select sum(cast(x as int)) from (values (2147483647), (1)) t(x)").await.unwrap(), "2147483648");
    let wide = format!(
        "select cast(sum(cast(x as decimal(38,0))) as string) from (values (cast('{MAX}' as bigint)), (1)) t(x)"
    );
    assert_eq!(answer(&wide).await.unwrap(), "9223372036854775808");
}

/// What else computes whole numbers: each is exact or an error.
#[tokio::test]
async fn no_function_of_whole_numbers_wraps() {
    let least = "(values (cast('-9223372036854775808' as bigint))) t(x)";
    let most = "(values (cast('9223372036854775807' as bigint))) t(x)";
    for sql in [
        format!("select abs(x) from {least}"),
        format!("select -x from {least}"),
        format!("select x * -1 from {least}"),
        format!("select div(x, -1) from {least}"),
        format!("select round(x, -1) from {most}"),
        format!("select cast(x as int) from {most}"),
        "select cast(x + 1 as smallint) from (values (cast(32767 as bigint))) t(x)".to_owned(),
        "select cast(x as bigint) from (values (1e19)) t(x)".to_owned(),
        "select factorial(x) from (values (cast(21 as int))) t(x)".to_owned(),
        format!("select lcm(x, x - 1) from {most}"),
        format!("select gcd(x, x) from {least}"),
    ] {
        let found = answer(&sql).await;
        assert!(found.is_err(), "{sql}: {found:?}");
    }
    // As Spark has them: powers are doubles, a shift keeps the lower bits, and only the lower six bits of its width count.
    let power = answer(&format!("select power(x, 2) from {most}")).await.unwrap();
    assert_eq!(power.parse::<f64>(), Ok(8.507059173023462e37));
    assert_eq!(answer("select cast(1 as bigint) << 63").await.unwrap(), "-9223372036854775808");
    assert_eq!(answer("select cast(1 as bigint) << 64").await.unwrap(), "1");
}
