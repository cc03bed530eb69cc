//! Tables as other tools write them: by hand in the log's JSON.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CHANGES: [RowChange; 3] = [RowChange::Kept, RowChange::Added, RowChange::Replaced];
const EVERY: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];
const NOT_NEW_ROWS: [bool; 3] = [true, false, false];
const NOT_REMOVED_ROWS: [bool; 3] = [true, true, false];

const READ: [&str; 8] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
    "catalogManaged",
];

fn protocol(version: i32, features: &[&str]) -> Protocol {
    let text = match version {
        7 => {
            // These must be listed for readers as well.
            let read: Vec<&&str> = features.iter().filter(|feature| READ.contains(feature)).collect();
            json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": read, "writerFeatures": features})
        }
        _ => json!({"minReaderVersion": 1, "minWriterVersion": version}),
    };
    serde_json::from_value(text).unwrap()
}

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn column(data_type: &Value, nullable: bool, metadata: &Value) -> StructType {
    let field = json!({"name": "v", "type": data_type, "nullable": nullable, "metadata": metadata});
    serde_json::from_value(json!({"type": "struct", "fields": [field]})).unwrap()
}

fn plain() -> StructType {
    column(&json!("long"), true, &json!({"comment": "volume"}))
}

/// Whether rows may be kept, added, replaced.
fn allowed(protocol: &Protocol, properties: &BTreeMap<String, String>, columns: &StructType) -> [bool; 3] {
    CHANGES.map(|change| writable(protocol, properties, columns, change).is_ok())
}

#[test]
fn versions_and_features() {
    let cases: [(i32, &[&str], [bool; 3]); 27] = [
        (1, &[], EVERY),
        (2, &[], EVERY),
        (3, &[], EVERY),
        (4, &[], EVERY),
        (5, &[], EVERY),
        (6, &[], EVERY),
        (7, &[], EVERY),
        (8, &[], NONE),
        (7, &["appendOnly", "invariants"], EVERY),
        (7, &["checkConstraints", "generatedColumns", "identityColumns", "changeDataFeed"], EVERY),
        (7, &["domainMetadata", "inCommitTimestamp", "icebergCompatV2", "checkpointProtection"], EVERY),
        (7, &["icebergCompatV1", "icebergCompatV3"], EVERY),
        (7, &["rowTracking", "domainMetadata"], NONE),
        (7, &["clustering", "domainMetadata"], NONE),
        (7, &["allowColumnDefaults"], NONE),
        (7, &["materializePartitionColumns"], NONE),
        (7, &["columnMapping"], NONE),
        (7, &["deletionVectors"], NONE),
        (7, &["timestampNtz"], EVERY),
        (7, &["typeWidening"], NONE),
        (7, &["v2Checkpoint"], NONE),
        (7, &["vacuumProtocolCheck"], NONE),
        (7, &["variantType"], NONE),
        (7, &["catalogManaged"], NONE),
        (7, &["coordinatedCommits-preview"], NONE),
        (7, &["appendOnly", "aFeatureOfTheFuture"], NONE),
        (7, &["APPENDONLY"], NONE),
    ];
    for (version, features, expected) in cases {
        let found = allowed(&protocol(version, features), &BTreeMap::new(), &plain());
        assert_eq!(found, expected, "version {version} with {features:?}");
    }
}

#[test]
fn properties_count_in_every_version() {
    let cases = [
        ("delta.appendOnly", "true", NOT_REMOVED_ROWS),
        ("delta.appendOnly", " TRUE ", NOT_REMOVED_ROWS),
        ("delta.appendOnly", "yes", NOT_REMOVED_ROWS),
        ("delta.appendOnly", "False", EVERY),
        ("delta.enableChangeDataFeed", "true", NOT_REMOVED_ROWS),
        ("delta.enableChangeDataFeed", "false", EVERY),
        ("delta.constraints.positive", "v > 0", NOT_NEW_ROWS),
        ("delta.enableRowTracking", "true", NONE),
        ("delta.enableInCommitTimestamps", "true", NONE),
        ("delta.enableIcebergCompatV1", "true", NONE),
        ("delta.enableIcebergCompatV2", "true", NONE),
        ("delta.enableIcebergCompatV3", "true", NONE),
        ("delta.columnMapping.mode", "name", NONE),
        ("delta.columnMapping.mode", "none", EVERY),
        // These bind nobody: they allow something, or are about files and their age.
        ("delta.enableDeletionVectors", "true", EVERY),
        ("delta.logRetentionDuration", "interval 30 days", EVERY),
        ("delta.checkpointInterval", "10", EVERY),
        ("owner", "finance", EVERY),
    ];
    for (key, value, expected) in cases {
        for version in 1..=7 {
            let found = allowed(&protocol(version, &["appendOnly"]), &properties(&[(key, value)]), &plain());
            assert_eq!(found, expected, "{key} = {value} in version {version}");
        }
    }
}

