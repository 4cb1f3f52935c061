//! The body of a response on its way to the client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Sleep;

use super::record::Record;
use crate::revision::{Lease, Replica};
use crate::upstream::{Cause, Http1, Http2Stream};

/// What a stream that is being asked for its next frame is left to notice its deadline by itself.
const GRACE: Duration = Duration::from_millis(100);

/// What carries the body of the replica's answer.
pub(super) enum Carrier {
    /// Goes back to the replica's pool at the end, if there is one.
    Http1(Box<Http1>, Option<Arc<Replica>>),
    /// A body, and its place on a shared connection.
    Http2(Incoming, #[allow(dead_code, reason = "held for its drop")] Http2Stream),
    /// The answer is complete.
    Done,
}

impl Carrier {
    fn is_end(&self) -> bool {
        match self {
            Self::Http1(connection, _) => connection.is_end(),
            Self::Http2(body, _) => body.is_end_stream(),
            Self::Done => true,
        }
    }

    fn left(&self) -> Option<u64> {
        match self {
            Self::Http1(connection, _) => connection.left(),
            Self::Http2(body, _) => body.size_hint().exact(),
            Self::Done => Some(0),
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self {
            Self::Http1(connection, _) => connection.poll_frame(context).map_err(Cut::Replica),
            Self::Http2(body, _) => Pin::new(body).poll_frame(context).map_err(Cut::Stream),
            Self::Done => Poll::Ready(None),
        }
    }
}

/// Why a response that had begun was cut.
#[derive(Debug)]
pub enum Cut {
    /// The revision's timeout.
    Timeout,
    /// The replica broke off.
    Replica(Cause),
    /// The replica broke off (HTTP/2).
    Stream(hyper::Error),
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("request timeout"),
            Self::Replica(cause) => write!(f, "the replica broke off: {cause}"),
            Self::Stream(error) => write!(f, "the replica broke off: {error}"),
        }
    }
}

impl std::error::Error for Cut {}

/// How long a response may take once it has begun.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) total: Option<Instant>,
    pub(super) idle: Option<Duration>,
    /// Of a tunnel: when the replica must have sent something.
    pub(super) first: Option<Instant>,
    /// When one passes, the body ends with a text that says so, as Knative's does, unless its length
    /// was announced.
    pub(super) explained: bool,
}

/// What a body ends with when a limit passed.
const LATE: &[u8] = b"request timeout";

/// The rest of a response, from the replica. When a limit passes and the limits are not explained,
/// the response is cut: the client sees an incomplete message, which cannot be taken for a complete
/// one.
pub struct Stream {
    carrier: Carrier,
    lease: Option<Lease>,
    record: Record,
    limits: Limits,
    /// Since when nothing came.
    last_byte: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What came with the head.
    ready: Option<Frame<Bytes>>,
}

/// The body of a response.
pub enum Reply {
    /// Nothing.
    Empty,
    /// In one piece.
    Full(Option<Bytes>),
    /// As it arrives.
    Stream(Watched),
}

impl Reply {
    /// In one piece.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }

    /// Takes over a replica's answer. What arrived with the head is looked at right away: most
    /// answers are complete then, and the slot and the connection are free before the client has
    /// a byte.
    pub(super) fn from_replica(
        carrier: Carrier,
        lease: Lease,
        record: Record,
        limits: Limits,
    ) -> Self {
        let mut stream = Stream {
            carrier,
            lease: Some(lease),
            record,
            limits,
            last_byte: None,
            timer: None,
            ready: None,
        };
        if stream.carrier.is_end() {
            stream.finish();
            return Self::Empty;
        }
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Some(Ok(frame))) = stream.carrier.poll_frame(&mut context) {
            stream.ready = Some(frame);
            if let Some(whole) = stream.completed() {
                return whole;
            }
        }
        Self::Stream(Watched::new(stream))
    }
}

/// A stream that ends at its deadline even when the client takes nothing, and so nobody asks for
/// its next frame.
pub struct Watched {
    stream: Arc<Mutex<Option<Box<Stream>>>>,
    watchdog: Option<AbortHandle>,
}

impl Watched {
    fn new(stream: Stream) -> Self {
        let total = stream.limits.total;
        let stream = Arc::new(Mutex::new(Some(Box::new(stream))));
        let watchdog = total.map(|at| {
            let watched = Arc::downgrade(&stream);
            let late = tokio::time::Instant::from_std(at) + GRACE;
            let watch = async move {
                tokio::time::sleep_until(late).await;
                if let Some(stream) = watched.upgrade() {
                    stream.lock().take();
                }
            };
            tokio::spawn(watch).abort_handle()
        });
        Self { stream, watchdog }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

impl Stream {
    /// The whole body, if it is there in one piece.
    fn completed(&mut self) -> Option<Reply> {
        if !self.carrier.is_end() || !self.ready.as_ref().is_some_and(Frame::is_data) {
            return None;
        }
        let data = self.ready.take()?.into_data().ok()?;
        self.record.bytes += data.len() as u64;
        self.finish();
        Some(Reply::full(data))
    }

    /// The answer is complete: the slot is free, the connection perhaps too.
    fn finish(&mut self) {
        if let Carrier::Http1(connection, Some(replica)) =
            std::mem::replace(&mut self.carrier, Carrier::Done)
        {
            if connection.is_ready() {
                replica.pool.put(connection, Instant::now());
            }
        }
        self.lease = None;
    }

    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<Cut> {
        let idle =
            self.limits.idle.map(|idle| *self.last_byte.get_or_insert_with(Instant::now) + idle);
        let Some(at) = self.limits.total.into_iter().chain(idle).min() else {
            return Poll::Pending;
        };
        let at = tokio::time::Instant::from_std(at);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(context).map(|()| Cut::Timeout)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(frame) = self.ready.take() {
            return Poll::Ready(Some(Ok(self.passed(frame))));
        }
        match self.carrier.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.last_byte = None;
                Poll::Ready(Some(Ok(self.passed(frame))))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(cut))) => self.cut(cut),
            Poll::Pending => match self.poll_limits(context) {
                Poll::Ready(_) if self.limits.explained && self.carrier.left().is_none() => {
                    let _: Poll<_> = self.cut(Cut::Timeout);
                    Poll::Ready(Some(Ok(self.passed(Frame::data(Bytes::from_static(LATE))))))
                }
                Poll::Ready(cut) => self.cut(cut),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn cut(&mut self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.carrier = Carrier::Done;
        self.lease = None;
        Poll::Ready(Some(Err(cut)))
    }

    fn passed(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(data) = frame.data_ref() {
            self.record.bytes += data.len() as u64;
        }
        if self.carrier.is_end() {
            self.finish();
        }
        frame
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(watched) => match &mut *watched.stream.lock() {
                Some(stream) => stream.poll_next(context),
                None => Poll::Ready(Some(Err(Cut::Timeout))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream(watched) => {
                let stream = watched.stream.lock();
                stream.as_ref().is_some_and(|s| s.ready.is_none() && s.carrier.is_end())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(watched) => {
                let stream = watched.stream.lock();
                let Some(stream) = &*stream else { return SizeHint::default() };
                let ready = stream.ready.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
                let left = stream.carrier.left();
                left.map_or_else(SizeHint::default, |left| {
                    SizeHint::with_exact(left + ready as u64)
                })
            }
        }
    }
}
