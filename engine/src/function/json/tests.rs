//! Expected values are those that Spark's and Hive's documentation and tests state.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use serde_json::Value;

use super::path::Path;
use super::{elements, keys, length};
use crate::function::register_all;

/// The document of Spark's JsonExpressionsSuite, which is Hive's.
const STORE: &str = r#"
{"store":{"fruit":[{"weight":8,"type":"apple"},{"weight":9,"type":"pear"}],
"basket":[[1,2,{"b":"y","a":"x"}],[3,4],[5,6]],"book":[{"author":"Nigel Rees",
"title":"Sayings of the Century","category":"reference","price":8.95},
{"author":"Herman Melville","title":"Moby Dick","category":"fiction","price":8.99,
"isbn":"0-553-21311-3"},{"author":"J. R. R. Tolkien","title":"The Lord of the Rings",
"category":"fiction","reader":[{"age":25,"name":"bob"},{"age":26,"name":"jack"}],
"price":22.99,"isbn":"0-395-19395-8"}],"bicycle":{"price":19.95,"color":"red"}},
"email":"amy@only_for_json_udf_test.net","owner":"amy","zip code":"94025",
"fb:testid":"1234"}
"#;

fn get(text: &str, path: &str) -> Option<String> {
    Path::parse(path)?.get(text)
}

