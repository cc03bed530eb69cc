//! Columns of every type, from files through queries to tables and back.

use datafusion::datasource::MemTable;
use pulse_core::project::ProjectFiles;

use super::super::schema::infer_schemas;

use super::*;

/// A world of its own sources.
pub(super) fn world(sources: &str, jobs: &[JobText]) -> World {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("raw")).unwrap();
    let mut files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"test\"\n[defaults]\nowner = \"test\"\n".to_owned()),
        ("sources.toml".to_owned(), sources.to_owned()),
    ]);
    for (name, manifest, query) in jobs {
        let path = name.replace('.', "/");
        files.insert(format!("{path}/job.toml"), manifest.clone());
        files.insert(format!("{path}/query.sql"), (*query).to_owned());
    }
    let variables = BTreeMap::from([("raw".to_owned(), folder.path().join("raw").to_string_lossy().into_owned())]);
    let project = Project::parse(&files).unwrap_or_else(|error| panic!("{}", error.render()));
    let bench = bench(project.with_variables(&variables), folder.path(), "lake");
    World { folder, bench, runs: 0, modes: BTreeMap::new() }
}

fn name(text: &str) -> TableName {
    text.parse().unwrap()
}

const SOURCES: &str = r#"
[files.all]
root = "$raw"
columns = [
    { name = "id", type = "bigint", required = true },
    { name = "t", type = "tinyint" }, { name = "s", type = "smallint" }, { name = "i", type = "int" },
    { name = "f", type = "float" }, { name = "d", type = "double" },
    { name = "money", type = "decimal(38,18)" }, { name = "px", type = "decimal(10,2)" },
    { name = "b", type = "binary" }, { name = "ok", type = "boolean" }, { name = "day", type = "date" },
    { name = "ts", type = "timestamp" }, { name = "wall", type = "timestamp_ntz" }, { name = "doc", type = "json" },
    { name = "legs", type = "array<struct<px:decimal(10,2),tags:map<string,int>>>" },
]
[files.all.feed.lines]
path = "{part}.jsonl"
format = { json_lines = {} }
"#;

const LINES: &str = r#"{"id":1,"t":-128,"s":32767,"i":-2147483648,"f":0.1,"d":-0.0,"money":12345678901234567890.123456789012345678,"px":"0.10","b":"AP8=","ok":true,"day":"2024-02-29","ts":"2024-02-29T12:00:00.123456Z","wall":"2024-02-29 12:00:00.5","doc":{"a": [1.50]},"legs":[{"px":1.25,"tags":{"x":1}},{"px":null,"tags":{}}]}
{"id":2}
{"id":3,"px":0.125}
{"id":4,"px":99999999.99,"legs":[],"d":0.1}
"#;

#[tokio::test]
async fn every_type_goes_from_a_file_through_tables() {
    let columns = "id, t, s, i, f, d, money, px, b, ok, day, ts, wall, doc, legs";
    let bronze = Box::leak(format!("select {columns}, source_file, line from raw.all").into_boxed_str());
    let gold = Box::leak(format!("select {columns} from bronze.all where px is null or px > 0.09").into_boxed_str());
    let exact = expect("money is exact", "check = \"money is null or money > 12345678901234567890.1\"", "fail");
    let jobs = [
        ("bronze.all", BRONZE.to_owned(), &*bronze),
        (
            "gold.all",
            format!("grain = [\"id\"]\n[source.\"bronze.all\"]\nread = \"all\"\n[sink.overwrite]\n{exact}"),
            &*gold,
        ),
        (
            "gold.sums",
            "grain = [\"k\"]\n[source.\"bronze.all\"]\nread = \"all\"\n[sink.overwrite]\n".to_owned(),
            "select 1 as k, sum(px) as px, sum(money) as money, max(legs[1]['px']) as leg from bronze.all",
        ),
    ];
    let mut world = world(SOURCES, &jobs);
    std::fs::write(world.folder.path().join("raw/a.jsonl"), LINES).unwrap();
    for (table, outcome) in world.run_all().await {
        assert!(outcome.is_ok(), "{table}: {outcome:?}");
    }
    let expected = [
        "1 -128 32767 -2147483648 0.1 -0.0 12345678901234567890.123456789012345678 0.10 00ff true 2024-02-29 \
         2024-02-29T12:00:00.123456Z 2024-02-29T12:00:00.500Z {\"a\": [1.50]} [{px: 1.25, tags: {x: 1}}, {px: -, tags: {}}]",
        "2 - - - - - - - - - - - - - -",
        "4 - - - - 0.1 - 99999999.99 - - - - - - []",
    ];
    assert_eq!(world.rows(&name("gold.all"), None).await, expected);
    assert_eq!(
        world.rows(&name("gold.sums"), None).await,
        ["1 100000000.09 12345678901234567890.123456789012345678 1.25"]
    );
    let rejected = world.rows(&name("bronze.all__quarantine"), None).await;
    assert!(rejected.len() == 1 && rejected[0].contains("has more digits than decimal(10,2)"), "{rejected:?}");
}

#[tokio::test]
async fn rows_are_not_told_apart_by_nested_columns() {
    let query = "select id, legs, source_file, line from raw.all";
    let world = world(SOURCES, &[("bronze.all", "grain = [\"legs\"]\n[sink.append]\n".to_owned(), query)]);
    let schemas = infer_schemas(&world.bench.state, &world.bench.project, &BTreeMap::new()).await;
    let message = schemas.map(|_| ()).unwrap_err().message().to_owned();
    assert!(message.contains("`legs` is a list, a map or a struct"), "{message}");
}

