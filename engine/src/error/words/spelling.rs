//! What people write where Spark, or another engine, has a function that is not here.

const SPELLINGS: [(&str, &str); 38] = [
    ("aggregate", "a query over `unnest(list)`"),
    ("any", "`bool_or(x)`"),
    ("approx_count_distinct", "`count(distinct x)`, or `approx_distinct(x)`"),
    ("array_size", "`array_length(list)`"),
    ("bround", "`round(x, n)`, which rounds a half away from zero"),
    ("collect_list", "`array_agg(x order by y)`"),
    ("conv", "`to_hex(x)` for the base 16"),
    ("count_if", "`count(*) filter (where ..)`"),
    ("date", "`cast(x as date)`"),
    ("datediff", "`date_diff(day, other)`, or `day - other`"),
    ("every", "`bool_and(x)`"),
    ("explode", "`unnest(list)`"),
    ("explode_outer", "`unnest(list)`"),
    ("filter", "a query over `unnest(list)`"),
    ("first", "`first_value(x order by y)`"),
    ("hash", "`xxhash64(cast(x as string))`"),
    ("isnotnull", "`x is not null`"),
    ("isnull", "`x is null`"),
    ("last", "`last_value(x order by y)`"),
    ("make_timestamp", "`to_timestamp(text)`"),
    ("map_concat", "a query over `unnest(map_entries(m))`"),
    ("max_by", "`first_value(x order by y desc)`"),
    ("min_by", "`first_value(x order by y)`"),
    ("mode", "`count(*)` by value, and `row_number()`"),
    ("monotonically_increasing_id", "`row_number() over (order by ..)`"),
    ("months_between", "`date_part('year', ..)` and `date_part('month', ..)`"),
    ("percentile", "`percentile_cont(0.5) within group (order by x)`"),
    ("percentile_approx", "`approx_percentile_cont(0.5) within group (order by x)`"),
    ("posexplode", "`unnest(list)` beside `generate_series`"),
    ("sequence", "`generate_series(first, last, step)`"),
    ("some", "`bool_or(x)`"),
    ("std", "`stddev(x)`"),
    ("to_json", "`cast(x as string)` of a json column"),
    ("transform", "a query over `unnest(list)`"),
    ("try_divide", "`a / nullif(b, 0)`"),
    ("typeof", "`arrow_typeof(x)`"),
    ("unix_timestamp", "`to_unixtime(ts)`"),
    ("variance", "`var_samp(x)`"),
];

pub(super) fn of(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    SPELLINGS.iter().find(|(other, _)| *other == name).map(|(_, spelling)| *spelling)
}