#[test]
fn paths_of_sparks_own_tests() {
    let books = r#"[{"author":"Nigel Rees","title":"Sayings of the Century","category":"reference","price":8.95},{"author":"Herman Melville","title":"Moby Dick","category":"fiction","price":8.99,"isbn":"0-553-21311-3"},{"author":"J. R. R. Tolkien","title":"The Lord of the Rings","category":"fiction","reader":[{"age":25,"name":"bob"},{"age":26,"name":"jack"}],"price":22.99,"isbn":"0-395-19395-8"}]"#;
    for (path, expected) in [
        ("$.store.bicycle", Some(r#"{"price":19.95,"color":"red"}"#)),
        ("$.store['bicycle']", Some(r#"{"price":19.95,"color":"red"}"#)),
        ("$.store.book", Some(books)),
        (
            "$.store.book[0]",
            Some(r#"{"author":"Nigel Rees","title":"Sayings of the Century","category":"reference","price":8.95}"#),
        ),
        ("$.store.book[*]", Some(books)),
        ("$.store.book[0].category", Some("reference")),
        ("$.store.book[*].category", Some(r#"["reference","fiction","fiction"]"#)),
        ("$.store.book[*].isbn", Some(r#"["0-553-21311-3","0-395-19395-8"]"#)),
        ("$.store.book[*].reader", Some(r#"[{"age":25,"name":"bob"},{"age":26,"name":"jack"}]"#)),
        ("$.store.basket[0][1]", Some("2")),
        ("$.store.basket[*]", Some(r#"[[1,2,{"b":"y","a":"x"}],[3,4],[5,6]]"#)),
        ("$.store.basket[*][0]", Some("[1,3,5]")),
        ("$.store.basket[0][*]", Some(r#"[1,2,{"b":"y","a":"x"}]"#)),
        ("$.store.basket[*][*]", Some(r#"[1,2,{"b":"y","a":"x"},3,4,5,6]"#)),
        ("$.store.basket[0][2].b", Some("y")),
        ("$.store.basket[0][*].b", Some(r#"["y"]"#)),
        ("$['fb:testid']", Some("1234")),
        ("$.zip code", Some("94025")),
        ("$['zip code']", Some("94025")),
        ("$.non_exist_key", None),
        ("$..no_recursive", None),
        ("$.store.book[10]", None),
        ("$.store.book[0].non_exist_key", None),
        ("$.store.basket[*].non_exist_key", None),
        ("$.store.basket[0][*].non_exist_key", None),
        ("$.store.basket[*][*].non_exist_key", None),
        ("$.fb:testid", Some("1234")),
    ] {
        assert_eq!(get(STORE, path).as_deref(), expected, "{path}");
    }
}

#[test]
fn edges_of_spark() {
    for (text, path, expected) in [
        (r#"{"a":"b"}"#, "$.a", Some("b")),
        (r#"{"a":null}"#, "$.a", None),
        (r#"{"a":{"b":null}}"#, "$.a", Some(r#"{"b":null}"#)),
        ("[null]", "$[0]", Some("null")),
        (r#"{"a" : [ 1 , 2 ] }"#, "$", Some(r#"{"a":[1,2]}"#)),
        (r#"{"key with spaces":"x"}"#, "$.key with spaces", Some("x")),
        (r#"{"a":"\u4e16 \" \\ \n"}"#, "$.a", Some("世 \" \\ \n")),
        (r#"{"a":["\u4e16 \" \\ \n"]}"#, "$.a", Some(r#"["世 \" \\ \n"]"#)),
        (r#"{"a":true,"b":false}"#, "$.b", Some("false")),
        (r#"{"a":1,"b":2}"#, "$.*", Some("1")),
        (r#"{"a":{"x":1},"b":{"y":2}}"#, "$.*.y", Some("2")),
        (r#"[{"a":"one"},{"a":"two"}]"#, "$[*].a", Some(r#"["one","two"]"#)),
        (r#"[{"a":"one"}]"#, "$[*].a", Some(r#""one""#)),
        (r#"{"a":1}"#, "a", None),
        (r#"{"a":1}"#, "", None),
        (r#"{"a":1}"#, "$.", None),
        (r#"{"a":1}"#, "$a", None),
        (r#"{"a":[1]}"#, "$.a[-1]", None),
        (r#"{"a":[1]}"#, "$.a[x]", None),
        (r#"{"a":1"#, "$.a", None),
        ("", "$", None),
        ("x", "$", None),
        // The digits stay, where Spark would write 1.2345678901234567E19.
        (r#"{"a":12345678901234567890.10}"#, "$.a", Some("12345678901234567890.10")),
    ] {
        assert_eq!(get(text, path).as_deref(), expected, "{text} {path}");
    }
}

#[test]
fn arrays_and_objects() {
    assert_eq!([length("[1,2,3,4]"), length("[]"), length("[[1,2],{\"a\":[3]}]")], [Some(4), Some(0), Some(2)]);
    assert_eq!([length("[1,2"), length("{\"a\":1}"), length("1"), length(""), length("[1] x")], [None; 5]);
    let found = elements(" [ 1 , \"a,b\" ,{\"a\" : [3]},null ] ");
    assert_eq!(found, Some(vec!["1", "\"a,b\"", "{\"a\" : [3]}", "null"]));
    assert_eq!(keys(r#"{"f1":"abc","f2":{"f3":"a", "f4":"b"}}"#).unwrap(), ["f1", "f2"]);
    assert_eq!(keys("{}"), Some(vec![]));
    assert_eq!([keys("[1]"), keys("{\"a\"}"), keys("{\"\\ud800\":1}")], [None, None, None]);
}

async fn query(sql: &str) -> Result<Vec<String>, String> {
    let context = SessionContext::new_with_state(register_all(SessionStateBuilder::new()).build());
    let frame = context.sql(sql).await.map_err(|error| error.strip_backtrace())?;
    let batches = frame.collect().await.map_err(|error| error.strip_backtrace())?;
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| {
            let text = |column: &ArrayRef| array_value_to_string(column, row).unwrap();
            batch.columns().iter().map(text).collect::<Vec<_>>().join("|")
        })
    });
    Ok(rows.collect())
}

#[tokio::test]
async fn in_sql() {
    let table = "(values (1, '{\"a\":[{\"b\":1},{\"b\":\"x\"}]}', '$.a[0].b'), (2, 'no', '$.a'), (3, null, null)) t(id, doc, path)";
    for (sql, expected) in [
        (format!("select id, get_json_object(doc, '$.a[1].b') from {table} order by id"), vec!["1|x", "2|", "3|"]),
        (format!("select id, get_json_object(doc, path) from {table} order by id"), vec!["1|1", "2|", "3|"]),
        (format!("select json_array_length(get_json_object(doc, '$.a')) from {table} order by id"), vec!["2", "", ""]),
        (
            format!(
                "select id, get_json_object(item, '$.b') from (select id, unnest(json_array_elements(get_json_object(doc, '$.a'))) as item \
                 from {table}) order by id, item"
            ),
            vec!["1|x", "1|1"],
        ),
        (format!("select unnest(json_object_keys(doc)) from {table}"), vec!["a"]),
        ("select get_json_object('{\"a\":1}', '$.a'), json_array_length('[1]')".to_owned(), vec!["1|1"]),
        ("select get_json_object(arrow_cast('{\"a\":1}', 'Utf8View'), '$.a')".to_owned(), vec!["1"]),
    ] {
        assert_eq!(query(&sql).await.unwrap(), expected, "{sql}");
    }
    for (sql, expected) in [
        ("select get_json_object('{}')", "get_json_object: write get_json_object(text, path), found 1 arguments"),
        ("select json_array_length(5)", "json_array_length: arguments must be texts, found Int64"),
    ] {
        let error = query(sql).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c\\\\\"\u{e9}\n ,:{}\\[\\]]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What a step of a name or place finds, by the parser of serde_json.
fn step<'v>(value: &'v Value, step: &prop::sample::Index) -> Option<(String, &'v Value)> {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let (name, value) = members.iter().nth(step.index(members.len()))?;
            Some((format!("['{name}']"), value))
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step.index(items.len());
            Some((format!("[{at}]"), items.get(at)?))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_path_to_a_value_finds_it(value in json_value(), steps in prop::collection::vec(any::<prop::sample::Index>(), 0..5), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let (mut path, mut at, mut by_name) = ("$".to_owned(), &value, false);
        for place in &steps {
            let Some((written, below)) = step(at, place) else { break };
            path.push_str(&written);
            by_name = at.is_object();
            at = below;
        }
        let expected = match at {
            Value::Null if by_name => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        prop_assert_eq!(get(&text, &path), expected, "{} {}", text, path);
        if let Value::Array(items) = at {
            let array = at.to_string();
            let found: Vec<Value> = elements(&array).unwrap().into_iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            prop_assert_eq!(&found, items);
        }
    }

    #[test]
    fn any_text_and_path_are_answered(text in "[\\[\\]{}\",:a1 \\\\.$'*]{0,30}", path in "[$.\\[\\]'*a1 ]{0,12}") {
        get(&text, &path);
        prop_assert_eq!(length(&text).is_some(), serde_json::from_str::<Vec<Value>>(&text).is_ok());
    }
}
