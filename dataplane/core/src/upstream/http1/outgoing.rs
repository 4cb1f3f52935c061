//! Requests on their way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::super::body::RequestBody;
use super::{head, Cause, RequestHead};

/// Heads that need more are not kept for the next request.
const KEEP: usize = 4 * 1024;

#[derive(Debug, Default)]
enum Sending {
    /// Not taken from yet.
    Untouched(hyper::body::Incoming),
    Begun(hyper::body::Incoming),
    #[default]
    Nothing,
}

/// What of a request is to be written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    outbox: Vec<u8>,
    written: usize,
    body: Sending,
    chunked: bool,
    /// Some bytes of this request were taken by the socket.
    began: bool,
    failed: Option<io::Error>,
}

impl Outgoing {
    pub(super) fn begin(&mut self, request: &RequestHead, body: RequestBody) {
        self.chunked = body.size_hint().exact().is_none();
        self.body = match body {
            RequestBody::Client(body) => Sending::Untouched(body),
            RequestBody::Empty => Sending::Nothing,
        };
        (self.written, self.began, self.failed) = (0, false, None);
        self.outbox.clear();
        head::write(request, self.chunked, &mut self.outbox);
    }

    /// Everything was written.
    pub(super) fn is_done(&self) -> bool {
        self.written == self.outbox.len()
            && matches!(self.body, Sending::Nothing)
            && self.failed.is_none()
    }

    /// Whether not a byte was written, and the body if it was not touched.
    pub(super) fn take_back(&mut self) -> (bool, Option<RequestBody>) {
        let body = match std::mem::take(&mut self.body) {
            Sending::Untouched(body) => Some(RequestBody::Client(body)),
            Sending::Nothing => Some(RequestBody::Empty),
            Sending::Begun(_) => None,
        };
        (!self.began, body)
    }

    /// What to blame when reading fails too.
    pub(super) fn failure(&mut self, reading: io::Error) -> Cause {
        Cause::Io(self.failed.take().unwrap_or(reading))
    }

    /// Writes what can be written. An error of the socket is kept: the answer may say why.
    pub(super) fn poll(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, hyper::Error> {
        loop {
            if self.failed.is_some() {
                return Ok(Poll::Pending);
            }
            while self.written < self.outbox.len() {
                match Pin::new(&mut *stream).poll_write(context, &self.outbox[self.written..]) {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.written += count;
                        self.began = true;
                    }
                    Poll::Ready(result) => {
                        let empty = || io::Error::from(io::ErrorKind::WriteZero);
                        self.failed = Some(result.err().unwrap_or_else(empty));
                        return Ok(Poll::Pending);
                    }
                }
            }
            (self.written, self.outbox) = (0, recycled(std::mem::take(&mut self.outbox)));
            if matches!(self.body, Sending::Nothing) {
                return Ok(Poll::Ready(()));
            }
            if self.poll_body(context)?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
    }

    /// Takes one frame of the body into the outbox.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, hyper::Error> {
        let mut body = match std::mem::take(&mut self.body) {
            Sending::Untouched(body) | Sending::Begun(body) => body,
            Sending::Nothing => return Ok(Poll::Ready(())),
        };
        match Pin::new(&mut body).poll_frame(context) {
            Poll::Pending => {
                self.body = Sending::Begun(body);
                return Ok(Poll::Pending);
            }
            Poll::Ready(None) => self.end_body(),
            Poll::Ready(Some(Err(error))) => return Err(error),
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers of requests do not pass: HTTP/1.1 servers rarely expect them.
                if let Ok(data) = frame.into_data() {
                    self.data(&data);
                }
                if body.is_end_stream() {
                    self.end_body();
                } else {
                    self.body = Sending::Begun(body);
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn data(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.chunked {
            self.outbox.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        self.outbox.extend_from_slice(data);
        if self.chunked {
            self.outbox.extend_from_slice(b"\r\n");
        }
    }

    fn end_body(&mut self) {
        if self.chunked {
            self.outbox.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

fn recycled(mut outbox: Vec<u8>) -> Vec<u8> {
    if outbox.capacity() > KEEP {
        return Vec::new();
    }
    outbox.clear();
    outbox
}
