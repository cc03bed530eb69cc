//! Which changes of a job change its meaning, and which do not.

use proptest::prelude::*;
use sqlparser::ast::Statement;
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::*;
use crate::project::ProjectFiles;

/// A piece of a query: a keyword or unquoted name, whose case is free, or literal text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Keyword(&'static str),
    Name(String),
    Fixed(String),
}

use Piece::{Fixed, Keyword, Name};

fn fixed(text: impl Into<String>) -> Piece {
    Fixed(text.into())
}

fn keywords(texts: &'static str) -> Vec<Piece> {
    texts.split(' ').map(Keyword).collect()
}

fn name() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "ts", "x1", "größe"]).prop_map(|name| Name(name.to_owned())),
        1 => prop::sample::select(vec!["\"A\"", "\"a\"", "\"a -- b\"", "\"select\""]).prop_map(fixed),
    ]
}

fn literal() -> impl Strategy<Value = Piece> {
    prop::sample::select(vec![
        "1",
        "10",
        "1.0",
        "1.00",
        "1e5",
        "'x'",
        "'X'",
        "' x'",
        "'it''s'",
        "''",
        "'-- no comment'",
        "'/* neither */'",
        "'a\nb'",
        "$interval_start",
        "$interval_end",
    ])
    .prop_map(fixed)
}

fn expression() -> impl Strategy<Value = Vec<Piece>> {
    let leaf = prop_oneof![name().prop_map(|name| vec![name]), literal().prop_map(|literal| vec![literal])];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "=", "<>", "<=", "||", "%"]).prop_map(fixed);
        let word = prop::sample::select(vec!["and", "or", "is distinct from"]).prop_map(keywords);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| [a, vec![o], b].concat()),
            (inner.clone(), word, inner.clone()).prop_map(|(a, o, b)| [a, o, b].concat()),
            inner.clone().prop_map(|a| [vec![fixed("(")], a, vec![fixed(")")]].concat()),
            inner.clone().prop_map(|a| [vec![Name("coalesce".to_owned()), fixed("(")], a, vec![fixed(")")]].concat()),
            (inner.clone(), inner)
                .prop_map(|(a, b)| { [keywords("case when"), a, keywords("then"), b, keywords("end")].concat() }),
        ]
    })
}

fn query() -> impl Strategy<Value = Vec<Piece>> {
    let item = (expression(), prop::option::of(name())).prop_map(|(expression, alias)| {
        expression.into_iter().chain(alias.into_iter().flat_map(|a| [Keyword("as"), a])).collect()
    });
    let table = || {
        prop::sample::select(vec!["t", "u"])
            .prop_map(|table| vec![Name("l".to_owned()), fixed("."), Name(table.to_owned())])
    };
    let join = (prop::sample::select(vec!["join", "left join", "inner join"]), table(), expression())
        .prop_map(|(join, table, on)| [keywords(join), table, keywords("on"), on].concat());
    let order = (name(), any::<bool>()).prop_map(|(name, down)| {
        [keywords("order by"), vec![name], if down { keywords("desc nulls last") } else { Vec::new() }].concat()
    });
    (
        (prop::bool::weighted(0.3), prop::collection::vec(item, 1..4)),
        table(),
        prop::option::of(join),
        prop::option::of(expression().prop_map(|e: Vec<Piece>| [keywords("where"), e].concat())),
        prop::option::of(name().prop_map(|name| [keywords("group by"), vec![name]].concat())),
        prop::option::of(order),
    )
        .prop_map(|((distinct, items), from, join, filter, group, order): (_, _, _, _, _, Option<Vec<Piece>>)| {
            let items: Vec<Vec<Piece>> = items;
            let mut pieces = keywords(if distinct { "select distinct" } else { "select" });
            pieces.extend(items.join(&fixed(",")));
            pieces.extend(keywords("from"));
            pieces.extend(from);
            pieces.extend([join, filter, group, order].into_iter().flatten().flatten());
            pieces
        })
}

fn plain(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Keyword(text) => (*text).to_owned(),
        Name(text) | Fixed(text) => text.clone(),
    };
    pieces.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Changes white space, comments and the case of keywords, and with `names` the case of names.
