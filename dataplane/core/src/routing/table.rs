//! What the server configured. A change of one entry touches that entry only; lookups take one
//! read lock of one shard.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::route::HostRoutes;
use crate::protocol::{Delta, Ingress, Snapshot, Visibility};
use crate::revision::Registry;

const SHARDS: usize = 32;

#[derive(Debug)]
struct Claim {
    ingress: Arc<str>,
    routes: Arc<HostRoutes>,
}

/// One map of hosts. A host that two ingresses claim belongs to the first until it lets go.
#[derive(Debug, Default)]
struct Hosts {
    shards: [RwLock<HashMap<Box<str>, Vec<Claim>>>; SHARDS],
    hasher: RandomState,
}

impl Hosts {
    fn shard(&self, host: &str) -> &RwLock<HashMap<Box<str>, Vec<Claim>>> {
        #[allow(clippy::cast_possible_truncation)] // any bits will do
        let index = self.hasher.hash_one(host) as usize % SHARDS;
        &self.shards[index]
    }

    fn get(&self, host: &str) -> Option<Arc<HostRoutes>> {
        let shard = self.shard(host).read();
        shard.get(host).and_then(|claims| claims.first()).map(|claim| Arc::clone(&claim.routes))
    }

    fn claim(&self, host: &str, ingress: &Arc<str>, routes: Arc<HostRoutes>) {
        let mut shard = self.shard(host).write();
        let claims = shard.entry(host.into()).or_default();
        match claims.iter_mut().find(|claim| claim.ingress == *ingress) {
            Some(claim) => claim.routes = routes,
            None => claims.push(Claim { ingress: Arc::clone(ingress), routes }),
        }
    }

    fn release(&self, host: &str, ingress: &str) {
        let mut shard = self.shard(host).write();
        if let Some(claims) = shard.get_mut(host) {
            claims.retain(|claim| &*claim.ingress != ingress);
            if claims.is_empty() {
                shard.remove(host);
            }
        }
    }
}

/// The version of the configuration that requests are routed by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Empty when nothing is held.
    pub epoch: String,
    /// 0 when nothing is held.
    pub version: u64,
}

/// A delta that does not follow what is held.
#[derive(Debug, PartialEq, Eq)]
pub struct DeltaError {
    /// What is held.
    pub held: u64,
    /// What came.
    pub came: u64,
}

/// Hosts and routes of one ingress, to take back when it changes.
#[derive(Debug, Default)]
struct Record {
    hosts: HashSet<(Visibility, Box<str>)>,
    revisions: HashSet<Arc<str>>,
}

/// The routing table.
#[derive(Debug)]
pub struct Table {
    external: Hosts,
    local: Hosts,
    /// Revisions by key.
    pub revisions: Registry,
    ingresses: Mutex<HashMap<Arc<str>, Record>>,
    held: RwLock<Held>,
    configured: AtomicBool,
    /// Tells those who wait for `configured`.
    first: watch::Sender<bool>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(revisions: Registry) -> Self {
        Self {
            external: Hosts::default(),
            local: Hosts::default(),
            revisions,
            ingresses: Mutex::default(),
            held: RwLock::default(),
            configured: AtomicBool::new(false),
            first: watch::Sender::new(false),
        }
    }

    /// The routes of a host, in the form of [`super::normal_host`], as `listener` sees it.
    #[must_use]
    pub fn find(&self, listener: Visibility, host: &str) -> Option<Arc<HostRoutes>> {
        match listener {
            Visibility::External => self.external.get(host),
            Visibility::Local => self.local.get(host).or_else(|| self.external.get(host)),
        }
    }

    /// Whether a configuration was ever received.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.configured.load(Ordering::Acquire)
    }

    /// Waits for the first configuration, no longer than until `deadline`.
    pub async fn configured_by(&self, deadline: Instant) {
        let mut first = self.first.subscribe();
        let came = first.wait_for(|came| *came);
        drop(tokio::time::timeout_at(deadline.into(), came).await);
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> Held {
        self.held.read().clone()
    }

    /// Replaces everything by the snapshot; what did not change is not disturbed.
    pub fn replace(&self, snapshot: &Snapshot, now: Instant) {
        for revision in &snapshot.revisions {
            self.revisions.mention(&revision.key).update(revision, now);
        }
        for ingress in &snapshot.ingresses {
            self.put_ingress(ingress);
        }
        let ingresses: HashSet<&str> = snapshot.ingresses.iter().map(|i| i.key.as_str()).collect();
        let gone: Vec<Arc<str>> = {
            let held = self.ingresses.lock();
            held.keys().filter(|key| !ingresses.contains(&***key)).cloned().collect()
        };
        for key in gone {
            self.remove_ingress(&key);
        }
        let revisions: HashSet<&str> = snapshot.revisions.iter().map(|r| r.key.as_str()).collect();
        for key in self.revisions.known_keys() {
            if !revisions.contains(&*key) {
                self.remove_revision(&key);
            }
        }
        *self.held.write() = Held { epoch: snapshot.epoch.clone(), version: snapshot.version };
        self.configured.store(true, Ordering::Release);
        self.first.send_replace(true);
    }

    /// Applies a change. Revisions come first and go last, so that no route is without its revision.
    ///
    /// # Errors
    /// The delta does not follow the version held; nothing was changed.
    pub fn apply(&self, delta: &Delta, now: Instant) -> Result<(), DeltaError> {
        let held = self.held.read().version;
        if delta.version != held + 1 {
            return Err(DeltaError { held, came: delta.version });
        }
        for revision in &delta.revisions {
            self.revisions.mention(&revision.key).update(revision, now);
        }
        for ingress in &delta.ingresses {
            self.put_ingress(ingress);
        }
        for key in &delta.removed_ingresses {
            self.remove_ingress(key);
        }
        for key in &delta.removed_revisions {
            self.remove_revision(key);
        }
        self.held.write().version = delta.version;
        Ok(())
    }

    fn hosts(&self, visibility: Visibility) -> &Hosts {
        match visibility {
            Visibility::External => &self.external,
            Visibility::Local => &self.local,
        }
    }

    fn put_ingress(&self, ingress: &Ingress) {
        let key: Arc<str> = ingress.key.as_str().into();
        let mut record = Record::default();
        for rule in &ingress.rules {
            let routes = Arc::new(HostRoutes::compile(ingress, rule, &self.revisions));
            record.revisions.extend(routes.revisions().cloned());
            for host in &rule.hosts {
                let host = host.trim_end_matches('.').to_ascii_lowercase().into_boxed_str();
                self.hosts(rule.visibility).claim(&host, &key, Arc::clone(&routes));
                record.hosts.insert((rule.visibility, host));
            }
        }
        let before = {
            let kept = Record { hosts: record.hosts.clone(), revisions: record.revisions.clone() };
            self.ingresses.lock().insert(Arc::clone(&key), kept).unwrap_or_default()
        };
        for (visibility, host) in before.hosts.difference(&record.hosts) {
            self.hosts(*visibility).release(host, &key);
        }
        for revision in before.revisions.difference(&record.revisions) {
            self.revisions.drop_unused(revision);
        }
    }

    fn remove_ingress(&self, key: &str) {
        let Some(record) = self.ingresses.lock().remove(key) else {
            return;
        };
        for (visibility, host) in &record.hosts {
            self.hosts(*visibility).release(host, key);
        }
        for revision in &record.revisions {
            self.revisions.drop_unused(revision);
        }
    }

    fn remove_revision(&self, key: &str) {
        if let Some(revision) = self.revisions.get(key) {
            revision.forget();
        }
        self.revisions.drop_unused(key);
    }
}
