use proptest::prelude::*;

use crate::checked::tests::answers;

const ROWS: &str = "(values (1, 'ratio', '6', '2'), (2, 'note', 'hello', 'world'), (3, 'ratio', '9', '3'), (4, 'empty', '1', '0')) \
                    t(id, kind, a, b)";

/// What fails on the rows that are taken out: a cast of a text, a division by zero, an item beyond a list, an overflow.
const FALLIBLE: [&str; 5] = [
    "cast(a as bigint)",
    "cast(a as bigint) / cast(b as bigint)",
    "1 / (id - 2) + cast(a as bigint)",
    "element_at([1, 2, 3], id % 2) + cast(b as int)",
    "4611686018427387000 + cast(b as bigint) - 4611686018427387000",
];

/// Spellings of the question for the rows of `ratio`.
fn spellings(of: &str) -> Vec<String> {
    vec![
        format!("select r from (select id, {of} as r from {ROWS} where kind = 'ratio')"),
        format!("select {of} as r from {ROWS} where kind = 'ratio'"),
        format!("select {of} as r, id, kind, a, b from {ROWS} where kind = 'ratio'"),
        format!("with ratios as (select * from {ROWS} where kind = 'ratio') select {of} as r from ratios"),
        format!("select {of} as r from {ROWS} where kind = 'ratio' and {of} is not null"),
        format!("select {of} as r from {ROWS} where kind = 'ratio' and ({of} > 100000 or id > 0)"),
        format!(
            "select case when kind = 'ratio' then {of} end as r from {ROWS} where case when kind = 'ratio' then {of} end is not null"
        ),
        format!("select id from {ROWS} where case when kind = 'ratio' then {of} > -5 else false end"),
        format!("select id from {ROWS} where kind <> 'ratio' or {of} is null"),
        format!("select kind = 'ratio' and {of} is not null as r from {ROWS}"),
        format!("select coalesce(case when kind <> 'ratio' then 0 end, {of}) as r from {ROWS}"),
        format!("select r from (select kind, {of} as r from {ROWS} where kind = 'ratio') where r > -5"),
        format!("select max({of}) as r from {ROWS} where kind = 'ratio' group by id"),
        format!("select sum({of}) filter (where kind = 'ratio') as r from {ROWS}"),
        format!("select x.r from (select id, {of} as r from {ROWS} where kind = 'ratio') x join {ROWS} on x.id = t.id"),
        format!("select {of} as r, {of} as again from {ROWS} where kind = 'ratio' order by id limit 5"),
        format!("select {of} as r from (select * from {ROWS} where kind = 'ratio') where cast(b as bigint) > 1"),
        format!("select {of} as r from {ROWS} where kind = 'ratio' union all select 0 where false"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(90))]

    #[test]
    fn what_a_condition_takes_out_is_not_computed(of in 0_usize..FALLIBLE.len(), spelling in 0_usize..18) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let sql = &spellings(FALLIBLE[of])[spelling];
        let found = runtime.block_on(answers(sql));
        prop_assert!(found.is_ok(), "{} {:?}", sql, found);
    }
}

#[tokio::test]
async fn conditions_keep_their_values() {
    for (sql, value) in [
        ("select null and cast(a as int) > 5 from (values ('1')) t(a)", "false"),
        ("select null and cast(a as int) > 0 from (values ('1')) t(a)", "NULL"),
        ("select null or cast(a as int) > 0 from (values ('1')) t(a)", "true"),
        ("select null or cast(a as int) > 5 from (values ('1')) t(a)", "NULL"),
        ("select b and cast(a as int) > 5 from (values ('x', false)) t(a, b)", "false"),
        ("select b or cast(a as int) > 5 from (values ('x', true)) t(a, b)", "true"),
        (
            "select count(*) from (values ('1', true), ('2', null), ('9', true)) t(a, b) where b and cast(a as int) > 1",
            "1",
        ),
    ] {
        assert_eq!(answers(sql).await, Ok(vec![value.to_owned()]), "{sql}");
    }
    assert!(answers("select cast(a as int) from (values ('x')) t(a) where a > ''").await.is_err());
}
