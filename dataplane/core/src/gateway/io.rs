//! A client's socket: watches what comes in, and how long it takes.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::client::Client;
use super::flood::FrameBudget;
use super::framing::{Framing, Violation};

/// From a head's first byte to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// A client that takes no bytes for so long is cut.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// A body of known length may take this long, and longer as far as it brings [`BODY_RATE`].
const BODY_GRACE: Duration = Duration::from_secs(10);
/// Bytes per second.
const BODY_RATE: u64 = 1024;
/// Bytes kept while the answer to a request for a WebSocket is awaited.
const HELD_LIMIT: usize = 64 * 1024;
const SCRATCH: usize = 32 * 1024;
const FIRST_READ: usize = 2 * 1024;
/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What no parser takes for the beginning, the middle or the end of a head.
const POISON: &[u8] = b"\0\r\n\r\n";

thread_local! {
    /// Reads go here first, so that idle connections hold no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

enum Watch {
    /// Not decided yet, or a tunnel.
    None,
    Http1(Framing),
    Http2(FrameBudget),
    /// A violation was reported to the parser; it sees nothing more.
    Poisoned,
}

/// How long the client has been waited for in a body, and what it brought.
#[derive(Default)]
struct BodyPace {
    waiting_since: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

/// The socket as the HTTP implementation sees it.
pub(super) struct ClientIo {
    stream: TcpStream,
    client: Arc<Client>,
    watch: Watch,
    /// Read, but not given on yet.
    held: Vec<u8>,
    head_began: Option<Instant>,
    pace: BodyPace,
    write_stalled: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ClientIo {
    pub(super) fn new(stream: TcpStream, client: Arc<Client>) -> Self {
        Self {
            stream,
            client,
            watch: Watch::None,
            held: Vec::new(),
            head_began: None,
            pace: BodyPace::default(),
            write_stalled: None,
            timer: None,
        }
    }

    /// Reads until it is clear whether the client speaks HTTP/2 by prior knowledge; true if so.
    pub(super) async fn sniff(&mut self) -> io::Result<bool> {
        let sniff = async {
            let mut first = [0; FIRST_READ];
            while self.held.len() < PREFACE.len() && PREFACE.starts_with(&self.held) {
                let read = tokio::io::AsyncReadExt::read(&mut self.stream, &mut first).await?;
                if read == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                self.held.extend_from_slice(&first[..read]);
            }
            io::Result::Ok(self.held.starts_with(PREFACE))
        };
        let http2 = tokio::time::timeout(HEAD_TIMEOUT, sniff)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.watch = if http2 {
            Watch::Http2(FrameBudget::new(Instant::now()))
        } else {
            Watch::Http1(Framing::default())
        };
        Ok(http2)
    }

    /// The socket and what was read from it, for a tunnel.
    pub(super) fn into_tunnel(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.held)
    }

    /// Gives `bytes` on as far as the grammar allows; what is left over is held.
    fn give(&mut self, bytes: &[u8], out: &mut ReadBufCursor<'_>) -> io::Result<()> {
        match &mut self.watch {
            Watch::None | Watch::Poisoned => out.put_slice(bytes),
            Watch::Http2(budget) => {
                budget.feed(bytes, Instant::now()).map_err(|_| io::ErrorKind::InvalidData)?;
                out.put_slice(bytes);
            }
            Watch::Http1(framing) => match (framing.is_held(), framing.feed(bytes)) {
                (was_held, Ok(taken)) => {
                    if framing.is_held() && !was_held {
                        // A refusal of an earlier request, which was not held, is not for this one.
                        self.client.take_refusal();
                    }
                    out.put_slice(&bytes[..taken]);
                    self.held.extend_from_slice(&bytes[taken..]);
                    if !framing.is_in_head() {
                        self.head_began = None;
                    } else if self.head_began.is_none() {
                        self.head_began = Some(Instant::now());
                    }
                }
                (_, Err(Violation::Head(at))) => {
                    out.put_slice(&bytes[..at]);
                    out.put_slice(&POISON[..POISON.len().min(out.remaining())]);
                    self.watch = Watch::Poisoned;
                }
                (_, Err(Violation::Cut)) => return Err(io::ErrorKind::InvalidData.into()),
            },
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        matches!(&self.watch, Watch::Http1(framing) if framing.is_held())
    }

    fn is_in_sized_body(&self) -> bool {
        matches!(&self.watch, Watch::Http1(framing) if framing.is_in_sized_body())
    }

    /// When the client must have sent something; `None` while it is not its turn.
    fn read_deadline(&mut self, now: Instant) -> Option<Instant> {
        if let Some(began) = self.head_began {
            return Some(began + HEAD_TIMEOUT);
        }
        if self.is_in_sized_body() {
            let since = *self.pace.waiting_since.get_or_insert(now);
            let earned = Duration::from_secs(self.pace.bytes / BODY_RATE);
            return Some(since + (BODY_GRACE + earned).saturating_sub(self.pace.waited));
        }
        self.client.idle_since().map(|since| since + IDLE_TIMEOUT)
    }

    fn note_read(&mut self, bytes: usize) {
        if !self.is_in_sized_body() {
            if self.pace.bytes > 0 || self.pace.waiting_since.is_some() {
                self.pace = BodyPace::default();
            }
            return;
        }
        if let Some(since) = self.pace.waiting_since.take() {
            self.pace.waited += since.elapsed();
        }
        self.pace.bytes += bytes as u64;
    }

    /// Pending until a deadline has passed, then the error.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let in_body = self.is_in_sized_body();
        loop {
            // The timer is only ever moved when it fires or must fire earlier: while requests come
            // and go it costs nothing.
            if let Some(timer) = &mut self.timer {
                let urgent = self.head_began.is_some() || self.write_stalled.is_some();
                if !urgent && !in_body {
                    ready!(timer.as_mut().poll(context));
                }
            }
            let now = Instant::now();
            let stalled = self.write_stalled.map(|since| since + WRITE_STALL);
            let deadlines = [self.read_deadline(now), stalled];
            let deadline = deadlines.into_iter().flatten().min().unwrap_or(now + IDLE_TIMEOUT);
            if deadline <= now {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            let at = tokio::time::Instant::from_std(deadline);
            match &mut self.timer {
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
                Some(timer) if timer.deadline() > at || timer.is_elapsed() => {
                    timer.as_mut().reset(at);
                }
                Some(_) => {}
            }
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
            }
        }
    }

    fn poll_early(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.client.has_early() {
            return Poll::Ready(Ok(()));
        }
        let client = Arc::clone(&self.client);
        let mut early = client.early();
        while !early.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &early))?;
            early.drain(..written);
        }
        client.sent_early();
        Poll::Ready(Ok(()))
    }

    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.write_stalled = None;
            return result;
        }
        self.write_stalled.get_or_insert_with(Instant::now);
        self.poll_deadline(context).map(Err)
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.poll_early(context)?.is_pending() {
            return Poll::Pending;
        }
        if this.is_held() && this.client.take_refusal() {
            if let Watch::Http1(framing) = &mut this.watch {
                framing.resume();
            }
        }
        let room = out.remaining().saturating_sub(POISON.len()).clamp(1, SCRATCH);
        if !this.held.is_empty() && !this.is_held() {
            let mut held = std::mem::take(&mut this.held);
            let later = held.split_off(held.len().min(room));
            this.give(&held, &mut out)?;
            this.held.extend_from_slice(&later);
            return Poll::Ready(Ok(()));
        }
        if this.is_held() {
            this.client.hold(context.waker());
        }
        loop {
            if matches!(this.watch, Watch::Poisoned) || this.held.len() >= HELD_LIMIT {
                return Poll::Pending;
            }
            let before = out.remaining();
            let read = BUFFER.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(&mut scratch[..room]);
                ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer))?;
                let bytes = buffer.filled();
                this.note_read(bytes.len());
                this.give(bytes, &mut out)?;
                Poll::Ready(io::Result::Ok(bytes.len()))
            });
            match read {
                Poll::Pending => return this.poll_deadline(context).map(Err),
                // All of it is held: nothing is given on, which would read as the end.
                Poll::Ready(Ok(read)) if read > 0 && out.remaining() == before => {}
                Poll::Ready(result) => return Poll::Ready(result.map(|_| ())),
            }
        }
    }
}

impl Write for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_early(context))?;
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_early(context))?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.after_write(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_early(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
