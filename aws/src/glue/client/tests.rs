use aws_sdk_glue::Client;
use pulse_core::ErrorKind;
use pulse_engine::catalog::CatalogColumn;
use serde_json::{Value, json};

use super::*;
use crate::fake::{Fake, refusal};

fn table(version: u64) -> TableDescription {
    TableDescription {
        name: "silver.bars".parse().unwrap(),
        location: "s3://lake/silver/bars/".to_owned(),
        table_id: "one".to_owned(),
        version,
        columns: vec![CatalogColumn { name: "close".to_owned(), kind: "double".to_owned() }],
        partition_by: Vec::new(),
        schema_string: "{}".to_owned(),
    }
}

/// Glue's answer when it has this table's entry.
fn present(version: u64, glue_version: &str) -> Value {
    let entry = entry_of(&table(version));
    json!({"Table": {
        "Name": "bars", "DatabaseName": "silver", "TableType": entry.table_type, "Parameters": entry.parameters,
        "VersionId": glue_version,
        "PartitionKeys": [], "StorageDescriptor": {
            "Location": entry.location, "Columns": [{"Name": "close", "Type": "double"}],
            "SerdeInfo": {"Parameters": {"path": entry.serde_path}},
        },
    }})
}

fn absent() -> Value {
    refusal("EntityNotFoundException", "Entity Not Found")
}

fn catalog(fake: &Fake) -> GlueCatalog {
    let client = OnceCell::new_with(Some(Client::new(&fake.config)));
    GlueCatalog { options: GlueOptions::default(), client }
}

fn actions(fake: &Fake) -> Vec<String> {
    fake.asked().into_iter().map(|(action, _)| action).collect()
}

#[tokio::test]
async fn who_creates_second_looks_at_what_the_first_made() {
    let conflict = refusal("AlreadyExistsException", "Table already exists.");
    let fake =
        Fake::start([("GetTable", 400, absent()), ("CreateTable", 400, conflict), ("GetTable", 200, present(3, "0"))])
            .await;
    assert_eq!(catalog(&fake).register(&table(3)).await.unwrap(), Registered::Unchanged);
    assert_eq!(actions(&fake), ["GetTable", "CreateTable", "GetTable"]);
}

#[tokio::test]
async fn an_update_names_the_version_that_it_replaces_and_begins_anew_when_another_was_faster() {
    let overtaken = refusal("ConcurrentModificationException", "changed");
    let fake = Fake::start([
        ("GetTable", 200, present(3, "7")),
        ("UpdateTable", 400, overtaken),
        ("GetTable", 200, present(4, "8")),
        ("UpdateTable", 200, json!({})),
    ])
    .await;
    assert_eq!(catalog(&fake).register(&table(5)).await.unwrap(), Registered::Updated);
    let asked = fake.asked();
    let updates: Vec<&Value> =
        asked.iter().filter(|(action, _)| action == "UpdateTable").map(|(_, body)| body).collect();
    assert_eq!([&updates[0]["VersionId"], &updates[1]["VersionId"]], [&json!("7"), &json!("8")]);
    assert!(updates.iter().all(|update| update["SkipArchive"] == json!(true)));
}

#[tokio::test]
async fn a_later_version_of_others_stays() {
    let overtaken = refusal("ConcurrentModificationException", "changed");
    let fake = Fake::start([
        ("GetTable", 200, present(3, "7")),
        ("UpdateTable", 400, overtaken),
        ("GetTable", 200, present(6, "8")),
    ])
    .await;
    assert_eq!(catalog(&fake).register(&table(5)).await.unwrap(), Registered::Unchanged);
    fake.asked();
}

