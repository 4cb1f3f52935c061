//! Revisions: replicas, the central queue of requests that wait for one, and what is counted.
//!
//! Every request passes [`Revision::admit`] and holds a [`Lease`] until its response ended, so
//! concurrency is exact. All state of a revision is behind one short lock.

mod admit;
mod cold;
mod lifecycle;
mod load;
mod queue;
mod registry;
mod replica;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use admit::{Activation, Admission, Grant, Lease, Ticket};
pub use cold::ColdStep;
pub use lifecycle::DrainNotice;
pub use load::{Counters, LATENCY_BOUNDS_US};
pub use registry::{Registry, RegistryEvents};
pub use replica::Replica;

use crate::protocol;
use load::Load;
use queue::WaitQueue;

/// What a request must know of its revision; copied out of the lock.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Towards the replica.
    pub protocol: protocol::Protocol,
    /// Requests in flight per replica; 0 is unlimited.
    pub container_concurrency: u32,
    /// Of the whole request.
    pub total_timeout: Option<Duration>,
    /// From dispatch to the first byte of the response.
    pub response_start_timeout: Option<Duration>,
    /// Without a byte from the replica.
    pub idle_timeout: Option<Duration>,
    /// Requests that wait before 503.
    pub queue_limit: usize,
}

impl Policy {
    fn of(revision: &protocol::Revision) -> Self {
        let duration = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        Self {
            protocol: revision.protocol,
            container_concurrency: revision.container_concurrency,
            total_timeout: duration(revision.timeout_ms),
            response_start_timeout: duration(revision.response_start_timeout_ms),
            idle_timeout: duration(revision.idle_timeout_ms),
            queue_limit: revision.queue_limit,
        }
    }
}

/// Names of a revision for metrics and the access log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Of the Service, or empty.
    pub service: String,
    /// Of the Configuration, or empty.
    pub configuration: String,
}

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Gets requests.
    Serving,
    /// Named to the server as one to end; gets none until resumed.
    Picked,
    /// Left the table or is being drained; never gets one again.
    Ending,
}

#[derive(Debug)]
struct Slot {
    replica: Arc<Replica>,
    standing: Standing,
    /// Refused a connection; gets none until a probe connected.
    suspect: bool,
    /// Known from an activation only, until this time.
    provisional: Option<Instant>,
    drains: Vec<DrainNotice>,
}

impl Slot {
    fn new(replica: Arc<Replica>, provisional: Option<Instant>) -> Self {
        let standing = Standing::Serving;
        Self { replica, standing, suspect: false, provisional, drains: Vec::new() }
    }
}

/// Whether the registry looks at a revision every second, and what it reported last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Traffic {
    /// Not listed: no traffic and no open connections.
    None,
    /// Listed; the next report follows, be it of zeros.
    Some,
    /// Listed for its open connections; zeros were reported.
    Over,
}

#[derive(Debug)]
struct State {
    /// The table names this revision; otherwise only a route does.
    known: bool,
    policy: Policy,
    labels: Arc<Labels>,
    slots: Vec<Slot>,
    waiters: WaitQueue,
    load: Load,
    traffic: Traffic,
    /// A driver is at work to get a replica.
    cold: bool,
    activation: Option<Arc<Activation>>,
    random: u64,
}

/// One revision and everything counted of it.
#[derive(Debug)]
pub struct Revision {
    key: Arc<str>,
    events: Arc<RegistryEvents>,
    /// Monotone counters for the metrics endpoint.
    pub counters: Counters,
    state: Mutex<State>,
}

impl Revision {
    fn new(key: &str, events: Arc<RegistryEvents>, seed: u64) -> Self {
        let state = State {
            known: false,
            policy: Policy {
                protocol: protocol::Protocol::Http1,
                container_concurrency: 0,
                total_timeout: None,
                response_start_timeout: None,
                idle_timeout: None,
                queue_limit: 0,
            },
            labels: Arc::default(),
            slots: Vec::new(),
            waiters: WaitQueue::default(),
            load: Load::new(Instant::now()),
            traffic: Traffic::None,
            cold: false,
            activation: None,
            random: seed | 1,
        };
        let counters = Counters::default();
        Self { key: key.into(), events, counters, state: Mutex::new(state) }
    }

    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Names for metrics and the access log.
    #[must_use]
    pub fn labels(&self) -> Arc<Labels> {
        Arc::clone(&self.state.lock().labels)
    }

    /// Requests at replicas and requests that wait, now.
    #[must_use]
    pub fn load_now(&self) -> (u64, u64) {
        let state = self.state.lock();
        let queued = state.waiters.len() as u64;
        (state.load.current().saturating_sub(queued), queued)
    }
}

/// The channel on which revisions without a replica ask for a driver. One entry per cold revision
/// at most, so it is bounded by the table.
pub type ColdSender = mpsc::UnboundedSender<Arc<Revision>>;
