//! All revisions by key, those with traffic, and replica ids that must not come back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::{ColdSender, Revision, Traffic};
use crate::protocol::RevisionStats;

/// Drained replica ids that are remembered; the oldest are forgotten. A table that still names an id
/// drained so long ago does not occur: the server would have to lag by that many replicas.
const BARRED_LIMIT: usize = 65_536;
/// How long a connection may wait in a pool.
const POOL_IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Barred {
    ids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

/// What revisions tell the outside.
#[derive(Debug)]
pub struct RegistryEvents {
    cold: ColdSender,
    listed: Mutex<Vec<Arc<Revision>>>,
    barred: Mutex<Barred>,
}

impl RegistryEvents {
    pub(super) fn go_cold(&self, revision: Arc<Revision>) {
        let _ = self.cold.send(revision);
    }

    pub(super) fn list(&self, revision: Arc<Revision>) {
        self.listed.lock().push(revision);
    }

    pub(super) fn is_barred(&self, id: &str) -> bool {
        self.barred.lock().ids.contains(id)
    }

    pub(super) fn bar(&self, id: &str) {
        let mut barred = self.barred.lock();
        let id: Arc<str> = id.into();
        if !barred.ids.insert(Arc::clone(&id)) {
            return;
        }
        barred.order.push_back(id);
        if barred.order.len() > BARRED_LIMIT {
            if let Some(oldest) = barred.order.pop_front() {
                barred.ids.remove(&oldest);
            }
        }
    }
}

/// All revisions that the table or a route names.
#[derive(Debug)]
pub struct Registry {
    events: Arc<RegistryEvents>,
    revisions: RwLock<HashMap<Arc<str>, Arc<Revision>>>,
    hasher: RandomState,
}

impl Registry {
    /// An empty registry; revisions without a replica are sent to `cold`.
    #[must_use]
    pub fn new(cold: ColdSender) -> Self {
        let events =
            Arc::new(RegistryEvents { cold, listed: Mutex::default(), barred: Mutex::default() });
        Self { events, revisions: RwLock::default(), hasher: RandomState::new() }
    }

    /// The revision of that name, if any.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Revision>> {
        self.revisions.read().get(key).cloned()
    }

    /// The revision of that name, made on first mention.
    #[must_use]
    pub fn mention(&self, key: &str) -> Arc<Revision> {
        if let Some(revision) = self.get(key) {
            return revision;
        }
        let mut revisions = self.revisions.write();
        if let Some(revision) = revisions.get(key) {
            return Arc::clone(revision);
        }
        let seed = self.hasher.hash_one(key);
        let revision = Arc::new(Revision::new(key, Arc::clone(&self.events), seed));
        revisions.insert(Arc::clone(revision.key()), Arc::clone(&revision));
        revision
    }

    /// Drops the entry unless the table knows it or somebody still holds it.
    pub fn drop_unused(&self, key: &str) {
        let mut revisions = self.revisions.write();
        let unused = revisions.get(key).is_some_and(|revision| {
            Arc::strong_count(revision) == 1 && !revision.state.lock().known
        });
        if unused {
            revisions.remove(key);
        }
    }

    /// Every revision, for metrics.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Revision>> {
        self.revisions.read().values().cloned().collect()
    }

    /// Keys that the table knows.
    #[must_use]
    pub fn known_keys(&self) -> Vec<Arc<str>> {
        let known = |revision: &&Arc<Revision>| revision.state.lock().known;
        self.revisions.read().values().filter(known).map(|r| Arc::clone(r.key())).collect()
    }

    /// Bars a replica id of a revision that is not known here.
    pub fn bar(&self, id: &str) {
        self.events.bar(id);
    }

    /// Ends an interval: statistics of revisions with traffic, a last entry of zeros for those where
    /// it stopped, and idle connections closed.
    pub fn tick(&self, now: Instant) -> Vec<RevisionStats> {
        let listed = std::mem::take(&mut *self.events.listed.lock());
        let mut stats = Vec::with_capacity(listed.len());
        let mut kept = Vec::with_capacity(listed.len());
        for revision in listed {
            let pooled = revision.sweep_pools(now);
            let (entry, busy) = revision.sample(now, pooled);
            stats.extend(entry);
            if busy {
                kept.push(revision);
            } else {
                let key = Arc::clone(revision.key());
                drop(revision);
                self.drop_unused(&key);
            }
        }
        self.events.listed.lock().extend(kept);
        stats
    }
}

impl Revision {
    /// How many connections are left.
    fn sweep_pools(&self, now: Instant) -> usize {
        let state = self.state.lock();
        state.slots.iter().map(|slot| slot.replica.pool.sweep(now, POOL_IDLE)).sum()
    }

    /// The entry to report, if any, and whether to look again.
    fn sample(&self, now: Instant, pooled: usize) -> (Option<RevisionStats>, bool) {
        let mut state = self.state.lock();
        let sample = state.load.sample(now);
        let queued = state.waiters.len() as u64;
        let busy = sample.requests > 0 || sample.current > 0 || sample.concurrency > 0.0;
        let report = busy || state.traffic == Traffic::Some;
        state.traffic = match (busy, report || pooled > 0) {
            (true, _) => Traffic::Some,
            (false, true) => Traffic::Over,
            (false, false) => Traffic::None,
        };
        let entry = report.then(|| RevisionStats {
            revision: self.key.to_string(),
            concurrency: sample.concurrency,
            requests: sample.requests,
            queued,
            in_flight: sample.current.saturating_sub(queued),
        });
        (entry, state.traffic != Traffic::None)
    }
}
