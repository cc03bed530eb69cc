//! Functions that Spark has under a name that means something else in DataFusion: they give Spark's value here, or are an error that
//! names what gives either.

mod chosen;
mod element;
mod parts;
mod pattern;
mod planner;
mod refused;
mod rewrite;
mod round;
#[cfg(test)]
mod tests;
mod text;
mod widened;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use super::settled::renamed;

pub(crate) use planner::SparkPlanner;
pub(crate) use rewrite::SparkValues;

/// Functions of datafusion-spark that take the place of DataFusion's.
const REPLACING: [&str; 3] = ["substring", "concat_ws", "array_contains"];

/// Names that Spark has for functions of DataFusion.
const ALIASES: [(&str, &str); 8] = [
    ("startswith", "starts_with"),
    ("endswith", "ends_with"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("sign", "signum"),
    ("ceiling", "ceil"),
    ("rlike", "regexp_like"),
    ("regexp", "regexp_like"),
];

/// What replaces those of `known`, by their names and aliases.
pub(super) fn functions(known: &[Arc<ScalarUDF>]) -> Vec<Arc<ScalarUDF>> {
    let find = |name: &str| {
        known
            .iter()
            .find(|function| function.name() == name)
            .or_else(|| known.iter().find(|function| function.aliases().iter().any(|alias| alias == name)))
    };
    let spark = datafusion_spark::all_default_scalar_functions();
    let mut functions: Vec<Arc<ScalarUDF>> =
        spark.iter().filter(|function| REPLACING.contains(&function.name())).cloned().collect();
    let of_spark = |name: &str| spark.iter().find(|function| function.name() == name);
    let pairs =
        [("concat", of_spark("concat"), find("array_concat")), ("reverse", find("reverse"), find("array_reverse"))];
    for (name, texts, lists) in pairs {
        functions.extend(texts.zip(lists).map(|(texts, lists)| chosen::by_type(name, texts, lists)));
    }
    let swapped = [
        ("spark_position", &["position", "locate"][..], find("strpos")),
        ("spark_array_prepend", &["array_prepend"][..], find("array_prepend")),
    ];
    for (name, aliases, inner) in swapped {
        functions.extend(inner.map(|inner| chosen::swapped(name, aliases, inner)));
    }
    if let (Some(array_element), Some(map_extract)) = (find("array_element"), find("map_extract")) {
        functions.extend(element::functions(array_element, map_extract));
    }
    functions.push(text::initcap());
    functions.extend(find("round").cloned().map(round::round));
    functions.extend(find("date_part").into_iter().flat_map(parts::functions));
    functions.extend(pattern::functions());
    functions.extend(widened::functions(&spark));
    functions.extend(refused::functions(&find, &spark));
    let named = |name: &str| functions.iter().find(|function| function.name() == name).or_else(|| find(name));
    let aliases: Vec<_> = ALIASES.iter().filter_map(|(alias, name)| Some(renamed(alias, named(name)?))).collect();
    functions.extend(aliases);
    functions
}
