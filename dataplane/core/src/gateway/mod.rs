//! The gateway: listeners, the strict grammar, routing, proxying.

mod alarm;
mod client;
mod error;
mod flood;
mod forward;
mod framing;
mod handle;
mod headers;
mod io;
mod listener;
mod record;
mod reply;
mod response;
mod serve;
mod tunnel;
mod websocket;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{watch, Notify, Semaphore};

pub use framing::{Framing, Violation};
pub use listener::{bind, BindError};
pub use reply::Reply;

use crate::link::Outbox;
use crate::observe::{AccessLog, GatewayCounters};
use crate::routing::Table;

/// What all connections share.
pub struct Gateway {
    /// Where requests go.
    pub table: Arc<Table>,
    /// What belongs to no revision.
    pub counters: Arc<GatewayCounters>,
    /// One line per request, if wanted.
    pub access_log: Option<Arc<AccessLog>>,
    outbox: Outbox,
    began: Instant,
    places: Arc<Semaphore>,
    closing: AtomicBool,
    close: watch::Sender<bool>,
    open: AtomicUsize,
    all_closed: Notify,
}

impl Gateway {
    /// A gateway that takes at most `connections` clients at once.
    #[must_use]
    pub fn new(
        table: Arc<Table>,
        outbox: Outbox,
        access_log: Option<Arc<AccessLog>>,
        connections: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            table,
            counters: Arc::default(),
            access_log,
            outbox,
            began: Instant::now(),
            places: Arc::new(Semaphore::new(connections)),
            closing: AtomicBool::new(false),
            close: watch::channel(false).0,
            open: AtomicUsize::new(0),
            all_closed: Notify::new(),
        })
    }

    /// Stops accepting; connections close as soon as they have no request in flight.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.close.send_replace(true);
    }

    /// Connections and tunnels that are still open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until all connections and tunnels are closed.
    pub async fn closed(&self) {
        loop {
            let mut closed = std::pin::pin!(self.all_closed.notified());
            closed.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn enter(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::AcqRel);
        Open(Arc::clone(self))
    }
}

/// Counts a connection or a tunnel until dropped.
struct Open(Arc<Gateway>);

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_closed.notify_waiters();
        }
    }
}
