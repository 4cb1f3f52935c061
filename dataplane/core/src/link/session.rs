//! The session with the server: configuration in, acknowledgements and statistics out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::backoff::Backoff;
use crate::observe::log;
use crate::protocol::{
    read_frame, write_frame, Ack, Demand, FrameError, FromDataplane, Hello, PickedIdle,
    ReplicaFault, Stats, ToDataplane, PROTOCOL_VERSION,
};
use crate::routing::Table;

/// Messages that wait for the server. When full, the newest is dropped: all that pass here are
/// repeated (demand, statistics) or advice (faults).
const OUTBOX: usize = 1_024;
/// Larger frames are not handled among requests.
const LARGE_FRAME: usize = 256 * 1024;
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// Where to put what the server should hear.
#[derive(Debug, Clone)]
pub struct Outbox(mpsc::Sender<FromDataplane>);

impl Outbox {
    /// Requests wait for a revision without a replica.
    pub fn demand(&self, revision: &str, queued: u64) {
        let demand = Demand { revision: revision.to_owned(), queued };
        let _ = self.0.try_send(FromDataplane::Demand(demand));
    }

    /// A replica refused or broke a connection.
    pub fn fault(&self, revision: &str, replica: &str, reason: String) {
        let (revision, replica) = (revision.to_owned(), replica.to_owned());
        let fault = ReplicaFault { revision, replica, reason };
        let _ = self.0.try_send(FromDataplane::ReplicaFault(fault));
    }
}

/// Keeps the session: connects, applies, acknowledges, reports, reconnects.
#[derive(Debug)]
pub struct Session {
    socket: PathBuf,
    gateway: String,
    table: Arc<Table>,
    outbox: mpsc::Receiver<FromDataplane>,
    /// After a gap in the versions the server must begin again with a snapshot.
    start_over: bool,
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(socket: PathBuf, gateway: String, table: Arc<Table>) -> (Self, Outbox) {
        let (sender, outbox) = mpsc::channel(OUTBOX);
        (Self { socket, gateway, table, outbox, start_over: false }, Outbox(sender))
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut connected = true;
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    connected = true;
                    let began = Instant::now();
                    let error = self.converse(stream).await;
                    log::warn("server session ended", &[("reason", &error.to_string())]);
                    if began.elapsed() > Duration::from_secs(1) {
                        backoff.reset();
                    }
                }
                Err(error) if connected => {
                    connected = false;
                    let socket = self.socket.display().to_string();
                    let reason = error.to_string();
                    log::warn("server not reachable", &[("socket", &socket), ("reason", &reason)]);
                }
                Err(_) => {}
            }
            self.idle(backoff.next()).await;
        }
    }

    /// Waits, letting what nobody can be told now go.
    async fn idle(&mut self, delay: Duration) {
        let until = tokio::time::Instant::now() + delay;
        while let Ok(Some(_)) = tokio::time::timeout_at(until, self.outbox.recv()).await {}
        let _ = self.table.revisions.tick(Instant::now());
    }

    async fn converse(&mut self, stream: UnixStream) -> FrameError {
        let (reader, writer) = stream.into_split();
        let mut writer = BufWriter::new(writer);
        let held = if std::mem::take(&mut self.start_over) {
            crate::routing::Held::default()
        } else {
            self.table.held()
        };
        let hello = FromDataplane::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            gateway: self.gateway.clone(),
            epoch: held.epoch,
            version: held.version,
        });
        if let Err(error) = send(&mut writer, &hello).await {
            return error;
        }
        log::info("server session began", &[("version", &held.version.to_string())]);
        // Answers to the server: one per frame it sends, so it bounds them itself.
        let (answers, answered) = mpsc::unbounded_channel();
        let table = Arc::clone(&self.table);
        let (error, gap) = tokio::select! {
            ended = listen(reader, table, answers) => ended,
            error = speak(writer, Arc::clone(&self.table), &mut self.outbox, answered) => (error, false),
        };
        self.start_over = gap;
        error
    }
}

