//! What DataFusion and Arrow say, in the words of SQL and of manifests.

mod spelling;

use pulse_core::diagnostic::closest;

/// Where an error passed through; what it says comes behind.
const STATIONS: [&str; 11] = [
    "Schema error: ",
    "Error during planning: ",
    "This feature is not implemented: ",
    "Arrow error: ",
    "Cast error: ",
    "Parser error: ",
    "Compute error: ",
    "Execution error: ",
    "Internal error: ",
    "Invalid argument error: ",
    "SQL error: ",
];

/// The message for a person who wrote SQL. What is not known here keeps its words, with types as manifests have them.
pub fn plain(message: &str) -> String {
    let text = without_stations(message);
    let line = text.lines().next().unwrap_or_default();
    let known = [columns, functions, types, values, shapes].into_iter().find_map(|explain| explain(text));
    known.unwrap_or_else(|| {
        let line = line.split(" No function matches the given name").next().unwrap_or(line);
        lower_first(&literals(&in_types(line)))
    })
}

fn without_stations(message: &str) -> &str {
    let mut text = message.trim();
    while let Some(rest) = STATIONS.iter().find_map(|station| text.strip_prefix(station)) {
        text = rest.trim_start();
    }
    text
}

/// Columns and tables that are not there, or there twice.
fn columns(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix("No field named ") {
        let line = rest.lines().next()?;
        let name = line.split(". ").next()?.trim_end_matches('.');
        let meant = between(rest, "Did you mean '", "'").map(|meant| format!(": did you mean `{meant}`?"));
        let valid = between(rest, "Valid fields are ", ".\n")
            .or_else(|| rest.split_once("Valid fields are ").map(|(_, names)| names));
        let valid = valid.map(|names| format!("; there are {}", names.trim_end_matches('.')));
        return Some(format!("there is no column `{}`{}", unquoted(name), meant.or(valid).unwrap_or_default()));
    }
    if let Some(name) = between(text, "table 'datafusion.", "' not found") {
        return Some(format!("there is no table `{name}`"));
    }
    if let Some(name) = text.strip_prefix("Ambiguous reference to unqualified field ") {
        let name = unquoted(name);
        return Some(format!("several tables have a column `{name}`: write which one, such as `t.{name}`"));
    }
    if let Some(name) = text.strip_prefix("Schema contains duplicate qualified field name ") {
        let table = name.rsplit_once('.').map_or(name, |(table, _)| table);
        return Some(format!(
            "`{table}` is read twice under one name: give each a name of its own, such as `{table} as a`"
        ));
    }
    if let Some(name) = text.strip_prefix("Schema contains duplicate unqualified field name ") {
        return Some(format!("two columns are called `{}`: give one of them another name with `as`", unquoted(name)));
    }
    if text.starts_with("Projections require unique expression names") {
        let first = between(text, "the expression \"", "\" at position")?;
        let name = first.rsplit_once(" AS ").map_or(first, |(_, name)| name);
        return Some(format!("two columns are called `{}`: give one of them another name with `as`", literals(name)));
    }
    None
}

/// Functions that are not there, or do not take what they get.
fn functions(text: &str) -> Option<String> {
    if let Some(name) = between(text, "Invalid function '", "'") {
        // DataFusion names the nearest function, however far it is.
        let meant = between(text, "Did you mean '", "'").and_then(|meant| closest(name, [meant]));
        let help = match (spelling::of(name), meant) {
            (Some(spelling), _) => format!(": write {spelling}"),
            (None, Some(meant)) => format!(": did you mean `{meant}`?"),
            (None, None) => String::new(),
        };
        return Some(format!("there is no function `{name}`{help}"));
    }
    if let Some(name) = text.strip_prefix("Dot access not supported for non-string expr: ") {
        let name = between(name, "value: \"", "\"").unwrap_or("name");
        return Some(format!(
            "`.{name}` stands behind a value and not behind a table: write `['{name}']` for the field of a struct"
        ));
    }
    if text.starts_with("Unsupported ast node in sqltorel: RLike") {
        return Some("`rlike` between two texts is not read: write `rlike(text, pattern)`".to_owned());
    }
    if let Some(name) = between(text, "Function '", "' failed to match any signature") {
        let takes = match between(text, "(DataType: ", ")") {
            Some(data_type) => format!("`{name}` does not take {}: cast it", in_types(data_type)),
            None => return arguments(text, name),
        };
        return Some(takes);
    }
    if let Some(name) = between(text, "Function '", "' user-defined coercion failed with: ") {
        let why = text.split_once("failed with: ").map(|(_, why)| without_stations(why))?;
        let why = why.split(" No function matches").next().unwrap_or(why).trim_end_matches('.');
        return Some(format!("`{name}`: {}", in_types(why)));
    }
    if let Some(name) = between(text, "Failed to coerce arguments to satisfy a call to '", "' function") {
        let given = between(text, "coercion from ", " to the signature").unwrap_or("this");
        return Some(format!("`{name}` does not take {}: cast it", in_types(given)));
    }
    if let Some(name) = between(text, "[return_type] ", " not supported for ") {
        let data_type = text.split_once("not supported for ").map(|(_, rest)| rest)?;
        return Some(format!("`{}` does not take {}", name.to_lowercase(), in_types(data_type)));
    }
    let name = between(text, "Function '", "' expects ")?;
    arguments(text, name)
}

