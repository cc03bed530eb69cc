//! What a setting is.

use super::Settings;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// In the config file; on the command line with `-` for `_`.
    pub key: &'static str,
    pub value: Value,
    /// One sentence for the reference.
    pub doc: &'static str,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Number {
        default: u64,
        least: u64,
        most: u64,
        field: fn(&mut Settings) -> &mut u64,
    },
    Port {
        default: u16,
        field: fn(&mut Settings) -> &mut u16,
    },
    Text {
        default: &'static str,
        field: fn(&mut Settings) -> &mut String,
    },
    /// One of a few words.
    Choice {
        default: &'static str,
        words: &'static [&'static str],
        field: fn(&mut Settings) -> &mut String,
    },
}

impl Setting {
    /// Its environment variable: `PULSE_` and the key in capitals.
    pub fn env(&self) -> String {
        format!("PULSE_{}", self.key.to_uppercase())
    }

    /// The default as it is written in the config file.
    pub fn default_text(&self) -> String {
        match self.value {
            Value::Number { default, .. } => default.to_string(),
            Value::Port { default, .. } => default.to_string(),
            Value::Text { default, .. } | Value::Choice { default, .. } => format!("\"{default}\""),
        }
    }

    /// Such as `1 to 1024`.
    pub fn allowed(&self) -> String {
        match self.value {
            Value::Number { least, most, .. } => format!("{least} to {most}"),
            Value::Port { .. } => format!("0 to {}", u16::MAX),
            Value::Text { .. } => "a text".to_owned(),
            Value::Choice { words, .. } => words.join(" or "),
        }
    }
}

pub(super) const fn number(
    key: &'static str,
    field: fn(&mut Settings) -> &mut u64,
    default: u64,
    (least, most): (u64, u64),
    doc: &'static str,
) -> Setting {
    Setting { key, value: Value::Number { default, least, most, field }, doc }
}

pub(super) const fn port(
    key: &'static str,
    field: fn(&mut Settings) -> &mut u16,
    default: u16,
    doc: &'static str,
) -> Setting {
    Setting { key, value: Value::Port { default, field }, doc }
}

pub(super) const fn text(
    key: &'static str,
    field: fn(&mut Settings) -> &mut String,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { key, value: Value::Text { default, field }, doc }
}

pub(super) const fn choice(
    key: &'static str,
    field: fn(&mut Settings) -> &mut String,
    words: &'static [&'static str],
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { key, value: Value::Choice { default, words, field }, doc }
}
