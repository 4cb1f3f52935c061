//! HTTP/1.1 to a replica.
//!
//! The connection is driven by the task of the request that uses it, not by one of its own: no
//! second wake-up per request, and dropping the request closes the connection, which is how a
//! replica learns that nobody waits for its answer. The head of a request is borrowed, so that it
//! can be sent again over another connection.

mod body;
mod head;
mod outgoing;

use std::cell::RefCell;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::pin;
use std::task::{ready, Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::body::RequestBody;
use super::{RequestHead, MAX_RESPONSE_HEAD};
use body::Incoming;
use head::Parsed;
use outgoing::Outgoing;

pub use head::ResponseHead;

const SCRATCH: usize = 16 * 1024;
/// Bodies with more to come than this are read without a detour.
const DIRECT: u64 = 8 * 1024;
const DIRECT_READ: usize = 64 * 1024;
/// Interim responses before the final one.
const MAX_INTERIM: u32 = 16;

thread_local! {
    /// Heads are read here first, so that pooled connections hold no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Why an exchange failed.
#[derive(Debug)]
pub enum Cause {
    /// The socket.
    Io(io::Error),
    /// The replica closed the connection.
    Closed,
    /// The replica did not answer HTTP.
    Malformed(&'static str),
    /// The client's body broke off.
    Client(hyper::Error),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Closed => f.write_str("the connection was closed before the answer was complete"),
            Self::Malformed(what) => write!(f, "malformed answer: {what}"),
            Self::Client(error) => write!(f, "the request body broke off: {error}"),
        }
    }
}

impl std::error::Error for Cause {}

/// An exchange that brought no response.
#[derive(Debug)]
pub struct Broken {
    /// Why.
    pub cause: Cause,
    /// Not a byte of an answer arrived.
    pub silent: bool,
    /// Not a byte of the request was taken.
    pub unsent: bool,
    /// The body, when nothing of it was taken.
    pub body: Option<RequestBody>,
}

/// A connection with at most one request on it.
#[derive(Debug)]
pub struct Http1 {
    stream: TcpStream,
    /// Read, and not used yet.
    inbox: BytesMut,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Some bytes of an answer arrived.
    heard: bool,
    /// The replica keeps the connection after this answer.
    keeps: bool,
    used: bool,
}

impl Http1 {
    /// Speaks HTTP/1.1 on a new connection.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            outgoing: Outgoing::default(),
            incoming: Incoming::Done,
            heard: false,
            keeps: true,
            used: false,
        }
    }

    /// Whether it carried a request before: the replica may have closed it meanwhile.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.used
    }

    /// Whether it can take a request now: the last exchange is complete and nothing came since.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.keeps
            && matches!(self.incoming, Incoming::Done)
            && self.outgoing.is_done()
            && self.inbox.is_empty()
            && self.stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Sends a request and waits for the head of the response. The request's headers are intact
    /// after an error that allows to send it again; else their memory is the response's. Interim
    /// responses go to `interim`.
    ///
    /// # Errors
    /// The connection broke or the replica did not answer HTTP.
    pub async fn exchange(
        &mut self,
        request: &mut RequestHead,
        body: RequestBody,
        mut interim: impl FnMut(&ResponseHead),
    ) -> Result<ResponseHead, Broken> {
        self.outgoing.begin(request, body);
        self.incoming = Incoming::Head;
        self.used = true;
        self.heard = false;
        let RequestHead { method, headers, .. } = request;
        let mut interims = 0;
        let result = loop {
            match poll_fn(|context| self.poll_head(context, method, headers)).await {
                Ok(head) if is_interim(head.status) => {
                    interims += 1;
                    if interims > MAX_INTERIM {
                        break Err(Cause::Malformed("too many interim responses"));
                    }
                    interim(&head);
                }
                other => break other,
            }
        };
        result.map_err(|cause| self.broken(cause))
    }

    fn broken(&mut self, cause: Cause) -> Broken {
        self.keeps = false;
        let (unsent, body) = self.outgoing.take_back();
        Broken { cause, silent: !self.heard, unsent, body }
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Poll<Result<ResponseHead, Cause>> {
        let _ = self.poll_send(context)?;
        loop {
            if !self.inbox.is_empty() {
                match head::parse(&mut self.inbox, method, headers)? {
                    Some(Parsed { head, incoming, keeps }) => {
                        if !is_interim(head.status) {
                            self.incoming = incoming;
                            self.keeps &= keeps;
                        }
                        return Poll::Ready(Ok(head));
                    }
                    None if self.inbox.len() > MAX_RESPONSE_HEAD => {
                        return Poll::Ready(Err(Cause::Malformed("the head is too large")));
                    }
                    None => {}
                }
            }
            match ready!(self.poll_read(context, false)) {
                Ok(0) => return Poll::Ready(Err(Cause::Closed)),
                Ok(_) => self.heard = true,
                // What went wrong with sending explains more than that nothing is there to read.
                Err(error) => return Poll::Ready(Err(self.outgoing.failure(error))),
            }
        }
    }

    /// Sends as much as can be. A socket that takes no more is no error yet: the answer may be there.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Cause> {
        if self.outgoing.is_done() {
            return Ok(Poll::Ready(()));
        }
        self.outgoing.poll(&mut self.stream, context).map_err(Cause::Client)
    }

    /// Reads what is there: into the buffer of the thread first, or `directly` into the inbox.
    fn poll_read(&mut self, context: &mut Context<'_>, directly: bool) -> Poll<io::Result<usize>> {
        if directly {
            self.inbox.reserve(DIRECT_READ);
            return pin!(self.stream.read_buf(&mut self.inbox)).poll(context);
        }
        BUFFER.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let stream = std::pin::Pin::new(&mut self.stream);
            ready!(tokio::io::AsyncRead::poll_read(stream, context, &mut buffer))?;
            self.inbox.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Whether the answer is complete.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.incoming, Incoming::Done)
    }

    /// How much of the body is to come, if its length is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.incoming.left()
    }

    /// The next piece of the response, while the rest of the request is sent.
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        if self.poll_send(context).is_err() {
            // The client's body broke off: the replica cannot have understood the request.
            return Poll::Ready(Some(Err(self.cut(Cause::Closed))));
        }
        loop {
            match self.incoming.take(&mut self.inbox) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_end() => return Poll::Ready(None),
                Ok(None) => {}
                Err(what) => return Poll::Ready(Some(Err(self.cut(Cause::Malformed(what))))),
            }
            let directly = self.incoming.left().is_none_or(|left| left > DIRECT);
            match ready!(self.poll_read(context, directly)) {
                Ok(0) if self.incoming.ends_with_connection() => self.incoming = Incoming::Done,
                Ok(0) => return Poll::Ready(Some(Err(self.cut(Cause::Closed)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.cut(Cause::Io(error))))),
            }
        }
    }

    fn cut(&mut self, cause: Cause) -> Cause {
        self.keeps = false;
        cause
    }

    /// After a 101: the stream, and what the replica sent already.
    #[must_use]
    pub fn into_stream(self) -> (TcpStream, Bytes) {
        (self.stream, self.inbox.freeze())
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
