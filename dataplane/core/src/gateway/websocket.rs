//! Web sockets: a request on a connection of its own, then a tunnel.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::client::Client;
use super::error::Failure;
use super::forward::{begin, broke, dial, next_turn, note_refusal, report, Outbound, Turn};
use super::headers::strip_response;
use super::record::Record;
use super::reply::{Carrier, Limits};
use super::tunnel::{tunnel, Tunnel};
use super::{Gateway, Reply};
use crate::revision::Revision;
use crate::upstream::{Http1, RequestBody, RequestHead};

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
    let (mut head, client) = (outbound.head, outbound.client);
    name_websocket(&mut head.headers);
    for attempt in 0..MAX_ATTEMPTS {
        let mut turn = match next_turn(&revision, &client, &mut record, attempt == 0).await {
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
        turn.connected();
        return ask(gateway, record, turn, Box::new(Http1::over(stream)), (head, client), upgrade)
            .await;
    }
    Err((record, Failure::BadGateway("no replica takes the request")))
}

async fn ask(
    gateway: &Arc<Gateway>,
    mut record: Record,
    turn: Turn,
    mut connection: Box<Http1>,
    (mut head, client): (RequestHead, Arc<Client>),
    upgrade: hyper::upgrade::OnUpgrade,
) -> Result<Response<Reply>, (Record, Failure)> {
    // The answer's head opens the tunnel; what the limit waits for comes through it.
    let first = turn.policy.response_start_timeout.map(|limit| Instant::now() + limit);
    let exchange = connection.exchange(&mut head, RequestBody::Empty, |_| {});
    let result = client.alarm.limit(turn.head_deadline(), exchange).await;
    let answer = match result {
        Err(_) => return Err((record, Failure::Timeout)),
        Ok(Err(broken)) => return Err((record, broke(gateway, &turn.lease, &broken.cause))),
        Ok(Ok(answer)) => answer,
    };
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(begin(answer, Carrier::Http1(connection, None), turn, record));
    }
    if !names_websocket(&answer.headers) {
        report(gateway, &turn.lease, "switched to a protocol unasked");
        return Err((record, Failure::BadGateway("the replica did not answer HTTP")));
    }
    record.status = answer.status.as_u16();
    let mut response = Response::new(Reply::Empty);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    strip_response(response.headers_mut());
    if let Some(cold) = &turn.cold {
        cold.put_on(&mut response, Instant::now());
    }
    name_websocket(response.headers_mut());
    let limits =
        Limits { total: turn.deadline, idle: turn.policy.idle_timeout, first, ..Limits::default() };
    let replica = connection.into_stream();
    let ends = Tunnel { replica, lease: turn.lease, record, limits };
    tokio::spawn(tunnel(Arc::clone(gateway), upgrade, ends));
    Ok(response)
}

fn name_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn names_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
