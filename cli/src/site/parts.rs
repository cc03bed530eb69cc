//! Pieces that several pages have.

use arrow::datatypes::{DataType, Schema};
use chrono::DateTime;
use pulse_core::manifest::OnFail;
use pulse_core::run::{RunRecord, RunState};

use super::html::{Html, framed, moment};
use super::{Site, path};
use crate::graph::{Node, Use, svg};

/// Links to what reads a node, from a page that lies `up` from the site's folder.
pub(super) fn read_by(site: &Site, place: usize, up: &str) -> Html {
    links(site.lineage.downstream(place), up)
}

pub(super) fn links<'a>(nodes: impl Iterator<Item = (&'a Node, Use)>, up: &str) -> Html {
    let link = |(node, how): (&Node, Use)| {
        let mut link = Html::link(&format!("{up}{}", path(node)), &node.name);
        if how == Use::Refers {
            link.push(&Html::text(" (looks up values)"));
        }
        link
    };
    Html::joined(nodes.map(link), ", ")
}

/// What a node is computed from and what is computed from it; nothing when it stands alone.
pub(super) fn neighbourhood(site: &Site, name: &str, up: &str) -> Html {
    match site.lineage.around(&[name.to_owned()]) {
        Ok(around) if around.nodes.len() > 1 => {
            framed(&svg(&around, &format!("Graph around {name}"), &|node: &Node| Some(format!("{up}{}", path(node)))))
        }
        Ok(_) | Err(_) => Html::default(),
    }
}

/// The state in its colour, and when it began.
pub(super) fn run_state(record: &RunRecord) -> Html {
    let class = match record.state {
        RunState::Succeeded | RunState::Unchanged => "good",
        RunState::Failed | RunState::Lost => "bad",
        RunState::Cancelled | RunState::Skipped => "mind",
        RunState::Queued | RunState::Planning | RunState::Running | RunState::Committing => "plain",
    };
    let mut state = Html::badge(class, &record.state.to_string());
    if let Some(at) = started(record) {
        state.push(&Html::text(&format!(" {at}")));
    }
    state
}

pub(super) fn started(record: &RunRecord) -> Option<String> {
    record.started.and_then(DateTime::from_timestamp_millis).map(moment)
}

pub(super) fn on_fail(on_fail: OnFail) -> Html {
    match on_fail {
        OnFail::Warn => Html::badge("plain", "warn"),
        OnFail::Drop => Html::badge("mind", "drop"),
        OnFail::Quarantine => Html::badge("mind", "quarantine"),
        OnFail::Fail => Html::badge("bad", "fail"),
    }
}

/// Names and types of a table.
pub(super) fn columns(schema: &Schema) -> Vec<(String, String)> {
    schema.fields().iter().map(|field| (field.name().clone(), type_name(field.data_type()))).collect()
}

/// A type with the name that manifests have for it.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => format!("decimal({digits},{scale})"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp_ntz".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("array<{}>", type_name(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{}:{}", field.name(), type_name(field.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(","))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                let pair: Vec<String> = pair.iter().map(|field| type_name(field.data_type())).collect();
                format!("map<{}>", pair.join(","))
            }
            other => format!("map<{}>", type_name(other)),
        },
        other => other.to_string(),
    }
}
