//! Pieces that several pages have.

use arrow::datatypes::Schema;
use chrono::DateTime;
use pulse_core::manifest::OnFail;
use pulse_core::run::{RunRecord, RunState};
use pulse_engine::type_name::type_name;

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