fn arguments(text: &str, name: &str) -> Option<String> {
    let wanted = between(text, "expects ", " arguments but received ")?;
    let given = text.split_once(" arguments but received ")?.1;
    let given: String = given.chars().take_while(char::is_ascii_digit).collect();
    let ending = if wanted == "1" { "" } else { "s" };
    Some(format!("`{name}` takes {wanted} argument{ending}, and has {given} here"))
}

/// Operators between values whose types do not go together.
fn types(text: &str) -> Option<String> {
    if let Some(expression) = between(text, "Cannot coerce arithmetic expression ", " to valid types") {
        let (left, operator, right) = operands(expression)?;
        return Some(format!("`{operator}` does not take {left} and {right}: cast one of them"));
    }
    if let Some(expression) = text.strip_prefix("Cannot infer common argument type for comparison operation ") {
        let (left, operator, right) = operands(expression)?;
        return Some(format!("`{operator}` does not compare {left} with {right}: cast one of them"));
    }
    if let Some(expression) = between(text, "There isn't a common type to coerce ", " in ") {
        let operator = between(text, " in ", " expression")?.to_lowercase();
        return Some(format!("`{operator}` does not take {}: cast one of them", in_types(expression)));
    }
    if let Some(expression) = between(text, "Cannot create filter with non-boolean predicate '", "' returning ") {
        let data_type = in_types(text.rsplit_once("' returning ")?.1);
        return Some(format!("`{}` is {data_type} and no condition: compare it with something", literals(expression)));
    }
    if let Some(data_type) = text.strip_prefix("Unary operator 'NOT' requires a boolean expression, got ") {
        return Some(format!("`not` takes a condition, and this is {}", in_types(data_type)));
    }
    None
}

/// Values that a type does not hold.
fn values(text: &str) -> Option<String> {
    if let Some(value) = between(text, "Cannot cast string '", "' to value of ") {
        let data_type = in_types(between(text, "' to value of ", " type")?);
        return Some(format!("'{value}' is no {data_type}; `try_cast` gives null for such a value"));
    }
    if let Some(value) = between(text, "Can't cast value ", " to type ") {
        let data_type = in_types(text.rsplit_once(" to type ")?.1);
        return Some(format!("{value} does not fit into {data_type}; `try_cast` gives null for such a value"));
    }
    if let Some(value) = between(text, "Error parsing timestamp from '", "'") {
        return Some(format!("'{value}' is no timestamp: write 2026-01-31T14:30:00Z"));
    }
    if let Some(value) = between(text, "Invalid input syntax for type interval: \"", "\"") {
        return Some(format!("'{value}' is no interval: write such as `interval '3 days'`"));
    }
    if let Some(part) = between(text, "Date part '", "' not supported") {
        return Some(format!("`{part}` is no part of a date: take year, month, week, day, hour, minute or second"));
    }
    if let Some(name) = between(text, "Placeholder '", "' was not provided a value") {
        return Some(format!("`{name}` has no value"));
    }
    let is_division = text.starts_with("Divide by zero");
    is_division.then(|| "a division by zero: `x / nullif(y, 0)` gives null instead".to_owned())
}

