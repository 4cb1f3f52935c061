//! HTTP/1.1 to a replica.
//!
//! The connection is driven by the task of the request that uses it, not by one of its own: no
//! second wake-up per request, and dropping the request closes the connection, which is how a
//! replica learns that nobody waits for its answer.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;

type Io = TokioIo<TcpStream>;

/// A connection with at most one request on it.
#[derive(Debug)]
pub struct Http1 {
    sender: SendRequest<RequestBody>,
    /// `None` once it ended.
    connection: Option<Connection<Io, RequestBody>>,
    used: bool,
}

/// The outcome of an exchange that brought no response.
#[derive(Debug)]
pub struct Sent {
    /// What broke.
    pub error: hyper::Error,
    /// The request, when not a byte of it was written.
    pub unsent: Option<Request<RequestBody>>,
}

impl Http1 {
    /// Speaks HTTP/1.1 on a new connection.
    ///
    /// # Errors
    /// None in practice: HTTP/1.1 has no handshake.
    pub async fn over(stream: TcpStream) -> Result<Self, hyper::Error> {
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder
            .max_buf_size(super::MAX_RESPONSE_HEAD)
            .max_header_size(super::MAX_RESPONSE_HEAD);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            connection: Some(connection),
            used: false,
        })
    }

    /// Whether it carried a request before: the replica may have closed it meanwhile.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.used
    }

    /// Whether it can take a request now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Moves bytes. The response body does not progress by itself: poll this, then the body.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            if Pin::new(connection).poll(context).is_ready() {
                self.connection = None;
            }
        }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// The connection broke or the replica did not answer HTTP.
    pub async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Sent> {
        let mut connection = self.connection.take();
        let answer = self.sender.try_send_request(request);
        let mut answer = std::pin::pin!(answer);
        let result = poll_fn(|context| {
            if let Some(active) = &mut connection {
                if Pin::new(active).poll(context).is_ready() {
                    connection = None;
                }
            }
            // The answer can only come out of the poll above, so it needs no waker of its own.
            answer
                .as_mut()
                .poll(&mut Context::from_waker(std::task::Waker::noop()))
        })
        .await;
        self.connection = connection;
        self.used = true;
        result.map_err(|mut broken| {
            let unsent = broken.take_message();
            Sent {
                error: broken.into_error(),
                unsent,
            }
        })
    }

    /// After a 101: waits until the connection is a plain stream of bytes. Also what the replica
    /// sent already.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn into_stream(mut self) -> Result<(TcpStream, bytes::Bytes), std::io::Error> {
        let Some(mut connection) = self.connection.take() else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        let done: Result<(), hyper::Error> =
            poll_fn(|context| -> Poll<_> { connection.poll_without_shutdown(context) }).await;
        done.map_err(std::io::Error::other)?;
        let parts = connection.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf))
    }
}
