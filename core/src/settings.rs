//! Settings of the engine and the cluster: from the config file, then `PULSE_*`, then the command line.

mod access;
mod setting;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use toml::de::DeValue;

pub use setting::{Setting, Value};
pub use table::{SETTINGS, reference_markdown};

use crate::diagnostic::{self, Diagnostic};
use crate::document::{Document, Step};
use crate::error::{Error, Result};
use crate::lease::LeaseOptions;
use crate::retry::RetryPolicy;

/// Every setting with its value. [`SETTINGS`] holds their defaults, ranges and meanings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    pub slots: u64,
    pub target_partition_mib: u64,
    pub memory_mib: u64,
    pub spill_dir: String,
    pub spill_limit_mib: u64,
    pub local_limit_mib: u64,
    pub batch_rows: u64,
    pub max_line_bytes: u64,
    pub raw_text_bytes: u64,
    pub max_object_mib: u64,
    pub commit_attempts: u64,
    pub commit_backoff_ms: u64,
    pub checkpoint_every: u64,
    pub optimize_files: u64,
    pub concurrent_runs: u64,
    pub run_timeout_s: u64,
    pub progress_timeout_s: u64,
    pub run_attempts: u64,
    pub run_backoff_ms: u64,
    pub lease_s: u64,
    pub clock_margin_ms: u64,
    pub store_retries: u64,
    pub store_timeout_s: u64,
    pub scheduler_host: String,
    pub scheduler_port: u16,
    pub api_port: u16,
    pub executor_port: u16,
    pub executor_grpc_port: u16,
    pub metrics_host: String,
    pub metrics_port: u16,
    pub vcores: u64,
    pub heartbeat_s: u64,
    pub executor_timeout_s: u64,
    pub speculation_factor: u64,
    pub drain_timeout_s: u64,
    pub spot_notice_url: String,
    pub grpc_mib: u64,
    pub work_dir: String,
    pub shuffle_ttl_s: u64,
    pub catalog: String,
    pub catalog_prefix: String,
    pub catalog_databases: String,
    pub cluster_spec: String,
    pub cluster_id: String,
    pub scaler: String,
    pub scale_least_nodes: u64,
    pub scale_most_nodes: u64,
    pub scale_out_after_s: u64,
    pub scale_in_after_s: u64,
    pub scale_cooldown_s: u64,
    pub busy_file: String,
    pub api_host: String,
    pub api_certificate: String,
    pub api_key: String,
    pub api_authority: String,
    pub api_token_source: String,
    pub api_clients: String,
    pub api_calls_per_minute: u64,
    pub audit_log: String,
    pub cluster_certificates: String,
    pub insecure_cluster_anyone_can_run_code: String,
    pub insecure_api_token_in_the_clear: String,
    pub allowed_lakes: String,
    pub allowed_roots: String,
    pub allowed_databases: String,
    pub task_places: String,
    pub ledger_seal: String,
    pub driven_triggers: u64,
    pub queued_triggers: u64,
    pub scheduler_runs: u64,
    pub queues: String,
    pub queue: String,
    pub driver_attempts: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::blank();
        for setting in SETTINGS {
            match setting.value {
                Value::Number { default, field, .. } => *field(&mut settings) = default,
                Value::Port { default, field } => *field(&mut settings) = default,
                Value::Text { default, field } | Value::Choice { default, field, .. } => {
                    default.clone_into(field(&mut settings));
                }
            }
        }
        settings
    }
}

/// Where values come from; a later one wins over an earlier one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SettingsLayers<'a> {
    /// Path and text of the config file.
    pub config: Option<(&'a str, &'a str)>,
    /// Path and text of files that hold settings in a table `settings`; later ones are stronger.
    pub tables: &'a [(&'a str, &'a str)],
    /// Top-level keys of the config file that are no settings: the caller reads them itself.
    pub other_keys: &'a [&'a str],
    /// All variables of the environment, or those that begin with `PULSE_`.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// Setting's key to its text.
    pub command_line: Option<&'a BTreeMap<String, String>>,
}

