//! The functions a query may call, the same on the driver and on every executor.
//!
//! Executors look functions up by name, so a function carries nothing but its arguments.
//!
//! | window function | value of a row |
//! |---|---|
//! | `sma(x, n)` | mean of the last n values |
//! | `ema(x, n)` | exponential mean, factor 2/(n+1), seeded with the mean of the first n values |
//! | `rsi(x, n)` | Wilder's relative strength index, 0 to 100, from value n+1 on; 0 where nothing has moved |
//! | `macd(x, fast, slow)` | `ema(x, fast) - ema(x, slow)` |
//! | `macd_signal(x, fast, slow, signal)` | exponential mean of `macd`, seeded with the mean of its first values |
//! | `macd_hist(x, fast, slow, signal)` | `macd - macd_signal` |
//! | `vwap(price, volume)` | `sum(price * volume) / sum(volume)` since the partition's first row; null while the volume is 0 |
//! | `drawdown(x, n)` | x / highest of the last n values - 1 |
//! | `max_drawdown(x, n)` | the lowest such fall from a peak to a later value, both among the last n values |
//! | `volatility(x, n)` | sample standard deviation of the last n log returns, not annualised, from value n+1 on |
//! | `zscore(x, n)` | (x - mean) / sample standard deviation of the last n values, x included; null where they are equal |
//!
//! All of them run over the whole window partition in its `order by`, whatever frame is written, take any number and
//! give a double. A row counts when its input is a finite number (`drawdown`, `max_drawdown` and `volatility`: and
//! above 0; `vwap`: both are finite and the volume is not below 0). Any other row gives null and is passed over, as if
//! it were not there. A row before the first value gives null. NaN and infinity never come out.
//! Lengths are integer literals of at least 1 (`volatility`, `zscore`: 2; `fast` below `slow`), checked when the query
//! is planned.
//!
//! | scalar function | value |
//! |---|---|
//! | `date_in_zone(ts, 'zone')` | calendar date on the zone's wall clocks at an instant |
//! | `wall_clock(date, 'HH:MM', 'zone')` | the instant (`timestamp(us, UTC)`) at which the zone's clocks show that time |
//! | `get_json_object(text, path)` | what is at a path such as `$.a.b[0]`, `$['a b']`, `$.legs[*].px`: a string without quotes, anything else as JSON |
//! | `json_array_length(text)` | how many items an array has (`int`) |
//! | `json_array_elements(text)` | the JSON texts of an array's items, for `unnest` (`array<string>`) |
//! | `json_object_keys(text)` | the names of an object's fields (`array<string>`) |
//! | `div(a, b)` | the whole quotient of two whole numbers, cut towards zero (`bigint`); `a / b` is a double |
//! | `date_format(ts, 'yyyy-MM')` | a date or stamp as text, by Spark's patterns |
//! | `year(d)`, `quarter`, `month`, `day`, `dayofmonth`, `dayofyear`, `dayofweek` (Sunday is 1), `weekofyear` (ISO 8601), `hour`, `minute`, `second` | a part of a date or timestamp (`int`) |
//! | `date_add(d, n)`, `date_sub(d, n)`, `add_months(d, n)` | the date n days or months later or earlier |
//! | `split(text, pattern)`, `split(text, pattern, n)` | the parts between matches, at most n (`array<string>`) |
//! | `regexp_extract(text, pattern)`, `regexp_extract(text, pattern, i)` | group i (1) of the first match; an empty text without one |
//! | `element_at(list, i)`, `element_at(map, key)` | an item from 1, or from the end; an error beyond the list |
//! | `try_element_at(list, i)` | as `element_at`, and null beyond the list |
//!
//! Functions over JSON text give null for a text that is not JSON, or not an array or object as they need it. Their paths are Spark's; unlike
//! Spark, they leave a number's digits as they stand, and want the whole text to be JSON.

