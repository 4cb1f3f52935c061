//! From the queue to a replica and back.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;

use super::error::Failure;
use super::headers::strip_response;
use super::record::Record;
use super::reply::{Carrier, Limits};
use super::response::ColdTimes;
use super::{Gateway, Reply};
use crate::protocol::Protocol;
use crate::revision::{Admission, Lease, Policy, Revision};
use crate::upstream::{connect, ConnectError, Http1, Http2, RequestBody, Sent};

/// Replicas that break connections before the answer are not asked for ever.
const MAX_ATTEMPTS: u32 = 5;

/// A request as the replica will get it.
pub(super) struct Outbound {
    pub(super) parts: Parts,
    pub(super) body: RequestBody,
    /// The client takes trailers.
    pub(super) trailers: bool,
    pub(super) websocket: bool,
    pub(super) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

/// A slot, and how the request came to it.
pub(super) struct Turn {
    pub(super) lease: Lease,
    pub(super) policy: Policy,
    pub(super) cold: Option<Box<ColdTimes>>,
    /// Of the whole request.
    pub(super) deadline: Option<Instant>,
}

impl Turn {
    /// When the response must have begun, counted from now.
    pub(super) fn head_deadline(&self, now: Instant) -> Option<Instant> {
        let start = self.policy.response_start_timeout.map(|limit| now + limit);
        let idle = self.policy.idle_timeout.map(|limit| now + limit);
        [self.deadline, start, idle].into_iter().flatten().min()
    }

    fn connected(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.connected = Some(Instant::now());
        }
    }
}

/// What one attempt brought.
enum Attempt {
    Answer(Response<Incoming>, Carrier),
    /// Nothing of the request was sent, or it may be repeated.
    Again(Request<RequestBody>),
    Failed(Failure),
}

/// Sends a request to a replica of `revision` and begins the answer.
pub(super) async fn forward(
    gateway: &Arc<Gateway>,
    mut record: Record,
    revision: &Arc<Revision>,
    outbound: Outbound,
) -> Result<Response<Reply>, (Record, Failure)> {
    let Outbound {
        parts,
        body,
        trailers,
        ..
    } = outbound;
    let version = parts.version;
    let mut request = Request::from_parts(parts, body);
    for attempt in 0..MAX_ATTEMPTS {
        let mut turn = match next_turn(revision, &mut record, attempt == 0).await {
            Ok(turn) => turn,
            Err(failure) => return Err((record, failure)),
        };
        record.at_replica(&turn.lease.replica().id);
        let outcome = match turn.policy.protocol {
            Protocol::Http1 => over_http1(gateway, &mut turn, request).await,
            Protocol::H2c => over_http2(gateway, &mut turn, request, trailers).await,
        };
        match outcome {
            Attempt::Answer(response, carrier) => {
                return Ok(begin(response, carrier, turn, record, version))
            }
            Attempt::Again(unsent) => request = unsent,
            Attempt::Failed(failure) => return Err((record, failure)),
        }
    }
    Err((record, Failure::BadGateway("no replica takes the request")))
}

/// A slot, at once or in turn.
pub(super) async fn next_turn(
    revision: &Arc<Revision>,
    record: &mut Record,
    first: bool,
) -> Result<Turn, Failure> {
    let arrived = record.started();
    let now = if first { arrived } else { Instant::now() };
    let (mut ticket, policy) = match revision.admit(now, first) {
        Admission::Granted(lease, policy) => {
            let deadline = policy.total_timeout.map(|limit| arrived + limit);
            return Ok(Turn {
                lease,
                policy,
                cold: None,
                deadline,
            });
        }
        Admission::Waiting(ticket, policy) => (ticket, policy),
        Admission::QueueFull => {
            revision.counters.overflow.fetch_add(1, Ordering::Relaxed);
            return Err(Failure::QueueFull);
        }
        Admission::Unknown => return Err(Failure::UnknownRevision),
    };
    if ticket.cold {
        record.is_cold();
    }
    let deadline = policy.total_timeout.map(|limit| arrived + limit);
    let grant = match deadline {
        Some(at) => {
            let granted = Box::pin(tokio::time::timeout_at(at.into(), ticket.granted())).await;
            granted.map_err(|_| Failure::QueueTimeout)?
        }
        None => ticket.granted().await,
    };
    let grant = grant.ok_or(Failure::UnknownRevision)?;
    let cold = ticket.cold.then(|| {
        let activation = grant
            .activation
            .filter(|activation| activation.answered >= arrived);
        Box::new(ColdTimes {
            arrived,
            granted: Instant::now(),
            activation,
            connected: None,
        })
    });
    let deadline = grant.policy.total_timeout.map(|limit| arrived + limit);
    Ok(Turn {
        lease: grant.lease,
        policy: grant.policy,
        cold,
        deadline,
    })
}

