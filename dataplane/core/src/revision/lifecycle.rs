//! How replicas come and go: tables, activations, picks, drains, faults.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::admit::Activation;
use super::replica::Replica;
use super::{Labels, Policy, Revision, Slot, Standing, State};
use crate::protocol::{self, Drained, ToNode};

/// Where to say that nothing is in flight any more.
#[derive(Debug, Clone)]
pub struct DrainNotice {
    /// Of the question.
    pub id: u64,
    /// The session that asked; it may have ended, and then nobody listens.
    pub sender: mpsc::UnboundedSender<ToNode>,
}

impl DrainNotice {
    /// Says it.
    pub fn send(&self, replica: &str) {
        let answer = Drained { id: self.id, replica: replica.to_owned() };
        let _ = self.sender.send(ToNode::Drained(answer));
    }
}

impl Revision {
    /// Takes over what the table says. Replicas that left it end when nothing is in flight.
    pub fn update(self: &Arc<Self>, entry: &protocol::Revision, now: Instant) {
        let mut state = self.state.lock();
        state.known = true;
        state.policy = Policy::of(entry);
        let labels =
            Labels { service: entry.service.clone(), configuration: entry.configuration.clone() };
        if *state.labels != labels {
            state.labels = Arc::new(labels);
        }
        for replica in &entry.replicas {
            if !self.events.is_barred(&replica.id) {
                state.confirm(replica);
            }
        }
        let named = |id: &str| entry.replicas.iter().any(|replica| replica.id == id);
        for slot in &mut state.slots {
            let kept = slot.provisional.is_some_and(|until| now < until);
            if !kept && !named(&slot.replica.id) {
                slot.standing = Standing::Ending;
            }
        }
        state.drop_ended();
        self.dispatch(&mut state);
    }

    /// The table does not name this revision any more; requests at replicas finish.
    pub fn forget(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.known = false;
        for slot in &mut state.slots {
            slot.standing = Standing::Ending;
        }
        state.drop_ended();
        while let Some((sender, _)) = state.waiters.pop() {
            drop(sender);
            state.load.leave(Instant::now());
        }
    }

    /// Takes a replica that the node agent brought up.
    pub fn activated(self: &Arc<Self>, entry: &protocol::Replica, activation: Activation) {
        if self.events.is_barred(&entry.id) {
            return;
        }
        let mut state = self.state.lock();
        let until = activation.answered + Activation::PROVISIONAL;
        state.activation = Some(Arc::new(activation));
        if state.slot(&entry.id).is_none() {
            let Some(replica) = Replica::parse(entry) else {
                return;
            };
            state.slots.push(Slot::new(Arc::new(replica), Some(until)));
        }
        self.dispatch(&mut state);
    }

    /// Ends replicas that no table confirmed in time.
    pub fn expire_provisional(self: &Arc<Self>, now: Instant) {
        let mut state = self.state.lock();
        for slot in &mut state.slots {
            if slot.provisional.is_some_and(|until| until <= now) {
                slot.standing = Standing::Ending;
            }
        }
        state.drop_ended();
    }

    /// Chooses up to `count` replicas to end, faulty and idle ones first, and bars them from requests.
    pub fn pick_idle(&self, count: usize) -> Vec<String> {
        let mut state = self.state.lock();
        let mut serving: Vec<&mut Slot> =
            state.slots.iter_mut().filter(|slot| slot.standing == Standing::Serving).collect();
        serving.sort_by_key(|slot| (!slot.suspect, slot.replica.in_flight()));
        let picked = serving.into_iter().take(count).map(|slot| {
            slot.standing = Standing::Picked;
            slot.replica.id.clone()
        });
        picked.collect()
    }

    /// Takes picked replicas back.
    pub fn resume(self: &Arc<Self>, ids: &[String]) {
        let mut state = self.state.lock();
        for slot in &mut state.slots {
            if slot.standing == Standing::Picked && ids.contains(&slot.replica.id) {
                slot.standing = Standing::Serving;
            }
        }
        self.dispatch(&mut state);
    }

    /// Sends the replica nothing more; `notice` is told when nothing is in flight.
    pub fn drain(self: &Arc<Self>, id: &str, notice: DrainNotice) {
        self.events.bar(id);
        let mut state = self.state.lock();
        match state.slot(id) {
            Some(slot) => {
                slot.standing = Standing::Ending;
                slot.drains.push(notice);
            }
            None => notice.send(id),
        }
        state.drop_ended();
        self.dispatch(&mut state);
    }

    /// A connection was refused: the replica gets no request until [`Revision::recovered`]. False
    /// when that was known already or the replica is on its way out.
    pub fn suspect(&self, replica: &Arc<Replica>) -> bool {
        let mut state = self.state.lock();
        let Some(slot) = state.slot(&replica.id) else {
            return false;
        };
        let news = slot.standing != Standing::Ending && !slot.suspect;
        slot.suspect = true;
        news
    }

    /// Whether a suspect replica is still wanted.
    pub fn is_wanted(&self, replica: &Arc<Replica>) -> bool {
        let mut state = self.state.lock();
        state.slot(&replica.id).is_some_and(|slot| slot.standing != Standing::Ending)
    }

    /// The replica takes connections again.
    pub fn recovered(self: &Arc<Self>, replica: &Arc<Replica>) {
        let mut state = self.state.lock();
        if let Some(slot) = state.slot(&replica.id) {
            slot.suspect = false;
        }
        self.dispatch(&mut state);
    }
}

impl State {
    fn slot(&mut self, id: &str) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.replica.id == id)
    }

    fn confirm(&mut self, entry: &protocol::Replica) {
        let Some(replica) = Replica::parse(entry) else {
            return;
        };
        match self.slot(&entry.id) {
            Some(slot) if slot.replica.address == replica.address => {
                slot.provisional = None;
                if slot.standing == Standing::Ending {
                    slot.standing = Standing::Serving;
                }
            }
            Some(slot) => *slot = Slot::new(Arc::new(replica), None),
            None => self.slots.push(Slot::new(Arc::new(replica), None)),
        }
    }

    fn drop_ended(&mut self) {
        self.slots.retain(|slot| {
            let ended = slot.standing == Standing::Ending && slot.replica.in_flight() == 0;
            if ended {
                slot.replica.pool.close();
                for drain in &slot.drains {
                    drain.send(&slot.replica.id);
                }
            }
            !ended
        });
    }

    /// After the last request left `replica`.
    pub(super) fn sweep_ended(&mut self, replica: &Arc<Replica>) {
        let ending =
            |slot: &Slot| slot.standing == Standing::Ending && Arc::ptr_eq(&slot.replica, replica);
        if self.slots.iter().any(ending) {
            self.drop_ended();
        }
    }
}
