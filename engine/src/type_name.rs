//! Names of Arrow types as in manifests.

use arrow::datatypes::{DataType, Field, TimeUnit};

/// For example `decimal(10,2)` or `array<struct<a:bigint>>`; Arrow's own name for a type that manifests lack.
pub fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "binary",
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp_ntz",
        DataType::Null => "null",
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            return format!("decimal({precision},{scale})");
        }
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::RunEndEncoded(_, values) => return type_name(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => {
            return format!("array<{}>", type_name(item.data_type()));
        }
        DataType::Map(entries, _) => return map_name(entries),
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{}:{}", field.name(), type_name(field.data_type()))).collect();
            return format!("struct<{}>", fields.join(","));
        }
        other => return other.to_string(),
    };
    name.to_owned()
}

fn map_name(entries: &Field) -> String {
    match entries.data_type() {
        DataType::Struct(fields) => match &fields[..] {
            [key, value] => format!("map<{},{}>", type_name(key.data_type()), type_name(value.data_type())),
            _ => "map".to_owned(),
        },
        _ => "map".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;
    use std::sync::Arc;

    use arrow::datatypes::Fields;
    use pulse_core::sources::ColumnType;

    use super::*;

    #[test]
    fn names_are_those_of_manifests() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let fields =
            Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8View, true)]);
        let pair =
            Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Float64, true)]);
        for (data_type, name) in [
            (DataType::Utf8View, "string"),
            (DataType::Decimal128(10, 2), "decimal(10,2)"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "timestamp"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp_ntz"),
            (DataType::List(item(DataType::Struct(fields))), "array<struct<a:bigint,b:string>>"),
            (DataType::Map(item(DataType::Struct(pair)), false), "map<string,double>"),
            (DataType::Date32, "date"),
            (DataType::BinaryView, "binary"),
            (DataType::Float32, "float"),
        ] {
            assert_eq!(type_name(&data_type), name);
            assert!(ColumnType::from_str(name).is_ok(), "{name}");
        }
    }
}
