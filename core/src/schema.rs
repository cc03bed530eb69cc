//! JSON schemas of the project's files, and the reference page that is written from them.

mod reference;

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};

use crate::fixture::Fixture;
use crate::manifest::Manifest;
use crate::project::{Profile, ProjectManifest};
use crate::sources::Sources;

pub use reference::reference_markdown;

/// JSON schema of `job.toml`; its keys are sorted, so that equal types give equal text.
pub fn manifest_schema() -> Value {
    schema::<Manifest>()
}

/// JSON schema of `sources.toml`.
pub fn sources_schema() -> Value {
    schema::<Sources>()
}

/// JSON schema of `project.toml`.
pub fn project_schema() -> Value {
    schema::<ProjectManifest>()
}

/// JSON schema of `profiles/*.toml`.
pub fn profile_schema() -> Value {
    schema::<Profile>()
}

/// JSON schema of `tests/*.toml` of a job.
pub fn fixture_schema() -> Value {
    schema::<Fixture>()
}

fn schema<T: JsonSchema>() -> Value {
    for_toml(schema_for!(T).to_value())
}

/// TOML has no null: a key is there or not. Keys are sorted, whichever map serde_json was built with.
fn for_toml(value: Value) -> Value {
    let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(for_toml).collect()),
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = Vec::new();
            for (key, value) in map {
                match (key.as_str(), value) {
                    (_, Value::Null) => {}
                    ("anyOf", Value::Array(choices)) if choices.iter().any(is_null) => {
                        for choice in choices.into_iter().filter(|choice| !is_null(choice)) {
                            if let Value::Object(choice) = for_toml(choice) {
                                entries.extend(choice);
                            }
                        }
                    }
                    ("type", Value::Array(kinds)) => {
                        entries.extend(kinds.into_iter().find(|kind| kind != "null").map(|kind| (key, kind)));
                    }
                    ("description", Value::String(text)) => entries.push((key, text.replace('\n', " ").into())),
                    (_, value) => entries.push((key, for_toml(value))),
                }
            }
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk<'a>(value: &'a Value, path: &str, visit: &mut impl FnMut(&str, &'a Value)) {
        visit(path, value);
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), visit)),
            Value::Array(items) => items.iter().for_each(|value| walk(value, &format!("{path}/-"), visit)),
            _ => {}
        }
    }

    fn all() -> [Value; 5] {
        [manifest_schema(), sources_schema(), project_schema(), profile_schema(), fixture_schema()]
    }

    #[test]
    fn the_schema_is_the_manifests() {
        let schema = manifest_schema();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["grain", "sink"]));
        assert_eq!(schema["properties"]["start"]["type"], "string");
        assert_eq!(schema["properties"]["interval"]["$ref"], "#/$defs/IntervalUnit");
        assert_eq!(schema["properties"]["target_file_mib"]["default"], 128);
        assert_eq!(schema["$defs"]["Sink"]["oneOf"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn no_schema_speaks_of_null() {
        for schema in all() {
            walk(&schema, "", &mut |path, value| {
                // A choice may be called so.
                let is_name = path.ends_with("/oneOf/-/const");
                assert!(!value.is_null() && (is_name || value != "null"), "{path}");
            });
        }
    }

    #[test]
    fn every_key_and_every_choice_is_explained() {
        for schema in all() {
            walk(&schema, "", &mut |path, value| {
                let properties = value.get("properties").and_then(Value::as_object);
                // The keys of `oneOf` are names of choices, and the choice is what is explained.
                let is_choice = path.ends_with("/oneOf/-");
                for (key, property) in properties.into_iter().flatten().filter(|_| !is_choice) {
                    assert!(property.get("description").is_some(), "{path}/{key} has no sentence");
                }
                assert!(!is_choice || value.get("description").is_some(), "{path} has no sentence: {value}");
                assert!(
                    !path.starts_with("/$defs/") || path.matches('/').count() > 2 || value.get("description").is_some(),
                    "{path}"
                );
            });
        }
    }

    #[test]
    fn keys_are_sorted() {
        let text = manifest_schema().to_string();
        let positions: Vec<_> =
            ["\"$defs\"", "\"$schema\"", "\"title\":\"Manifest\""].map(|key| text.find(key).unwrap()).into();
        assert!(positions.is_sorted());
    }
}