/// Reads until the session breaks; true when the server must send a snapshot.
async fn listen(
    reader: OwnedReadHalf,
    table: Arc<Table>,
    answers: mpsc::UnboundedSender<FromDataplane>,
) -> (FrameError, bool) {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let mut body = Vec::new();
    loop {
        if let Err(error) = read_frame(&mut reader, &mut body).await {
            return (error, false);
        }
        let handled = if body.len() > LARGE_FRAME {
            // A whole table takes milliseconds, which no request should wait for.
            let (table, body) = (Arc::clone(&table), std::mem::take(&mut body));
            let handled = tokio::task::spawn_blocking(move || handle(&table, &body)).await;
            handled.unwrap_or_else(|panic| {
                Err((FrameError::Io(std::io::Error::other(panic.to_string())), true))
            })
        } else {
            handle(&table, &body)
        };
        match handled {
            Ok(Some(answer)) => {
                let _ = answers.send(answer);
            }
            Ok(None) => {}
            Err(failed) => return failed,
        }
    }
}

/// The answer, if any; else why the session ends and whether the next starts over.
fn handle(table: &Table, body: &[u8]) -> Result<Option<FromDataplane>, (FrameError, bool)> {
    let message = ToDataplane::decode(body).map_err(|error| (FrameError::Json(error), false))?;
    let ack = |table: &Table| {
        let held = table.held();
        Some(FromDataplane::Ack(Ack { epoch: held.epoch, version: held.version }))
    };
    match message {
        ToDataplane::Snapshot(snapshot) => {
            table.replace(&snapshot, Instant::now());
            Ok(ack(table))
        }
        ToDataplane::Delta(delta) => {
            table.apply(&delta, Instant::now()).map_err(|gap| {
                let text = format!("version {} follows {}", gap.came, gap.held);
                (FrameError::Io(std::io::Error::other(text)), true)
            })?;
            Ok(ack(table))
        }
        ToDataplane::PickIdle(pick) => {
            let revision = table.revisions.get(&pick.revision);
            let replicas = revision.map(|found| found.pick_idle(pick.count)).unwrap_or_default();
            let (id, revision) = (pick.id, pick.revision);
            Ok(Some(FromDataplane::PickedIdle(PickedIdle { id, revision, replicas })))
        }
        ToDataplane::Resume(resume) => {
            if let Some(revision) = table.revisions.get(&resume.revision) {
                revision.resume(&resume.replicas);
            }
            Ok(None)
        }
    }
}

/// Writes answers, messages and, once a second, statistics, until the session breaks.
async fn speak(
    mut writer: BufWriter<OwnedWriteHalf>,
    table: Arc<Table>,
    outbox: &mut mpsc::Receiver<FromDataplane>,
    mut answers: mpsc::UnboundedReceiver<FromDataplane>,
) -> FrameError {
    let first = tokio::time::Instant::now() + STATS_INTERVAL;
    let mut ticks = tokio::time::interval_at(first, STATS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sampled = Instant::now();
    loop {
        let message = tokio::select! {
            Some(answer) = answers.recv() => Some(answer),
            Some(message) = outbox.recv() => Some(message),
            _ = ticks.tick() => {
                let now = Instant::now();
                let span = now.saturating_duration_since(sampled);
                sampled = now;
                let revisions = table.revisions.tick(now);
                let interval_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
                let stats = Stats { interval_ms, revisions };
                (!stats.revisions.is_empty()).then_some(FromDataplane::Stats(stats))
            }
        };
        if let Some(message) = message {
            if let Err(error) = send(&mut writer, &message).await {
                return error;
            }
        }
    }
}

async fn send(
    writer: &mut BufWriter<OwnedWriteHalf>,
    message: &FromDataplane,
) -> Result<(), FrameError> {
    write_frame(writer, message).await?;
    writer.flush().await?;
    Ok(())
}