fn noisy(pieces: &[Piece], noise: &[(usize, u64)], names: bool) -> String {
    const GAPS: [&str; 8] = [
        " ",
        "\n",
        "\t  ",
        " -- it's a \"comment\"; $x\n",
        " /* 'a' /* b */ -- ; */ ",
        "\r\n",
        " --\n",
        " -- select 1 from x\n\n",
    ];
    let mut text = String::new();
    for (place, piece) in pieces.iter().enumerate() {
        let (gap, bits) = noise[place % noise.len()];
        let mixed = |word: &str| -> String {
            let upper = |(n, c): (usize, char)| if bits >> (n % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c };
            word.chars().enumerate().map(upper).collect()
        };
        text.push_str(GAPS[gap % GAPS.len()]);
        match piece {
            Keyword(word) => text.push_str(&mixed(word)),
            Name(word) if names => text.push_str(&mixed(word)),
            Name(word) | Fixed(word) => text.push_str(word),
        }
    }
    text + [";", "", "\n;\n", " -- end"][noise[0].0 % 4]
}

fn parsed(text: &str) -> Option<Vec<Statement>> {
    Parser::parse_sql(&GenericDialect {}, text).ok()
}

fn noise() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0_usize..100, any::<u64>()), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// The parser is the oracle for layout: it yields the same query.
    #[test]
    fn the_layout_of_a_query_is_not_in_its_words(pieces in query(), noise in noise()) {
        let (text, other) = (plain(&pieces), noisy(&pieces, &noise, false));
        prop_assert_eq!(parsed(&text), parsed(&other), "{}", other);
        prop_assert_eq!(canonical::words(&text), canonical::words(&other));
        prop_assert_eq!(canonical::words(&text), canonical::words(&noisy(&pieces, &noise, true)));
    }

    #[test]
    fn every_piece_of_a_query_is_in_its_words(
        pieces in query(), place in any::<prop::sample::Index>(), by in prop_oneof![expression(), query()], keep in any::<bool>(),
    ) {
        let at = place.index(pieces.len());
        let mut other = pieces.clone();
        other.splice(at..at + usize::from(!keep), by);
        let equal = canonical::words(&plain(&pieces)) == canonical::words(&plain(&other));
        prop_assert_eq!(equal, pieces == other, "{:?}\n{:?}", pieces, other);
    }

    /// For all queries that parse: equal tokens are the same query.
    #[test]
    fn equal_words_are_one_query(a in query(), b in query()) {
        let (a, b) = (plain(&a), plain(&b));
        if canonical::words(&a) == canonical::words(&b) {
            prop_assert_eq!(parsed(&a), parsed(&b));
        } else if let (Some(one), Some(other)) = (parsed(&a), parsed(&b)) {
            // `join` and `inner join` are different tokens and the same query.
            prop_assert!(one != other || a.contains("inner join") || b.contains("inner join"), "{}\n{}", a, b);
        }
    }
}

const QUERY: &str =
    "select day, sum(v) as v -- the sum\nfrom raw.bars where day >= $interval_start and note <> 'It''s' group by day\n";

const MANIFEST: &str = "owner = \"me\"\ninterval = \"day\"\nstart = \"2024-01-01\"\ngrain = [\"day\"]\n\
    [source.\"raw.bars\"]\nread = \"changed\"\n[sink.merge]\nkeys = [\"day\"]\n\
    [[expect]]\nname = \"positive\"\ncheck = \"v  > 0\"\non_fail = \"quarantine\"\n\
    [[expect]]\nname = \"large\"\ncheck = \"v > 9\"\non_fail = \"warn\"\n";

const SOURCES: &str = "[files.bars]\nroot = \"$raw\"\ncolumns = [{ name = \"day\", type = \"date\", required = true }, \
    { name = \"v\", type = \"double\" }, { name = \"note\", type = \"string\" }]\n\
    [files.bars.feed.all]\npath = \"{part}.csv\"\nformat = { csv = { delimiter = \";\" } }\nrename = { v = \"Value\" }\n";

fn meaning(manifest: &str, query: &str, sources: &str) -> Meaning {
    let files = [
        ("project.toml", "name = \"test\"\n[defaults]\nowner = \"us\"\n"),
        ("sources.toml", sources),
        ("gold/days/job.toml", manifest),
        ("gold/days/query.sql", query),
    ];
    let files: ProjectFiles = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    let project = Project::parse(&files).unwrap();
    Meaning::of(&project, project.jobs.values().next().unwrap()).unwrap()
}

fn stored(meaning: &Meaning) -> HashMap<String, i64> {
    meaning.numbers().collect()
}