mod calendar;
mod indicator;
mod json;
mod settled;
mod spark;
mod stamps;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::execution::{SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{ScalarUDF, WindowUDF};

use crate::bounded;
use crate::checked;
use crate::decimals::decimal_of_double;
use crate::microseconds::exact_microseconds;
use crate::one_nan::one_nan;

pub(crate) use spark::SparkValues;

/// The indicators of this module's first table.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    indicator::functions()
}

/// Whether the function's evaluator takes the rows of a window partition in consecutive pieces: all that is known of a row is
/// known from it and the rows before it.
pub(crate) fn takes_pieces(function: &WindowUDF) -> bool {
    indicator::is_indicator(function)
}

/// The functions of this module's second table.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    [calendar::functions(), json::functions(), checked::functions()].concat()
}

/// Functions that take the place of DataFusion's of the same name, or alias, which mean something else in Spark.
pub(crate) fn replacing_functions() -> Vec<Arc<ScalarUDF>> {
    let known = SessionStateDefaults::default_scalar_functions();
    [stamps::functions(&known), spark::functions(&known)].concat()
}

/// Adds DataFusion's own functions, those of datafusion-spark, ours, and what replaces some of them.
///
/// A Spark function is left out when its name, or one of its aliases, already means something in DataFusion, be it a
/// scalar, aggregate, window or higher-order function, unless it is among those that replace another one.
pub fn register_all(builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut builder = builder.with_default_features();
    let taken = names(&mut builder);
    let is_free = |name: &str, aliases: &[String]| {
        !taken.contains(name) && !aliases.iter().any(|alias| taken.contains(alias.as_str()))
    };
    let scalars = datafusion_spark::all_default_scalar_functions();
    let aggregates = datafusion_spark::all_default_aggregate_functions();
    let windows = datafusion_spark::all_default_window_functions();

    let registered = builder.scalar_functions().get_or_insert_default();
    registered.extend(scalars.into_iter().filter(|function| is_free(function.name(), function.aliases())));
    registered.extend(scalar_functions());
    registered.push(one_nan());
    registered.push(exact_microseconds());
    registered.push(decimal_of_double());
    registered.extend(bounded::functions());
    let replacing = replacing_functions();
    registered.extend(replacing.iter().cloned());
    *registered = settled::settled(registered);
    for function in registered.iter_mut() {
        if let Some(limited) = bounded::bounded(function) {
            *function = limited;
        }
    }
    bounded::one_way(builder.table_functions().get_or_insert_default());
    let registered = builder.aggregate_functions().get_or_insert_default();
    registered.extend(aggregates.into_iter().filter(|function| is_free(function.name(), function.aliases())));
    registered.extend(checked::aggregates());
    let registered = builder.window_functions().get_or_insert_default();
    registered.extend(windows.into_iter().filter(|function| is_free(function.name(), function.aliases())));
    registered.extend(window_functions());
    let named = |name: &str| replacing.iter().find(|function| function.name() == name).cloned();
    let planners = builder.expr_planners().get_or_insert_default();
    planners.insert(0, Arc::new(checked::Fractions));
    if let (Some(substring), Some(date_part)) = (named("substring"), named("date_part")) {
        planners.insert(0, Arc::new(spark::SparkPlanner { substring, date_part }));
    }
    builder
}

/// Every name by which a function of the builder can be called.
fn names(builder: &mut SessionStateBuilder) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut add = |name: &str, aliases: &[String]| {
        names.insert(name.to_owned());
        names.extend(aliases.iter().cloned());
    };
    for function in builder.scalar_functions().iter().flatten() {
        add(function.name(), function.aliases());
    }
    for function in builder.aggregate_functions().iter().flatten() {
        add(function.name(), function.aliases());
    }
    for function in builder.window_functions().iter().flatten() {
        add(function.name(), function.aliases());
    }
    for function in builder.higher_order_functions().iter().flatten() {
        add(function.name(), function.aliases());
    }
    names
}
