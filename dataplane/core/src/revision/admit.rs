//! Admission: a slot at a replica, or a place in the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::replica::Replica;
use super::{Policy, Revision, Slot, Standing, State, Traffic};
use crate::protocol::ActivationTimings;

/// With more slots per replica than this, requests are spread instead of packed.
const PACK_UP_TO: u32 = 3;

/// A cold start that succeeded.
#[derive(Debug)]
pub struct Activation {
    /// The replica it brought.
    pub replica: String,
    /// When the node agent was asked.
    pub asked: Instant,
    /// When it answered.
    pub answered: Instant,
    /// As the node agent measured.
    pub timings: ActivationTimings,
}

impl Activation {
    /// How long a replica known from an activation only is kept.
    pub const PROVISIONAL: Duration = Duration::from_secs(30);
}

/// A request's right to be at a replica; dropping it frees the slot.
#[derive(Debug)]
pub struct Lease {
    revision: Arc<Revision>,
    replica: Arc<Replica>,
    armed: bool,
}

impl Lease {
    /// Where to send the request.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Whose slot it is.
    #[must_use]
    pub fn revision(&self) -> &Arc<Revision> {
        &self.revision
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.armed {
            self.revision.release(&self.replica);
        }
    }
}

/// What a waiting request gets.
#[derive(Debug)]
pub struct Grant {
    /// The slot.
    pub lease: Lease,
    /// As of now; it may have changed while the request waited.
    pub policy: Policy,
    /// What brought the replica, when the request found none on arrival.
    pub activation: Option<Arc<Activation>>,
}

/// A place in the queue; dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket {
    revision: Arc<Revision>,
    receiver: oneshot::Receiver<Grant>,
    number: u64,
    /// The request found no replica on arrival.
    pub cold: bool,
    granted: bool,
}

impl Ticket {
    /// Waits for the turn. `None` when the revision was taken away meanwhile.
    pub async fn granted(&mut self) -> Option<Grant> {
        let grant = (&mut self.receiver).await.ok();
        self.granted = true;
        grant
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.granted {
            self.revision.abandon(self.number);
        }
    }
}

/// The answer to a request that wants in.
#[derive(Debug)]
pub enum Admission {
    /// At once.
    Granted(Lease, Policy),
    /// In turn.
    Waiting(Ticket, Policy),
    /// 503: as many wait as may.
    QueueFull,
    /// 503: no configuration names this revision.
    Unknown,
}

impl Revision {
    /// Asks for a slot. `first` is false when the request comes back after a connection that could
    /// not be made, so that it is counted once.
    pub fn admit(self: &Arc<Self>, now: Instant, first: bool) -> Admission {
        let mut state = self.state.lock();
        if !state.known {
            return Admission::Unknown;
        }
        self.list(&mut state, now);
        if first {
            state.load.arrived();
        }
        let policy = state.policy;
        if state.waiters.len() == 0 {
            if let Some(replica) = state.choose() {
                replica.enter();
                state.load.enter(now);
                drop(state);
                return Admission::Granted(self.lease(replica), policy);
            }
        }
        if state.waiters.len() >= policy.queue_limit {
            return Admission::QueueFull;
        }
        let cold = !state.has_usable();
        let (sender, receiver) = oneshot::channel();
        let number = state.waiters.push(sender, cold);
        state.load.enter(now);
        if cold {
            self.ask_for_replica(&mut state);
        }
        drop(state);
        let revision = Arc::clone(self);
        let ticket = Ticket { revision, receiver, number, cold, granted: false };
        Admission::Waiting(ticket, policy)
    }

    fn lease(self: &Arc<Self>, replica: Arc<Replica>) -> Lease {
        Lease { revision: Arc::clone(self), replica, armed: true }
    }

    /// Hands free slots to those who wait, in order.
    pub(super) fn dispatch(self: &Arc<Self>, state: &mut State) {
        while state.waiters.len() > 0 {
            let Some(replica) = state.choose() else { break };
            let Some((sender, cold)) = state.waiters.pop() else {
                break;
            };
            let activation = state.activation.clone().filter(|_| cold);
            replica.enter();
            let grant = Grant { lease: self.lease(replica), policy: state.policy, activation };
            if let Err(mut refused) = sender.send(grant) {
                // The ticket was dropped between its cancellation and ours: undo under this lock.
                refused.lease.armed = false;
                refused.lease.replica.leave();
                state.load.leave(Instant::now());
            }
        }
        if state.waiters.len() > 0 && !state.has_usable() {
            self.ask_for_replica(state);
        }
    }

    fn release(self: &Arc<Self>, replica: &Arc<Replica>) {
        let mut state = self.state.lock();
        state.load.leave(Instant::now());
        if replica.leave() == 0 {
            state.sweep_ended(replica);
        }
        if state.waiters.len() > 0 {
            self.dispatch(&mut state);
        }
    }

    fn abandon(self: &Arc<Self>, number: u64) {
        let mut state = self.state.lock();
        if state.waiters.cancel(number) {
            state.load.leave(Instant::now());
        }
    }

    fn list(self: &Arc<Self>, state: &mut State, now: Instant) {
        if state.traffic == Traffic::None {
            state.traffic = Traffic::Some;
            state.load.restart(now);
            self.events.list(Arc::clone(self));
        }
    }
}

impl State {
    /// Whether some replica is in service, be it busy or suspect.
    pub(super) fn has_usable(&self) -> bool {
        self.slots.iter().any(|slot| slot.standing == Standing::Serving)
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        #[allow(clippy::cast_possible_truncation)] // any bits will do
        let bits = (self.random >> 16) as usize;
        bits % below
    }

    /// A replica with a free slot: the better of two random ones without a limit, the first with a
    /// small one, the least busy with a larger one.
    fn choose(&mut self) -> Option<Arc<Replica>> {
        let limit = self.policy.container_concurrency;
        if limit == 0 {
            return self.better_of_two();
        }
        let mut free = self
            .slots
            .iter()
            .filter(|slot| slot.takes_requests() && slot.replica.in_flight() < limit)
            .map(|slot| &slot.replica);
        if limit <= PACK_UP_TO {
            free.next().cloned()
        } else {
            free.min_by_key(|replica| replica.in_flight()).cloned()
        }
    }

    fn better_of_two(&mut self) -> Option<Arc<Replica>> {
        let count = self.slots.len();
        if count > 1 {
            let (one, other) = (self.random(count), self.random(count - 1));
            let other = if other >= one { other + 1 } else { other };
            let (a, b) = (&self.slots[one], &self.slots[other]);
            if a.takes_requests() && b.takes_requests() {
                let better = if b.replica.in_flight() < a.replica.in_flight() { b } else { a };
                return Some(Arc::clone(&better.replica));
            }
        }
        let able = self.slots.iter().filter(|slot| slot.takes_requests());
        able.min_by_key(|slot| slot.replica.in_flight()).map(|slot| Arc::clone(&slot.replica))
    }
}

impl Slot {
    fn takes_requests(&self) -> bool {
        self.standing == Standing::Serving && !self.suspect
    }
}