/// Queries whose clauses do not go together.
fn shapes(text: &str) -> Option<String> {
    if text.starts_with("Column in SELECT must be in GROUP BY")
        || text.starts_with("Projection references non-aggregate")
    {
        let name = between(text, "column \"", "\"")?;
        return Some(format!("`{}` stands beside an aggregate: add it to `group by`, or aggregate it", literals(name)));
    }
    if let Some(rest) = text.strip_prefix("HAVING clause references: ") {
        let condition = rest.split(" must appear").next()?;
        let condition = literals(condition);
        return Some(format!("`having {condition}` needs a `group by`: conditions on rows stand in `where`"));
    }
    if text.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        return Some("`where` takes no aggregate: conditions on groups stand in `having`".to_owned());
    }
    if text.starts_with("Aggregate function calls cannot be nested") {
        return Some("an aggregate stands within another one: compute the inner one in a `with` step".to_owned());
    }
    if text.starts_with("UNION queries have different number of columns") {
        return Some("the queries of a `union` have different numbers of columns".to_owned());
    }
    if let Some(names) = text.strip_prefix("Too many columns! The subquery should only return one column: ") {
        return Some(format!("a subquery here yields one column, and this one yields {names}"));
    }
    if text.starts_with("Scalar subquery returned more than one row") {
        return Some(
            "a subquery in place of a value yields several rows: aggregate them, such as with `max`".to_owned(),
        );
    }
    if text.starts_with("Expected LIMIT to be an integer") {
        return Some("`limit` takes a whole number".to_owned());
    }
    if text.starts_with("Substring without for/from") {
        return Some("`substr` needs the place where it begins, such as `substr(name, 1)`".to_owned());
    }
    let is_distinct = text.starts_with("COUNT DISTINCT with multiple arguments");
    is_distinct.then(|| "`count(distinct ..)` takes one column: count the rows of a `select distinct`".to_owned())
}

/// Types on both sides of an operator that stands between spaces.
fn operands(expression: &str) -> Option<(String, &str, String)> {
    let words: Vec<&str> = expression.split(' ').collect();
    let is_operator = |word: &&&str| !word.chars().any(|c| c.is_alphanumeric() || matches!(c, '(' | ')' | '"' | ','));
    let operator = words.iter().find(is_operator)?;
    let (left, right) = expression.split_once(&format!(" {operator} "))?;
    Some((in_types(left), operator, in_types(right)))
}

/// Names of types as manifests have them.
fn in_types(text: &str) -> String {
    const STAMPS: [(&str, &str); 5] = [
        ("Timestamp(µs, \"UTC\")", "timestamp"),
        ("Timestamp(µs, \"+00:00\")", "timestamp"),
        ("Timestamp(µs)", "timestamp_ntz"),
        ("Timestamp(ns)", "timestamp_ntz"),
        ("Timestamp(ns, \"UTC\")", "timestamp"),
    ];
    const WORDS: [(&str, &str); 14] = [
        ("Utf8", "string"),
        ("Utf8View", "string"),
        ("LargeUtf8", "string"),
        ("Boolean", "boolean"),
        ("Int8", "tinyint"),
        ("Int16", "smallint"),
        ("Int32", "int"),
        ("Int64", "bigint"),
        ("Float32", "float"),
        ("Float64", "double"),
        ("Date32", "date"),
        ("Null", "null"),
        ("Binary", "binary"),
        ("Interval(MonthDayNano)", "interval"),
    ];
    let text = STAMPS.iter().fold(text.to_owned(), |text, (arrow, ours)| text.replace(arrow, ours));
    let text = text.replace("Decimal128(", "decimal(").replace("Interval(MonthDayNano)", "interval");
    // A type before a parenthesis is that of a literal.
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric()) {
        let end = rest[start..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(rest.len(), |end| start + end);
        let word = &rest[start..end];
        let ours = WORDS.iter().find(|(arrow, _)| *arrow == word && !rest[end..].starts_with('('));
        plain.push_str(&rest[..start]);
        plain.push_str(ours.map_or(word, |(_, ours)| ours));
        rest = &rest[end..];
    }
    plain + rest
}

/// Literals as SQL has them: `7` in place of `Int64(7)`, `'a'` in place of `Utf8("a")`.
pub fn literals(text: &str) -> String {
    const NUMBERS: [&str; 8] = ["Int64(", "Int32(", "Int16(", "Int8(", "UInt64(", "Float64(", "Float32(", "Boolean("];
    const TEXTS: [&str; 3] = ["Utf8(\"", "Utf8View(\"", "LargeUtf8(\""];
    let text = text.replace("count(Int64(1))", "count(*)");
    let mut plain = String::new();
    let mut rest = text.as_str();
    'text: while !rest.is_empty() {
        let begins_word = !plain.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        for (opening, closing, quote) in
            NUMBERS.iter().map(|opening| (*opening, ")", "")).chain(TEXTS.iter().map(|opening| (*opening, "\")", "'")))
        {
            let value = rest.strip_prefix(opening).filter(|_| begins_word).and_then(|value| value.split_once(closing));
            if let Some((value, behind)) = value {
                plain.push_str(&format!("{quote}{}{quote}", value.replace("NULL", "null")));
                rest = behind;
                continue 'text;
            }
        }
        let mut letters = rest.chars();
        plain.extend(letters.next());
        rest = letters.as_str();
    }
    plain
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

fn unquoted(name: &str) -> String {
    name.replace(['"', '\''], "")
}

