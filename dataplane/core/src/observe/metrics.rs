//! Metrics in the Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::revision::{Revision, LATENCY_BOUNDS_US};
use crate::routing::Table;

/// Counters that belong to no revision.
#[derive(Debug, Default)]
pub struct GatewayCounters {
    /// Client connections open now.
    pub connections: AtomicU64,
    /// Client connections refused because too many were open.
    pub refused: AtomicU64,
    /// Requests answered by the gateway itself, by status class.
    pub own_by_class: [AtomicU64; 6],
}

impl GatewayCounters {
    /// Counts a request that no revision saw.
    pub fn record_own(&self, status: u16) {
        self.own_by_class[usize::from(status / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    }
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}

/// All metrics, now.
pub(super) fn render(table: &Table, gateway: &GatewayCounters, log_dropped: u64) -> String {
    let mut text = Text(String::with_capacity(16 * 1024));
    let held = table.held();
    text.head("knarr_gateway_config_version", "gauge", "Version of the configuration in force.");
    let label = format!("epoch=\"{}\"", escape(&held.epoch));
    text.value("knarr_gateway_config_version", &label, held.version);
    render_gateway(&mut text, gateway, log_dropped);
    let mut revisions = table.revisions.all();
    revisions.sort_by(|a, b| a.key().cmp(b.key()));
    let labelled: Vec<(String, &Revision)> =
        revisions.iter().map(|revision| (labels_of(revision), &**revision)).collect();
    render_requests(&mut text, &labelled);
    render_load(&mut text, &labelled);
    render_latency(&mut text, &labelled);
    text.0
}

fn render_gateway(text: &mut Text, gateway: &GatewayCounters, log_dropped: u64) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    text.head("knarr_gateway_connections", "gauge", "Client connections open.");
    text.value("knarr_gateway_connections", "", load(&gateway.connections));
    text.head("knarr_gateway_connections_refused_total", "counter", "Client connections refused.");
    text.value("knarr_gateway_connections_refused_total", "", load(&gateway.refused));
    text.head("knarr_gateway_access_log_dropped_total", "counter", "Access log lines dropped.");
    text.value("knarr_gateway_access_log_dropped_total", "", log_dropped);
    text.head("knarr_gateway_own_responses_total", "counter", "Answers that no revision gave.");
    for (class, counter) in CLASSES.iter().zip(&gateway.own_by_class).filter(|(_, c)| load(c) > 0) {
        let label = format!("code_class=\"{class}\"");
        text.value("knarr_gateway_own_responses_total", &label, load(counter));
    }
}

type Read = fn(&Revision) -> &AtomicU64;

fn render_requests(text: &mut Text, revisions: &[(String, &Revision)]) {
    text.head("knarr_gateway_requests_total", "counter", "Requests ended, by status class.");
    for (labels, revision) in revisions {
        for (class, counter) in CLASSES.iter().zip(&revision.counters.by_class) {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                let labels = format!("{labels},code_class=\"{class}\"");
                text.value("knarr_gateway_requests_total", &labels, count);
            }
        }
    }
    let totals: [(&str, &str, Read); 3] = [
        (
            "knarr_gateway_cold_starts_total",
            "Times a revision without replica was asked for.",
            |r| &r.counters.cold,
        ),
        ("knarr_gateway_queue_overflow_total", "Requests refused by a full queue.", |r| {
            &r.counters.overflow
        }),
        ("knarr_gateway_replica_faults_total", "Connections refused or broken by replicas.", |r| {
            &r.counters.faults
        }),
    ];
    for (name, help, read) in totals {
        text.head(name, "counter", help);
        for (labels, revision) in revisions {
            let count = read(revision).load(Ordering::Relaxed);
            if count > 0 {
                text.value(name, labels, count);
            }
        }
    }
}

fn render_load(text: &mut Text, revisions: &[(String, &Revision)]) {
    let loads: Vec<(u64, u64)> = revisions.iter().map(|(_, r)| r.load_now()).collect();
    text.head("knarr_gateway_in_flight", "gauge", "Requests at replicas.");
    for ((labels, _), (in_flight, _)) in revisions.iter().zip(&loads) {
        if *in_flight > 0 {
            text.value("knarr_gateway_in_flight", labels, in_flight);
        }
    }
    text.head("knarr_gateway_queued", "gauge", "Requests that wait for a replica or a slot.");
    for ((labels, _), (_, queued)) in revisions.iter().zip(&loads) {
        if *queued > 0 {
            text.value("knarr_gateway_queued", labels, queued);
        }
    }
}

fn render_latency(text: &mut Text, revisions: &[(String, &Revision)]) {
    const NAME: &str = "knarr_gateway_request_duration_seconds";
    text.head(NAME, "histogram", "Until the response ended.");
    for (labels, revision) in revisions {
        let counters = &revision.counters;
        let buckets: Vec<u64> =
            counters.latency.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = buckets.iter().sum();
        if total == 0 {
            continue;
        }
        let mut below = 0;
        for (bound, count) in LATENCY_BOUNDS_US.iter().zip(&buckets) {
            below += count;
            let labels = format!("{labels},le=\"{}\"", seconds(*bound));
            text.value(&format!("{NAME}_bucket"), &labels, below);
        }
        text.value(&format!("{NAME}_bucket"), &format!("{labels},le=\"+Inf\""), total);
        let sum = counters.latency_us.load(Ordering::Relaxed);
        text.value(&format!("{NAME}_sum"), labels, seconds(sum));
        text.value(&format!("{NAME}_count"), labels, total);
    }
}

fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn labels_of(revision: &Revision) -> String {
    let (namespace, name) = revision.key().split_once('/').unwrap_or(("", revision.key()));
    let labels = revision.labels();
    format!(
        "namespace=\"{}\",revision=\"{}\",service=\"{}\",configuration=\"{}\"",
        escape(namespace),
        escape(name),
        escape(&labels.service),
        escape(&labels.configuration),
    )
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{escape, seconds};

    #[test]
    fn numbers_and_labels_are_written_as_prometheus_reads_them() {
        assert_eq!(
            [250, 1_000_000, 1_500_000, 0].map(seconds),
            ["0.00025", "1", "1.5", "0"].map(str::to_owned)
        );
        assert_eq!(escape("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }
}
