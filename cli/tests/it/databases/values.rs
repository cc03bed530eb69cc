//! Values of all types, as they are or rejected with their row.

use super::Shop;

const TYPES: &str = r#"[databases.shop.tables.types]
columns = [
  { name = "id", type = "bigint" }, { name = "b", type = "boolean" }, { name = "i2", type = "smallint" },
  { name = "i4", type = "int" }, { name = "n", type = "decimal(20,4)" }, { name = "nt", type = "string" },
  { name = "r", type = "float" }, { name = "rd", type = "double" }, { name = "d", type = "double" },
  { name = "t", type = "string" }, { name = "c", type = "string" }, { name = "y", type = "binary" },
  { name = "dt", type = "date" }, { name = "ts", type = "timestamp_ntz" }, { name = "tz", type = "timestamp" },
  { name = "u", type = "string" }, { name = "j", type = "json" }, { name = "jb", type = "json" },
  { name = "e", type = "string" }, { name = "ai", type = "array<int>" }, { name = "an", type = "array<decimal(10,2)>" },
  { name = "at", type = "array<string>" }, { name = "ats", type = "array<timestamp>" }, { name = "aj", type = "array<string>" },
]
rename = { rd = "r", nt = "n" }
"#;

const MANY_TYPES: &str = r#"
create type mood as enum ('sad', 'ok');
create table types (id int8, b bool, i2 int2, i4 int4, n numeric, r real, d float8, t text, c char(5), y bytea, dt date,
  ts timestamp, tz timestamptz, u uuid, j json, jb jsonb, e mood, ai int4[], an numeric(10,2)[], at text[], ats timestamptz[], aj json[]);
