//! What is registered, and under which names.

use std::collections::BTreeSet;

use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::execution::{SessionState, SessionStateBuilder};

use super::*;

fn state() -> SessionState {
    register_all(SessionStateBuilder::new()).build()
}

fn defaults() -> SessionState {
    SessionStateBuilder::new().with_default_features().build()
}

#[test]
fn only_functions_that_mean_something_else_in_spark_are_replaced() {
    let (ours, defaults) = (state(), defaults());
    let replacing = replacing_functions();
    let is_replaced =
        |name: &String| replacing.iter().any(|function| function.name() == name || function.aliases().contains(name));
    for (name, function) in defaults.scalar_functions() {
        let own = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
        // A function that has lost one of its names is the same under the others.
        let is_whole = !own.map(str::to_owned).any(|name| is_replaced(&name));
        // One that is called only when its result is not too large is the same function.
        let expected = crate::bounded::bounded(function).unwrap_or_else(|| std::sync::Arc::clone(function));
        let found = &ours.scalar_functions()[name];
        assert_eq!(*found == expected, is_whole, "{name}");
        assert!(is_replaced(name) || found.signature() == function.signature(), "{name}");
    }
    for (name, function) in defaults.aggregate_functions() {
        assert_eq!(&ours.aggregate_functions()[name], function, "{name}");
    }
    for (name, function) in defaults.window_functions() {
        assert_eq!(&ours.window_functions()[name], function, "{name}");
    }
}

/// SQL looks for a scalar function first, so a scalar of the same name would hide an aggregate or a window function.
#[test]
fn no_added_name_is_taken_in_another_kind() {
    let (ours, defaults) = (state(), defaults());
    let taken: BTreeSet<&String> = defaults
        .scalar_functions()
        .keys()
        .chain(defaults.aggregate_functions().keys())
        .chain(defaults.window_functions().keys())
        .chain(defaults.higher_order_functions().keys())
        .collect();
    let added = |names: BTreeSet<&String>, before: BTreeSet<&String>| -> BTreeSet<String> {
        names.difference(&before).map(|name| (*name).clone()).collect()
    };
    let scalars = added(ours.scalar_functions().keys().collect(), defaults.scalar_functions().keys().collect());
    let aggregates =
        added(ours.aggregate_functions().keys().collect(), defaults.aggregate_functions().keys().collect());
    let windows = added(ours.window_functions().keys().collect(), defaults.window_functions().keys().collect());
    for name in scalars.iter().chain(&aggregates).chain(&windows) {
        assert!(!taken.contains(name), "{name}");
    }
    assert!(scalars.is_disjoint(&aggregates) && scalars.is_disjoint(&windows) && aggregates.is_disjoint(&windows));
}

#[test]
fn spark_functions_are_there_unless_they_would_shadow() {
    let (ours, defaults) = (state(), defaults());
    for name in ["sha2", "format_string"] {
        assert!(!defaults.scalar_functions().contains_key(name), "{name} is no test of Spark's functions");
        assert!(ours.scalar_functions().contains_key(name), "{name}");
    }
    assert!(!defaults.aggregate_functions().contains_key("try_sum"));
    assert!(ours.aggregate_functions().contains_key("try_sum"));
    // Both have `ceil`, of different types; the plain name stays DataFusion's.
    assert!(datafusion_spark::all_default_scalar_functions().iter().any(|function| function.name() == "ceil"));
    assert_eq!(ours.scalar_functions()["ceil"], defaults.scalar_functions()["ceil"]);
}

#[test]
fn executors_find_our_functions_by_name() {
    let registry = BallistaFunctionRegistry::from(&state());
    for function in window_functions() {
        assert_eq!(registry.window_functions[function.name()], function);
    }
    for function in scalar_functions().into_iter().chain(replacing_functions()) {
        let function = crate::bounded::bounded(&function).unwrap_or(function);
        assert_eq!(registry.scalar_functions[function.name()], function);
    }
    for function in crate::checked::aggregates() {
        assert_eq!(registry.aggregate_functions[function.name()], function);
    }
}

/// Sessions are made of others, with functions in any order.
#[test]
fn no_function_has_a_name_of_another() {
    let functions = state();
    let functions = functions.scalar_functions();
    for function in functions.values() {
        for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
            assert_eq!(&functions[name], function, "{name}");
        }
    }
    for (name, owner) in [("element_at", "element_at"), ("date_format", "date_format"), ("position", "spark_position")]
    {
        assert_eq!(functions[name].name(), owner);
    }
    assert_eq!(functions["map_extract"].name(), "map_extract");
    assert_eq!(functions["strpos"].name(), "strpos");
}

#[test]
fn registering_twice_changes_nothing() {
    let once = state();
    let twice = register_all(SessionStateBuilder::new_from_existing(once.clone())).build();
    assert_eq!(once.scalar_functions(), twice.scalar_functions());
    assert_eq!(once.aggregate_functions(), twice.aggregate_functions());
    assert_eq!(once.window_functions(), twice.window_functions());
}
