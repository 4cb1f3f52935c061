//! From the queue to a replica and back.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use super::client::Client;
use super::error::Failure;
use super::headers::strip_response;
use super::record::Record;
use super::reply::{Carrier, Limits};
use super::response::ColdTimes;
use super::{Gateway, Reply};
use crate::protocol::Protocol;
use crate::revision::{Admission, Lease, Policy, Revision};
use crate::upstream::{
    connect, Cause, ConnectError, Http1, Http2, RequestBody, RequestHead, ResponseHead, Unsent,
};

/// Replicas that break connections before the answer are not asked for ever.
const MAX_ATTEMPTS: u32 = 5;

/// A request as the replica will get it.
pub(super) struct Outbound {
    pub(super) head: RequestHead,
    pub(super) body: RequestBody,
    pub(super) client: Arc<Client>,
    /// The client understands interim responses, and we can send them.
    pub(super) interim: bool,
    /// It was sent to a replica before, which broke the connection.
    pub(super) repeated: bool,
    /// The client takes trailers.
    pub(super) trailers: bool,
    /// The client asks for a web socket.
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
    pub(super) fn head_deadline(&self) -> Option<Instant> {
        let (start, idle) = (self.policy.response_start_timeout, self.policy.idle_timeout);
        if start.is_none() && idle.is_none() {
            return self.deadline;
        }
        let now = Instant::now();
        let soonest = start.into_iter().chain(idle).min().map(|limit| now + limit);
        self.deadline.into_iter().chain(soonest).min()
    }

    pub(super) fn connected(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.connected = Some(Instant::now());
        }
    }
}

/// What one attempt brought.
enum Attempt {
    Answer(ResponseHead, Carrier),
    /// Nothing of the request was sent, or it may be repeated.
    Again(RequestBody),
    Failed(Failure),
}

/// Sends a request to a replica of `revision` and begins the answer.
pub(super) async fn forward(
    gateway: &Arc<Gateway>,
    mut record: Record,
    revision: &Arc<Revision>,
    mut outbound: Outbound,
) -> Result<Response<Reply>, (Record, Failure)> {
    for attempt in 0..MAX_ATTEMPTS {
        let mut turn = match next_turn(revision, &outbound.client, &mut record, attempt == 0).await
        {
            Ok(turn) => turn,
            Err(failure) => return Err((record, failure)),
        };
        record.at_replica(&turn.lease.replica().id);
        let outcome = match turn.policy.protocol {
            Protocol::Http1 => over_http1(gateway, &mut turn, &mut outbound).await,
            Protocol::H2c => Box::pin(over_http2(gateway, &mut turn, &mut outbound)).await,
        };
        match outcome {
            Attempt::Answer(head, carrier) => return Ok(begin(head, carrier, turn, record)),
            Attempt::Again(body) => outbound.body = body,
            Attempt::Failed(failure) => return Err((record, failure)),
        }
    }
    Err((record, Failure::BadGateway("no replica takes the request")))
}

