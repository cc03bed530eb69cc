//! A file for each option that the guide shows, and the rows that are in it.

/// A source of files.
pub(super) struct Example {
    pub(super) name: &'static str,
    /// `columns = [..]`; nothing where the guide has the whole contract.
    pub(super) columns: &'static str,
    /// Its only feed. Without a path it reads all files.
    pub(super) feed: &'static str,
    /// What the query reads of each row.
    pub(super) values: &'static [&'static str],
    pub(super) files: &'static [(&'static str, &'static [u8])],
    /// Line and values of each row that is kept.
    pub(super) rows: &'static [(u32, &'static str)],
    /// Line and reason of each row that is rejected; `@` stands for any reason.
    pub(super) rejects: &'static [&'static str],
}

/// What the guide leaves out around its blocks.
pub(super) const SUPPLEMENT: &str = r#"
[files.klines]
root = "$raw"
columns = [{ name = "t", type = "bigint" }, { name = "open", type = "double" }, { name = "close", type = "double" }]
[files.ev]
root = "$raw"
columns = [{ name = "id", type = "bigint" }, { name = "legs", type = "json" }]
[files.ev.feed.all]
path = "ev/*.json"
format = { json_lines = {} }
[files.avro]
root = "$raw/avro"
columns = [{ name = "id", type = "bigint" }, { name = "code", type = "string" }]
[files.avro.feed.all]
path = "*"
format = { avro = {} }
rename = { code = "/venue/code" }
[files.ticks]
root = "$raw"
follow_links = true
max_rejected = 0.05
columns = [{ name = "k", type = "bigint" }, { name = "px", type = "double" }]
"#;

/// Options of sources that need a server; `databases.rs` runs them against one, the client of Glue is tested in `aws/`.
pub(super) const ELSEWHERE: &str = r#"
[tables.registered]
glue = "market.trades"
[databases.shop]
url = "postgresql://reader@db.example.com/shop"
password = "env:SHOP_PASSWORD"
sslmode = "verify-full"
root_certificate = "/etc/ssl/shop.pem"
connections = 2
[databases.shop.tables.orders]
table = "public.orders"
columns = [{ name = "id", type = "bigint" }]
bookmark = "id"
margin = 100
[databases.shop.tables.customers]
query = "select id::bigint from customers"
columns = [{ name = "id", type = "bigint" }]
[providers.vendor]
url = "https://vendor.example"
root = "$raw"
key = "env:VENDOR_KEY"
concurrency = 2
attempts = 3
timeout_s = 30
[providers.vendor.limits]
per_second = 1
per_minute = 5
per_day = 25
[providers.vendor.requests.daily]
path = "/daily?s={symbol}&m={month}"
headers = { Authorization = "Bearer {key}" }
period = "month"
answer = { json = { data = "/d", symbol = "/s" } }
final_hours = 48
refresh_hours = 6
[providers.vendor.requests.list]
path = "/list"
answer = { csv = { columns = ["symbol"] } }
[providers.vendor.requests.file]
path = "/file"
answer = { file = { ending = "csv.gz" } }
[landings.daily]
request = "vendor.daily"
symbols = ["A"]
symbols_file = "symbols.txt"
start = "2024-01-02"
end = "2024-01-31"
calendar = "silver.sessions.session_date"
"#;

const XY: &str = r#"columns = [{ name = "x", type = "bigint" }, { name = "y", type = "string" }]"#;
const BAR: &str = r#"columns = [{ name = "t", type = "bigint" }, { name = "open", type = "double" }, { name = "close", type = "double" }]"#;
const SYMBOLS: &str = r#"columns = [{ name = "s", type = "string" }, { name = "day", type = "date" }, { name = "symbol", type = "string" }]"#;

