//! A replica and the connections to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol;
use crate::upstream::Pool;

/// A running copy of a revision. The pool lives and dies with it, so an answer can never come over
/// a connection that was made to somebody else at the same address.
#[derive(Debug)]
pub struct Replica {
    /// The sandbox id.
    pub id: String,
    /// Of the application.
    pub address: SocketAddr,
    /// Connections that wait for the next request.
    pub pool: Pool,
    in_flight: AtomicU32,
}

impl Replica {
    /// `None` when the address is not an IP address.
    pub(super) fn parse(replica: &protocol::Replica) -> Option<Self> {
        let ip = replica.address.parse().ok()?;
        Some(Self {
            id: replica.id.clone(),
            address: SocketAddr::new(ip, replica.port),
            pool: Pool::default(),
            in_flight: AtomicU32::new(0),
        })
    }

    /// Requests at the replica. Changed only under the revision's lock.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) {
        self.in_flight.store(self.in_flight() + 1, Ordering::Relaxed);
    }

    /// What is left.
    pub(super) fn leave(&self) -> u32 {
        let left = self.in_flight().saturating_sub(1);
        self.in_flight.store(left, Ordering::Relaxed);
        left
    }
}
