//! Maps PostgreSQL errors to error kinds.

use std::error::Error as _;

use pulse_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

/// `doing` describes the operation that failed.
pub(crate) fn from_postgres(doing: &str, error: &tokio_postgres::Error) -> Error {
    let Some(answer) = error.as_db_error() else {
        let (kind, remedy) = without_answer(error);
        return Error::new(kind, format!("{doing}: {}{remedy}", causes(error)));
    };
    let (kind, remedy) = of_state(answer.code());
    let detail = answer.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    Error::new(kind, format!("{doing}: {} [{}]{detail}{remedy}", answer.message(), answer.code().code()))
}

fn of_state(state: &SqlState) -> (ErrorKind, &'static str) {
    use ErrorKind::{Invalid, Unavailable};
    match *state {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            (Invalid, "check the user in `url`, and what `password` refers to")
        }
        SqlState::INVALID_CATALOG_NAME => (Invalid, "check the database in `url`"),
        SqlState::INSUFFICIENT_PRIVILEGE => (Invalid, "grant the user `select` on it, and `usage` on its schema"),
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME => {
            (Invalid, "check `table` or `query` in sources.toml")
        }
        SqlState::UNDEFINED_COLUMN => (Invalid, "check `columns`, `rename` and `query` in sources.toml"),
        SqlState::QUERY_CANCELED => {
            (Unavailable, "somebody cancelled the query, or `statement_timeout` of the user is shorter than it takes")
        }
        SqlState::LOCK_NOT_AVAILABLE => (Unavailable, "somebody holds a lock on the table, such as `alter table`"),
        SqlState::TOO_MANY_CONNECTIONS => {
            (Unavailable, "lower `connections` in sources.toml, or raise `max_connections`")
        }
        SqlState::UNDEFINED_OBJECT | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            (Unavailable, "the snapshot is gone; it is taken again at the next attempt")
        }
        _ => match state.code().get(..2) {
            // Connection, resources, operator intervention, recovery of a standby, system error.
            Some("08" | "53" | "57" | "40" | "58") => (Unavailable, ""),
            Some("22") => (ErrorKind::Data, "correct the value, or the expression in `query`"),
            _ => (Invalid, ""),
        },
    }
}

fn without_answer(error: &tokio_postgres::Error) -> (ErrorKind, &'static str) {
    let text = causes(error);
    if text.contains("certificate") || text.contains("UnknownIssuer") {
        return (
            ErrorKind::Invalid,
            "; `root_certificate` in sources.toml names the certificates to trust, and `url` the host as the certificate has it",
        );
    }
    if text.contains("does not support TLS") {
        return (
            ErrorKind::Invalid,
            "; turn TLS on at the server, or write `sslmode = \"disable\"` if its network can be trusted",
        );
    }
    if text.contains("password missing") {
        return (ErrorKind::Invalid, "; say where it is: `password = \"env:NAME\"` or `\"file:/path\"`");
    }
    (ErrorKind::Unavailable, "; check host and port in `url`, and that the server is reached from here")
}

/// The error and its sources, as far as they add something.
fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_by_remedy() {
        for (state, kind) in [
            ("28P01", ErrorKind::Invalid),
            ("42P01", ErrorKind::Invalid),
            ("42703", ErrorKind::Invalid),
            ("57014", ErrorKind::Unavailable),
            ("57P01", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("40001", ErrorKind::Unavailable),
            ("08006", ErrorKind::Unavailable),
            ("22012", ErrorKind::Data),
            ("42601", ErrorKind::Invalid),
        ] {
            assert_eq!(of_state(&SqlState::from_code(state)).0, kind, "{state}");
        }
    }
}
