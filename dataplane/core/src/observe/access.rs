//! The access log: a line per request, written by a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::log::timestamp;

/// Lines that wait for the disk. When full, lines are dropped and counted.
const QUEUE: usize = 8_192;

/// One request.
#[derive(Debug)]
pub struct Entry {
    /// When it ended.
    pub ended: SystemTime,
    /// Of the client.
    pub peer: String,
    /// As sent.
    pub host: String,
    /// Of the request.
    pub method: String,
    /// With the query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'static str,
    /// 0 when no response was begun.
    pub status: u16,
    /// Of the response body.
    pub bytes: u64,
    /// Until the response ended.
    pub duration_us: u64,
    /// `namespace/name`, or empty.
    pub revision: String,
    /// Of the Service, or empty.
    pub service: String,
    /// Replica id, or empty.
    pub replica: String,
    /// The request found no replica.
    pub cold: bool,
    /// `traceparent` as sent, or empty.
    pub trace: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    peer: &'a str,
    host: &'a str,
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    status: u16,
    bytes: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    revision: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    replica: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cold: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace: &'a str,
}

/// Where entries go.
#[derive(Debug)]
pub struct AccessLog {
    sender: SyncSender<Box<Entry>>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the file for appending and starts the writer, which ends with the log.
    ///
    /// # Errors
    /// The file cannot be opened or the thread not started.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&receiver, file))?;
        Ok(Self { sender, dropped: Arc::default() })
    }

    /// Queues an entry, or drops and counts it.
    pub fn write(&self, entry: Box<Entry>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.sender.try_send(entry)
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Entries dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn write_lines(entries: &Receiver<Box<Entry>>, file: File) {
    let mut writer = BufWriter::with_capacity(64 * 1024, file);
    while let Ok(first) = entries.recv() {
        // Everything that waits goes to the disk at once, then the reader may see it.
        let mut next = Some(first);
        while let Some(entry) = next {
            if write_line(&mut writer, &entry).is_err() {
                return;
            }
            next = entries.try_recv().ok();
        }
        if writer.flush().is_err() {
            return;
        }
    }
}

fn write_line(writer: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
    let line = Line {
        time: timestamp(entry.ended),
        peer: &entry.peer,
        host: &entry.host,
        method: &entry.method,
        path: &entry.path,
        protocol: entry.protocol,
        status: entry.status,
        bytes: entry.bytes,
        duration_us: entry.duration_us,
        revision: &entry.revision,
        service: &entry.service,
        replica: &entry.replica,
        cold: entry.cold,
        trace: &entry.trace,
    };
    serde_json::to_writer(&mut *writer, &line)?;
    writer.write_all(b"\n")
}
