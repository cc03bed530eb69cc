//! Allowed schema changes, compared with a model of the types' value ranges.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pulse_core::project::ProjectFiles;

use super::*;

fn job(renamed: &BTreeMap<String, String>) -> Job {
    let renamed: Vec<String> = renamed.iter().map(|(new, former)| format!("{new} = \"{former}\"")).collect();
    let manifest =
        format!("owner = \"me\"\ngrain = [\"a\"]\nrenamed = {{ {} }}\n[sink.overwrite]\n", renamed.join(", "));
    let files = [("project.toml", "name = \"t\""), ("s/t/job.toml", &manifest), ("s/t/query.sql", "select 1 as a")];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect::<ProjectFiles>();
    Project::parse(&files).unwrap().jobs.into_values().next().unwrap()
}

#[test]
fn a_description_of_no_column_is_refused_at_its_place() {
    let manifest = "owner = \"me\"\ngrain = [\"price\"]\n[sink.overwrite]\n[columns]\nprice = \"USD\"\nprize = \"?\"\n";
    let files = [("project.toml", "name = \"t\""), ("s/t/job.toml", manifest), ("s/t/query.sql", "select 1 as price")];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect::<ProjectFiles>();
    let job = Project::parse(&files).unwrap().jobs.into_values().next().unwrap();
    let schema = |names: &[&str]| {
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>())
    };
    let error = refuse_unknown_descriptions(&job, &schema(&["price"])).unwrap_err().render();
    for text in ["s/t/job.toml:6:1", "the table has no column `prize`", "did you mean `price`?"] {
        assert!(error.contains(text), "{error}");
    }
    refuse_unknown_descriptions(&job, &schema(&["price", "prize"])).unwrap();
}

/// For numbers: the kind, and the digits before and after the point.
type Size = Option<(char, i32, i32)>;

fn types() -> [(DataType, Size); 10] {
    [
        (DataType::Int8, Some(('i', 1, 0))),
        (DataType::Int16, Some(('i', 2, 0))),
        (DataType::Int32, Some(('i', 3, 0))),
        (DataType::Int64, Some(('i', 4, 0))),
        (DataType::Float32, Some(('f', 1, 0))),
        (DataType::Float64, Some(('f', 2, 0))),
        (DataType::Decimal128(10, 2), Some(('d', 8, 2))),
        (DataType::Decimal128(12, 4), Some(('d', 8, 4))),
        (DataType::Decimal128(12, 5), Some(('d', 7, 5))),
        (DataType::Utf8, None),
    ]
}

type Columns = BTreeMap<String, usize>;

fn schema(columns: &Columns) -> Schema {
    let field = |(name, place): (&String, &usize)| Field::new(name, types()[*place].0.clone(), true);
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

fn columns() -> impl Strategy<Value = Columns> {
    prop::collection::btree_map("[a-d]", 0..types().len(), 1..5)
}

fn is_wider(wide: usize, narrow: usize) -> bool {
    let types = types();
    match (types[wide].1, types[narrow].1) {
        (Some((a, before, after)), Some((b, least_before, least_after))) => {
            a == b && before >= least_before && after >= least_after
        }
        (None, None) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_column_of_a_table_is_lost_unasked(
        table in columns(), query in columns(), renamed in prop::collection::btree_map("[a-d]", "[a-d]", 0..2),
    ) {
        let renamed: BTreeMap<String, String> = renamed.into_iter().filter(|(new, former)| new != former).collect();
        let (job, now, known) = (job(&renamed), schema(&query), schema(&table));
        let lost = |kept: &dyn Fn(&str, usize) -> bool| -> Vec<String> {
            table.iter().filter(|(name, place)| !kept(name, **place)).map(|(name, _)| name.clone()).collect()
        };
        // A run that keeps rows: columns and types stay.
        let added = lost(&|name, place| query.get(name) == Some(&place));
        prop_assert_eq!(refuse_other_columns(&job, &now, &known).is_ok(), added.is_empty());
        // A run that replaces all rows: wider types, and declared new names that no other column had.
        let replaced = lost(&|name, place| {
            let other = renamed.iter().find(|(new, former)| *former == name && !table.contains_key(*new));
            let now = query.get(name).or_else(|| query.get(other?.0));
            now.is_some_and(|now| is_wider(*now, place))
        });
        match refuse_lost_columns(&job, &now, &known) {
            Ok(()) => prop_assert_eq!(replaced, Vec::<String>::new()),
            Err(error) => {
                prop_assert!(!replaced.is_empty());
                for name in replaced {
                    let column = format!("{name} {}", type_name(&types()[table[&name]].0));
                    prop_assert!(error.message().contains(&column), "{}: {}", column, error);
                }
                prop_assert!(error.message().contains("`pulse run s.t --rebuild`"), "{}", error);
            }
        }
    }
}