/// A slot, at once or in turn.
pub(super) async fn next_turn(
    revision: &Arc<Revision>,
    client: &Client,
    record: &mut Record,
    first: bool,
) -> Result<Turn, Failure> {
    let arrived = record.started();
    let now = if first { arrived } else { Instant::now() };
    let (mut ticket, policy) = match revision.admit(now, first) {
        Admission::Granted(lease, policy) => {
            let deadline = policy.total_timeout.map(|limit| arrived + limit);
            return Ok(Turn { lease, policy, cold: None, deadline });
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
    let granted = client.alarm.limit(deadline, ticket.granted()).await;
    let grant = granted.map_err(|_| Failure::QueueTimeout)?;
    let grant = grant.ok_or(Failure::UnknownRevision)?;
    let cold = ticket.cold.then(|| {
        let activation = grant.activation.filter(|activation| activation.answered >= arrived);
        Box::new(ColdTimes { arrived, granted: Instant::now(), activation, connected: None })
    });
    let deadline = grant.policy.total_timeout.map(|limit| arrived + limit);
    Ok(Turn { lease: grant.lease, policy: grant.policy, cold, deadline })
}

/// The head of the answer for the client, and its body.
pub(super) fn begin(
    head: ResponseHead,
    carrier: Carrier,
    turn: Turn,
    mut record: Record,
) -> Response<Reply> {
    let mut response = Response::new(Reply::Empty);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    strip_response(response.headers_mut());
    record.status = head.status.as_u16();
    if let Some(cold) = &turn.cold {
        cold.put_on(&mut response, Instant::now());
    }
    let limits = Limits {
        total: turn.deadline,
        idle: turn.policy.idle_timeout,
        first: None,
        explained: takes_text(response.headers()),
    };
    *response.body_mut() = Reply::from_replica(carrier, turn.lease, record, limits);
    response
}

async fn over_http1(gateway: &Arc<Gateway>, turn: &mut Turn, outbound: &mut Outbound) -> Attempt {
    let mut body = std::mem::replace(&mut outbound.body, RequestBody::Empty);
    let Outbound { head, client, interim: forwards_interim, .. } = outbound;
    let (client, forwards_interim) = (&**client, *forwards_interim);
    let repeatable = is_repeatable(head, &body);
    let mut pooled = turn.lease.replica().pool.take(Instant::now(), repeatable);
    loop {
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => match Box::pin(dial(turn)).await {
                Ok(stream) => Box::new(Http1::over(stream)),
                Err(refusal) => return refused_connection(gateway, &turn.lease, body, &refusal),
            },
        };
        turn.connected();
        let interim = |head: &ResponseHead| send_interim(client, forwards_interim, head);
        let reused = connection.is_reused();
        let exchange = connection.exchange(head, body, interim);
        let result = client.alarm.limit(turn.head_deadline(), exchange).await;
        let broken = match result {
            Err(_) => return Attempt::Failed(Failure::Timeout),
            Ok(Ok(response)) if response.status == StatusCode::SWITCHING_PROTOCOLS => {
                report(gateway, &turn.lease, "switched protocols unasked");
                return Attempt::Failed(Failure::BadGateway("the replica did not answer HTTP"));
            }
            Ok(Ok(response)) => {
                let replica = Arc::clone(turn.lease.replica());
                return Attempt::Answer(response, Carrier::Http1(connection, Some(replica)));
            }
            Ok(Err(broken)) => broken,
        };
        // A connection from the pool may have been closed by the replica meanwhile.
        let again = broken.silent && (broken.unsent || repeatable);
        match broken.body {
            Some(untouched) if again && reused => body = untouched,
            // The replica died of it or with it. Another may do better, but only one.
            Some(untouched) if again && !outbound.repeated => {
                report(gateway, &turn.lease, &broken.cause.to_string());
                outbound.repeated = true;
                return Attempt::Again(untouched);
            }
            _ => return Attempt::Failed(broke(gateway, &turn.lease, &broken.cause)),
        }
    }
}

fn send_interim(client: &Client, forwards: bool, head: &ResponseHead) {
    // The gateway asks for the body itself, so that 100 was not meant for the client.
    if !forwards || head.status == StatusCode::CONTINUE {
        return;
    }
    let mut headers = head.headers.clone();
    strip_response(&mut headers);
    let mut text = format!("HTTP/1.1 {} Interim\r\n", head.status.as_u16()).into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    client.send_early(&text);
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
    connected.map_err(|_| Refusal::Deadline)?.map_err(Refusal::Connect)
}

async fn dial_http2(turn: &Turn) -> Result<Http2, Refusal> {
    let connection = Http2::over(dial(turn).await?).await.map_err(|_| Refusal::Protocol)?;
    turn.lease.replica().pool.offer(connection.clone());
    Ok(connection)
}

async fn over_http2(gateway: &Arc<Gateway>, turn: &mut Turn, outbound: &mut Outbound) -> Attempt {
    let mut body = std::mem::replace(&mut outbound.body, RequestBody::Empty);
    let client = Arc::clone(&outbound.client);
    let mut shared = turn.lease.replica().pool.share();
    loop {
        let reused = shared.is_some();
        let mut connection = match shared.take() {
            Some(connection) => connection,
            None => match dial_http2(turn).await {
                Ok(connection) => connection,
                Err(refusal) => return refused_connection(gateway, &turn.lease, body, &refusal),
            },
        };
        turn.connected();
        let place = connection.reserve();
        let head = std::mem::take(&mut outbound.head);
        let exchange = connection.exchange(http2_request(head, body, outbound.trailers));
        let result = client.alarm.limit(turn.head_deadline(), exchange).await;
        match result {
            Err(_) => return Attempt::Failed(Failure::Timeout),
            Ok(Ok(response)) => {
                let (parts, incoming) = response.into_parts();
                let head = ResponseHead { status: parts.status, headers: parts.headers };
                return Attempt::Answer(head, Carrier::Http2(incoming, place));
            }
            Ok(Err(Unsent { request: Some((head, unsent)), .. })) => {
                outbound.head = http1_head(head);
                if !reused {
                    return Attempt::Again(unsent);
                }
                body = unsent;
            }
            Ok(Err(Unsent { error, .. })) if error.is_user() => {
                return Attempt::Failed(Failure::Malformed("the request body broke off"));
            }
            Ok(Err(Unsent { error, .. })) => {
                report(gateway, &turn.lease, &error.to_string());
                let text = "the replica broke the connection";
                return Attempt::Failed(Failure::BadGateway(text));
            }
        }
    }
}

/// Nothing of the request left: another replica may take it.
fn refused_connection(
    gateway: &Arc<Gateway>,
    lease: &Lease,
    body: RequestBody,
    refusal: &Refusal,
) -> Attempt {
    match note_refusal(gateway, lease, refusal) {
        Some(failure) => Attempt::Failed(failure),
        None => Attempt::Again(body),
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
pub(super) fn broke(gateway: &Arc<Gateway>, lease: &Lease, cause: &Cause) -> Failure {
    let text = match cause {
        Cause::Client(_) => return Failure::Malformed("the request body broke off"),
        Cause::Malformed(_) => "the replica did not answer HTTP",
        Cause::Io(_) | Cause::Closed => "the replica broke the connection",
    };
    report(gateway, lease, &cause.to_string());
    Failure::BadGateway(text)
}

/// Tells the server of a replica that misbehaved; it stays in service.
pub(super) fn report(gateway: &Arc<Gateway>, lease: &Lease, reason: &str) {
    lease.revision().counters.faults.fetch_add(1, Ordering::Relaxed);
    gateway.outbox.fault(lease.revision().key(), &lease.replica().id, reason.to_owned());
}

/// A body that a text may be added to: neither encoded nor made of gRPC's messages.
fn takes_text(headers: &HeaderMap) -> bool {
    let grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    !headers.contains_key(CONTENT_ENCODING) && !headers.get(CONTENT_TYPE).is_some_and(grpc)
}

/// A request that does the same twice as once, and has no body that is used up.
fn is_repeatable(head: &RequestHead, body: &RequestBody) -> bool {
    let idempotent = matches!(
        head.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    idempotent && matches!(body, RequestBody::Empty)
}

fn http2_request(mut head: RequestHead, body: RequestBody, trailers: bool) -> Request<RequestBody> {
    let mut request = Request::new(body);
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = head
        .headers
        .remove(HOST)
        .and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok());
    uri.path_and_query.get_or_insert(http::uri::PathAndQuery::from_static("/"));
    if trailers {
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    *request.method_mut() = head.method;
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers;
    request
}

/// Back from the form that HTTP/2 needs.
fn http1_head(mut head: RequestHead) -> RequestHead {
    let uri = std::mem::take(&mut head.uri).into_parts();
    if let Some(host) = uri.authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        head.headers.insert(HOST, host);
    }
    head.uri = uri.path_and_query.map_or_else(Uri::default, Uri::from);
    head
}