insert into types values
 (1, true, -32768, 2147483647, 1234567890123456.7891, 0.1, 0.1, 'x', 'ab', '\x00ff10', '2024-02-29', '2024-02-29 23:59:59.999999',
  '2024-07-01 12:00:00.000001+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" :
 1}', '{"b": [1, null]}', 'sad', '{1,NULL,-3}', '{1.50,2}', '{"a","b,c",NULL,""}', '{2024-01-01 00:00:00.5+00}', '{"{\"k\" : 1}"}'),
 (2, false, 32767, -2147483648, -0.0001, -3.4028235e38, 1.7976931348623157e308, '', '', '', '0001-01-01', '1883-11-18 12:03:58',
  '1900-01-01 00:00:00+00', null, 'null', '"x"', 'ok', '{}', '{}', '{}', '{}', '{}'),
 (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (4, null, null, null, null, 1.17549435e-38, 5e-324, E'\u00e4\n"q"\\ \x01\x7f', null, repeat('\x01', 0)::bytea, '9999-12-31',
  '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', null, null, null, null, null, null, null, null, null);
"#;

/// What our type cannot hold: one row each, and a part of the reason.
const UNFIT: [(&str, &str, &str); 17] = [
    ("tz", "'10000-01-01 00:00:00+00'", "10000-01-01"),
    ("n", "'NaN'", "NaN"),
    ("n", "0.00001", "0.00001"),
    ("n", "12345678901234567", "12345678901234567"),
    ("d", "'NaN'", "NaN"),
    ("d", "'infinity'", "Infinity"),
    ("r", "'-infinity'", "-Infinity"),
    ("dt", "'infinity'", "infinity"),
    ("dt", "'-infinity'", "-infinity"),
    ("dt", "'0044-03-15 BC'", "BC"),
    ("tz", "'infinity'", "infinity"),
    ("ts", "'-infinity'", "-infinity"),
    ("tz", "'0044-03-15 00:00:00+00 BC'", "BC"),
    ("tz", "'294276-01-01 00:00:00+00'", "294276"),
    ("ai", "'{{1,2},{3,4}}'", "{{1,2},{3,4}}"),
    ("an", "'{NaN}'", "NaN"),
    ("ats", "'{infinity}'", "infinity"),
];

const RANDOM_VALUES: &str = "
insert into types select 1000 + n, random() < 0.5, (random() * 65535 - 32768)::int::int2, (random() * 4294967295 - 2147483648)::int8::int4,
  ((random() - 0.5) * power(10, (random() * 15)::int))::numeric(20,4), (random() - 0.5) * power(10, (random() * 60 - 30)::int),
  (random() - 0.5) * power(10, (random() * 600 - 300)::int),
  (select string_agg(chr((random() * 55000)::int + 1), '') from generate_series(1, 9) where n > 0), chr((random() * 90)::int + 32),
  decode(md5(random()::text), 'hex'), date '0001-01-01' + (random() * 3652058)::int, timestamp '0001-01-01' + random() * interval '9998 years',
  timestamptz '0001-01-02 00:00:00+00' + random() * interval '9998 years', gen_random_uuid(), json_build_object(chr((random() * 999)::int + 1), random()),
  jsonb_build_object('k', random()::text), (array['sad', 'ok'])[(random())::int + 1]::mood, array[n, null, -n], array[n / 100.0],
  array[chr((random() * 999)::int + 1), null, '']
from generate_series(1, 400) n";

fn random_values_agree(shop: &Shop) {
    let columns = |stamp: fn(&str) -> String, list: &str, first: &str| {
        format!(
            "id, case when b then 1 else 0 end, i2, i4, n, md5(t), md5({list}), coalesce('<' || encode(y, 'hex') || '>', '~'), dt, {}, {}, u, md5(j), md5(jb), e, \
             array_to_string(ai, ';', '~'), {}",
            stamp("ts"),
            stamp("tz"),
            first
        )
    };
    let ours = columns(|name| format!("unix_micros({name})"), "array_to_string(at, ';', '~')", "try_element_at(an, 1)");
    let theirs = columns(
        |name| format!("(extract(epoch from {name}) * 1000000)::int8"),
        "array_to_string(at, ';', '~')",
        "an[1]",
    );
    let theirs = theirs
        .replace("md5(j)", "md5(j::text)")
        .replace("md5(jb)", "md5(jb::text)")
        .replace(" n,", " n::numeric(20,4),");
    shop.agrees(
        &format!("select {ours} from bronze.types where id > 1000"),
        &format!("select {theirs} from types where id > 1000"),
    );
    // Each writes the shortest text that yields the number, in a form of its own.
    let bits = |rows: Vec<String>| -> Vec<[u64; 4]> {
        let number = |text: &str| text.parse::<f64>().unwrap().to_bits();
        let mut rows: Vec<[u64; 4]> =
            rows.iter().map(|row| row.split(',').map(number).collect::<Vec<_>>().try_into().unwrap()).collect();
        rows.sort_unstable();
        rows
    };
    let numbers = bits(shop.rows("select id, cast(r as double), rd, d from bronze.types where id > 1000"));
    assert_eq!(numbers.len(), 400);
    let theirs = "copy (select id, r::float8, r::float8, d from types where id > 1000) to stdout with (format csv)";
    assert_eq!(numbers, bits(shop.server.sql(theirs)));
}

#[test]
fn values_are_exact_or_rejected_with_their_row() {
    let shop = Shop::new(TYPES);
    shop.server.sql(MANY_TYPES);
    shop.server.sql(RANDOM_VALUES);
    for (at, (column, value, _)) in UNFIT.iter().enumerate() {
        shop.server.sql(&format!("insert into types (id, {column}) values ({}, {value})", 100 + at));
    }
    let columns = "id, b, i2, i4, n, nt, r, rd, d, t, c, y, dt, ts, tz, u, j, jb, e, ai, an, at, ats, aj";
    let manifest = "grain = [\"id\"]\nmax_rejected = 1.0\n[sink.append]\n";
    shop.scene.job("bronze.types", manifest, &format!("select {columns}, source_file from raw.types"));
    shop.run();
    // As text that both write alike.
    let ours = "select id, b, i2, i4, cast(n as string), nt, cast(r as double), rd, d, coalesce('<' || t || '>', '~'), coalesce('<' || c || '>', '~'), coalesce('<' || encode(y, 'hex') || '>', '~'), dt, \
                unix_micros(ts), unix_micros(tz), u, j, jb, e, coalesce('<' || array_to_string(ai, ';', '~') || '>', '-'), \
                coalesce('<' || array_to_string(at, ';', '~') || '>', '-'), coalesce('<' || array_to_string(aj, ';', '~') || '>', '-'), \
                cast(try_element_at(an, 1) as string), unix_micros(try_element_at(ats, 1)) from bronze.types where id < 100";
    let theirs = "select id, b, i2, i4, n::numeric(20,4), n, r::float8, r::float8, d, coalesce('<' || t || '>', '~'), case when c is null then '~' else format('<%s>', c) end, coalesce('<' || encode(y, 'hex') || '>', '~'), dt, \
                  (extract(epoch from ts) * 1000000)::int8, (extract(epoch from tz) * 1000000)::int8, u, j, jb, e, coalesce('<' || array_to_string(ai, ';', '~') || '>', '-'), \
                  coalesce('<' || array_to_string(at, ';', '~') || '>', '-'), coalesce('<' || array_to_string(aj::text[], ';', '~') || '>', '-'), \
                  an[1], (extract(epoch from ats[1]) * 1000000)::int8 from types where id < 100";
    let normal = |rows: Vec<String>| -> Vec<String> {
        rows.iter().map(|row| row.replace(",t,", ",true,").replace(",f,", ",false,").replace("e+", "e")).collect()
    };
    let (ours, theirs) = (shop.rows(ours), shop.server.sql(&format!("copy ({theirs}) to stdout with (format csv)")));
    assert_eq!(normal(ours), normal(theirs));
    assert_eq!(shop.rows("select count(*) from bronze.types where id < 100"), ["4"]);
    random_values_agree(&shop);
    let rejected = shop.rows("select _raw, _reason from bronze.types__quarantine");
    assert_eq!(rejected.len(), UNFIT.len(), "{rejected:#?}");
    for (at, (column, _, shown)) in UNFIT.iter().enumerate() {
        let id = format!("[{}, ", 100 + at);
        let row = rejected.iter().find(|row| row.contains(&id)).unwrap_or_else(|| panic!("{id}: {rejected:#?}"));
        assert!(row.contains(shown) && row.contains(column), "{column} {shown}: {row}");
    }
}