#[test]
fn the_canonical_form_is_written_down() {
    let Meaning(parts) = meaning(MANIFEST, QUERY, SOURCES);
    insta::assert_snapshot!(parts[0].text, @r#"
    ["query","select","day",",","sum","(","v",")","as","v","from","raw",".","bars","where","day",">=","$interval_start","and","note","<>","'It's'","group","by","day"]
    ["interval","day"]
    ["grain","day"]
    ["sink","merge"]
    ["sink.keys","day"]
    ["source.read","raw.bars","changed"]
    ["expect","0","positive","quarantine"]
    ["expect.check","0","v",">","0"]
    "#);
    insta::assert_snapshot!(parts[1].text, @r#"
    ["column","day","date"]
    ["column.required","day"]
    ["column","v","double"]
    ["column","note","string"]
    ["path","{part}.csv"]
    ["format","csv"]
    ["format.delimiter",";"]
    ["rename","v","Value"]
    "#);
}

#[test]
fn every_option_of_csv_and_fixed_width_is_in_the_canonical_form() {
    let format = |format: &str| {
        let sources = SOURCES.replace("csv = { delimiter = \";\" }", format);
        let Meaning(parts) = meaning(MANIFEST, QUERY, &sources);
        parts[1]
            .text
            .lines()
            .filter(|line| line.starts_with("[\"format"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    insta::assert_snapshot!(format("csv = {}"), @r#"["format","csv"]"#);
    insta::assert_snapshot!(
        format(
            "csv = { delimiter = \"||\", quote = \"'\", escape = \"\\\\\", header = false, fields = [\"day\", \"Value\", \"note\"], \
             skip_lines = 2, comment = \"#\", ragged = \"null\", encoding = \"latin-1\" }"
        ),
        @r##"
    ["format","csv"]
    ["format.delimiter","||"]
    ["format.quote","'"]
    ["format.escape","\\"]
    ["format.header","false"]
    ["format.fields","day","Value","note"]
    ["format.skip_lines","2"]
    ["format.comment","#"]
    ["format.ragged","null"]
    ["format.encoding","latin-1"]
    "##
    );
    insta::assert_snapshot!(format("csv = { match = \"name_ignoring_case\" }"), @r#"
    ["format","csv"]
    ["format.match","name_ignoring_case"]
    "#);
    insta::assert_snapshot!(
        format("fixed_width = { fields = [{ name = \"day\", start = 1, width = 10 }, { name = \"Value\", start = 11, width = 8 }] }"),
        @r#"
    ["format","fixed_width"]
    ["format.field","day","1","10"]
    ["format.field","Value","11","8"]
    "#
    );
}

/// Expected values computed by a Python program: FNV-1a without the first bit.
#[test]
fn numbers_of_all_builds_stay_as_they_are() {
    const JOB_EXACT: i64 = 8_944_548_086_270_554_646;
    const FEED_EXACT: i64 = 3_412_532_651_638_649_573;
    const JOB_MEANING: i64 = 6_779_108_256_975_463_642;
    const FEED_MEANING: i64 = 2_750_698_786_591_216_272;
    let numbers = stored(&meaning(MANIFEST, QUERY, SOURCES));
    let expected = [
        ("pulse/job", JOB_EXACT),
        ("pulse/feed/bars/all", FEED_EXACT),
        ("pulse/meaning/1", JOB_MEANING),
        ("pulse/meaning/1/bars/all", FEED_MEANING),
    ];
    assert_eq!(numbers, expected.into_iter().map(|(id, number)| (id.to_owned(), number)).collect());
}

/// It is not in the exact numbers either, so that a build with only those does not recompute the table.
#[test]
fn descriptions_of_columns_are_in_no_number() {
    let described = MANIFEST.replace("owner = \"me\"", "owner = \"me\"\ncolumns = { v = \"a sum\" }");
    assert_ne!(described, MANIFEST);
    assert_eq!(stored(&meaning(&described, QUERY, SOURCES)), stored(&meaning(MANIFEST, QUERY, SOURCES)));
}

#[test]
fn what_decides_no_row_is_not_in_the_meaning() {
    let known = stored(&meaning(MANIFEST, QUERY, SOURCES));
    let same = |manifest: &str, query: &str, sources: &str| meaning(manifest, query, sources).change(&known);
    for (from, to) in [
        (
            "owner = \"me\"",
            "owner = \"you\"\ndescription = \"days\"\nmax_rejected = 0.5\nrun_attempts = 2\nrun_timeout_s = 60\ntarget_file_mib = 64\norder = [\"v\", \"day\"]",
        ),
        ("start = \"2024-01-01\"", "start = \"2023-01-01\""),
        ("v > 9", "v > 8"),
        ("on_fail = \"warn\"", "on_fail = \"fail\""),
        ("v  > 0", "v >\\n0 -- more than nothing"),
    ] {
        let manifest = MANIFEST.replace(from, to);
        assert_ne!(manifest, MANIFEST);
        assert_eq!(same(&manifest, QUERY, SOURCES), None, "{to}");
    }
    assert_eq!(
        same(
            MANIFEST,
            &QUERY
                .replace("-- the sum\n", "")
                .to_uppercase()
                .replace("$INTERVAL_START", "$interval_start")
                .replace("IT", "It")
                .replace("'S'", "'s'"),
            SOURCES
        ),
        None
    );
    for (from, to) in [
        ("root = \"$raw\"", "root = \"/else/where\""),
        ("rename", "time_zone = \"UTC\"\nrename"),
        ("rename", "ambiguous = \"by_order\"\nrename"),
        ("rename", "unknown = \"ignore\"\nrename"),
        ("rename", "nulls = [\"\"]\nrename"),
        ("rename", "decimal = \".\"\nrename"),
        ("type = \"double\"", "type = \"double\", round = false"),
        ("columns =", "on_missing = \"remove\"\ncolumns ="),
        (
            "[files.bars.feed.all]",
            "[files.bars.feed.more]\npath = \"more/*.parquet\"\nformat = { parquet = {} }\n[files.bars.feed.all]",
        ),
    ] {
        let sources = SOURCES.replace(from, to);
        assert_ne!(sources, SOURCES);
        assert_eq!(same(MANIFEST, QUERY, &sources), None, "{to}");
    }
}

#[test]
fn what_decides_rows_is_in_the_meaning() {
    let known = stored(&meaning(MANIFEST, QUERY, SOURCES));
    for (from, to) in [
        ("interval = \"day\"", "interval = \"month\""),
        ("grain = [\"day\"]", "grain = [\"day\", \"v\"]"),
        ("[sink.merge]\nkeys = [\"day\"]", "[sink.merge]\nkeys = [\"day\", \"v\"]"),
        ("read = \"changed\"\n[sink.merge]\nkeys = [\"day\"]", "read = \"all\"\n[sink.overwrite]"),
        ("[sink.merge]\nkeys = [\"day\"]", "[sink.overwrite_partitions]\nby = [\"day\"]"),
        ("read = \"changed\"", "read = \"changed\"\nby = [\"day\"]"),
        ("read = \"changed\"", "read = \"all\""),
        ("read = \"changed\"", "read = \"changed\"\nlookback = { column = \"day\", days = 1 }"),
        ("v  > 0", "v > 00"),
        ("name = \"positive\"", "name = \"more than nothing\""),
        ("on_fail = \"quarantine\"", "on_fail = \"drop\""),
        ("on_fail = \"quarantine\"", "on_fail = \"warn\""),
        ("on_fail = \"warn\"", "on_fail = \"drop\""),
    ] {
        let manifest = MANIFEST.replacen(from, to, 1);
        assert_ne!(manifest, MANIFEST);
        assert_eq!(meaning(&manifest, QUERY, SOURCES).change(&known), Some("the job changed"), "{to}");
    }
    for (from, to) in [
        ("It''s", "it''s"),
        ("It''s", "It''s "),
        ("as v", "as w"),
        (">=", ">"),
        ("sum", "max"),
        ("by day", "by note, day"),
    ] {
        let query = QUERY.replace(from, to);
        assert_ne!(query, QUERY);
        assert_eq!(meaning(MANIFEST, &query, SOURCES).change(&known), Some("the job changed"), "{to}");
    }
    for (from, to) in [
        ("type = \"double\"", "type = \"bigint\""),
        (", required = true", ""),
        (
            "{ name = \"note\", type = \"string\" }",
            "{ name = \"note\", type = \"string\" }, { name = \"w\", type = \"string\" }",
        ),
        ("{part}.csv", "{part}.csv.gz"),
        ("\";\"", "\"|\""),
        ("\"Value\"", "\"value\""),
        ("rename", "time_zone = \"Asia/Tokyo\"\nrename"),
        ("rename", "ambiguous = \"later\"\nrename"),
        ("rename", "unknown = \"reject\"\nrename"),
        ("rename", "unknown = \"rescue\"\nrename"),
        ("rename", "nulls = [\"NA\"]\nrename"),
        ("rename", "nulls = []\nrename"),
        ("rename", "pattern = { day = \"dd.MM.yyyy\" }\nrename"),
        ("rename", "decimal = \",\"\nrename"),
        ("rename", "thousands = \"'\"\nrename"),
        ("type = \"double\"", "type = \"double\", round = true"),
        ("type = \"double\"", "type = \"decimal(18,2)\""),
    ] {
        let sources = SOURCES.replace(from, to);
        assert_ne!(sources, SOURCES);
        assert_eq!(meaning(MANIFEST, QUERY, &sources).change(&known), Some("sources.toml changed"), "{to}");
    }
}

/// Deduplication depends on the order of rows.
#[test]
fn the_order_decides_which_of_two_equal_rows_stays() {
    let unique = "[[expect]]\nname = \"once\"\nunique = { columns = [\"day\"], keep_first_by = [\"v  desc\"] }\non_fail = \"drop\"\n";
    let manifest = format!("{MANIFEST}{unique}");
    let known = stored(&meaning(&manifest, QUERY, SOURCES));
    let ordered = manifest.replace("grain =", "order = [\"day\", \"v\"]\ngrain =");
    assert_eq!(meaning(&ordered, QUERY, SOURCES).change(&known), Some("the job changed"));
    assert_eq!(meaning(&manifest.replace("v  desc", "v desc"), QUERY, SOURCES).change(&known), None);
}

/// A lake of an older build has only the exact numbers.
#[test]
fn a_lake_of_an_earlier_build_goes_on() {
    let now = meaning(MANIFEST, QUERY, SOURCES);
    let exact = |meaning: &Meaning| -> HashMap<String, i64> {
        meaning.numbers().filter(|(id, _)| !id.starts_with("pulse/meaning/")).collect()
    };
    let mut known = exact(&now);
    assert_eq!(known.len(), 2);
    assert_eq!(now.change(&known), None);
    known.retain(|id, _| id == "pulse/job");
    assert_eq!(now.change(&known), None, "a feed that is new");
    assert_eq!(now.change(&HashMap::new()), Some("the job changed"));
    let other = meaning(MANIFEST, &QUERY.replace("sum", "max"), SOURCES);
    assert_eq!(other.change(&exact(&now)), Some("the job changed"));
}

proptest! {
    /// Alternating commits of this build and older ones, while the job is edited: the last commit decides.
    #[test]
    fn two_builds_share_a_lake(commits in prop::collection::vec((any::<bool>(), 0_i64..3, 0_i64..3), 1..8), now in (0_i64..3, 0_i64..3)) {
        // Two layouts of a meaning have two exact numbers.
        let job = |(meaning, layout): (i64, i64)| Meaning::test(meaning * 10 + layout, &meaning.to_string());
        let mut known = HashMap::new();
        for (by_this_build, meaning, layout) in &commits {
            let numbers = job((*meaning, *layout)).numbers().collect::<Vec<_>>();
            known.extend(numbers.into_iter().filter(|(id, _)| *by_this_build || id == "pulse/job"));
        }
        let (by_this_build, meaning, layout) = *commits.last().unwrap();
        let same = job(now).change(&known).is_none();
        if same {
            prop_assert_eq!(now.0, meaning);
        } else {
            prop_assert!(now.0 != meaning || (!by_this_build && now.1 != layout));
        }
    }
}

/// A table of an earlier build is computed again if, and only if, its query calls a function that returned something else then.
#[test]
fn a_function_that_returns_something_else_computes_its_tables_again() {
    let of = |version| Function { name: "divide", version, reason: "`/` is another function" };
    let plain = meaning(MANIFEST, QUERY, SOURCES);
    let calling = |version| plain.clone().calling([of(version)]);
    let earlier = stored(&plain);
    assert_eq!(plain.change(&earlier), None);
    assert_eq!(calling(1).change(&earlier), Some("`/` is another function"));
    let known = stored(&calling(1));
    assert_eq!(calling(1).change(&known), None);
    assert_eq!(calling(2).change(&known), Some("`/` is another function"));
    assert_eq!(plain.change(&known), None, "an earlier build, which does not know of the function");
    // An earlier build computed an edited job, and the edit was taken back in between.
    let mut edited = known.clone();
    edited.extend(
        stored(&meaning(MANIFEST, &QUERY.replace("sum", "max"), SOURCES))
            .into_iter()
            .filter(|(id, _)| id == "pulse/job"),
    );
    assert!(meaning(MANIFEST, &QUERY.replace("sum", "max"), SOURCES).calling([of(1)]).change(&edited).is_some());
    let restored: HashMap<String, i64> = known
        .iter()
        .map(|(id, number)| (id.clone(), if id.starts_with("pulse/function/") { -1 } else { *number }))
        .collect();
    assert_eq!(calling(1).change(&restored), Some("`/` is another function"));
    assert_eq!(calling(1).change(&HashMap::new()), Some("the job changed"));
}
