//! HTTP/2 without TLS to a replica.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::body::RequestBody;
use super::RequestHead;

const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A shared connection.
#[derive(Debug, Clone)]
pub struct Http2 {
    sender: SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
}

/// A stream's place on its connection, until dropped.
#[derive(Debug)]
pub struct Http2Stream(Arc<AtomicUsize>);

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http2 {
    /// Speaks HTTP/2 by prior knowledge. A task drives the connection until it ends: when the
    /// replica closes it or nobody holds it any more.
    ///
    /// # Errors
    /// The replica did not answer HTTP/2.
    pub async fn over(stream: TcpStream) -> Result<Self, hyper::Error> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, streams: Arc::default() })
    }

    /// Streams in use.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether it can take no more streams ever.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Counts a stream.
    #[must_use]
    pub fn reserve(&self) -> Http2Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Http2Stream(Arc::clone(&self.streams))
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// The stream or the connection broke.
    pub async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unsent> {
        self.sender.try_send_request(request).await.map_err(|mut broken| {
            let request = broken.take_message().map(|request| {
                let (parts, body) = request.into_parts();
                let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
                (RequestHead { method, uri, headers }, body)
            });
            Unsent { error: broken.into_error(), request }
        })
    }
}

/// A stream that brought no response.
#[derive(Debug)]
pub struct Unsent {
    /// What broke.
    pub error: hyper::Error,
    /// The request, when not a byte of it was written.
    pub request: Option<(RequestHead, RequestBody)>,
}
