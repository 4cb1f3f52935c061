//! Headers on their way through: what is hop-by-hop or ours is taken off, what is ours is put on.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    HeaderMap, HeaderName, HeaderValue, CONNECTION, COOKIE, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

use super::client::Client;
use crate::routing::{PathRoute, SplitRoute};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers that Knarr or Knative give a meaning, by their beginning.
const OURS: [&str; 6] =
    ["k-network-", "k-proxy-", "k-original-", "k-passthrough-", "knative-serving-", "x-forwarded-"];

/// What a request asked of this hop.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// `TE: trailers`.
    pub(super) trailers: bool,
    /// `Connection: upgrade` with `Upgrade: websocket`.
    pub(super) websocket: bool,
}

enum Kind {
    Keep,
    Drop,
    Connection,
    Te,
    Upgrade,
}

fn kind_of_request_header(name: &str) -> Kind {
    match name {
        "connection" => Kind::Connection,
        "te" => Kind::Te,
        "upgrade" => Kind::Upgrade,
        "transfer-encoding"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authorization"
        | "proxy-authenticate"
        | "http2-settings"
        | "expect"
        | "forwarded" => Kind::Drop,
        _ if is_ours(name) => Kind::Drop,
        _ => Kind::Keep,
    }
}

/// Also with underscores: some servers make no difference.
fn is_ours(name: &str) -> bool {
    if !matches!(name.as_bytes().first(), Some(b'k' | b'x' | b'f')) {
        return false;
    }
    let ours = |name: &str| OURS.iter().any(|beginning| name.starts_with(beginning));
    if name.contains('_') {
        return ours(&name.replace('_', "-"));
    }
    ours(name)
}

fn lists(value: &HeaderValue, wanted: &str) -> bool {
    tokens(value).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// Takes off what is hop-by-hop, what `Connection` lists, and what is ours.
pub(super) fn strip_request(headers: &mut HeaderMap) -> Asked {
    let mut asked = Asked::default();
    let mut dropped: Vec<HeaderName> = Vec::new();
    let (mut wants_upgrade, mut names_websocket) = (false, false);
    for (name, value) in &*headers {
        match kind_of_request_header(name.as_str()) {
            Kind::Keep => continue,
            Kind::Drop => {}
            Kind::Connection => {
                wants_upgrade |= lists(value, "upgrade");
                dropped.extend(listed_names(value));
            }
            Kind::Te => asked.trailers |= lists(value, "trailers"),
            Kind::Upgrade => names_websocket |= lists(value, "websocket"),
        }
        dropped.push(name.clone());
    }
    for name in &dropped {
        headers.remove(name);
    }
    asked.websocket = wants_upgrade && names_websocket;
    asked
}

/// Fields that `Connection` lists, without those that frame or route a message.
fn listed_names(value: &HeaderValue) -> impl Iterator<Item = HeaderName> + '_ {
    tokens(value)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !matches!(name.as_str(), "host" | "content-length" | "cookie"))
}

/// Takes off what is hop-by-hop of a response.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    if let Some(connection) = headers.remove(CONNECTION) {
        let listed: Vec<HeaderName> = listed_names(&connection).collect();
        for name in listed {
            headers.remove(name);
        }
    }
    for name in [
        &TRANSFER_ENCODING,
        &KEEP_ALIVE,
        &UPGRADE,
        &PROXY_CONNECTION,
        &PROXY_AUTHENTICATE,
        &PROXY_AUTHORIZATION,
        &TE,
    ] {
        if headers.contains_key(name) {
            headers.remove(name);
        }
    }
}

