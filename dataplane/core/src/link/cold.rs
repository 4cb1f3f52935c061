//! Revisions without a replica: demand to the server and activation by the node agent, both at once,
//! for as long as requests wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::activation::Activator;
use super::backoff::Backoff;
use super::session::Outbox;
use crate::observe::log;
use crate::revision::{ColdStep, Revision};

const REPEAT_DEMAND: Duration = Duration::from_secs(1);

/// Drives cold revisions.
pub struct ColdPath {
    activator: Arc<Activator>,
    outbox: Outbox,
    revisions: mpsc::UnboundedReceiver<Arc<Revision>>,
}

impl ColdPath {
    /// Takes revisions from `revisions`.
    #[must_use]
    pub fn new(
        activator: Arc<Activator>,
        outbox: Outbox,
        revisions: mpsc::UnboundedReceiver<Arc<Revision>>,
    ) -> Self {
        Self { activator, outbox, revisions }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        while let Some(revision) = self.revisions.recv().await {
            let (activator, outbox) = (Arc::clone(&self.activator), self.outbox.clone());
            tokio::spawn(drive(revision, activator, outbox));
        }
    }
}

/// One driver per cold revision at a time; ends at the first [`ColdStep::Done`].
async fn drive(revision: Arc<Revision>, activator: Arc<Activator>, outbox: Outbox) {
    let mut backoff = Backoff::default();
    let mut demand = tokio::time::interval(REPEAT_DEMAND);
    let key = revision.key();
    let mut logged = String::new();
    loop {
        let attempt = activator.activate(key);
        let mut attempt = std::pin::pin!(attempt);
        let result = loop {
            tokio::select! {
                biased;
                _ = demand.tick() => match revision.cold_step() {
                    ColdStep::Ask(queued) => outbox.demand(key, queued),
                    ColdStep::Done => return,
                },
                result = &mut attempt => break result,
            }
        };
        let ColdStep::Ask(queued) = revision.cold_step() else {
            return;
        };
        let reason = result.err().map_or_else(|| "the replica is of no use".to_owned(), |r| r.0);
        if reason != logged {
            let waiting = queued.to_string();
            let fields = [("revision", &**key), ("reason", &*reason), ("queued", &*waiting)];
            log::warn("activation brought no replica", &fields);
            logged = reason;
        }
        tokio::time::sleep(backoff.next()).await;
        if revision.cold_step() == ColdStep::Done {
            return;
        }
    }
}
