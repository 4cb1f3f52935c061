//! One client connection: HTTP/1.1 or HTTP/2 on the same port.

use std::convert::Infallible;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;

use super::client::Client;
use super::handle::handle;
use super::io::ClientIo;
use super::{Gateway, Reply};

/// Of a request's head.
pub(super) const MAX_HEAD: usize = 32 * 1024;
const MAX_STREAMS: u32 = 100;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
/// Streams reset by us for the client's errors, and by the client before we saw them.
const RESET_STREAMS: usize = 100;
const PENDING_RESETS: usize = 20;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What both kinds of connection can do.
trait Serving: Future {
    fn finish(self: Pin<&mut Self>);
}

impl<S> Serving for http1::UpgradeableConnection<ClientIo, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Reply>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Serving for http2::Connection<ClientIo, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Reply>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(gateway: &Arc<Gateway>, stream: TcpStream, client: Arc<Client>) {
    let mut io = ClientIo::new(stream, Arc::clone(&client));
    let mut close = gateway.close.subscribe();
    let is_http2 = tokio::select! {
        sniffed = Box::pin(io.sniff()) => match sniffed {
            Ok(is_http2) => is_http2,
            Err(_) => return,
        },
        _ = close.wait_for(|closing| *closing) => return,
    };
    let service = {
        let gateway = Arc::clone(gateway);
        service_fn(move |request: Request<Incoming>| {
            let (gateway, client) = (Arc::clone(&gateway), Arc::clone(&client));
            async move { Ok::<_, Infallible>(handle(gateway, client, request).await) }
        })
    };
    if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER)
            .max_local_error_reset_streams(RESET_STREAMS)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(io, service);
        run(gateway, std::pin::pin!(connection)).await;
    } else {
        let connection = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_header_size(MAX_HEAD)
            .serve_connection(io, service)
            .with_upgrades();
        run(gateway, std::pin::pin!(connection)).await;
    }
}

/// Drives a connection; once the gateway closes, only what is in flight is finished.
async fn run<C: Serving>(gateway: &Gateway, mut connection: Pin<&mut C>) {
    let mut close = gateway.close.subscribe();
    let closing = close.wait_for(|closing| *closing);
    let mut closing = std::pin::pin!(closing);
    let (mut listening, mut told) = (false, false);
    poll_fn(|context| {
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // The wait for the end is polled once, to be woken, and then only when it is there.
        if !told && (!listening || gateway.is_closing()) {
            listening = true;
            if closing.as_mut().poll(context).is_ready() {
                told = true;
                connection.as_mut().finish();
                return connection.as_mut().poll(context).map(|_| ());
            }
        }
        Poll::Pending
    })
    .await;
}