fn begin(
    response: Response<Incoming>,
    carrier: Carrier,
    turn: Turn,
    mut record: Record,
    client: Version,
) -> Response<Reply> {
    let (mut parts, body) = response.into_parts();
    strip_response(&mut parts.headers);
    // Only bodies of unknown length are chunked, and only those can have trailers.
    parts.version = client;
    record.status = parts.status.as_u16();
    let limits = Limits {
        total: turn.deadline,
        idle: turn.policy.idle_timeout,
    };
    let mut response = Response::from_parts(parts, ());
    if let Some(cold) = &turn.cold {
        cold.put_on(&mut response, Instant::now());
    }
    response.map(|()| Reply::from_replica(body, carrier, turn.lease, record, limits))
}

async fn over_http1(
    gateway: &Arc<Gateway>,
    turn: &mut Turn,
    mut request: Request<RequestBody>,
) -> Attempt {
    let replica = Arc::clone(turn.lease.replica());
    frame_body(&mut request);
    *request.version_mut() = Version::HTTP_11;
    let repeatable = is_repeatable(&request);
    let mut pooled = replica.pool.take(Instant::now(), repeatable);
    loop {
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => match dial_http1(turn).await {
                Ok(connection) => Box::new(connection),
                Err(refused) => return refused_connection(gateway, &turn.lease, request, refused),
            },
        };
        turn.connected();
        let reused = connection.is_reused();
        let spare = (reused && repeatable).then(|| copy_of(&request));
        let now = Instant::now();
        let exchange = connection.exchange(request);
        let result = match turn.head_deadline(now) {
            Some(at) => tokio::time::timeout_at(at.into(), exchange).await,
            None => Ok(exchange.await),
        };
        let broken = match result {
            Err(_) => return Attempt::Failed(Failure::Timeout),
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                report(gateway, &turn.lease, "switched protocols unasked");
                return Attempt::Failed(Failure::BadGateway("the replica did not answer HTTP"));
            }
            Ok(Ok(response)) => {
                return Attempt::Answer(response, Carrier::Http1(connection, replica));
            }
            Ok(Err(broken)) => broken,
        };
        // A connection from the pool may have been closed by the replica meanwhile.
        match (broken.unsent, spare) {
            (Some(unsent), _) if reused => request = unsent,
            (None, Some(spare))
                if broken.error.is_incomplete_message() || is_reset(&broken.error) =>
            {
                request = spare;
            }
            (unsent, _) => return broke(gateway, &turn.lease, &broken.error, unsent),
        }
    }
}

async fn dial_http1(turn: &Turn) -> Result<Http1, Refusal> {
    let stream = dial(turn).await?;
    Http1::over(stream).await.map_err(|_| Refusal::Protocol)
}

/// Why there is no connection.
pub(super) enum Refusal {
    Connect(ConnectError),
    Protocol,
    Deadline,
}

pub(super) async fn dial(turn: &Turn) -> Result<tokio::net::TcpStream, Refusal> {
    let connecting = connect(turn.lease.replica().address);
    let connected = match turn.deadline {
        Some(at) => tokio::time::timeout_at(at.into(), connecting).await,
        None => Ok(connecting.await),
    };
    connected
        .map_err(|_| Refusal::Deadline)?
        .map_err(Refusal::Connect)
}

async fn over_http2(
    gateway: &Arc<Gateway>,
    turn: &mut Turn,
    mut request: Request<RequestBody>,
    trailers: bool,
) -> Attempt {
    let replica = Arc::clone(turn.lease.replica());
    to_http2(&mut request, trailers);
    let mut shared = replica.pool.share();
    loop {
        let reused = shared.is_some();
        let mut connection = match shared.take() {
            Some(connection) => connection,
            None => {
                let dialled = match dial(turn).await {
                    Ok(stream) => Http2::over(stream).await.map_err(|_| Refusal::Protocol),
                    Err(refused) => Err(refused),
                };
                match dialled {
                    Ok(connection) => {
                        replica.pool.offer(connection.clone());
                        connection
                    }
                    Err(refused) => {
                        return refused_connection(gateway, &turn.lease, request, refused)
                    }
                }
            }
        };
        turn.connected();
        let place = connection.reserve();
        let exchange = connection.exchange(request);
        let result = match turn.head_deadline(Instant::now()) {
            Some(at) => tokio::time::timeout_at(at.into(), exchange).await,
            None => Ok(exchange.await),
        };
        match result {
            Err(_) => return Attempt::Failed(Failure::Timeout),
            Ok(Ok(response)) => return Attempt::Answer(response, Carrier::Http2(place)),
            Ok(Err(Sent {
                unsent: Some(unsent),
                ..
            })) if reused => request = unsent,
            Ok(Err(Sent { unsent, error })) => {
                return broke(gateway, &turn.lease, &error, unsent);
            }
        }
    }
}

