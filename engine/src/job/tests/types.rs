//! Columns of every type, from files through queries to tables and back.

use datafusion::datasource::MemTable;
use pulse_core::project::ProjectFiles;

use super::super::schema::infer_schemas;

use super::*;

/// A world with these sources.
pub(super) fn world(sources: &str, jobs: &[JobText]) -> World {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("raw")).unwrap();
    let bench = bench(project_of(sources, jobs, folder.path()), folder.path(), "lake");
    World { folder, bench, runs: 0, modes: BTreeMap::new() }
}

impl World {
    /// As [`World::edited`], with these sources.
    fn edited_in(&self, sources: &str, jobs: &[JobText]) -> World {
        let folder = self.folder.path();
        let bench = bench(project_of(sources, jobs, folder), folder, "lake");
        World { folder: tempfile::tempdir().unwrap(), bench, runs: self.runs + 1000, modes: BTreeMap::new() }
    }
}

fn project_of(sources: &str, jobs: &[JobText], folder: &std::path::Path) -> Project {
    let mut files = ProjectFiles::from([
        ("project.toml".to_owned(), "name = \"test\"\n[defaults]\nowner = \"test\"\n".to_owned()),
        ("sources.toml".to_owned(), sources.to_owned()),
    ]);
    for (name, manifest, query) in jobs {
        let path = name.replace('.', "/");
        files.insert(format!("{path}/job.toml"), manifest.clone());
        files.insert(format!("{path}/query.sql"), (*query).to_owned());
    }
    let variables = BTreeMap::from([("raw".to_owned(), folder.join("raw").to_string_lossy().into_owned())]);
    let project = Project::parse(&files).unwrap_or_else(|error| panic!("{}", error.render()));
    project.with_variables(&variables)
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
    let exact = expect(
        "money is exact",
        "check = \"money is null or money > cast('12345678901234567890.1' as decimal(38,10))\"",
        "fail",
    );
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
            "select 1 as k, sum(px) as px, sum(money) as money, max(try_element_at(legs, 1)['px']) as leg from bronze.all",
        ),
    ];
    let mut world = world(SOURCES, &jobs);
    std::fs::write(world.folder.path().join("raw/a.jsonl"), LINES).unwrap();
    for (table, outcome) in world.run_all().await {
        assert!(outcome.is_ok(), "{table}: {outcome:?}");
    }
    let expected = [
        "1 -128 32767 -2147483648 0.1 -0.0 12345678901234567890.123456789012345678 0.10 00ff true 2024-02-29 \
         2024-02-29T12:00:00.123456Z 2024-02-29T12:00:00.500 {\"a\": [1.50]} [{px: 1.25, tags: {x: 1}}, {px: -, tags: {}}]",
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

/// Numbers that comparisons may treat differently, by index.
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

/// A filter over a table yields the same as over the same rows in memory, where nothing is skipped.
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

const WALLS: &str = "[files.w]\nroot = \"$raw\"\ncolumns = [{ name = \"id\", type = \"bigint\" }, \
                     { name = \"wall\", type = \"timestamp_ntz\" }, { name = \"at\", type = \"timestamp\" }]\n\
                     [files.w.feed.all]\npath = \"{part}.csv\"\nformat = { csv = {} }\n";

/// The actions of this kind in a table's log.
fn logged(world: &World, table: &str, action: &str) -> Vec<serde_json::Value> {
    let folder = world.folder.path().join("lake").join(table).join("_delta_log");
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    entries.sort();
    let texts = entries.iter().map(|path| std::fs::read_to_string(path).unwrap());
    let lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let actions = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    actions.filter_map(|found| found.get(action).cloned()).collect()
}

#[tokio::test]
async fn wall_clocks_stay_through_tables() {
    let from_bronze = "[source.\"bronze.w\"]\nread = \"all\"\n[sink.overwrite]\n";
    let hours = "select date_trunc('hour', wall) as hour, max(wall) as last, max(at) as at, count(*) as n, \
                 min(to_timestamp('2020-01-01T00:00:00')) as made from bronze.w where wall >= '2024-03-31 02:00:00' group by 1";
    let later = |query| ("gold.later", format!("grain = [\"id\"]\n{from_bronze}"), query);
    let jobs = |query| {
        [
            ("bronze.w", BRONZE.to_owned(), "select id, wall, at, source_file, line from raw.w"),
            ("gold.hours", format!("grain = [\"hour\"]\n{from_bronze}"), hours),
            (
                "gold.parts",
                format!("grain = [\"id\"]\npartition_by = [\"wall\"]\n{from_bronze}"),
                "select id, wall, [wall] as walls from bronze.w",
            ),
            (
                "gold.versions",
                "grain = [\"id\", \"valid_from\"]\n[source.\"bronze.w\"]\nread = \"all\"\n[sink.scd2]\nkeys = [\"id\"]\n\
                 effective = \"wall\"\n"
                    .to_owned(),
                "select id, wall, at from bronze.w where wall is not null",
            ),
            later(query),
        ]
    };
    let mut world = world(WALLS, &jobs("select id from bronze.w"));
    let write = |file: &str, text: &str| {
        std::fs::write(world.folder.path().join(format!("raw/{file}.csv")), format!("id,wall,at\n{text}")).unwrap();
    };
    // The second time does not exist in Berlin.
    write("a", "1,0001-01-01 00:00:00,2024-01-01 00:00:00\n2,2024-03-31 02:30:00.123456,2024-03-31 02:30:00\n3,,\n");
    write("b", "4,9999-12-31 23:59:59.999999,2024-01-01 00:00:00\n5,2024-03-31 02:00:00,2024-01-01 00:00:00\n6,no,\n");
    for (table, outcome) in world.run_all().await {
        assert!(outcome.is_ok(), "{table}: {outcome:?}");
    }
    assert_eq!(
        world.rows(&name("gold.hours"), None).await,
        [
            "2024-03-31T02:00:00 2024-03-31T02:30:00.123456 2024-03-31T02:30:00Z 2 2020-01-01T00:00:00Z",
            "9999-12-31T23:00:00 9999-12-31T23:59:59.999999 2024-01-01T00:00:00Z 1 2020-01-01T00:00:00Z",
        ]
    );
    assert_eq!(
        world.rows(&name("gold.parts"), None).await,
        [
            "1 0001-01-01T00:00:00 [0001-01-01T00:00:00]",
            "2 2024-03-31T02:30:00.123456 [2024-03-31T02:30:00.123456]",
            "3 - [-]",
            "4 9999-12-31T23:59:59.999999 [9999-12-31T23:59:59.999999]",
            "5 2024-03-31T02:00:00 [2024-03-31T02:00:00]",
        ]
    );
    let versions = world.rows(&name("gold.versions"), None).await;
    assert!(versions.len() == 4 && versions[0].contains("0001-01-01T00:00:00 "), "{versions:?}");
    for (filter, expected) in [
        ("wall < '0001-01-02'", 1),
        ("wall > '2024-03-31 02:30:00.123455'", 2),
        ("wall = timestamp '2024-03-31 02:30:00.123456'", 1),
        ("wall > '9999-12-31 23:59:59.999998'", 1),
        ("wall is null", 1),
    ] {
        for table in ["bronze.w", "gold.parts"] {
            let sql = format!("select id from {table} where {filter}");
            let rows = crate::job::ask(&world.bench, &sql).await.unwrap().rows.collect().await.unwrap();
            assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), expected, "{sql}");
        }
    }

    let ntz = serde_json::json!(["timestampNtz"]);
    for table in ["bronze/w", "bronze/w__quarantine", "gold/hours", "gold/parts", "gold/versions"] {
        let protocols = logged(&world, table, "protocol");
        assert!(protocols.len() == 1 && protocols[0]["readerFeatures"] == ntz, "{table}: {protocols:?}");
    }
    let plain = logged(&world, "gold/later", "protocol");
    assert_eq!(plain, [serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2})]);

    // A later column adds the feature, and keeps the features that the table's version implied.
    let mut edited = world.edited_in(WALLS, &jobs("select id, wall from bronze.w"));
    for (table, outcome) in edited.run_all().await {
        assert!(outcome.is_ok(), "{table}: {outcome:?}");
    }
    let protocols = logged(&world, "gold/later", "protocol");
    assert_eq!(protocols.len(), 2, "{protocols:?}");
    assert_eq!(protocols[1]["readerFeatures"], ntz);
    let mut written: Vec<&str> =
        protocols[1]["writerFeatures"].as_array().unwrap().iter().map(|feature| feature.as_str().unwrap()).collect();
    written.sort_unstable();
    assert_eq!(written, ["appendOnly", "invariants", "timestampNtz"]);
    let rows = edited.rows(&name("gold.later"), None).await;
    assert!(rows.len() == 5 && rows[3] == "4 9999-12-31T23:59:59.999999", "{rows:?}");
    let again = edited.run_all().await;
    assert!(again.values().all(|outcome| matches!(outcome, Ok(Outcome::Unchanged))), "{again:?}");
}
