use aws_sdk_glue::types::{Column, StorageDescriptor, Table};
use pulse_engine::catalog::{CatalogColumn, Difference};

use super::*;

fn column(name: &str, kind: &str) -> CatalogColumn {
    CatalogColumn { name: name.to_owned(), kind: kind.to_owned() }
}

fn table() -> TableDescription {
    TableDescription {
        name: "silver.bars".parse().unwrap(),
        location: "s3://lake/silver/bars/".to_owned(),
        table_id: "one".to_owned(),
        version: 12,
        columns: vec![column("ts", "timestamp"), column("close", "double")],
        partition_by: vec![column("day", "date")],
        schema_string: "{\"type\":\"struct\"}".to_owned(),
    }
}

fn wrong(table: &TableDescription, found: &Entry) -> Vec<String> {
    match difference(table, Some(found)) {
        Some(Difference::Wrong(what)) => what,
        other => panic!("{other:?}"),
    }
}

/// The template is the entry that Athena's DDL creates in Glue, as recorded by others.
#[test]
fn an_entry_is_what_athena_makes_of_a_delta_table() {
    let input = entry_of(&table()).into_input("bars", None).unwrap();
    let storage = input.storage_descriptor().unwrap();
    assert_eq!((input.name(), input.table_type()), ("bars", Some("EXTERNAL_TABLE")));
    let parameters = input.parameters().unwrap();
    for (key, value) in [
        ("EXTERNAL", "TRUE"),
        ("table_type", "delta"),
        ("spark.sql.sources.provider", "delta"),
        ("spark.sql.partitionProvider", "catalog"),
        ("spark.sql.sources.schema.numParts", "1"),
        ("spark.sql.sources.schema.part.0", "{\"type\":\"struct\"}"),
        ("delta.lastUpdateVersion", "12"),
    ] {
        assert_eq!(parameters.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(storage.location(), Some("s3://lake/silver/bars/"));
    assert_eq!(storage.input_format(), Some("org.apache.hadoop.mapred.SequenceFileInputFormat"));
    let serde = storage.serde_info().unwrap();
    assert_eq!(serde.parameters().unwrap().get("path").map(String::as_str), Some("s3://lake/silver/bars/"));
    let names = |columns: &[Column]| columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(storage.columns()), ["ts", "close"]);
    assert_eq!(names(input.partition_keys()), ["day"]);
    let bare = TableDescription { partition_by: Vec::new(), ..table() };
    assert!(entry_of(&bare).into_input("bars", None).unwrap().partition_keys.is_some_and(|keys| keys.is_empty()));
}

#[test]
fn a_long_schema_is_cut_between_characters() {
    let schema = format!("{}é{}", "a".repeat(3999), "b".repeat(4001));
    let entry = entry_of(&TableDescription { schema_string: schema.clone(), ..table() });
    let part = |number: usize| entry.parameters[&format!("spark.sql.sources.schema.part.{number}")].clone();
    assert_eq!(entry.parameters["spark.sql.sources.schema.numParts"], "3");
    assert_eq!([0, 1, 2].map(|number| part(number).chars().count()), [4000, 4000, 1]);
    assert_eq!([part(0), part(1), part(2)].concat(), schema);
}

#[test]
fn the_same_table_differs_in_nothing() {
    let entry = entry_of(&table());
    assert_eq!(difference(&table(), Some(&entry)), None);
    assert_eq!(difference(&table(), None), Some(Difference::Missing));
    // A folder with and without its slash is one folder.
    let bare = "s3://lake/silver/bars".to_owned();
    assert_eq!(difference(&table(), Some(&Entry { location: bare, ..entry })), None);
}

#[test]
fn versions_go_forward_only() {
    let earlier = entry_of(&TableDescription { version: 11, ..table() });
    assert_eq!(difference(&table(), Some(&earlier)), Some(Difference::Behind { registered: 11 }));
    let later = entry_of(&TableDescription { version: 13, columns: Vec::new(), ..table() });
    assert_eq!(difference(&table(), Some(&later)), None);
    // A table that was dropped and recreated begins at version 0 again.
    let anew = TableDescription { version: 0, table_id: "two".to_owned(), ..table() };
    assert_eq!(wrong(&anew, &later).len(), 3);
}

#[test]
fn what_is_wrong_is_named() {
    let found = Entry {
        columns: vec![column("ts", "string"), column("open", "double")],
        partition_by: Vec::new(),
        ..entry_of(&table())
    };
    assert_eq!(
        wrong(&table(), &found),
        [
            "column `ts` is registered as string, the table has timestamp",
            "column `close` is not registered",
            "column `open` is registered, the table does not have it",
            "partition column `day` is not registered",
        ]
    );
    let swapped = Entry { columns: table().columns.into_iter().rev().collect(), ..entry_of(&table()) };
    assert_eq!(wrong(&table(), &swapped), ["columns are registered in another order"]);
    let mut plain = entry_of(&table());
    plain.parameters.remove("table_type");
    assert_eq!(wrong(&table(), &plain), ["parameter `table_type` is missing instead of `delta`"]);
}

#[test]
fn what_others_wrote_stays() {
    let comment = Column::builder().name("close").r#type("float").comment("in dollars").build().unwrap();
    let present = Table::builder()
        .name("bars")
        .description("a description")
        .parameters("team", "quant")
        .parameters("spark.sql.sources.schema.part.7", "stale")
        .storage_descriptor(StorageDescriptor::builder().columns(comment).build())
        .build()
        .unwrap();
    let input = entry_of(&table()).into_input("bars", Some(&present)).unwrap();
    assert_eq!(input.description(), Some("a description"));
    assert_eq!(input.parameters().unwrap().get("team").map(String::as_str), Some("quant"));
    assert!(!input.parameters().unwrap().contains_key("spark.sql.sources.schema.part.7"));
    let columns = input.storage_descriptor().unwrap().columns();
    let close = columns.iter().find(|column| column.name() == "close").unwrap();
    assert_eq!((close.r#type(), close.comment()), (Some("double"), Some("in dollars")));
}
