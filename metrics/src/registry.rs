//! The metrics of one process.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{self, Metric};
use pulse_core::{Error, Result};

use crate::described::{Described, Kind};
use crate::families::FAMILIES;
use crate::process::Figures;

/// Of [`Registry::encode`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Metrics under the names of [`FAMILIES`].
#[derive(Debug, Default)]
pub struct Registry(registry::Registry);

impl Registry {
    /// With what the kernel knows of the process.
    pub fn of(process: Process) -> Self {
        let mut registry = registry::Registry::default();
        registry.register_collector(Box::new(process));
        Self(registry)
    }

    /// Registers a metric under a name of [`FAMILIES`], and returns it.
    ///
    /// # Errors
    /// `Internal` for another name: it would be in no reference.
    pub fn add<M: Metric + Clone>(&mut self, name: &str, metric: M) -> Result<M> {
        let family = described(name)?;
        self.0.register(base(family), family.meaning, metric.clone());
        Ok(metric)
    }

    /// In Prometheus' text format.
    ///
    /// # Errors
    /// `Internal` when a metric cannot be written.
    pub fn encode(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)
            .map_err(|e| Error::internal("a metric cannot be written").with_source(e))?;
        Ok(text)
    }
}

fn described(name: &str) -> Result<&'static Described> {
    let family = FAMILIES.iter().find(|family| family.name == name);
    family.ok_or_else(|| Error::internal(format!("metric {name} is not described")))
}

/// The encoder adds the suffix of a counter.
fn base(family: &Described) -> &'static str {
    match family.kind {
        Kind::Counter => family.name.strip_suffix("_total").unwrap_or(family.name),
        Kind::Gauge | Kind::Histogram => family.name,
    }
}

/// What is known of this process. The kernel is asked once for each scrape.
#[derive(Debug)]
pub struct Process {
    version: &'static str,
    build: String,
    memory_bytes: u64,
}

impl Process {
    /// `memory_bytes` is what the process may use.
    pub fn new(build: String, memory_bytes: u64) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), build, memory_bytes }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let figures = Figures::read();
        let labels = [("version", self.version), ("build", self.build.as_str())];
        let info = ConstGauge::new(1_i64);
        let mut family = one(&mut encoder, "pulse_build_info", &info)?;
        info.encode(family.encode_family(&labels)?)?;
        gauge(&mut encoder, "pulse_machine_memory_bytes", Some(self.memory_bytes as f64))?;
        if let Some(seconds) = figures.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let metric = one(&mut encoder, "process_cpu_seconds_total", &counter)?;
            counter.encode(metric)?;
        }
        gauge(&mut encoder, "process_resident_memory_bytes", figures.resident_bytes.map(|bytes| bytes as f64))?;
        gauge(&mut encoder, "process_open_fds", figures.open_fds.map(|files| files as f64))?;
        gauge(&mut encoder, "process_max_fds", figures.max_fds.map(|files| files as f64))?;
        gauge(&mut encoder, "process_threads", figures.threads.map(|threads| threads as f64))?;
        gauge(&mut encoder, "process_start_time_seconds", figures.start_seconds)
    }
}

fn one<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &str,
    metric: &impl EncodeMetric,
) -> std::result::Result<prometheus_client::encoding::MetricEncoder<'e>, std::fmt::Error> {
    let family = described(name).map_err(|_| std::fmt::Error)?;
    encoder.encode_descriptor(base(family), family.meaning, None, metric.metric_type())
}

/// Absent without a value.
fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, value: Option<f64>) -> std::fmt::Result {
    let Some(value) = value else { return Ok(()) };
    let gauge = ConstGauge::new(value);
    let metric = one(encoder, name, &gauge)?;
    gauge.encode(metric)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::described::Shows;
    use crate::text::Scraped;

    #[test]
    fn a_process_shows_what_every_process_shows() {
        let registry = Registry::of(Process::new("ab12".to_owned(), 1 << 30));
        let scraped = Scraped::parse(&registry.encode().unwrap()).unwrap();
        let both =
            |line: &String| !line.contains(" pulse_") || line.contains("pulse_build") || line.contains("pulse_machine");
        let differences: Vec<String> = scraped.differences(Shows::Executor).into_iter().filter(both).collect();
        assert_eq!(differences, Vec::<String>::new());
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("build", "ab12")];
        assert_eq!(scraped.value("pulse_build_info", &labels), Some(1.0));
        assert_eq!(scraped.value("pulse_machine_memory_bytes", &[]), Some(f64::from(1 << 30)));
    }

    #[test]
    fn a_metric_has_the_name_and_the_meaning_of_the_reference() {
        let mut registry = Registry::default();
        registry.add("pulse_triggers_submitted_total", Counter::<u64>::default()).unwrap().inc_by(7);
        let text = registry.encode().unwrap();
        assert!(
            text.ends_with("# TYPE pulse_triggers_submitted_total counter\npulse_triggers_submitted_total 7\n"),
            "{text}"
        );
        assert!(text.starts_with("# HELP pulse_triggers_submitted_total New triggers that were accepted;"), "{text}");
        let error = registry.add("pulse_invented", Gauge::<i64>::default()).unwrap_err();
        assert!(error.message().contains("pulse_invented"), "{}", error.message());
    }
}
