//! Scalar functions between instants and the clocks of a place.

mod date_in_zone;
mod offset;
#[cfg(test)]
mod tests;
mod wall_clock;

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};

use date_in_zone::DateInZone;
use wall_clock::WallClock;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(DateInZone::new())), Arc::new(ScalarUDF::from(WallClock::new()))]
}

/// A time zone's name: checked when the query is planned, so that no task meets a wrong one.
fn parse_zone(function: &str, literal: Option<&ScalarValue>) -> Result<Tz> {
    let Some(name) = literal.and_then(|literal| literal.try_as_str().flatten()) else {
        return plan_err!("{function}: `zone` must be a literal such as 'America/New_York'");
    };
    name.parse().map_err(|_| {
        plan_datafusion_err!("{function}: '{name}' is not a time zone: use an IANA name such as 'America/New_York'")
    })
}

/// The constant that an argument is at execution, where planning has seen that it is one.
fn literal_at(arguments: &[ColumnarValue], index: usize) -> Result<&ScalarValue> {
    match arguments.get(index) {
        Some(ColumnarValue::Scalar(literal)) => Ok(literal),
        Some(ColumnarValue::Array(_)) | None => {
            Err(internal_datafusion_err!("argument {index} was a literal in the plan and is none at execution"))
        }
    }
}
