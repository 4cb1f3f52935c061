//! WebSockets: a request of its own connection, then a tunnel.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Version};

use super::error::Failure;
use super::forward::{dial, next_turn, note_refusal, report, Outbound, Turn};
use super::headers::strip_response;
use super::record::Record;
use super::reply::{Carrier, Limits};
use super::tunnel::{tunnel, Tunnel};
use super::{Gateway, Reply};
use crate::revision::Revision;
use crate::upstream::{Http1, RequestBody};

const MAX_ATTEMPTS: u32 = 5;

/// Asks a replica for a WebSocket. What the client sends after its request waits for the answer.
pub(super) async fn open(
    gateway: &Arc<Gateway>,
    mut record: Record,
    revision: Arc<Revision>,
    outbound: Outbound,
) -> Result<Response<Reply>, (Record, Failure)> {
    let Some(upgrade) = outbound.upgrade else {
        return Err((record, Failure::Malformed("a WebSocket needs HTTP/1.1")));
    };
    let mut request = Request::from_parts(outbound.parts, RequestBody::Empty);
    *request.version_mut() = Version::HTTP_11;
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    for attempt in 0..MAX_ATTEMPTS {
        let mut turn = match next_turn(&revision, &mut record, attempt == 0).await {
            Ok(turn) => turn,
            Err(failure) => return Err((record, failure)),
        };
        record.at_replica(&turn.lease.replica().id);
        let stream = match dial(&turn).await {
            Ok(stream) => stream,
            Err(refusal) => match note_refusal(gateway, &turn.lease, &refusal) {
                Some(failure) => return Err((record, failure)),
                None => continue,
            },
        };
        if let Some(cold) = &mut turn.cold {
            cold.connected = Some(Instant::now());
        }
        let connection = match Http1::over(stream).await {
            Ok(connection) => Box::new(connection),
            Err(_) => {
                return Err((
                    record,
                    Failure::BadGateway("the replica broke the connection"),
                ))
            }
        };
        return ask(gateway, record, turn, connection, request, upgrade).await;
    }
    Err((record, Failure::BadGateway("no replica takes the request")))
}

async fn ask(
    gateway: &Arc<Gateway>,
    mut record: Record,
    turn: Turn,
    mut connection: Box<Http1>,
    request: Request<RequestBody>,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Result<Response<Reply>, (Record, Failure)> {
    let exchange = connection.exchange(request);
    let result = match turn.head_deadline(Instant::now()) {
        Some(at) => tokio::time::timeout_at(at.into(), exchange).await,
        None => Ok(exchange.await),
    };
    let response = match result {
        Err(_) => return Err((record, Failure::Timeout)),
        Ok(Err(broken)) => {
            report(gateway, &turn.lease, &broken.error.to_string());
            return Err((
                record,
                Failure::BadGateway("the replica broke the connection"),
            ));
        }
        Ok(Ok(response)) => response,
    };
    let (mut parts, body) = response.into_parts();
    let switched = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if switched && !names_websocket(&parts.headers) {
        report(gateway, &turn.lease, "switched to a protocol unasked");
        return Err((
            record,
            Failure::BadGateway("the replica did not answer HTTP"),
        ));
    }
    strip_response(&mut parts.headers);
    record.status = parts.status.as_u16();
    let mut head = Response::from_parts(parts, ());
    if let Some(cold) = &turn.cold {
        cold.put_on(&mut head, Instant::now());
    }
    if !switched {
        let limits = Limits {
            total: turn.deadline,
            idle: turn.policy.idle_timeout,
        };
        let carrier = Carrier::Http1Once(connection);
        return Ok(head.map(|()| Reply::from_replica(body, carrier, turn.lease, record, limits)));
    }
    let stream = match connection.into_stream().await {
        Ok(stream) => stream,
        Err(_) => {
            return Err((
                record,
                Failure::BadGateway("the replica broke the connection"),
            ))
        }
    };
    head.headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    let (total, idle) = (turn.deadline, turn.policy.idle_timeout);
    let ends = Tunnel {
        replica: stream,
        lease: turn.lease,
        record,
        limits: Limits { total, idle },
    };
    tokio::spawn(tunnel(Arc::clone(gateway), upgrade, ends));
    Ok(head.map(|()| Reply::Empty))
}

fn names_websocket(headers: &http::HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
