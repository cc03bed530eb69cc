//! Converts a value of the database to an item of a JSON array that the file reader parses back to exactly this value.

use pulse_core::sources::ColumnType;
use tokio_postgres::types::{Kind, Type};

/// PostgreSQL's limit of function arguments, with some margin.
const MOST_ARGUMENTS: usize = 90;

/// The text of a JSON array of all items.
pub(crate) fn row(items: &[String]) -> String {
    let chunks: Vec<String> =
        items.chunks(MOST_ARGUMENTS).map(|chunk| format!("json_build_array({})::text", chunk.join(", "))).collect();
    let last = chunks.len().saturating_sub(1);
    let inner = |(at, chunk): (usize, &String)| {
        let open = if at == 0 { chunk.clone() } else { format!("substr({chunk}, 2)") };
        if at == last { open } else { format!("left({open}, -1)") }
    };
    chunks.iter().enumerate().map(inner).collect::<Vec<_>>().join(" || ',' || ")
}

/// The item of a column. `field` is the column in SQL.
///
/// # Errors
/// Why the column cannot be read as declared, and the remedy.
pub(crate) fn item(field: &str, found: &Type, declared: &ColumnType) -> Result<String, String> {
    match (found.kind(), declared) {
        (Kind::Array(found), ColumnType::Array(declared)) => array(field, found, declared),
        (Kind::Array(_), _) => Err(refused(found, "declare `array<..>`, or cast it to `text` in `query`")),
        (Kind::Domain(base), _) => item(field, base, declared),
        (Kind::Enum(_), ColumnType::String) => Ok(format!("{field}::text")),
        (Kind::Enum(_), _) => Err(refused(found, "declare `string`")),
        _ => scalar(field, found, declared),
    }
}

fn scalar(field: &str, found: &Type, declared: &ColumnType) -> Result<String, String> {
    use ColumnType as To;
    let is_whole = matches!(declared, To::Tinyint | To::Smallint | To::Int | To::Bigint);
    let is_decimal = matches!(declared, To::Decimal { .. });
    let text = Ok(format!("{field}::text"));
    let as_it_is = Ok(field.to_owned());
    match *found {
        Type::BOOL => match declared {
            To::Boolean => as_it_is,
            To::String => text,
            _ => Err(refused(found, "declare `boolean`")),
        },
        Type::INT2 | Type::INT4 | Type::INT8 => match declared {
            To::Double | To::Float => as_it_is,
            To::String => text,
            _ if is_whole || is_decimal => as_it_is,
            _ => Err(refused(found, "declare a whole number such as `bigint`")),
        },
        Type::NUMERIC => match declared {
            To::String => text,
            _ if is_whole || is_decimal => as_it_is,
            _ => {
                Err(refused(found, "declare `decimal(p,s)`, or `string` for all of its digits, or cast it in `query`"))
            }
        },
        Type::FLOAT4 => match declared {
            To::Float => as_it_is,
            To::Double => Ok(format!("{field}::float8")),
            To::String => text,
            _ => Err(refused(found, "declare `float` or `double`")),
        },
        Type::FLOAT8 => match declared {
            To::Double => as_it_is,
            To::String => text,
            _ => Err(refused(found, "declare `double`")),
        },
        // Casting `char(n)` to text would drop its trailing spaces.
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => match declared {
            To::String => as_it_is,
            _ => Err(refused(found, "declare `string`, or cast it in `query`")),
        },
        Type::UUID => match declared {
            To::String => text,
            _ => Err(refused(found, "declare `string`")),
        },
        Type::JSON | Type::JSONB => match declared {
            To::String | To::Json => text,
            _ => Err(refused(found, "declare `json`")),
        },
        Type::BYTEA => match declared {
            To::Binary => Ok(format!("translate(encode({field}, 'base64'), E'\\n', '')")),
            _ => Err(refused(found, "declare `binary`")),
        },
        Type::DATE => match declared {
            To::Date | To::String => text,
            _ => Err(refused(found, "declare `date`")),
        },
        Type::TIMESTAMPTZ => match declared {
            To::Timestamp | To::String => text,
            _ => Err(refused(found, "declare `timestamp`")),
        },
        Type::TIMESTAMP => match declared {
            To::TimestampNtz | To::String => text,
            _ => Err(refused(
                found,
                "declare `timestamp_ntz`, or say its zone in `query`: `at time zone 'UTC'` makes it a `timestamp`",
            )),
        },
        _ => Err(refused(found, "cast it in `query`, such as `column::text`")),
    }
}