/// HTTP/2 may send a cookie in pieces; everybody else expects one field.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Puts on who asked for which host, then what the route says; the share's word is the last.
///
/// A header of ours that the path asks for goes on: its value is the route's, not any client's.
pub(super) fn set_request(
    headers: &mut HeaderMap,
    client: &Client,
    host: &HeaderValue,
    path: &PathRoute,
    split: &SplitRoute,
) {
    headers.insert(FORWARDED, forwarded(&client.forwarded_for, host));
    headers.insert(FORWARDED_FOR, client.forwarded_for.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(FORWARDED_HOST, host.clone());
    for (name, value) in path.headers.iter().filter(|(name, _)| is_ours(name.as_str())) {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    for (name, value) in path.set_headers.iter().chain(&split.set_headers) {
        headers.insert(name.clone(), value.clone());
    }
}

/// RFC 7239: an IPv6 address is in brackets, and what has a colon is quoted.
fn forwarded(ip: &HeaderValue, host: &HeaderValue) -> HeaderValue {
    let (ip, host) = (ip.as_bytes(), host.as_bytes());
    let mut text = BytesMut::with_capacity(ip.len() + host.len() + 32);
    text.put_slice(b"for=");
    if ip.contains(&b':') {
        text.put_slice(b"\"[");
        text.put_slice(ip);
        text.put_slice(b"]\"");
    } else {
        text.put_slice(ip);
    }
    let quote: &[u8] = if host.contains(&b':') { b"\"" } else { b"" };
    text.put_slice(b";host=");
    text.put_slice(quote);
    text.put_slice(host);
    text.put_slice(quote);
    text.put_slice(b";proto=http");
    let text: Bytes = text.freeze();
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

#[cfg(test)]
mod tests {
    use super::{forwarded, join_cookies, strip_request, strip_response, Asked};
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn internal_and_hop_by_hop_headers_do_not_pass() {
        let mut map = headers(&[
            ("host", "h"),
            ("K-Network-Probe", "probe"),
            ("k_network_hash", "x"),
            ("K-Proxy-Request", "activator"),
            ("K-Original-Host", "x"),
            ("K-Passthrough-Lb", "true"),
            ("Knative-Serving-Revision", "other"),
            ("knative_serving_namespace", "other"),
            ("Knative-Serving-Tag", "t"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X_Forwarded_For", "1.2.3.4"),
            ("x-forwarded-port", "1"),
            ("forwarded", "for=1.2.3.4"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("connection", "keep-alive, X-Mine, upgrade, host"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("kind", "1"),
            ("traceparent", "00-1"),
        ]);
        let asked = strip_request(&mut map);
        assert_eq!(asked, Asked { trailers: true, websocket: false });
        assert_eq!(names(&map), ["host", "kind", "traceparent", "x-other"]);
    }

    #[test]
    fn a_websocket_needs_both_headers() {
        for (connection, upgrade, wanted) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, Upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "h2c", false),
        ] {
            let mut map = headers(&[("connection", connection), ("upgrade", upgrade)]);
            assert_eq!(strip_request(&mut map).websocket, wanted, "{connection} {upgrade}");
            assert!(map.is_empty());
        }
    }

    #[test]
    fn responses_lose_what_was_for_this_hop() {
        let mut map = headers(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("content-type", "text/plain"),
            ("trailer", "grpc-status"),
        ]);
        strip_response(&mut map);
        assert_eq!(names(&map), ["content-type", "trailer"]);
    }

    #[test]
    fn cookies_in_pieces_are_joined() {
        let mut map = headers(&[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut map);
        assert_eq!(map.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let mut one = headers(&[("cookie", "a=1")]);
        join_cookies(&mut one);
        assert_eq!(one["cookie"], "a=1");
    }

    #[test]
    fn forwarded_is_written_as_the_rfc_says() {
        for (ip, host, text) in [
            ("1.2.3.4", "h.example", "for=1.2.3.4;host=h.example;proto=http"),
            ("::1", "h:80", "for=\"[::1]\";host=\"h:80\";proto=http"),
        ] {
            let value = forwarded(
                &HeaderValue::from_str(ip).expect("ip"),
                &HeaderValue::from_str(host).expect("host"),
            );
            assert_eq!(value, text);
        }
    }
}