#[test]
fn columns_bind_whoever_adds_rows() {
    let long = json!("long");
    let within = |metadata: &Value| {
        let field = json!({"name": "inner", "type": "long", "nullable": false, "metadata": metadata});
        json!({"type": "struct", "fields": [field]})
    };
    let invariant = json!({"delta.invariants": "{\"expression\":{\"expression\":\"v > 0\"}}"});
    let generated = json!({"delta.generationExpression": "year(ts)"});
    let identity = json!({"delta.identity.start": 1, "delta.identity.step": 1});
    let list = |element: &Value| json!({"type": "array", "elementType": element, "containsNull": true});
    let map =
        |value: &Value| json!({"type": "map", "keyType": "string", "valueType": value, "valueContainsNull": true});
    let none = json!({});
    let cases = [
        (column(&long, true, &none), EVERY),
        (column(&long, false, &none), NOT_NEW_ROWS),
        (column(&long, true, &invariant), NOT_NEW_ROWS),
        (column(&long, true, &generated), NOT_NEW_ROWS),
        (column(&long, true, &identity), NOT_NEW_ROWS),
        (column(&within(&none), true, &none), EVERY),
        (column(&within(&invariant), true, &none), NOT_NEW_ROWS),
        (column(&list(&within(&invariant)), true, &none), NOT_NEW_ROWS),
        (column(&map(&within(&generated)), true, &none), NOT_NEW_ROWS),
        (column(&list(&long), true, &none), EVERY),
    ];
    for (columns, expected) in cases {
        for version in 1..=7 {
            assert_eq!(allowed(&protocol(version, &[]), &BTreeMap::new(), &columns), expected, "{columns:?}");
        }
    }
}

#[test]
fn refusals_say_what_to_do() {
    let refusal = |properties: &[(&str, &str)]| {
        writable(&protocol(2, &[]), &self::properties(properties), &plain(), RowChange::Replaced).unwrap_err()
    };
    insta::assert_snapshot!(refusal(&[("delta.appendOnly", "true")]), @"has the property `delta.appendOnly` = `true`, and this run would remove or replace rows; set the property to `false` (`alter table .. set tblproperties ('delta.appendOnly' = 'false')`), or let the job only append");
    insta::assert_snapshot!(refusal(&[("delta.constraints.positive", "v > 0")]), @"has the constraint `delta.constraints.positive` = `v > 0`, which pulse does not check; make it an expectation of the job and remove it (`alter table .. drop constraint positive`)");
}

proptest! {
    /// Whatever a table is like: a write that does more is never allowed where one that does less is not, and what is not on
    /// the list of what we honour is refused.
    #[test]
    fn refusals_grow_with_the_write(
        version in 1..9_i32,
        features in prop::collection::vec(prop::sample::select(&HONOURED[..]), 0..4),
        unknown in prop::option::of("[a-z]{3,8}X"),
        values in prop::collection::vec((0..PROPERTIES.len(), prop::sample::select(&["true", "false", "none", "x"][..])), 0..4),
    ) {
        let listed: Vec<&str> = features.iter().copied().chain(unknown.as_deref()).collect();
        let pairs: Vec<(&str, &str)> = values.iter().map(|(place, value)| (PROPERTIES[*place].0, *value)).collect();
        let found = allowed(&protocol(version, &listed), &properties(&pairs), &plain());
        prop_assert!(found[0] >= found[1] && found[1] >= found[2], "{found:?}");
        if version > 7 || (version == 7 && unknown.is_some()) {
            prop_assert_eq!(found, NONE);
        }
    }
}
