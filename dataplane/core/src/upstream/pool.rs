//! Idle connections of one replica.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::http1::Http1;
use super::http2::Http2;

/// Idle connections kept per replica; further ones are closed.
const MAX_IDLE: usize = 256;
/// A connection that waited longer is not given a request that cannot be repeated: the replica may
/// be about to close it (the shortest keep-alive timeouts in use are 2 s).
const FRESH: Duration = Duration::from_millis(1_500);
/// Streams on one HTTP/2 connection before another is made.
const STREAMS_PER_CONNECTION: usize = 64;

#[derive(Debug)]
struct Idle {
    connection: Box<Http1>,
    since: Instant,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Idle>,
    shared: Vec<Http2>,
    closed: bool,
}

/// Connections of one replica that wait for a request, and shared HTTP/2 connections.
#[derive(Debug, Default)]
pub struct Pool {
    state: Mutex<State>,
}

impl Pool {
    /// The connection used last that is still open. Without `repeatable` only one that was used a
    /// moment ago.
    pub fn take(&self, now: Instant, repeatable: bool) -> Option<Box<Http1>> {
        let mut state = self.state.lock();
        while let Some(idle) = state.idle.last() {
            let fresh = now.saturating_duration_since(idle.since) < FRESH;
            if !repeatable && !fresh {
                return None;
            }
            let taken = state.idle.pop().map(|idle| idle.connection);
            if taken.as_ref().is_some_and(|connection| connection.is_ready()) {
                return taken;
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub fn put(&self, connection: Box<Http1>, now: Instant) {
        let mut state = self.state.lock();
        if !state.closed && state.idle.len() < MAX_IDLE {
            state.idle.push(Idle { connection, since: now });
        }
    }

    /// An HTTP/2 connection with room for a stream.
    pub fn share(&self) -> Option<Http2> {
        let mut state = self.state.lock();
        state.shared.retain(|connection| !connection.is_closed());
        let least = state.shared.iter().min_by_key(|connection| connection.streams())?;
        (least.streams() < STREAMS_PER_CONNECTION).then(|| least.clone())
    }

    /// Offers a new HTTP/2 connection to other requests.
    pub fn offer(&self, connection: Http2) {
        let mut state = self.state.lock();
        if !state.closed {
            state.shared.push(connection);
        }
    }

    /// Closes what waited longer than `limit`; how many connections are left.
    pub fn sweep(&self, now: Instant, limit: Duration) -> usize {
        let mut state = self.state.lock();
        state.idle.retain(|idle| now.saturating_duration_since(idle.since) < limit);
        state.shared.retain(|connection| !connection.is_closed());
        if state.idle.is_empty() {
            state.idle.shrink_to_fit();
        }
        state.idle.len()
    }

    /// The replica is gone: idle connections close, later ones are not kept.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.idle.clear();
        state.shared.clear();
    }
}