/// One for each contract of the guide, and for each option that its text and its tables show.
pub(super) const EXAMPLES: &[Example] = &[
    Example {
        name: "trades",
        columns: "",
        feed: "",
        values: &["id", "px", "qty", "ratio", "at", "day", "try_element_at(legs, 1)['px']", "doc"],
        files: &[("vendor/AAA.csv", b"id;px;qty;ratio;at;day;legs;doc\n1;1.234,5;7;0,1;02/01/2024 10:00:00;20240102;\"[{\"\"px\"\":1.5,\"\"tags\"\":{\"\"a\"\":1}}]\";\"{\"\"k\"\": 1}\"\n2;-;NA;;02/07/2024 10:00:00;;;\n3;1.00;1;;02/01/2024 10:00:00;;;\n")],
        rows: &[(2, r#"1|1234.5000|7|0.1|2024-01-02T09:00:00Z|2024-01-02|1.50|{"k": 1}"#), (3, "2||||2024-07-02T08:00:00Z|||")],
        rejects: &["4,@"],
    },
    Example {
        name: "klines",
        columns: "",
        feed: "",
        values: &["symbol", "t", "open", "close"],
        files: &[("klines_BTC.json", b"[[1704205800000,\"10.1\",\"11\",\"9\",\"10.5\",\"7\",1704205859999]]"), ("chart_AAA.json", b"{\"chart\":{\"result\":[{\"timestamp\":[5,6],\"indicators\":{\"quote\":[{\"open\":[1.5,2.5],\"close\":[2,null]}]}}]}}")],
        rows: &[(1, "BTC|1704205800000|10.1|10.5"), (1, "AAA|5|1.5|2.0"), (2, "AAA|6|2.5|")],
        rejects: &[],
    },
    Example {
        name: "minutes",
        columns: "",
        feed: "",
        values: &["symbol", "at", "px"],
        files: &[("minutes_A.csv", b"at,px\n2024-11-03 01:30:00,1\n2024-11-04 09:31:00,2\n")],
        rows: &[(2, "A|2024-11-03T05:29:00Z|1.0"), (3, "A|2024-11-04T14:30:00Z|2.0")],
        rejects: &[],
    },
    Example {
        name: "semicolons",
        columns: XY,
        feed: r#"format = { csv = { delimiter = ";" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x;y\n1;a,b\n2\n")],
        rows: &[(2, "1|a,b")],
        rejects: &[r#"3,"expected 2 fields, found 1""#],
    },
    Example {
        name: "tabs",
        columns: XY,
        feed: r#"format = { csv = { delimiter = "\t" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x\ty\n1\ta,b\n")],
        rows: &[(2, "1|a,b")],
        rejects: &[],
    },
    Example {
        name: "two_bars",
        columns: XY,
        feed: r#"format = { csv = { delimiter = "||" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x||y\n1||a|b\n")],
        rows: &[(2, "1|a|b")],
        rejects: &[],
    },
    Example {
        name: "spark",
        columns: XY,
        feed: r#"format = { csv = { escape = "\\" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x,y\n1,\"a \\\"b\\\"\"\n2,\"a \"\"b\"\"\"\n")],
        rows: &[(2, r#"1|a "b""#)],
        rejects: &["3,text follows the closing quote of a field"],
    },
    Example {
        name: "apostrophes",
        columns: XY,
        feed: r#"format = { csv = { quote = "'" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x,y\n1,'a,b'\n")],
        rows: &[(2, "1|a,b")],
        rejects: &[],
    },
    Example {
        name: "unquoted",
        columns: XY,
        feed: r#"format = { csv = { quote = "" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x,y\n1,\"a\n")],
        rows: &[(2, r#"1|"a"#)],
        rejects: &[],
    },
    Example {
        name: "headerless",
        columns: BAR,
        feed: r#"format = { csv = { header = false, fields = ["t", "open", "unused", "close"] } }"#,
        values: &["t", "open", "close"],
        files: &[("a.csv", b"5,1.5,x,2.5\n")],
        rows: &[(1, "5|1.5|2.5")],
        rejects: &[],
    },
    Example {
        name: "by_position",
        columns: XY,
        feed: r#"format = { csv = { match = "position" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"Number,Text\n1,a\n")],
        rows: &[(2, "1|a")],
        rejects: &[],
    },
    Example {
        name: "any_case",
        columns: XY,
        feed: r#"format = { csv = { match = "name_ignoring_case" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"X,y\n1,a\n"), ("b.csv", b"Y,x\na,2\n")],
        rows: &[(2, "1|a"), (2, "2|a")],
        rejects: &[],
    },
    Example {
        name: "preamble",
        columns: XY,
        feed: "format = { csv = { skip_lines = 2 } }",
        values: &["x", "y"],
        files: &[("a.csv", b"report\nof, today\nx,y\n1,a\n")],
        rows: &[(4, "1|a")],
        rejects: &[],
    },
    Example {
        name: "comments",
        columns: XY,
        feed: r##"format = { csv = { comment = "#" } }"##,
        values: &["x", "y"],
        files: &[("a.csv", b"# report\nx,y\n#1,a\n2,b\n")],
        rows: &[(4, "2|b")],
        rejects: &[],
    },
    Example {
        name: "ragged",
        columns: XY,
        feed: r#"format = { csv = { ragged = "null" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x,y\n1\n2,b,\n3,b,c\n")],
        rows: &[(2, "1|"), (3, "2|b")],
        rejects: &[r#"4,"expected 2 fields, found 3""#],
    },
    Example {
        name: "windows",
        columns: XY,
        feed: r#"format = { csv = { encoding = "windows-1252" } }"#,
        values: &["x", "y"],
        files: &[("a.csv", b"x,y\n1,\x80\n2,\x81\n")],
        rows: &[(2, "1|€")],
        rejects: &["3,the line is not Windows-1252"],
    },
    Example {
        name: "compressed",
        columns: XY,
        feed: r#"path = "{symbol}.csv"
format = { csv = {} }"#,
        values: &["x", "y", "symbol"],
        files: &[("A.csv", b"x,y\n1,a\n"), ("B.csv.bz2", b"BZh91AY&SY\xeek\x15\x0e\x00\x00\x03Y\x80\x00\x10\x00\x04\x10\x00\x10\x00\x00` \x000\xc0\x08i\xb2\x88#'\x8b\xb9\"\x9c(Hw5\x8a\x87\x00")],
        rows: &[(2, "1|a|A"), (2, "2|b|B")],
        rejects: &[],
    },
    Example {
        name: "lines",
        columns: SYMBOLS,
        feed: "format = { json_lines = {} }",
        values: &["s"],
        files: &[("a.json", b"{\"s\":\"A\"}\n{\"s\":\"B\"}\n")],
        rows: &[(1, "A"), (2, "B")],
        rejects: &[],
    },
    Example {
        name: "firehose",
        columns: SYMBOLS,
        feed: "format = { json_lines = { joined = true } }",
        values: &["s"],
        files: &[("a.json", b"{\"s\":\"A\"}{\"s\":\n\"B\"}")],
        rows: &[(1, "A"), (2, "B")],
        rejects: &[],
    },
    Example {
        name: "document",
        columns: SYMBOLS,
        feed: "format = { json = {} }",
        values: &["s"],
        files: &[("a.json", b"[{\"s\":\"A\"},\n{\"s\":\"B\"}]")],
        rows: &[(1, "A"), (2, "B")],
        rejects: &[],
    },
    Example {
        name: "results",
        columns: SYMBOLS,
        feed: r#"format = { json = { records = "/results" } }"#,
        values: &["s"],
        files: &[("a.json", b"{\"status\":\"OK\",\"results\":[{\"s\":\"A\"},{\"s\":\"B\"}]}")],
        rows: &[(1, "A"), (2, "B")],
        rejects: &[],
    },
    Example {
        name: "keyed",
        columns: SYMBOLS,
        feed: r#"format = { json = { records = "/bars", key = "day" } }"#,
        values: &["day", "s"],
        files: &[("a.json", b"{\"bars\":{\"2024-01-02\":{\"s\":\"A\"},\"2024-01-03\":{\"s\":\"B\"}}}")],
        rows: &[(1, "2024-01-02|A"), (2, "2024-01-03|B")],
        rejects: &[],
    },
    Example {
        name: "outside",
        columns: SYMBOLS,
        feed: r#"format = { json = { records = "/results", outer = { symbol = "/ticker" } } }"#,
        values: &["symbol", "s"],
        files: &[("a.json", b"{\"ticker\":\"AAA\",\"results\":[{\"s\":\"A\"},{\"s\":\"B\"}]}")],
        rows: &[(1, "AAA|A"), (2, "AAA|B")],
        rejects: &[],
    },
    Example {
        name: "arrays",
        columns: BAR,
        feed: r#"format = { json = { fields = ["t", "open", "close"] } }"#,
        values: &["t", "open", "close"],
        files: &[("a.json", b"[[1704205800000,\"10.1\",\"10.5\"],[1,\"2\"]]")],
        rows: &[(1, "1704205800000|10.1|10.5")],
        rejects: &["2,@"],
    },
    Example {
        name: "places",
        columns: BAR,
        feed: r#"format = { json = {} }
rename = { t = "0", close = "2" }"#,
        values: &["t", "close"],
        files: &[("a.json", b"[[5,\"10.1\",\"10.5\",null]]")],
        rows: &[(1, "5|10.5")],
        rejects: &[],
    },
    Example {
        name: "first_place",
        columns: "columns = [{ name = \"t\", type = \"bigint\" }]",
        feed: r#"format = { json_lines = {} }
rename = { t = "0" }"#,
        values: &["t"],
        files: &[("a.json", b"[5,6]\n[]\n")],
        rows: &[(1, "5")],
        rejects: &["2,@"],
    },
    Example {
        name: "columns",
        columns: BAR,
        feed: r#"format = { json = { layout = "columns" } }"#,
        values: &["t", "open", "close"],
        files: &[("a.json", b"{\"t\":[1,2],\"open\":[1.5,2.5],\"close\":[2.5,null]}")],
        rows: &[(1, "1|1.5|2.5"), (2, "2|2.5|")],
        rejects: &[],
    },
    Example {
        name: "by_path",
        columns: r#"columns = [{ name = "px", type = "decimal(10,2)" }, { name = "first", type = "double" }]"#,
        feed: r#"format = { json_lines = {} }
rename = { px = "/trade/price", first = "/legs/0/px" }"#,
        values: &["px", "first"],
        files: &[("a.json", b"{\"trade\":{\"price\":1.50},\"legs\":[{\"px\":2.5}]}\n{\"trade\":{\"price\":1},\"legs\":[]}\n{\"trade\":5}\n")],
        rows: &[(1, "1.50|2.5"), (2, "1.00|")],
        rejects: &[r#"3,"`trade` is `5`, so that there is no `/trade/price`""#],
    },
    Example {
        name: "empty_texts",
        columns: XY,
        feed: "format = { json_lines = {} }\nnulls = []",
        values: &["x", "y is null"],
        files: &[("a.json", b"{\"x\":1,\"y\":\"\"}\n{\"x\":2,\"y\":null}\n")],
        rows: &[(1, "1|false"), (2, "2|true")],
        rejects: &[],
    },
    Example {
        name: "whole",
        columns: r#"columns = [{ name = "raw", type = "json" }]"#,
        feed: r#"format = { json_lines = {} }
rename = { raw = "" }"#,
        values: &["raw"],
        files: &[("a.json", b"{\"a\": [1, \"x\"]}\n")],
        rows: &[(1, r#"{"a": [1, "x"]}"#)],
        rejects: &[],
    },
    Example {
        name: "partitions",
        columns: r#"columns = [{ name = "x", type = "bigint" }, { name = "day", type = "date" }]"#,
        feed: r#"path = "*.csv"
partitions = ["day"]
format = { csv = {} }"#,
        values: &["x", "day"],
        files: &[("day=2024-01-02/a.csv", b"x\n1\n"), ("day=__HIVE_DEFAULT_PARTITION__/a.csv", b"x\n2\n"), ("day=x/a.csv", b"x\n3\n")],
        rows: &[(2, "1|2024-01-02"), (2, "2|")],
        rejects: &["1,@"],
    },
    Example {
        name: "only_known",
        columns: XY,
        feed: "format = { json_lines = {} }\nunknown = \"reject\"",
        values: &["x", "y"],
        files: &[("a.json", b"{\"x\":1,\"y\":\"a\"}\n{\"x\":2,\"z\":3}\n")],
        rows: &[(1, "1|a")],
        rejects: &["2,@"],
    },
    Example {
        name: "rounded",
        columns: r#"columns = [{ name = "x", type = "decimal(6,2)", round = true }]"#,
        feed: "format = { csv = {} }",
        values: &["x"],
        files: &[("a.csv", b"x\n1.005\n-2.345\n")],
        rows: &[(2, "1.01"), (3, "-2.35")],
        rejects: &[],
    },
    Example {
        name: "groups",
        columns: r#"columns = [{ name = "x", type = "double" }]"#,
        feed: r#"format = { csv = {} }
thousands = "."
decimal = ",""#,
        values: &["x"],
        files: &[("a.csv", b"x\n1.000\n1.00\n")],
        rows: &[(2, "1000.0")],
        rejects: &["3,@"],
    },
    Example {
        name: "fixed",
        columns: r#"columns = [{ name = "symbol", type = "string" }, { name = "price", type = "decimal(10,2)" }]"#,
        feed: r#"format = { fixed_width = { fields = [
  { name = "symbol", start = 1, width = 8 }, { name = "price", start = 9, width = 10 },
], skip_lines = 1 } }"#,
        values: &["symbol", "price"],
        files: &[("a.txt", b"SYMBOL       PRICE\nAAA           1.50\nBBB\n")],
        rows: &[(2, "AAA|1.50")],
        rejects: &["3,@"],
    },
];
