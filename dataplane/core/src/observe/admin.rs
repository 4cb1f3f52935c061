//! The loopback listener for metrics and health.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::access::AccessLog;
use super::metrics::{render, GatewayCounters};
use crate::gateway::Reply;
use crate::routing::Table;

/// Scrapers and probes; more at once are turned away.
const CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `/metrics`, `/healthz` and `/readyz`.
pub struct Admin {
    /// What to report on.
    pub table: Arc<Table>,
    /// What to report on.
    pub counters: Arc<GatewayCounters>,
    /// What to report on.
    pub access_log: Option<Arc<AccessLog>>,
}

impl Admin {
    /// Runs for ever.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = admin.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(place);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Reply> {
        if !names_this_machine(request) {
            return text(StatusCode::FORBIDDEN, "the host is not this machine\n".into());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
        }
        match request.uri().path() {
            "/metrics" => {
                let dropped = self.access_log.as_ref().map_or(0, |log| log.dropped());
                let body = render(&self.table, &self.counters, dropped);
                text(StatusCode::OK, body.into())
            }
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" if self.table.is_configured() => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "no configuration yet\n".into()),
            _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n".into()),
        }
    }
}

/// A page in a browser cannot read the metrics by a name that it made point here.
fn names_this_machine(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST).and_then(|host| host.to_str().ok()) else {
        return true;
    };
    crate::routing::normal_host(host).is_ok_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        &*host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
    })
}

fn text(status: StatusCode, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::full(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
