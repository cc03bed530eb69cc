//! Kinds of tables, and tables of many columns.

use super::Shop;

const KINDS: [(&str, &str, &str); 8] = [
    ("plain", "table = \"odd.Na me\"", "odd.\"Na me\""),
    ("parts", "", "parts"),
    ("parent", "", "parent"),
    ("seen", "", "seen"),
    ("kept", "", "kept"),
    ("hidden", "", "hidden"),
    (
        "asked",
        "query = \"\"\"select id, v from parts where id > 10 -- not the first\"\"\"",
        "(select id, v from parts where id > 10) q",
    ),
    (
        "empty",
        "query = \"select 1::bigint as id, '' as v where false\"",
        "(select 1::bigint as id, '' as v where false) q",
    ),
];

const SETUP: &str = "
create schema odd;
create table odd.\"Na me\" (id bigint, v text);
create table parts (id bigint, v text) partition by range (id);
create table parts_1 partition of parts for values from (0) to (40);
create table parts_2 partition of parts for values from (40) to (1000);
create table parent (id bigint, v text) with (fillfactor = 10);
create table child (id bigint, v text, more text) inherits (parent) with (fillfactor = 10);
create table hidden (id bigint, v text);
insert into odd.\"Na me\" select n, 'v' || n from generate_series(1, 80) n;
insert into parts select n, 'v' || n from generate_series(1, 80) n;
insert into parent select n, 'v' || n from generate_series(1, 80) n;
insert into child select n, 'c' || n, repeat('x', 500) from generate_series(101, 9100) n;
insert into hidden select n, 'v' || n from generate_series(1, 80) n;
create view seen as select id * 2 as id, v from parts;
create materialized view kept as select id, v from parts where id < 50;
alter table hidden enable row level security;
create policy part_of_it on hidden using (id > 20);
create role clerk login password 'a secret of tests';
grant usage on schema odd to clerk;
grant select on all tables in schema public, odd to clerk";

/// Which pages the rows of a relation lie in is known of plain tables alone.
#[test]
fn every_kind_of_relation_is_read() {
    let columns = "columns = [{ name = \"id\", type = \"bigint\" }, { name = \"v\", type = \"string\" }]";
    let tables =
        KINDS.map(|(name, option, _)| format!("[databases.shop.tables.{name}]\n{columns}\n{option}\n")).concat();
    let shop = Shop::new(&tables);
    shop.server.sql(SETUP);
    assert_eq!(shop.server.sql("select pg_relation_size('child') / 8192 > 4096"), ["t"]);
    let sources = std::fs::read_to_string(shop.scene.project.join("sources.toml")).unwrap();
    std::fs::write(shop.scene.project.join("sources.toml"), sources.replace("reader@", "clerk@")).unwrap();
    for (name, ..) in KINDS {
        let query = format!("select id, v, source_file from raw.{name}");
        shop.scene.job(&format!("bronze.{name}"), "grain = [\"id\"]\n[sink.append]\n", &query);
    }
    let agree = || {
        for (name, _, from) in KINDS {
            let policy = if name == "hidden" { " where id > 20" } else { "" };
            shop.agrees(&format!("select id, v from bronze.{name}"), &format!("select id, v from {from}{policy}"));
        }
    };
    shop.run();
    agree();
    shop.run().says(&["nothing was committed"]);
    shop.server.sql(
        "update odd.\"Na me\" set v = 'new' where id < 9; delete from parts where id % 7 = 0; update child set v = 'new' where id = 9000; \
         refresh materialized view kept; delete from hidden where id = 30",
    );
    shop.run();
    agree();
}

/// More than a function of the database takes arguments, and more than a range of pages has.
#[test]
fn a_table_of_many_columns_is_read() {
    const TYPES: [(&str, &str, &str); 4] = [
        ("bigint", "bigint", "id + 1"),
        ("text", "string", "'a,\"' || id"),
        ("numeric(20,3)", "decimal(20,3)", "id / 8.0"),
        ("date", "date", "'2024-01-01'::date + id::int"),
    ];
    let of = |n: usize| TYPES[n % TYPES.len()];
    let columns = (0..250).map(|n| format!(", {{ name = \"c{n}\", type = \"{}\" }}", of(n).1)).collect::<String>();
    let shop = Shop::new(&format!(
        "[databases.shop.tables.wide]\ncolumns = [{{ name = \"id\", type = \"bigint\" }}{columns}]\n"
    ));
    let declared = (0..250).map(|n| format!(", c{n} {}", of(n).0)).collect::<String>();
    let values = (0..250).map(|n| format!(", {}", of(n).2)).collect::<String>();
    shop.server.sql(&format!("create table wide (id bigint{declared})"));
    shop.server.sql(&format!("insert into wide select id{values} from generate_series(1, 50) id"));
    shop.scene.job("bronze.wide", "grain = [\"id\"]\n[sink.overwrite]\n", "select * from raw.wide");
    shop.run();
    let names = (0..250).map(|n| format!(", c{n}")).collect::<String>();
    shop.agrees(&format!("select id{names} from bronze.wide"), &format!("select id{names} from wide"));
}