/// Nothing of the request left: another replica may take it.
fn refused_connection(
    gateway: &Arc<Gateway>,
    lease: &Lease,
    request: Request<RequestBody>,
    refusal: Refusal,
) -> Attempt {
    match note_refusal(gateway, lease, &refusal) {
        Some(failure) => Attempt::Failed(failure),
        None => Attempt::Again(request),
    }
}

/// Marks the replica, unless the fault is not its own; the failure when waiting makes no sense.
pub(super) fn note_refusal(
    gateway: &Arc<Gateway>,
    lease: &Lease,
    refusal: &Refusal,
) -> Option<Failure> {
    let reason = match refusal {
        Refusal::Deadline => return Some(Failure::Timeout),
        Refusal::Connect(error) if error.is_ours() => {
            return Some(Failure::BadGateway("the gateway has no connections left"));
        }
        Refusal::Connect(error) => error.to_string(),
        Refusal::Protocol => "does not speak the protocol configured".to_owned(),
    };
    let (revision, replica) = (Arc::clone(lease.revision()), Arc::clone(lease.replica()));
    if revision.suspect(&replica) {
        revision.counters.faults.fetch_add(1, Ordering::Relaxed);
        gateway.outbox.fault(revision.key(), &replica.id, reason);
        tokio::spawn(probe_until_back(revision, replica));
    }
    None
}

/// Connects until the replica takes connections again or is not wanted any more.
async fn probe_until_back(revision: Arc<Revision>, replica: Arc<crate::revision::Replica>) {
    let mut delay = Duration::from_millis(20);
    while revision.is_wanted(&replica) {
        tokio::time::sleep(delay).await;
        if connect(replica.address).await.is_ok() {
            break;
        }
        delay = (delay * 2).min(Duration::from_secs(1));
    }
    revision.recovered(&replica);
}

/// The connection broke before the head of the response.
fn broke(
    gateway: &Arc<Gateway>,
    lease: &Lease,
    error: &hyper::Error,
    unsent: Option<Request<RequestBody>>,
) -> Attempt {
    if let Some(request) = unsent {
        return Attempt::Again(request);
    }
    if error.is_user() {
        return Attempt::Failed(Failure::Malformed("the request body broke off"));
    }
    report(gateway, lease, &error.to_string());
    Attempt::Failed(Failure::BadGateway(if error.is_parse() {
        "the replica did not answer HTTP"
    } else {
        "the replica broke the connection"
    }))
}

/// Tells the server of a replica that misbehaved; it stays in service.
pub(super) fn report(gateway: &Arc<Gateway>, lease: &Lease, reason: &str) {
    lease
        .revision()
        .counters
        .faults
        .fetch_add(1, Ordering::Relaxed);
    gateway.outbox.fault(
        lease.revision().key(),
        &lease.replica().id,
        reason.to_owned(),
    );
}

fn is_reset(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            return matches!(io.kind(), BrokenPipe | ConnectionReset | ConnectionAborted);
        }
        source = cause.source();
    }
    error.is_canceled() || error.is_closed()
}

/// A request that does the same twice as once, and has no body that is used up.
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    idempotent && matches!(request.body(), RequestBody::Empty)
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// A body of unknown length is chunked whatever the method.
fn frame_body(request: &mut Request<RequestBody>) {
    if matches!(request.body(), RequestBody::Client(body) if body.size_hint().exact().is_none()) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
}

fn to_http2(request: &mut Request<RequestBody>, trailers: bool) {
    *request.version_mut() = Version::HTTP_2;
    let headers: &mut HeaderMap = request.headers_mut();
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(host) = headers.remove(HOST) {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(http::uri::Scheme::HTTP);
        uri.authority = http::uri::Authority::try_from(host.as_bytes()).ok();
        if uri.path_and_query.is_none() {
            uri.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        }
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    }
}