#[tokio::test]
async fn changes_without_end_are_a_conflict() {
    let rounds = (0..ATTEMPTS).flat_map(|_| {
        [
            ("GetTable", 200, present(3, "7")),
            ("UpdateTable", 400, refusal("ConcurrentModificationException", "changed")),
        ]
    });
    let fake = Fake::start(rounds).await;
    assert_eq!(catalog(&fake).register(&table(5)).await.unwrap_err().kind(), ErrorKind::Conflict);
    fake.asked();
}

#[tokio::test]
async fn databases_are_created_only_when_asked() {
    let missing = || refusal("EntityNotFoundException", "Database silver not found.");
    let fake = Fake::start([("GetTable", 400, missing()), ("CreateTable", 400, missing())]).await;
    let error = catalog(&fake).register(&table(0)).await.unwrap_err();
    assert!(error.message().contains("Glue has no database `silver`"), "{error}");
    fake.asked();
    let fake = Fake::start([
        ("GetTable", 400, missing()),
        ("CreateTable", 400, missing()),
        ("CreateDatabase", 200, json!({})),
        ("GetTable", 400, missing()),
        ("CreateTable", 200, json!({})),
    ])
    .await;
    let creating =
        GlueCatalog { options: GlueOptions { create_databases: true, ..GlueOptions::default() }, ..catalog(&fake) };
    assert_eq!(creating.register(&table(0)).await.unwrap(), Registered::Created);
    fake.asked();
}

/// Cases that no emulator rejects.
#[tokio::test]
async fn refusals_name_the_remedy() {
    let cases = [
        ("ExpiredTokenException", "The security token included in the request is expired", "sign in again"),
        ("UnrecognizedClientException", "The security token is invalid.", "check AWS_PROFILE"),
        ("AccessDeniedException", "User: x is not authorized to perform: glue:GetTable", "needs `glue:GetTable`"),
        ("AccessDeniedException", "User: x is not authorized to perform: kms:Decrypt", "key's policy"),
        ("GlueEncryptionException", "The KMS key is disabled", "key's policy"),
        ("ThrottlingException", "Rate exceeded", "slow down"),
    ];
    for (code, message, remedy) in cases {
        let fake = Fake::start([("GetTable", 400, refusal(code, message))]).await;
        let error = catalog(&fake).register(&table(0)).await.unwrap_err();
        assert!(error.message().starts_with("look silver.bars up in Glue: "), "{error}");
        assert!(error.message().contains(remedy), "{error}");
    }
    let fake = Fake::start([("GetTable", 502, json!("bad gateway"))]).await;
    let error = catalog(&fake).register(&table(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_table_of_others_lies_where_glue_says() {
    use pulse_engine::catalog::{ForeignCatalog as _, delta_location};
    let spark = json!({"Table": {
        "Name": "t", "DatabaseName": "vendor", "TableType": "EXTERNAL_TABLE",
        "Parameters": {"spark.sql.sources.provider": "delta"}, "PartitionKeys": [{"Name": "day", "Type": "date"}],
        "StorageDescriptor": {"Location": "s3://b/vendor.db/t-__PLACEHOLDER__", "InputFormat": "x.SequenceFileInputFormat",
            "SerdeInfo": {"Parameters": {"path": "s3://b/t"}}},
    }});
    let fake = Fake::start([
        ("GetTable", 200, spark),
        ("GetTable", 400, absent()),
        ("GetTable", 400, refusal("AccessDeniedException", "no")),
    ])
    .await;
    let catalog = catalog(&fake);
    let entry = catalog.entry("vendor", "t").await.unwrap().unwrap();
    assert_eq!(
        (entry.partition_by.as_slice(), delta_location("vendor.t", &entry).unwrap().as_str()),
        (&["day".to_owned()][..], "s3://b/t")
    );
    assert_eq!(catalog.entry("vendor", "x").await.unwrap(), None);
    let refused = catalog.entry("vendor", "t").await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Invalid && refused.message().contains("vendor.t"), "{refused}");
    assert_eq!(fake.asked()[0].1, json!({"DatabaseName": "vendor", "Name": "t"}));
}