impl Settings {
    /// # Errors
    /// `Invalid` with each wrong value: its key, where it was set, the value and what is allowed.
    pub fn parse(layers: &SettingsLayers<'_>) -> Result<Self> {
        let mut settings = Self::default();
        if let Some((path, text)) = layers.config {
            settings.apply_config(path, text, &[], layers.other_keys)?;
        }
        for (path, text) in layers.tables {
            settings.apply_config(path, text, &["settings"], &[])?;
        }
        let mut problems = Vec::new();
        for setting in SETTINGS {
            let variable = setting.env();
            if let Some(text) = layers.environment.and_then(|environment| environment.get(&variable)) {
                problems.extend(settings.apply_text(setting, text, &format!("from {variable}")));
            }
        }
        for (key, text) in layers.command_line.into_iter().flatten() {
            match find(key) {
                Some(setting) => {
                    problems.extend(settings.apply_text(setting, text, &format!("from --set {key}")));
                }
                None => problems.push(format!("there is no setting `{key}`: {}", known_keys(key, &[]))),
            }
        }
        if problems.is_empty() {
            problems = settings.contradictions();
        }
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(Error::invalid(problems.join("\n"))),
        }
    }

    /// What was asked for; none leaves it to the job's history.
    pub fn run_timeout(&self) -> Option<TimeDelta> {
        Some(self.run_timeout_s).filter(|seconds| *seconds > 0).map(seconds)
    }

    /// A run's shuffle files are gone after this, so no run may take longer.
    pub fn longest_run(&self) -> TimeDelta {
        seconds(self.shuffle_ttl_s)
    }

    pub fn progress_timeout(&self) -> TimeDelta {
        seconds(self.progress_timeout_s)
    }

    pub fn retry(&self) -> RetryPolicy {
        let attempts = u32::try_from(self.run_attempts).unwrap_or(u32::MAX);
        RetryPolicy { attempts, backoff: millis(self.run_backoff_ms) }
    }

    pub fn lease(&self) -> LeaseOptions {
        LeaseOptions { length: seconds(self.lease_s), clock_margin: millis(self.clock_margin_ms) }
    }

    pub fn store_timeout(&self) -> Duration {
        Duration::from_secs(self.store_timeout_s)
    }

    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_s)
    }

    pub fn executor_timeout(&self) -> Duration {
        Duration::from_secs(self.executor_timeout_s)
    }

    pub fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_s)
    }

    pub fn commit_backoff(&self) -> Duration {
        Duration::from_millis(self.commit_backoff_ms)
    }

    /// Filled from the table at once.
    fn blank() -> Self {
        Self {
            slots: 0,
            target_partition_mib: 0,
            memory_mib: 0,
            spill_dir: String::new(),
            spill_limit_mib: 0,
            local_limit_mib: 0,
            batch_rows: 0,
            max_line_bytes: 0,
            raw_text_bytes: 0,
            max_object_mib: 0,
            commit_attempts: 0,
            commit_backoff_ms: 0,
            checkpoint_every: 0,
            optimize_files: 0,
            concurrent_runs: 0,
            run_timeout_s: 0,
            progress_timeout_s: 0,
            run_attempts: 0,
            run_backoff_ms: 0,
            lease_s: 0,
            clock_margin_ms: 0,
            store_retries: 0,
            store_timeout_s: 0,
            scheduler_host: String::new(),
            scheduler_port: 0,
            api_port: 0,
            executor_port: 0,
            executor_grpc_port: 0,
            metrics_host: String::new(),
            metrics_port: 0,
            vcores: 0,
            heartbeat_s: 0,
            executor_timeout_s: 0,
            speculation_factor: 0,
            drain_timeout_s: 0,
            spot_notice_url: String::new(),
            grpc_mib: 0,
            work_dir: String::new(),
            shuffle_ttl_s: 0,
            catalog: String::new(),
            catalog_prefix: String::new(),
            catalog_databases: String::new(),
            cluster_spec: String::new(),
            cluster_id: String::new(),
            scaler: String::new(),
            scale_least_nodes: 0,
            scale_most_nodes: 0,
            scale_out_after_s: 0,
            scale_in_after_s: 0,
            scale_cooldown_s: 0,
            busy_file: String::new(),
            api_host: String::new(),
            api_certificate: String::new(),
            api_key: String::new(),
            api_authority: String::new(),
            api_token_source: String::new(),
            api_clients: String::new(),
            api_calls_per_minute: 0,
            audit_log: String::new(),
            cluster_certificates: String::new(),
            insecure_cluster_anyone_can_run_code: String::new(),
            insecure_api_token_in_the_clear: String::new(),
            allowed_lakes: String::new(),
            allowed_roots: String::new(),
            allowed_databases: String::new(),
            task_places: String::new(),
            ledger_seal: String::new(),
            driven_triggers: 0,
            queued_triggers: 0,
            scheduler_runs: 0,
            queues: String::new(),
            queue: String::new(),
            driver_attempts: 0,
        }
    }

    fn apply_config(&mut self, path: &str, text: &str, within: &[&str], other_keys: &[&str]) -> Result<()> {
        let (_, document) = Document::parse::<toml::Table>(path, text).map_err(Error::from_diagnostics)?;
        let mut problems = Vec::new();
        for (key, value) in document.entries_of(within) {
            let place: Vec<Step<'_>> = within.iter().copied().chain([key]).map(Step::Key).collect();
            if other_keys.contains(&key) {
                continue;
            }
            let Some(setting) = find(key) else {
                let problem = document.at_key(&place, format!("there is no setting `{key}`"));
                problems.push(problem.with_help(known_keys(key, other_keys)));
                continue;
            };
            if let Err(expected) = self.apply_toml(setting, value) {
                let message = format!("`{key}` cannot be {}", text_of(text, &document, &place));
                problems.push(document.at_value(&place, message).with_help(format!("use {expected}")));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::from_diagnostics(problems)),
        }
    }

    /// # Errors
    /// What is allowed.
    fn apply_toml(&mut self, setting: &Setting, value: &DeValue<'_>) -> std::result::Result<(), String> {
        match (setting.value, value) {
            (Value::Number { .. } | Value::Port { .. }, DeValue::Integer(number)) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| setting.allowed())?;
                self.set_number(setting, number)
            }
            (Value::Text { field, .. }, DeValue::String(text)) => {
                text.as_ref().clone_into(field(self));
                Ok(())
            }
            (Value::Choice { .. }, DeValue::String(text)) => self.choose(setting, text),
            (Value::Choice { .. }, DeValue::Boolean(yes)) => self.choose(setting, if *yes { "true" } else { "false" }),
            (Value::Number { .. } | Value::Port { .. } | Value::Text { .. } | Value::Choice { .. }, _) => {
                Err(setting.allowed())
            }
        }
    }

    fn apply_text(&mut self, setting: &Setting, text: &str, origin: &str) -> Option<String> {
        let applied = match setting.value {
            Value::Number { .. } | Value::Port { .. } => {
                text.trim().parse().map_err(|_| setting.allowed()).and_then(|number| self.set_number(setting, number))
            }
            Value::Text { field, .. } => {
                text.clone_into(field(self));
                Ok(())
            }
            Value::Choice { .. } => self.choose(setting, text),
        };
        applied.err().map(|allowed| format!("`{}` cannot be `{text}` ({origin}): use {allowed}", setting.key))
    }

    fn set_number(&mut self, setting: &Setting, number: u64) -> std::result::Result<(), String> {
        match setting.value {
            Value::Number { field, least, most, .. } if (least..=most).contains(&number) => {
                *field(self) = number;
                Ok(())
            }
            Value::Port { field, .. } => {
                *field(self) = u16::try_from(number).map_err(|_| setting.allowed())?;
                Ok(())
            }
            Value::Number { .. } | Value::Text { .. } | Value::Choice { .. } => Err(setting.allowed()),
        }
    }

    fn choose(&mut self, setting: &Setting, word: &str) -> std::result::Result<(), String> {
        match setting.value {
            Value::Choice { words, field, .. } if words.contains(&word) => {
                word.clone_into(field(self));
                Ok(())
            }
            Value::Number { .. } | Value::Port { .. } | Value::Text { .. } | Value::Choice { .. } => {
                Err(setting.allowed())
            }
        }
    }

    /// Values that are allowed each and not together.
    fn contradictions(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.executor_timeout_s < 2 * self.heartbeat_s {
            problems.push(format!(
                "`executor_timeout_s` is {} and `heartbeat_s` is {}: one late heartbeat would lose an executor; use at least {}",
                self.executor_timeout_s,
                self.heartbeat_s,
                2 * self.heartbeat_s
            ));
        }
        if self.shuffle_ttl_s < self.run_timeout_s {
            problems.push(format!(
                "`shuffle_ttl_s` is {} and `run_timeout_s` is {}: a long run would lose its own files; use at least {}",
                self.shuffle_ttl_s, self.run_timeout_s, self.run_timeout_s
            ));
        }
        if self.api_certificate.is_empty() != self.api_key.is_empty() {
            problems.push("`api_certificate` and `api_key` belong together: set both or none".to_owned());
        }
        if !self.cluster_certificates.is_empty() && self.insecure_cluster_anyone_can_run_code == "true" {
            problems.push(
                "`cluster_certificates` is set and `insecure_cluster_anyone_can_run_code` is \"true\": remove one of them".to_owned(),
            );
        }
        if self.scaler == "emr" && self.cluster_id.is_empty() {
            problems.push("`scaler` is `emr` and `cluster_id` is empty: set it, or `scaler = \"none\"`".to_owned());
        }
        if self.scale_most_nodes < self.scale_least_nodes {
            problems.push(format!(
                "`scale_most_nodes` is {} and `scale_least_nodes` is {}: use at least {}",
                self.scale_most_nodes, self.scale_least_nodes, self.scale_least_nodes
            ));
        }
        // Scheduler and executors may be on different machines; the ports of one of them are not.
        let pairs = [
            (("scheduler_port", self.scheduler_port), ("api_port", self.api_port)),
            (("executor_port", self.executor_port), ("executor_grpc_port", self.executor_grpc_port)),
            (("executor_port", self.executor_port), ("metrics_port", self.metrics_port)),
            (("executor_grpc_port", self.executor_grpc_port), ("metrics_port", self.metrics_port)),
        ];
        for ((key, port), (other_key, other_port)) in pairs {
            if port == other_port && port != 0 {
                problems.push(format!("`{key}` and `{other_key}` are both {port}: use two ports"));
            }
        }
        problems
    }
}

fn seconds(count: u64) -> TimeDelta {
    millis(count.saturating_mul(1000))
}

fn millis(count: u64) -> TimeDelta {
    i64::try_from(count).ok().and_then(TimeDelta::try_milliseconds).unwrap_or(TimeDelta::MAX)
}

fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn known_keys(wrong: &str, other_keys: &[&str]) -> String {
    let keys = SETTINGS.iter().map(|setting| setting.key).chain(other_keys.iter().copied());
    match diagnostic::closest(wrong, keys) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "docs/reference/settings.md lists them".to_owned(),
    }
}

/// The value as it was written.
fn text_of<'t>(text: &'t str, document: &Document<'_>, place: &[Step<'_>]) -> &'t str {
    let Diagnostic { span, .. } = document.at_value(place, "");
    &text[span]
}

#[cfg(test)]
mod tests;