/// Words of a sentence; a name in capitals stays one.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// What DataFusion says of a query over `t`, by planning and computing it.
    async fn said(sql: &str) -> String {
        let fields = [
            ("n", DataType::Int64),
            ("name", DataType::Utf8),
            ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ];
        let schema = Schema::new(fields.into_iter().map(|(name, of)| Field::new(name, of, true)).collect::<Vec<_>>());
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(arrow::array::Int64Array::from(vec![1, 2])),
            Arc::new(arrow::array::StringArray::from(vec!["tea", "x"])),
            Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")),
        ];
        let schema = Arc::new(schema);
        let batch = arrow::array::RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let context = SessionContext::new();
        context.register_table("t", Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())).unwrap();
        let error = match context.sql(sql).await {
            Ok(rows) => rows.collect().await.unwrap_err(),
            Err(error) => error,
        };
        plain(&error.find_root().strip_backtrace())
    }

    #[tokio::test]
    async fn typical_mistakes_have_plain_words() {
        for (sql, words) in [
            ("select sum(name) from t", "`sum` does not take string"),
            ("select avg(name) from t", "`avg` does not take string"),
            ("select sqrt(name) from t", "`sqrt` does not take string"),
            ("select round('a') from t", "`round` does not take string"),
            ("select upper(n, 1) from t", "`upper` takes 1 argument, and has 2 here"),
            ("select n + name from t", "`+` does not take bigint and string"),
            ("select name from t where n", "`t.n` is bigint and no condition"),
            ("select cast(name as int) from t", "'tea' is no int"),
            ("select date '2024-13-01'", "'2024-13-01' is no date"),
            ("select cast(99999999999 as int)", "99999999999 does not fit into int"),
            ("select n / 0 from t", "a division by zero"),
            ("select n from t where at > 'tomorrow'", "'tomorrow' is no timestamp"),
            ("select interval '1 lightyear'", "'1 lightyear' is no interval"),
            ("select n from t where at = 5", "`=` does not compare timestamp with bigint"),
            ("select n from t where name like 5", "`like` does not take string and bigint"),
            ("select not n from t", "`not` takes a condition, and this is bigint"),
            ("select nn from t", "there is no column `nn`"),
            ("select names from t", "there is no column `names`: did you mean `t.name`?"),
            ("select numberr(1)", "there is no function `numberr`"),
            ("select uper(name) from t", "there is no function `uper`: did you mean `upper`?"),
            ("select explode([1])", "there is no function `explode`: write `unnest(list)`"),
            ("select name rlike 'a' from t", "write `rlike(text, pattern)`"),
            ("select count_if(n > 1) from t", "write `count(*) filter (where ..)`"),
            ("select n from t a join t b on a.n = b.n", "several tables have a column `n`"),
            ("select 1 from t, t", "`t` is read twice under one name"),
            ("select n as a, name as a from t", "two columns are called `a`"),
            ("select n, count(*) from t", "`t.n` stands beside an aggregate"),
            ("select n from t having n > 1", "`having t.n > 1` needs a `group by`"),
            ("select n from t where count(*) > 1", "`where` takes no aggregate"),
            ("select sum(sum(n)) from t", "an aggregate stands within another one"),
            ("select n from t union select name, n from t", "different numbers of columns"),
            ("select n from t where n in (select n, name from t)", "this one yields t.n, t.name"),
            ("select (select n from t)", "yields several rows"),
            ("select n from t limit 'a'", "`limit` takes a whole number"),
            ("select substr(name) from t", "`substr` needs the place"),
            ("select count(distinct n, name) from t", "`count(distinct ..)` takes one column"),
            ("select extract(yeer from at) from t", "`yeer` is no part of a date"),
            ("select $zne", "`$zne` has no value"),
            ("select n from nothing", "nothing"),
        ] {
            let text = said(sql).await;
            assert!(text.contains(words), "{sql}: {text}");
            for raw in ["Utf8", "Int64", "Arrow", "Schema error", "Execution error", "Internal error", "planning"] {
                assert!(!text.contains(raw), "{sql}: {text}");
            }
        }
    }

    #[test]
    fn literals_are_those_of_sql() {
        assert_eq!(literals("Int64(7) / Int64(2)"), "7 / 2");
        assert_eq!(literals("t.name = Utf8(\"a\")"), "t.name = 'a'");
        assert_eq!(literals("count(Int64(1))"), "count(*)");
        assert_eq!(literals("my_Int64(7)"), "my_Int64(7)");
        assert_eq!(literals("Int64(NULL)"), "null");
        assert_eq!(in_types("Timestamp(µs, \"UTC\") and Decimal128(10, 2)"), "timestamp and decimal(10, 2)");
    }
}
