//! A request's way: checked, routed, handed on.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use super::client::Client;
use super::error::{plain, Failure};
use super::forward::{forward, Outbound};
use super::headers::{join_cookies, set_request, strip_request};
use super::record::Record;
use super::websocket;
use super::{Gateway, Reply};
use crate::revision::Revision;
use crate::routing::{authority_of, normal_host, HostRoutes};
use crate::upstream::{RequestBody, RequestHead};

const MAX_TARGET: usize = 8 * 1024;
/// The parser of HTTP/1.1 has the same limit.
const MAX_FIELDS: usize = 100;
const PROBE: &str = "k-network-probe";
const HASH: &str = "k-network-hash";

thread_local! {
    static RANDOM: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

fn random() -> u32 {
    RANDOM.with(|state| {
        let mut bits = state.get();
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        state.set(bits);
        u32::try_from(bits >> 32).unwrap_or_default()
    })
}

/// How long after the start requests wait for the first configuration.
const STARTING: Duration = Duration::from_secs(5);

/// What a request turned out to be.
enum Routed {
    /// To be sent to a replica of this revision.
    Forward(Arc<Revision>, Outbound),
    /// To be answered here.
    Answer(Response<Reply>),
}

/// Answers one request.
pub(super) async fn handle(
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Response<Reply> {
    if !gateway.table.is_configured() {
        // A moment after the start: better late than refused. Routing gives the refusal.
        Box::pin(gateway.table.configured_by(gateway.began + STARTING)).await;
    }
    let (parts, body) = request.into_parts();
    let mut record = Record::begin(Arc::clone(&gateway), Arc::clone(&client), &parts);
    let switch = parts.extensions.get::<hyper::upgrade::OnUpgrade>().is_some();
    let response = match route(&gateway, &client, parts, RequestBody::from(body)) {
        Ok(Routed::Forward(revision, outbound)) => {
            record.at_revision(&revision);
            let answered = if outbound.upgrade.is_some() {
                Box::pin(websocket::open(&gateway, record, revision, outbound)).await
            } else {
                forward(&gateway, record, &revision, outbound).await
            };
            answered.unwrap_or_else(|(mut record, failure)| {
                let response = failure.into_response();
                record.status = response.status().as_u16();
                response
            })
        }
        Ok(Routed::Answer(response)) => {
            record.status = response.status().as_u16();
            response
        }
        Err(failure) => {
            let response = failure.into_response();
            record.status = response.status().as_u16();
            response
        }
    };
    if switch && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        client.refuse_switch();
    }
    response
}

fn route(
    gateway: &Gateway,
    client: &Arc<Client>,
    mut parts: Parts,
    body: RequestBody,
) -> Result<Routed, Failure> {
    if parts.method == Method::CONNECT {
        return Err(Failure::Method);
    }
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target.len() > MAX_TARGET {
        return Err(Failure::TargetTooLong);
    }
    if parts.headers.len() > MAX_FIELDS {
        return Err(Failure::TooManyFields);
    }
    let authority = authority_of(parts.version, &parts.uri, &parts.headers)
        .map_err(|bad| Failure::Malformed(bad.0))?;
    let host = normal_host(authority).map_err(|bad| Failure::Malformed(bad.0))?;
    let Some(routes) = gateway.table.find(client.listener, &host) else {
        let configured = gateway.table.is_configured();
        return Err(if configured { Failure::UnknownHost } else { Failure::NotConfigured });
    };
    if routes.redirect {
        return redirect(&host, target).map(Routed::Answer);
    }
    let path = routes.find(parts.uri.path(), &parts.headers).ok_or(Failure::UnknownPath)?;
    if parts.headers.get(PROBE).is_some_and(|kind| kind == "probe") {
        return probe(&parts, &routes).map(Routed::Answer);
    }
    let split = path.choose(random).ok_or(Failure::UnknownRevision)?;
    let host = original_host(&parts, authority)?;
    let hash = parts.headers.get(HASH).map(|sent| hash_for(sent, &routes));
    let asked = strip_request(&mut parts.headers);
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    set_request(&mut parts.headers, client, &host, path, split);
    if let Some(hash) = hash {
        parts.headers.insert(HASH, hash);
    }
    let websocket = asked.websocket && parts.version == Version::HTTP_11;
    if websocket && (parts.method != Method::GET || !matches!(body, RequestBody::Empty)) {
        return Err(Failure::Malformed("a WebSocket is opened by a GET without a body"));
    }
    let upgrade = parts.extensions.remove().filter(|_| websocket);
    parts.headers.insert(HOST, path.rewrite_host.clone().unwrap_or(host));
    let outbound = Outbound {
        head: RequestHead {
            method: parts.method,
            uri: origin_form(parts.uri),
            headers: parts.headers,
        },
        body,
        client: Arc::clone(client),
        interim: parts.version == Version::HTTP_11,
        repeated: false,
        trailers: asked.trailers,
        upgrade,
    };
    Ok(Routed::Forward(Arc::clone(&split.revision), outbound))
}

/// The host as the client wrote it.
fn original_host(parts: &Parts, authority: &str) -> Result<HeaderValue, Failure> {
    match parts.headers.get(HOST) {
        Some(host) if parts.uri.authority().is_none() => Ok(host.clone()),
        _ => HeaderValue::from_str(authority).map_err(|_| Failure::Malformed("Host")),
    }
}

fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    match uri.into_parts().path_and_query {
        Some(path) => Uri::from(path),
        None => Uri::from_static("/"),
    }
}

fn redirect(host: &str, target: &str) -> Result<Response<Reply>, Failure> {
    let location = HeaderValue::try_from(format!("https://{host}{target}"))
        .map_err(|_| Failure::Malformed("the target cannot be redirected"))?;
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, "");
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Echoes the hash.
fn probe(parts: &Parts, routes: &HostRoutes) -> Result<Response<Reply>, Failure> {
    let sent = parts.headers.get(HASH).ok_or(Failure::Probe)?;
    let mut response = plain(StatusCode::OK, "");
    response.headers_mut().insert(HASH, hash_for(sent, routes));
    Ok(response)
}

/// The hash of the configuration in force when asked to override, else the one sent.
fn hash_for(sent: &HeaderValue, routes: &HostRoutes) -> HeaderValue {
    match &routes.hash {
        Some(hash) if sent == "override" => hash.clone(),
        _ => sent.clone(),
    }
}
