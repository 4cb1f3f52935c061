//! What is remembered of a request until it ended, and then counted and logged.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::request::Parts;
use http::Version;

use super::client::Client;
use super::Gateway;
use crate::observe::Entry;
use crate::revision::Revision;

/// One request; dropping it counts it.
pub(super) struct Record {
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    started: Instant,
    revision: Option<Arc<Revision>>,
    /// 0 until a response is begun.
    pub(super) status: u16,
    /// Of the response body.
    pub(super) bytes: u64,
    entry: Option<Box<Entry>>,
}

impl Record {
    pub(super) fn begin(gateway: Arc<Gateway>, client: Arc<Client>, parts: &Parts) -> Self {
        client.begin();
        let entry = gateway.access_log.is_some().then(|| Box::new(entry_of(&client, parts)));
        let started = Instant::now();
        Self { gateway, client, started, revision: None, status: 0, bytes: 0, entry }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The request is for this revision.
    pub(super) fn at_revision(&mut self, revision: &Arc<Revision>) {
        self.revision = Some(Arc::clone(revision));
    }

    /// The request is sent to this replica.
    pub(super) fn at_replica(&mut self, replica: &str) {
        if let Some(entry) = &mut self.entry {
            replica.clone_into(&mut entry.replica);
        }
    }

    /// The request found no replica.
    pub(super) fn is_cold(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.cold = true;
        }
    }
}

fn entry_of(client: &Client, parts: &Parts) -> Entry {
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let host = match parts.uri.authority() {
        Some(authority) => authority.to_string(),
        None => header("host"),
    };
    Entry {
        ended: SystemTime::UNIX_EPOCH,
        peer: client.peer.to_string(),
        host,
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        protocol: match parts.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        status: 0,
        bytes: 0,
        duration_us: 0,
        revision: String::new(),
        service: String::new(),
        replica: String::new(),
        cold: false,
        trace: header("traceparent"),
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = Instant::now();
        let latency = now.saturating_duration_since(self.started);
        match &self.revision {
            Some(revision) => revision.counters.record(self.status, latency),
            None => self.gateway.counters.record_own(self.status),
        }
        self.client.end(now);
        if let (Some(mut entry), Some(log)) = (self.entry.take(), &self.gateway.access_log) {
            entry.ended = SystemTime::now();
            entry.status = self.status;
            entry.bytes = self.bytes;
            entry.duration_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            if let Some(revision) = &self.revision {
                entry.revision = revision.key().to_string();
                entry.service.clone_from(&revision.labels().service);
            }
            log.write(entry);
        }
    }
}
