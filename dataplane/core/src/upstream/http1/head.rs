//! Heads: requests written, responses read by one strict grammar.

use std::mem::MaybeUninit;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::body::Incoming;
use super::{Cause, RequestHead};

const MAX_HEADERS: usize = 128;

/// Status and fields.
#[derive(Debug)]
pub struct ResponseHead {
    /// Any but what is no status.
    pub status: StatusCode,
    /// As sent.
    pub headers: HeaderMap,
}

/// A complete head and what it says of what follows.
pub(super) struct Parsed {
    pub(super) head: ResponseHead,
    pub(super) incoming: Incoming,
    pub(super) keeps: bool,
}

/// Writes a request line and fields.
pub(super) fn write(request: &RequestHead, chunked: bool, out: &mut Vec<u8>) {
    let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    for (name, value) in &request.headers {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    if chunked {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    }
    out.put_slice(b"\r\n");
}

/// Takes a head off the inbox; `None` when it is not complete. `headers` is used for its memory.
pub(super) fn parse(
    inbox: &mut BytesMut,
    method: &Method,
    headers: &mut HeaderMap,
) -> Result<Option<Parsed>, Cause> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        inbox,
        &mut fields,
    );
    let length = match outcome {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Cause::Malformed("too many fields")),
        Err(_) => return Err(Cause::Malformed("the head is not HTTP/1.1")),
    };
    let (Some(minor), Some(code)) = (response.version, response.code) else { return Ok(None) };
    let status = StatusCode::from_u16(code).map_err(|_| Cause::Malformed("no such status"))?;
    if has_bare_line_feed(&inbox[..length]) {
        return Err(Cause::Malformed("a line ends without CR"));
    }
    let count = response.headers.len();
    let mut ranges = [(0_u16, 0_u16, 0_u16); MAX_HEADERS];
    for (range, field) in ranges.iter_mut().zip(response.headers.iter()) {
        *range = (
            offset(inbox, field.name.as_bytes())?,
            u16::try_from(field.name.len()).map_err(too_long)?,
            u16::try_from(field.value.len()).map_err(too_long)?,
        );
    }
    let mut values = [0_u16; MAX_HEADERS];
    for (value, field) in values.iter_mut().zip(response.headers.iter()) {
        *value = if field.value.is_empty() { 0 } else { offset(inbox, field.value)? };
    }
    let text: Bytes = inbox.split_to(length).freeze();
    let mut map = std::mem::take(headers);
    map.clear();
    map.reserve(count);
    for (&(name, name_length, value_length), &value) in ranges[..count].iter().zip(&values) {
        let (name, value) = (usize::from(name), usize::from(value));
        let name = &text[name..name + usize::from(name_length)];
        let name = HeaderName::from_bytes(name).map_err(|_| Cause::Malformed("a field's name"))?;
        let value = text.slice(value..value + usize::from(value_length));
        let value = HeaderValue::from_maybe_shared(value)
            .map_err(|_| Cause::Malformed("a field's value"))?;
        map.append(name, value);
    }
    let (incoming, keeps) = framing(status, &map, method, minor)?;
    Ok(Some(Parsed { head: ResponseHead { status, headers: map }, incoming, keeps }))
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn too_long(_: std::num::TryFromIntError) -> Cause {
    Cause::Malformed("a field is too long")
}

/// Where `part`, a piece of `whole`, begins.
fn offset(whole: &[u8], part: &[u8]) -> Result<u16, Cause> {
    let distance = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    u16::try_from(distance).map_err(too_long)
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// What follows a head, and whether the connection lives on after it.
fn framing(
    status: StatusCode,
    headers: &HeaderMap,
    method: &Method,
    minor: u8,
) -> Result<(Incoming, bool), Cause> {
    let mut keeps = minor == 1;
    for value in headers.get_all(CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                return Ok((body(status, headers, method, minor)?, false));
            }
            keeps |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    let incoming = body(status, headers, method, minor)?;
    let keeps = keeps && !matches!(incoming, Incoming::UntilClose);
    Ok((incoming, keeps))
}

fn body(
    status: StatusCode,
    headers: &HeaderMap,
    method: &Method,
    minor: u8,
) -> Result<Incoming, Cause> {
    let length = content_length(headers)?;
    let chunked = is_chunked(headers, minor, length.is_some())?;
    let none = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match (none, chunked, length) {
        (true, ..) | (_, false, Some(0)) => Incoming::Done,
        (false, true, _) => Incoming::chunked(),
        (false, false, Some(length)) => Incoming::Sized(length),
        (false, false, None) => Incoming::UntilClose,
    })
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Cause> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.as_bytes();
    let valid = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    if values.next().is_some() || !valid {
        return Err(Cause::Malformed("Content-Length"));
    }
    Ok(Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
}

fn is_chunked(headers: &HeaderMap, minor: u8, has_length: bool) -> Result<bool, Cause> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(false) };
    let chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if values.next().is_some() || !chunked || minor == 0 || has_length {
        return Err(Cause::Malformed("Transfer-Encoding"));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::body::Incoming;
    use super::{parse, write, Parsed};
    use crate::upstream::RequestHead;
    use bytes::BytesMut;
    use http::{HeaderMap, HeaderValue, Method, Uri};

    fn parsed(text: &str) -> Result<Option<Parsed>, String> {
        let mut inbox = BytesMut::from(text.as_bytes());
        parse(&mut inbox, &Method::GET, &mut HeaderMap::new()).map_err(|cause| cause.to_string())
    }

    #[test]
    fn a_request_is_written_in_order() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("h"));
        headers.insert("x", HeaderValue::from_static("1"));
        let uri = Uri::from_static("/a?b");
        let mut out = Vec::new();
        write(&RequestHead { method: Method::PUT, uri, headers }, true, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "PUT /a?b HTTP/1.1\r\nhost: h\r\nx: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn heads_say_what_follows_and_whether_the_connection_lives_on() {
        for (head, incoming, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "Sized(5)", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Done", true),
            ("HTTP/1.1 204 x\r\n\r\n", "Done", true),
            ("HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", "Done", true),
            ("HTTP/1.1 200 OK\r\n\r\n", "UntilClose", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "Sized(5)", false),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
                "Sized(5)",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n",
                "Sized(5)",
                false,
            ),
        ] {
            let found = parsed(head).expect(head).expect(head);
            assert_eq!(format!("{:?}", found.incoming), incoming, "{head}");
            assert_eq!(found.keeps, keeps, "{head}");
        }
        let chunked = parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(matches!(chunked.expect("ok").expect("complete").incoming, Incoming::Chunked(_)));
        assert!(parsed("HTTP/1.1 200 OK\r\nContent-").expect("ok").is_none());
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "X: 1\n",
            "X : 1\r\n",
            "X: 1\r\n folded\r\n",
        ] {
            assert!(parsed(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_err(), "{fields:?}");
        }
        assert!(parsed("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parsed("ICY 200 OK\r\n\r\n").is_err());
        assert!(parsed("HTTP/1.1 099 x\r\n\r\n").is_err());
    }
}
