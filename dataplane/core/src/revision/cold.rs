//! Revisions without a replica: who asks for one, and for how long.

use std::sync::Arc;

use super::{Revision, State};

/// What a driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum ColdStep {
    /// This many requests wait and there is no replica: ask.
    Ask(u64),
    /// A replica is there, or nobody waits: stop.
    Done,
}

impl Revision {
    /// Sends the revision to the cold path unless a driver is at work already.
    pub(super) fn ask_for_replica(self: &Arc<Self>, state: &mut State) {
        if !state.cold {
            state.cold = true;
            self.counters.cold.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.events.go_cold(Arc::clone(self));
        }
    }

    /// The driver's question. [`ColdStep::Done`] ends its duty: the next request without a replica
    /// starts another.
    pub fn cold_step(&self) -> ColdStep {
        let mut state = self.state.lock();
        if state.waiters.len() == 0 || state.has_usable() {
            state.cold = false;
            return ColdStep::Done;
        }
        ColdStep::Ask(state.waiters.len() as u64)
    }
}
