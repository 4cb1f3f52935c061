//! What is known of a client's connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;

use super::alarm::Alarm;
use crate::protocol::Visibility;

/// Bytes of interim responses that wait to be written; further ones are dropped.
const EARLY_LIMIT: usize = 16 * 1024;

/// What became of a request to switch protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Switch {
    /// Not answered yet.
    Open = 0,
    /// It stays HTTP.
    Refused = 1,
}

/// A connection, shared by its reader and its requests.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) listener: Visibility,
    pub(super) peer: SocketAddr,
    /// The peer's IP as `X-Forwarded-For` has it.
    pub(super) forwarded_for: HeaderValue,
    /// For the deadlines of its requests.
    pub(super) alarm: Alarm,
    began: Instant,
    in_flight: AtomicU32,
    /// Milliseconds from `began` to the end of the last request.
    last_end: AtomicU64,
    switch: AtomicU8,
    /// Of the reader, while it waits for the answer to a request to switch.
    held: Mutex<Option<Waker>>,
    has_early: AtomicBool,
    early: Mutex<Vec<u8>>,
}

impl Client {
    pub(super) fn new(listener: Visibility, peer: SocketAddr, now: Instant) -> Self {
        let ip = peer.ip().to_canonical();
        Self {
            listener,
            peer: SocketAddr::new(ip, peer.port()),
            forwarded_for: HeaderValue::from_str(&ip.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            alarm: Alarm::default(),
            began: now,
            in_flight: AtomicU32::new(0),
            last_end: AtomicU64::new(0),
            switch: AtomicU8::new(Switch::Open as u8),
            held: Mutex::default(),
            has_early: AtomicBool::new(false),
            early: Mutex::default(),
        }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, now: Instant) {
        let since = now.saturating_duration_since(self.began).as_millis();
        self.last_end.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Release);
    }

    /// Since when the connection has had no request; `None` while it has one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.in_flight.load(Ordering::Acquire) == 0)
            .then(|| self.began + Duration::from_millis(self.last_end.load(Ordering::Relaxed)))
    }

    pub(super) fn refuse_switch(&self) {
        self.switch.store(Switch::Refused as u8, Ordering::Release);
        if let Some(reader) = self.held.lock().take() {
            reader.wake();
        }
    }

    /// The reader is to be woken by [`Client::refuse_switch`].
    pub(super) fn hold(&self, reader: &Waker) {
        *self.held.lock() = Some(reader.clone());
    }

    pub(super) fn take_refusal(&self) -> bool {
        self.switch.swap(Switch::Open as u8, Ordering::AcqRel) == Switch::Refused as u8
    }

    /// Queues an interim response (HTTP/1.1 only).
    pub(super) fn send_early(&self, bytes: &[u8]) {
        let mut early = self.early.lock();
        if early.len() + bytes.len() <= EARLY_LIMIT {
            early.extend_from_slice(bytes);
            self.has_early.store(true, Ordering::Release);
        }
    }

    pub(super) fn has_early(&self) -> bool {
        self.has_early.load(Ordering::Acquire)
    }

    pub(super) fn sent_early(&self) {
        self.has_early.store(false, Ordering::Release);
    }

    pub(super) fn early(&self) -> parking_lot::MutexGuard<'_, Vec<u8>> {
        self.early.lock()
    }
}
