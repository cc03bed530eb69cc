use super::*;

fn names(text: &str) -> Vec<String> {
    let query = Query::parse("query.sql", text).unwrap_or_else(|problems| panic!("{problems:?}"));
    for reference in &query.references {
        assert_eq!(
            query.text[reference.span.clone()].to_lowercase().replace(['"', ' '], ""),
            reference.name.to_lowercase()
        );
    }
    query.references.into_iter().map(|reference| reference.name).collect()
}

fn problems(text: &str) -> String {
    let problems = Query::parse("silver/x/query.sql", text).unwrap_err();
    problems.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn tables_are_found_wherever_sql_may_name_one() {
    let cases: [(&str, &[&str]); 10] = [
        ("select 1", &[]),
        ("select * from silver.a", &["silver.a"]),
        ("select * from Silver.A, \"raw\".\"bars\" as b;", &["silver.a", "raw.bars"]),
        (
            "select * from silver.a join silver.b using (x) left join silver.c on true",
            &["silver.a", "silver.b", "silver.c"],
        ),
        (
            "select (select max(x) from silver.a) from silver.b where exists (select 1 from silver.c)",
            &["silver.a", "silver.b", "silver.c"],
        ),
        ("select x from silver.a union all (select x from silver.b order by x)", &["silver.a", "silver.b"]),
        ("select * from (select * from silver.a) t where t.x in (select x from silver.b)", &["silver.a", "silver.b"]),
        ("select * from generate_series(1, 3) g, silver.a", &["silver.a"]),
        ("select sum(x) over (partition by y order by z) from silver.a a, silver.a b", &["silver.a", "silver.a"]),
        ("select * from silver.a order by (select 1 from silver.b)", &["silver.a", "silver.b"]),
    ];
    for (text, expected) in cases {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn clauses_that_would_change_nothing_are_errors() {
    for (clause, word) in [
        ("from silver.a tablesample (10 percent)", "`tablesample`"),
        ("from silver.a tablesample bernoulli (10)", "`tablesample`"),
        ("from (select * from silver.a) t tablesample (10 percent)", "`tablesample`"),
        ("from silver.b join silver.a tablesample (5 rows) on true", "`tablesample`"),
    ] {
        let query = format!("select * {clause}");
        assert!(problems(&query).contains(word), "{clause}");
        assert!(check_question("query", &query).is_err_and(|problem| problem.message.contains(word)), "{clause}");
    }
}

#[test]
fn a_key_of_rows_on_the_right_side_alone_is_written_out() {
    for join in ["full join silver.b using (id)", "right join silver.b using (id)", "natural full join silver.b"] {
        let found = problems(&format!("select id from silver.a {join}"));
        assert!(found.contains("coalesce(a.key, b.key)"), "{join}: {found}");
        assert!(check_question("query", &format!("select id from silver.a {join}")).is_err(), "{join}");
        assert!(check_question("query", &format!("select id from (silver.a {join})")).is_err(), "{join}");
        let nested = problems(&format!("select id from (silver.a {join})"));
        assert!(nested.contains("coalesce(a.key, b.key)"), "{join}: {nested}");
    }
    for join in ["left join silver.b using (id)", "natural join silver.b", "full join silver.b b on a.id = b.id"] {
        assert!(Query::parse("q", &format!("select a.id from silver.a a {join}")).is_ok(), "{join}");
    }
}

#[test]
fn a_cte_hides_a_name_only_where_sql_says_so() {
    let cases: [(&str, &[&str]); 5] = [
        ("with a as (select * from silver.a), b as (select * from a) select * from b, A", &["silver.a"]),
        // The inner CTE ends with its query; the outer one is still there.
        ("with a as (select 1) select * from (with b as (select * from a) select * from b) t", &[]),
        ("with recursive n as (select 1 as x union all select x + 1 from n where x < 9) select * from n", &[]),
        // A layer makes it a table whatever CTEs are called.
        ("with bars as (select * from silver.bars) select * from bars", &["silver.bars"]),
        (
            "select * from silver.t where x in (with a as (select x from silver.a) select x from a)",
            &["silver.t", "silver.a"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(names(text), expected, "{text}");
    }
    for wrong in [
        "with a as (select * from b), b as (select 1) select * from a",
        "with a as (select * from a) select * from a",
        "select * from (with a as (select 1) select * from a) t, a",
    ] {
        let problems = Query::parse("query.sql", wrong).unwrap_err();
        assert_eq!(problems.len(), 1, "{wrong}");
        assert!(problems[0].message.ends_with("is not a table"), "{wrong}: {}", problems[0].message);
    }
}

#[test]
fn parameters_are_the_two_of_the_interval() {
    let text = "select '$no' from silver.a where ts >= $interval_start and ts < $interval_end -- $no";
    let query = Query::parse("query.sql", text).unwrap();
    assert_eq!(query.parameters, BTreeSet::from(PARAMETERS.map(str::to_owned)));
    assert!(query.uses_interval());
    insta::assert_snapshot!(problems("select *\nfrom silver.a\nwhere ts >= $intervall_start"), @r"
    error: unknown parameter `$intervall_start`
     --> silver/x/query.sql:3:13
      |
    3 | where ts >= $intervall_start
      |             ^^^^^^^^^^^^^^^^
      |
      = help: declare it in project.toml (`[variables.name]`); `$interval_start`, `$interval_end` and `$run_date` are there
    ");
    assert!(Query::parse("query.sql", "select * from silver.a where x = $1").is_err());
}

#[test]
fn positions_count_characters_and_spans_count_bytes() {
    let query = Query::parse("query.sql", "select 'é' as ü,\n 'é' from silver.a").unwrap();
    let reference = &query.references[0];
    assert_eq!((reference.line, reference.column), (2, 11));
    assert_eq!(&query.text[reference.span.clone()], "silver.a");
}

#[test]
fn syntax_errors_point_at_the_word() {
    insta::assert_snapshot!(problems("select symbol,\n       ts\nform silver.a"), @r"
    error: SQL syntax: expected: end of statement, found: silver
     --> silver/x/query.sql:3:6
      |
    3 | form silver.a
      |      ^^^^^^
    ");
    insta::assert_snapshot!(problems("select count( from silver.a"), @r"
    error: SQL syntax: expected: ), found: silver
     --> silver/x/query.sql:1:20
      |
    1 | select count( from silver.a
      |                    ^^^^^^
    ");
    insta::assert_snapshot!(problems("select *\nfrom"), @r"
    error: SQL syntax: expected: identifier, found: EOF
     --> silver/x/query.sql:2:5
      |
    2 | from
      |     ^
    ");
    insta::assert_snapshot!(problems("select 'é', 'no end"), @r"
    error: SQL syntax: unterminated string literal
     --> silver/x/query.sql:1:13
      |
    1 | select 'é', 'no end
      |             ^
    ");
}

#[test]
fn names_are_joined_by_their_dots() {
    let shown = |text: &str| {
        let shown = chains(text).into_iter().map(|chain| {
            let parts: Vec<String> = chain.parts.iter().map(|(name, at)| format!("{name}@{}", at.start)).collect();
            let marks = [(chain.is_called, "()"), (chain.is_alias, " alias")];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
            parts.join(".") + &marks
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown("x . \"Y\" as z, f (x.y.z).w -- a.b"), "x@0.Y@4, as@8, z@11 alias, f@14(), x@17.y@19.z@21, w@24");
    assert_eq!(shown("'a.b' ä.b"), "ä@6.b@9");
    assert_eq!(shown("'no end"), "");
}

#[test]
fn only_one_query_and_nothing_that_writes() {
    insta::assert_snapshot!(problems("  -- nothing\n;"), @r"
    error: the query is empty
    --> silver/x/query.sql
     = help: write one `select` statement
    ");
    insta::assert_snapshot!(problems("select 1;\nselect 2;"), @r"
    error: a second statement
     --> silver/x/query.sql:2:1
      |
    2 | select 2;
      | ^^^^^^
      |
      = help: a job is one query: move the second one to a job of its own, or make the first a `with` step
    ");
    insta::assert_snapshot!(problems("insert into silver.a select 1"), @r"
    error: `insert` is not a query
     --> silver/x/query.sql:1:1
      |
    1 | insert into silver.a select 1
      | ^^^^^^
      |
      = help: write one `select`; the sink in job.toml says how its rows reach the table
    ");
    insta::assert_snapshot!(problems("select 1 as x into silver.a"), @r"
    error: `select into` writes a table
     --> silver/x/query.sql:1:20
      |
    1 | select 1 as x into silver.a
      |                    ^^^^^^^^
      |
      = help: remove it: the sink in job.toml says how rows reach the table
    ");
    for wrong in [
        "drop table silver.a",
        "create table a as select 1",
        "explain select 1",
        "with a as (select 1) delete from b",
        "table silver.a",
    ] {
        assert!(Query::parse("query.sql", wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_table_needs_its_layer() {
    insta::assert_snapshot!(problems("select * from bars_1m"), @r"
    error: `bars_1m` is not a table
     --> silver/x/query.sql:1:15
      |
    1 | select * from bars_1m
      |               ^^^^^^^
      |
      = help: write `<layer>.<table>`, `raw.<name>` of a source of files, or the name of a `with` step above
    ");
    assert!(Query::parse("query.sql", "select * from lake.silver.a").is_err());
}

#[test]
fn conditions_are_about_one_row() {
    for right in ["high >= greatest(open, close, low)", "symbol is not null and volume >= 0", "abs(x - y) < 1e-9"] {
        assert_eq!(check_condition(right), Ok(()), "{right}");
    }
    for wrong in
        ["", "high >=", "high >= low low", "x in (select x from silver.a)", "ts < $interval_end", "a; b", "'open"]
    {
        assert!(check_condition(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn references_know_their_kind() {
    let query = Query::parse("query.sql", "select * from raw.bars, silver.a, silver.\"No\"").unwrap();
    assert_eq!(query.files(), BTreeSet::from(["bars"]));
    assert_eq!(query.tables(), BTreeSet::from(["silver.a".parse().unwrap()]));
    assert_eq!(query.references[2].table(), None);
}

#[test]
fn a_deeply_nested_query_is_refused_and_does_not_overflow() {
    let text = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(Query::parse("query.sql", &text).is_err());
}

#[test]
fn a_comparison_that_takes_what_follows_needs_parentheses() {
    let problems = |condition: &str| {
        let text = format!("select a from silver.t where {condition}");
        Query::parse("q.sql", &text).err().map(|problems| problems.len()).unwrap_or_default()
    };
    for wrong in [
        "a is distinct from b and c",
        "a is not distinct from b or c > 1",
        "a is distinct from b > 1",
        "a is distinct from b is null",
    ] {
        assert_eq!(problems(wrong), 1, "{wrong}");
        assert!(check_condition(wrong).is_err(), "{wrong}");
        for statement in
            ["select count(*) from t where", "with s as (select 1) select * from s join t on", "explain select"]
        {
            let found = check_question("query", &format!("{statement}\n {wrong}")).unwrap_err();
            assert_eq!((found.message.as_str(), found.line), (visitor::SWALLOWED, 2), "{statement} {wrong}");
            assert!(found.help.unwrap().contains("(a is distinct from b) and"));
        }
    }
    assert_eq!(check_question("query", "select a is distinct from b where (").unwrap_err().line, 1);
    for right in ["(a is distinct from b) and c", "a is distinct from (b and c)", "c and a is distinct from b + 1"] {
        assert_eq!(problems(right), 0, "{right}");
        assert_eq!(check_question("query", &format!("select {right} as x from t")), Ok(()), "{right}");
        assert!(check_condition(right).is_ok(), "{right}");
    }
}

#[test]
fn a_text_is_cut_into_its_statements() {
    let parts = |text: &str| split("query", text).unwrap();
    let trimmed = |text: &str| parts(text).iter().map(|part| part.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(parts("select 1"), ["select 1"]);
    assert_eq!(trimmed("select ';' as x; -- a; b\n ;\nselect 2;;"), ["select ';' as x", "select 2"]);
    assert_eq!(trimmed("-- nothing\n"), Vec::<String>::new());
    assert_eq!(trimmed("show tables; /* ; */ describe silver.a"), ["show tables", "describe silver.a"]);
    // A place in a part is the place in the text.
    let text = "select 1;\nselect 2;  selec 3";
    let wrong = check_question("q.sql", &parts(text)[2]).unwrap_err();
    assert_eq!((wrong.line, wrong.column), (2, 12));
    assert!(split("q.sql", "select 'a").is_err());
}

#[test]
fn a_question_only_reads() {
    for text in [
        "insert into silver.a values (1)",
        "delete from silver.a",
        "update silver.a set x = 1",
        "create table x as select 1",
        "drop table x",
        "truncate table x",
    ] {
        let problem = check_question("query", text).unwrap_err();
        assert!(problem.message.contains("a query only reads"), "{text}: {}", problem.message);
        assert_eq!(problem.column, 1);
    }
    for text in ["select 1", "with a as (select 1) select * from a", "explain select 1", "values (1)", "show tables"] {
        assert_eq!(check_question("query", text), Ok(()), "{text}");
    }
    let problem = check_question("query", "select a form silver.b").unwrap_err();
    assert_eq!((problem.line, problem.column), (1, 15), "{}", problem.message);
}
