//! Hive's type names, which Glue, Athena and Redshift use.

use delta_kernel::schema::{DataType, PrimitiveType};

/// Such as `struct<a:bigint,b:array<string>>`.
pub fn hive_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Primitive(primitive) => primitive_type(primitive),
        DataType::Array(array) => format!("array<{}>", hive_type(array.element_type())),
        DataType::Map(map) => format!("map<{},{}>", hive_type(map.key_type()), hive_type(map.value_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .fields()
                .map(|field| format!("{}:{}", field.name().to_lowercase(), hive_type(field.data_type())))
                .collect();
            format!("struct<{}>", fields.join(","))
        }
        // We write none, and must not present what others wrote as another type.
        DataType::Variant(_) => "binary".to_owned(),
    }
}

fn primitive_type(primitive: &PrimitiveType) -> String {
    match primitive {
        PrimitiveType::String => "string",
        PrimitiveType::Long => "bigint",
        PrimitiveType::Integer => "int",
        PrimitiveType::Short => "smallint",
        PrimitiveType::Byte => "tinyint",
        PrimitiveType::Float => "float",
        PrimitiveType::Double => "double",
        PrimitiveType::Boolean => "boolean",
        PrimitiveType::Binary => "binary",
        PrimitiveType::Date => "date",
        PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => "timestamp",
        PrimitiveType::Decimal(decimal) => return format!("decimal({},{})", decimal.precision(), decimal.scale()),
        // For types that a newer protocol adds, Delta's own name is the best guess.
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use delta_kernel::schema::{ArrayType, DataType, MapType, StructField, StructType};

    use super::hive_type;

    /// From the type table in Athena's documentation of Delta tables.
    #[test]
    fn types_are_named_as_athena_names_them() {
        let decimal = DataType::decimal(38, 9).unwrap();
        let names = [
            (DataType::BOOLEAN, "boolean"),
            (DataType::BYTE, "tinyint"),
            (DataType::SHORT, "smallint"),
            (DataType::INTEGER, "int"),
            (DataType::LONG, "bigint"),
            (DataType::FLOAT, "float"),
            (DataType::DOUBLE, "double"),
            (DataType::STRING, "string"),
            (DataType::BINARY, "binary"),
            (DataType::DATE, "date"),
            (DataType::TIMESTAMP, "timestamp"),
            (DataType::TIMESTAMP_NTZ, "timestamp"),
            (decimal, "decimal(38,9)"),
        ];
        for (data_type, name) in names {
            assert_eq!(hive_type(&data_type), name);
        }
    }

    #[test]
    fn nested_types_keep_their_order_and_fold_their_names() {
        let inner = StructType::try_new([
            StructField::nullable("Price", DataType::DOUBLE),
            StructField::nullable("tags", ArrayType::new(DataType::STRING, true)),
        ])
        .unwrap();
        let map = DataType::from(MapType::new(DataType::STRING, DataType::from(inner), true));
        assert_eq!(hive_type(&map), "map<string,struct<price:double,tags:array<string>>>");
    }
}
