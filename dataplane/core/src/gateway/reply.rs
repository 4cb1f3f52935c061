//! The body of a response on its way to the client.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::record::Record;
use crate::revision::{Lease, Replica};
use crate::upstream::{Http1, Http2Stream};

/// What carries the replica's answer.
pub(super) enum Carrier {
    /// Goes back to the replica's pool at the end.
    Http1(Box<Http1>, Arc<Replica>),
    /// Never used again.
    Http1Once(Box<Http1>),
    /// A place on a shared connection.
    Http2(#[allow(dead_code, reason = "held for its drop")] Http2Stream),
    /// The answer is complete.
    Done,
}

/// Why a response that had begun was cut.
#[derive(Debug)]
pub enum Cut {
    /// The revision's timeout.
    Timeout,
    /// The replica broke off.
    Replica(hyper::Error),
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("request timeout"),
            Self::Replica(error) => write!(f, "the replica broke off: {error}"),
        }
    }
}

impl std::error::Error for Cut {}

/// How long a response may take once it has begun.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) total: Option<Instant>,
    pub(super) idle: Option<Duration>,
}

/// The rest of a response, from the replica. When a limit passes, the response is cut: the client
/// sees an incomplete message, which cannot be taken for a complete one.
pub struct Stream {
    inner: Incoming,
    carrier: Carrier,
    lease: Option<Lease>,
    record: Record,
    limits: Limits,
    last_byte: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Frames that came with the head.
    ready: VecDeque<Frame<Bytes>>,
}

/// The body of a response.
pub enum Reply {
    /// Nothing.
    Empty,
    /// In one piece.
    Full(Option<Bytes>),
    /// As it arrives.
    Stream(Box<Stream>),
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
        inner: Incoming,
        carrier: Carrier,
        lease: Lease,
        record: Record,
        limits: Limits,
    ) -> Self {
        let mut stream = Stream {
            inner,
            carrier,
            lease: Some(lease),
            record,
            limits,
            last_byte: Instant::now(),
            timer: None,
            ready: VecDeque::new(),
        };
        let mut context = Context::from_waker(Waker::noop());
        if stream.inner.is_end_stream() {
            stream.finish(&mut context);
            return Self::Empty;
        }
        if let Carrier::Http2(_) = stream.carrier {
            return Self::Stream(Box::new(stream));
        }
        while let Poll::Ready(Some(Ok(frame))) =
            Pin::new(&mut stream.inner).poll_frame(&mut context)
        {
            stream.ready.push_back(frame);
            if stream.inner.is_end_stream() {
                break;
            }
        }
        stream
            .completed(&mut context)
            .unwrap_or_else(|| Self::Stream(Box::new(stream)))
    }
}

impl Stream {
    /// The whole body, if it is there and in one piece without trailers.
    fn completed(&mut self, context: &mut Context<'_>) -> Option<Reply> {
        let only_data = self.ready.len() == 1 && self.ready[0].is_data();
        if !only_data || !self.inner.is_end_stream() {
            return None;
        }
        let data = self.ready.pop_front()?.into_data().ok()?;
        self.record.bytes += data.len() as u64;
        self.finish(context);
        Some(Reply::full(data))
    }

    /// The answer is complete: the slot is free, the connection perhaps too.
    fn finish(&mut self, context: &mut Context<'_>) {
        if let Carrier::Http1(mut connection, replica) =
            std::mem::replace(&mut self.carrier, Carrier::Done)
        {
            if !connection.is_ready() {
                connection.drive(context);
            }
            if connection.is_ready() {
                replica.pool.put(connection, Instant::now());
            }
        }
        self.lease = None;
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        match &mut self.carrier {
            Carrier::Http1(connection, _) | Carrier::Http1Once(connection) => {
                connection.drive(context);
            }
            Carrier::Http2(_) | Carrier::Done => {}
        }
    }

    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<Cut> {
        let idle = self.limits.idle.map(|idle| self.last_byte + idle);
        let Some(at) = self.limits.total.into_iter().chain(idle).min() else {
            return Poll::Pending;
        };
        let at = tokio::time::Instant::from_std(at);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(context).map(|()| Cut::Timeout)
    }

    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Carrier::Http2(_) = self.carrier {
            return Pin::new(&mut self.inner).poll_frame(context);
        }
        // Frames come out of driving the connection only, so they need no waker of their own.
        let mut quiet = Context::from_waker(Waker::noop());
        if let ready @ Poll::Ready(_) = Pin::new(&mut self.inner).poll_frame(&mut quiet) {
            return ready;
        }
        self.drive(context);
        Pin::new(&mut self.inner).poll_frame(&mut quiet)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(self.passed(frame, context))));
        }
        if matches!(self.carrier, Carrier::Done) {
            return Poll::Ready(None);
        }
        match self.poll_inner(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.last_byte = Instant::now();
                Poll::Ready(Some(Ok(self.passed(frame, context))))
            }
            Poll::Ready(None) => {
                self.finish(context);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => self.cut(Cut::Replica(error)),
            Poll::Pending => match self.poll_limits(context) {
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

    fn passed(&mut self, frame: Frame<Bytes>, context: &mut Context<'_>) -> Frame<Bytes> {
        if let Some(data) = frame.data_ref() {
            self.record.bytes += data.len() as u64;
        }
        if self.ready.is_empty() && self.inner.is_end_stream() {
            self.finish(context);
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
            Self::Stream(stream) => stream.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.ready.is_empty() && stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(stream) => {
                let waiting: u64 = stream
                    .ready
                    .iter()
                    .filter_map(Frame::data_ref)
                    .map(|data| data.len() as u64)
                    .sum();
                stream
                    .inner
                    .size_hint()
                    .exact()
                    .map_or_else(SizeHint::default, |left| {
                        SizeHint::with_exact(left + waiting)
                    })
            }
        }
    }
}
