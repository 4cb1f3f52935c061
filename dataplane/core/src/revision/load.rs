//! What is counted: time-weighted concurrency for the autoscaler, monotone counters for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Concurrency over time, exact.
#[derive(Debug)]
pub(super) struct Load {
    current: u64,
    /// Request-nanoseconds since the last sample.
    area: u128,
    changed: Instant,
    sampled: Instant,
    requests: u64,
}

/// One interval of [`Load`].
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) concurrency: f64,
    pub(super) requests: u64,
    pub(super) current: u64,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self { current: 0, area: 0, changed: now, sampled: now, requests: 0 }
    }

    pub(super) fn current(&self) -> u64 {
        self.current
    }

    fn advance(&mut self, now: Instant) {
        let span = now.saturating_duration_since(self.changed);
        self.area += u128::from(self.current) * span.as_nanos();
        self.changed = now;
    }

    pub(super) fn enter(&mut self, now: Instant) {
        self.advance(now);
        self.current += 1;
    }

    pub(super) fn arrived(&mut self) {
        self.requests += 1;
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.advance(now);
        self.current = self.current.saturating_sub(1);
    }

    /// Ends an interval and begins the next.
    pub(super) fn sample(&mut self, now: Instant) -> Sample {
        self.advance(now);
        let span = now.saturating_duration_since(self.sampled).max(Duration::from_nanos(1));
        #[allow(clippy::cast_precision_loss)] // a mean needs no more than 52 bits
        let concurrency = self.area as f64 / span.as_nanos() as f64;
        let sample = Sample { concurrency, requests: self.requests, current: self.current };
        self.area = 0;
        self.requests = 0;
        self.sampled = now;
        sample
    }

    /// Begins an interval at `now`, after a time without traffic.
    pub(super) fn restart(&mut self, now: Instant) {
        self.area = 0;
        self.requests = 0;
        self.sampled = now;
        self.changed = now;
    }
}

/// Upper bounds of the latency histogram, microseconds.
pub const LATENCY_BOUNDS_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// Monotone counters of one revision.
#[derive(Debug, Default)]
pub struct Counters {
    /// By status class; index 0 is requests without a response.
    pub by_class: [AtomicU64; 6],
    /// Not cumulative; the last is beyond all bounds.
    pub latency: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    /// Sum of latencies.
    pub latency_us: AtomicU64,
    /// Requests that found no replica.
    pub cold: AtomicU64,
    /// Refused because the queue was full.
    pub overflow: AtomicU64,
    /// Connections that a replica refused or broke.
    pub faults: AtomicU64,
}

impl Counters {
    /// Counts one finished request.
    pub fn record(&self, status: u16, latency: Duration) {
        let class = usize::from(status / 100).min(5);
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < micros);
        self.latency[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_us.fetch_add(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Counters, Load};
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    #[test]
    fn concurrency_is_the_mean_over_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut load = Load::new(start);
        load.enter(at(0));
        load.arrived();
        load.enter(at(250));
        load.arrived();
        load.leave(at(750));
        let sample = load.sample(at(1000));
        assert!((sample.concurrency - 1.5).abs() < 1e-9);
        assert_eq!((sample.requests, sample.current), (2, 1));
        load.leave(at(1500));
        let sample = load.sample(at(2000));
        assert!((sample.concurrency - 0.5).abs() < 1e-9);
        assert_eq!((sample.requests, sample.current), (0, 0));
    }

    #[test]
    fn latency_falls_into_the_bucket_that_holds_it() {
        let counters = Counters::default();
        counters.record(200, Duration::from_micros(250));
        counters.record(503, Duration::from_micros(251));
        counters.record(0, Duration::from_secs(60));
        let buckets: Vec<u64> =
            counters.latency.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        assert_eq!((buckets[0], buckets[1], buckets[14]), (1, 1, 1));
        let classes: Vec<u64> =
            counters.by_class.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        assert_eq!(classes, [1, 0, 1, 0, 0, 1]);
    }
}