/// Array items in JSON: numbers as numbers, everything else as text.
fn array(field: &str, found: &Type, declared: &ColumnType) -> Result<String, String> {
    let of_text = format!("{field}::text[]");
    let array = match (found, declared) {
        (_, ColumnType::Array(_)) => {
            return Err(refused(
                found,
                "declare `array<type>`, or cast it to `text` in `query`; arrays of arrays are not read",
            ));
        }
        (&Type::BYTEA, _) => return Err(refused(found, "an array of it is not read: cast it in `query`")),
        (_, ColumnType::Json) if matches!(*found, Type::JSON | Type::JSONB) => {
            return Err(refused(found, "in an array, declare `array<string>`"));
        }
        // As text, a multi-line item stays on one line of the file.
        (&Type::JSON | &Type::JSONB, ColumnType::String) => of_text,
        (&Type::FLOAT4, ColumnType::Double) => format!("{field}::float8[]"),
        (_, ColumnType::String) if !matches!(*found, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME) => {
            scalar(field, found, declared)?;
            of_text
        }
        _ => {
            scalar(field, found, declared)?;
            field.to_owned()
        }
    };
    // The declared type cannot hold several dimensions: as text, the row is rejected and shows them.
    Ok(format!("case when array_ndims({field}) > 1 then to_json({field}::text) else to_json({array}) end"))
}

fn refused(found: &Type, remedy: &str) -> String {
    format!("it is a `{}` of the database; {remedy}", found.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_many_columns_is_one_array() {
        assert_eq!(row(&["a".into(), "b".into()]), "json_build_array(a, b)::text");
        let many: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
        let text = row(&many);
        assert_eq!(text.matches("json_build_array").count(), 3);
        assert!(text.starts_with("left(json_build_array(c0, ") && text.ends_with("c199)::text, 2)"), "{text}");
        assert!(text.contains(" || ',' || left(substr(json_build_array(c90, "), "{text}");
    }

    #[test]
    fn what_a_type_would_alter_is_refused_with_a_remedy() {
        use ColumnType as To;
        let decimal = To::Decimal { precision: 10, scale: 2 };
        for (found, declared, remedy) in [
            (Type::NUMERIC, To::Double, "decimal(p,s)"),
            (Type::FLOAT8, To::Float, "`double`"),
            (Type::FLOAT8, decimal.clone(), "`double`"),
            (Type::TIMESTAMP, To::Timestamp, "timestamp_ntz"),
            (Type::TIMESTAMPTZ, To::TimestampNtz, "`timestamp`"),
            (Type::DATE, To::Timestamp, "`date`"),
            (Type::TEXT, To::Bigint, "`string`"),
            (Type::BYTEA, To::String, "`binary`"),
            (Type::INET, To::String, "column::text"),
            (Type::MONEY, decimal, "column::text"),
            (Type::INTERVAL, To::String, "column::text"),
            (Type::INT4_ARRAY, To::String, "array<..>"),
            (Type::BYTEA_ARRAY, To::Array(Box::new(To::Binary)), "cast it"),
            (Type::INT4_ARRAY, To::Array(Box::new(To::Array(Box::new(To::Int)))), "arrays of arrays"),
            (Type::NUMERIC_ARRAY, To::Array(Box::new(To::Double)), "decimal(p,s)"),
        ] {
            let message = item("x", &found, &declared).unwrap_err();
            assert!(message.contains(remedy) && message.contains("of the database"), "{message}");
        }
    }
}