/// Numbers that comparisons may treat differently, by their place.
const NUMBERS: [&str; 10] = [
    "cast('NaN' as double)",
    "-cast('NaN' as double)",
    "cast('Infinity' as double)",
    "cast('-Infinity' as double)",
    "cast('-0.0' as double)",
    "cast('0.0' as double)",
    "cast('0.1' as double)",
    "cast('-1.5' as double)",
    "cast('1e300' as double)",
    "cast(null as double)",
];

const FLOATS: &str = "[files.n]\nroot = \"$raw\"\ncolumns = [{ name = \"id\", type = \"bigint\" }, { name = \"n\", type = \"bigint\" }]\n\
                      [files.n.feed.all]\npath = \"{part}.csv\"\nformat = { csv = {} }\n";

/// A filter over a table yields what it yields over the same rows in memory, where nothing is skipped.
#[tokio::test]
async fn what_is_skipped_by_statistics_has_no_row_of_the_answer() {
    let cases: Vec<String> =
        NUMBERS.iter().enumerate().map(|(at, number)| format!("when {at} then {number}")).collect();
    let query = format!(
        "select id, case n {} end as x, cast(case n {} end as float) as y, source_file, line from raw.n",
        cases.join(" "),
        cases.join(" ")
    );
    let jobs = [("bronze.n", BRONZE.to_owned(), &*Box::leak(query.into_boxed_str()))];
    let mut world = world(FLOATS, &jobs);
    let mut state = 7_u64;
    let mut id = 0;
    for file in 0..12 {
        let mut text = "id,n\n".to_owned();
        for _ in 0..1 + file % 3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text += &format!("{id},{}\n", (state >> 33) % 10);
            id += 1;
        }
        std::fs::write(world.folder.path().join(format!("raw/{file}.csv")), text).unwrap();
        for (table, outcome) in world.run_all().await {
            assert!(outcome.is_ok(), "{table}: {outcome:?}");
        }
    }
    let table = world.bench.lake.table(&name("bronze.n")).unwrap();
    let snapshot = table.snapshot(None).await.unwrap().unwrap();
    assert_eq!(snapshot.files.len(), 12);
    let context = SessionContext::new_with_state(world.bench.state.clone());
    let scan = Arc::new(DeltaScan::new(table, &snapshot, 1 << 20));
    let all = context.read_table(Arc::clone(&scan) as _).unwrap().collect().await.unwrap();
    let memory = MemTable::try_new(all[0].schema(), vec![all]).unwrap();
    context.register_table("stored", scan).unwrap();
    context.register_table("held", Arc::new(memory)).unwrap();
    let mut compared = 0;
    for column in ["x", "y"] {
        for operator in ["=", "<>", "<", "<=", ">", ">=", "is distinct from"] {
            for number in NUMBERS {
                for condition in
                    [format!("{column} {operator} {number}"), format!("not ({column} {operator} {number})")]
                {
                    let ids = async |table: &str| {
                        let sql = format!("select id from {table} where {condition} order by id");
                        let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
                        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
                    };
                    assert_eq!(ids("stored").await, ids("held").await, "{condition}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 2 * 7 * 10 * 2);
}

/// The rule of decision 0044, for filters, groups, joins and orders alike.
#[tokio::test]
async fn nan_is_greatest_and_zeros_are_equal() {
    let world = world(FLOATS, &[("bronze.n", BRONZE.to_owned(), "select id, n, source_file, line from raw.n")]);
    let context = SessionContext::new_with_state(world.bench.state.clone());
    let values = "(values (1, cast('NaN' as double)), (2, cast('Infinity' as double)), (3, cast('-0.0' as double)), \
                  (4, cast('0.0' as double)), (5, cast('NaN' as double)), (6, cast('-Infinity' as double))) t(id, x)";
    let ids = async |sql: String| {
        let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
        let mut found = Vec::new();
        for batch in &batches {
            let ids = ArrayFormatter::try_new(batch.column(0), &FormatOptions::default()).unwrap();
            found.extend((0..batch.num_rows()).map(|row| ids.value(row).to_string()));
        }
        found.join(" ")
    };
    for (condition, expected) in [
        ("x = cast('NaN' as double)", "1 5"),
        ("x > cast('Infinity' as double)", "1 5"),
        ("x = 0.0", "3 4"),
        ("x < 0.0", "6"),
        ("x >= 0.0", "1 2 3 4 5"),
        ("x is not distinct from cast('-0.0' as double)", "3 4"),
        ("not (x <= 1e308)", "1 2 5"),
    ] {
        assert_eq!(
            ids(format!("select id from {values} where {condition} order by id")).await,
            expected,
            "{condition}"
        );
    }
    assert_eq!(ids(format!("select id from {values} order by x, id")).await, "6 3 4 2 1 5");
    assert_eq!(ids(format!("select count(*) as n from {values} group by x order by min(id)")).await, "2 1 2 1");
    assert_eq!(
        ids(format!(
            "select a.id * 10 + b.id as pair from {values} join {} on a.x = b.x order by pair",
            values.replace(" t(id, x)", " b(id, x)")
        )
        .replacen(" t(id, x)", " a(id, x)", 1))
        .await,
        "11 15 22 33 34 43 44 51 55 66"
    );
}
