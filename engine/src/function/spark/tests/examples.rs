//! One-line queries with the rows that PySpark 4.3.0 gives, in the zone UTC and with ANSI on: the examples of its own documentation (`describe function
//! extended`) and probes. Each has Spark's rows here, or is an error, or differs for a reason that is listed.

use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::{Map, Value};

use crate::session::{session_config, session_state};

const EXAMPLES: &str = include_str!("examples.jsonl");

/// Parts of queries that give other rows, and why.
const OTHER: [(&str, &str); 32] = [
    ("cast(1e10 as string)", "a double as text has no exponent here"),
    ("AS string)", "a stamp as text has a T"),
    ("as string) AS r", "a stamp as text has a T"),
    ("0.1 + 0.2 = 0.3", "a literal with a point is a double"),
    ("round(1.005, 2)", "a literal with a point is a double"),
    ("as decimal(10,2)) AS r", "a literal with a point is a double"),
    ("1.0 / 3", "a literal with a point is a double"),
    ("as decimal(10,2)) /", "a quotient of decimals has fewer digits"),
    ("avg(x) AS r FROM VALUES (CAST(1 AS DECIMAL(10,2))),(2),(2)", "a mean of decimals is cut"),
    ("OVER (ORDER BY x)", "nulls come last"),
    ("ORDER BY x", "nulls come last"),
    ("- date '2024-02-29'", "a span of days is a number"),
    ("- timestamp '2024-01-30", "spans are written otherwise"),
    ("make_dt_interval", "spans are written otherwise"),
    ("any_value", "any value is right"),
    ("json_tuple", "one struct instead of columns"),
    ("ltrim('x'", "the text comes first"),
    ("rtrim('x'", "the text comes first"),
    ("chr(321)", "characters beyond one byte"),
    ("arrays_overlap(array(1,null)", "false instead of null"),
    ("shiftrightunsigned", "a literal has 64 bits"),
    ("nvl(NULL, array", "an untyped null is a text"),
    ("ifnull(NULL, array", "an untyped null is a text"),
    ("TIME'", "times of a day are not dates"),
    ("make_interval", "spans are written otherwise"),
    ("INTERVAL", "spans are written otherwise"),
    ("interval", "spans are written otherwise"),
    ("typeof(", "types have other names"),
    ("version()", "another program"),
    ("session_user", "another program"),
    ("collect_set", "a set has no order"),
    ("array_agg(DISTINCT", "a set has no order"),
];

async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<Vec<Value>>, String> {
    let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
    crate::job::meant::refuse_casts(frame.logical_plan()).map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    for batch in batches {
        let names: Vec<String> = (0..batch.num_columns()).map(|at| format!("c{at}")).collect();
        let batch = arrow::array::RecordBatch::try_from_iter_with_nullable(
            names.iter().zip(batch.columns()).map(|(name, column)| (name, std::sync::Arc::clone(column), true)),
        )
        .map_err(|e| e.to_string())?;
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        writer.write(&batch).map_err(|e| e.to_string())?;
        writer.finish().map_err(|e| e.to_string())?;
        for line in String::from_utf8(writer.into_inner()).unwrap().lines() {
            let mut row: Map<String, Value> = serde_json::from_str(line).unwrap();
            rows.push(names.iter().map(|name| row.remove(name).unwrap_or(Value::Null)).collect());
        }
    }
    Ok(rows)
}

fn is_same(spark: &Value, ours: &Value) -> bool {
    match (spark, ours) {
        (Value::Null, ours) => ours.is_null(),
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Number(_), Value::Number(_)) => close(spark.as_f64().unwrap(), ours.as_f64().unwrap()),
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(tagged), ours) => {
            let (tag, value) = tagged.iter().next().unwrap();
            is_same_tagged(tag, value, ours)
        }
        _ => false,
    }
}

fn is_same_tagged(tag: &str, spark: &Value, ours: &Value) -> bool {
    let text = spark.as_str().unwrap_or_default();
    match tag {
        // JSON has neither NaN nor infinity.
        "f" | "dec" => match text.parse::<f64>().unwrap() {
            number if number.is_finite() => ours.as_f64().is_some_and(|ours| close(number, ours)),
            _ => ours.is_null(),
        },
        "ts" => ours.as_str().is_some_and(|ours| {
            let plain = |text: &str| {
                let text = text.trim_end_matches('Z').trim_end_matches("+00:00");
                if text.contains('.') {
                    text.trim_end_matches('0').trim_end_matches('.').to_owned()
                } else {
                    text.to_owned()
                }
            };
            plain(ours) == plain(text)
        }),
        "d" => ours.as_str() == Some(text),
        "b" => ours.as_str().is_some_and(|ours| ours.eq_ignore_ascii_case(text)),
        "m" | "s" => {
            let (Value::Object(ours), Value::Array(spark)) = (ours, spark) else { return false };
            let value = |pair: &Value| pair[1].clone();
            let key = |pair: &Value| match &pair[0] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let by_name = spark.iter().all(|pair| ours.get(&key(pair)).is_some_and(|ours| is_same(&value(pair), ours)));
            let in_order = || spark.iter().zip(ours.values()).all(|(pair, ours)| is_same(&value(pair), ours));
            ours.len() == spark.len() && (by_name || (tag == "s" && in_order()))
        }
        _ => false,
    }
}

fn close(one: f64, other: f64) -> bool {
    one == other || (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

/// In any order, as no query has one.
fn are_same(spark: &[Vec<Value>], mut ours: Vec<Vec<Value>>) -> bool {
    let same = |spark: &[Value], ours: &[Value]| {
        spark.len() == ours.len() && spark.iter().zip(ours).all(|(a, b)| is_same(a, b))
    };
    spark.len() == ours.len()
        && spark.iter().all(|row| match ours.iter().position(|other| same(row, other)) {
            Some(at) => {
                ours.remove(at);
                true
            }
            None => false,
        })
}

#[tokio::test]
async fn examples_have_the_rows_of_spark() {
    let state = session_state(session_config(SessionConfig::new(), 1, 8192), Default::default());
    let (mut same, mut refused, mut other) = (0, 0, Vec::new());
    for line in EXAMPLES.lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let sql = example["q"].as_str().unwrap();
        let spark: Vec<Vec<Value>> = serde_json::from_value(example["rows"].clone()).unwrap();
        let context = SessionContext::new_with_state(state.clone());
        match rows(&context, sql).await {
            Ok(ours) if are_same(&spark, ours.clone()) => same += 1,
            Ok(_) if OTHER.iter().any(|(part, _)| sql.contains(part)) => {}
            Ok(ours) => other.push(format!("{sql}\n  Spark {spark:?}\n  here  {ours:?}")),
            Err(_) => refused += 1,
        }
    }
    assert!(other.is_empty(), "{same} same, {refused} refused, {} other:\n{}", other.len(), other.join("\n"));
    assert!(same > 700, "{same} same, {refused} refused");
}
