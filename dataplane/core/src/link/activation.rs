//! The session with the node agent: replicas brought up at once, replicas drained.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::backoff::Backoff;
use crate::observe::log;
use crate::protocol::{
    read_frame, write_frame, Activate, Activated, ActivationRefused, Drain, FrameError, FromNode,
    ToNode,
};
use crate::revision::{Activation, DrainNotice};
use crate::routing::Table;

/// Why an activation brought nothing.
#[derive(Debug, Clone)]
pub struct Refused(pub String);

type Answer = Result<(), Refused>;

struct Pending {
    asked: Instant,
    /// More than one when a driver gave up and another began.
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Pending {
    fn answer(self, answer: &Answer) {
        for waiting in self.answers {
            let _ = waiting.send(answer.clone());
        }
    }
}

#[derive(Default)]
struct State {
    /// `None` while the node agent is away.
    sender: Option<mpsc::UnboundedSender<ToNode>>,
    /// By revision: one question at a time each.
    pending: HashMap<String, (u64, Pending)>,
}

impl State {
    fn settle(&mut self, revision: &str, id: u64) -> Option<Pending> {
        let asked = self.pending.get(revision).is_some_and(|(number, _)| *number == id);
        if asked {
            self.pending.remove(revision).map(|(_, pending)| pending)
        } else {
            None
        }
    }
}

/// Asks the node agent, and does what it asks.
pub struct Activator {
    socket: Option<PathBuf>,
    table: Arc<Table>,
    next: AtomicU64,
    state: Mutex<State>,
}

impl Activator {
    /// An activator that is not connected yet.
    #[must_use]
    pub fn new(socket: Option<PathBuf>, table: Arc<Table>) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { socket, table, next: AtomicU64::new(1), state })
    }

    /// Asks for a replica of a revision. It is in service when this returns.
    ///
    /// # Errors
    /// The node agent refused or is away.
    pub async fn activate(&self, revision: &str) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state.lock();
            let Some(sender) = &state.sender else {
                return Err(Refused("the node agent is away".to_owned()));
            };
            let sender = sender.clone();
            if let Some((_, pending)) = state.pending.get_mut(revision) {
                pending.answers.push(answer);
            } else {
                let id = self.next.fetch_add(1, Ordering::Relaxed);
                let activate = Activate { id, revision: revision.to_owned() };
                let _ = sender.send(ToNode::Activate(activate));
                let pending = Pending { asked: Instant::now(), answers: vec![answer] };
                state.pending.insert(revision.to_owned(), (id, pending));
            }
        }
        answered.await.unwrap_or_else(|_| Err(Refused("the node agent went away".to_owned())))
    }

    /// Runs for ever, or not at all without a socket.
    pub async fn run(self: Arc<Self>) {
        let Some(socket) = &self.socket else { return };
        let mut backoff = Backoff::default();
        let mut connected = true;
        loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => {
                    connected = true;
                    backoff.reset();
                    log::info("node session began", &[]);
                    let error = self.converse(stream).await;
                    log::warn("node session ended", &[("reason", &error.to_string())]);
                }
                Err(error) if connected => {
                    connected = false;
                    let socket = socket.display().to_string();
                    let reason = error.to_string();
                    log::warn("node not reachable", &[("socket", &socket), ("reason", &reason)]);
                }
                Err(_) => {}
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn converse(&self, stream: UnixStream) -> FrameError {
        let (reader, writer) = stream.into_split();
        // One activation per revision and one answer per drain: bounded by the table.
        let (sender, outgoing) = mpsc::unbounded_channel();
        self.state.lock().sender = Some(sender.clone());
        let error = tokio::select! {
            error = self.listen(reader, sender) => error,
            error = speak(writer, outgoing) => error,
        };
        let mut state = self.state.lock();
        state.sender = None;
        state.pending.clear();
        error
    }

    async fn listen(
        &self,
        reader: OwnedReadHalf,
        sender: mpsc::UnboundedSender<ToNode>,
    ) -> FrameError {
        let mut reader = BufReader::new(reader);
        let mut body = Vec::new();
        loop {
            if let Err(error) = read_frame(&mut reader, &mut body).await {
                return error;
            }
            match FromNode::decode(&body) {
                Ok(FromNode::Activated(activated)) => self.take(&activated),
                Ok(FromNode::ActivationRefused(refused)) => self.refuse(&refused),
                Ok(FromNode::Drain(drain)) => self.drain(&drain, &sender),
                Err(error) => return FrameError::Json(error),
            }
        }
    }

    fn take(&self, activated: &Activated) {
        let answered = Instant::now();
        let pending = self.state.lock().settle(&activated.revision, activated.id);
        let asked = pending.as_ref().map_or(answered, |pending| pending.asked);
        if let Some(revision) = self.table.revisions.get(&activated.revision) {
            let replica = activated.replica.id.clone();
            let activation = Activation { replica, asked, answered, timings: activated.timings };
            revision.activated(&activated.replica, activation);
            tokio::spawn(async move {
                tokio::time::sleep(Activation::PROVISIONAL).await;
                revision.expire_provisional(Instant::now());
            });
        }
        if let Some(pending) = pending {
            pending.answer(&Ok(()));
        }
    }

    fn refuse(&self, refused: &ActivationRefused) {
        let pending = self.state.lock().settle(&refused.revision, refused.id);
        if let Some(pending) = pending {
            pending.answer(&Err(Refused(format!("{}: {}", refused.reason, refused.message))));
        }
    }

    fn drain(&self, drain: &Drain, sender: &mpsc::UnboundedSender<ToNode>) {
        let notice = DrainNotice { id: drain.id, sender: sender.clone() };
        if let Some(revision) = self.table.revisions.get(&drain.revision) {
            revision.drain(&drain.replica, notice);
        } else {
            self.table.revisions.bar(&drain.replica);
            notice.send(&drain.replica);
        }
    }
}

async fn speak(
    writer: OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<ToNode>,
) -> FrameError {
    let mut writer = BufWriter::new(writer);
    while let Some(message) = outgoing.recv().await {
        let written = async {
            write_frame(&mut writer, &message).await?;
            writer.flush().await?;
            Ok(())
        };
        if let Err(error) = written.await {
            return error;
        }
    }
    FrameError::Closed
}
