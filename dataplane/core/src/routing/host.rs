//! Host names as clients write them.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderMap, Uri, Version};

/// The request names no host, more than one, or something that is none: 400.
#[derive(Debug, PartialEq, Eq)]
pub struct BadHost(pub &'static str);

/// The authority that a request is for: the target's own when it has one, else `Host`.
///
/// # Errors
/// See [`BadHost`].
pub fn authority_of<'a>(
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<&'a str, BadHost> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(BadHost("more than one Host"));
    }
    let header = match header.map(|value| value.to_str()) {
        None => None,
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => return Err(BadHost("Host is not ASCII")),
    };
    match (uri.authority().map(http::uri::Authority::as_str), header) {
        (Some(target), Some(host)) if version == Version::HTTP_2 && target != host => {
            Err(BadHost(":authority and Host differ"))
        }
        (None, None) if version == Version::HTTP_11 => Err(BadHost("Host is missing")),
        (Some(target), _) => Ok(target),
        (None, header) => Ok(header.unwrap_or_default()),
    }
}

/// A host without port and trailing dot, in lower case.
///
/// # Errors
/// It has user information or characters that no host has.
pub fn normal_host(authority: &str) -> Result<Cow<'_, str>, BadHost> {
    let host = strip_port(authority)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    let bytes = host.as_bytes();
    let valid = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':')
    };
    if !bytes.iter().all(valid) {
        return Err(BadHost("Host is not a host name"));
    }
    if bytes.iter().any(u8::is_ascii_uppercase) {
        return Ok(Cow::Owned(host.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(host))
}

fn strip_port(authority: &str) -> Result<&str, BadHost> {
    let after_host = if authority.starts_with('[') {
        authority.find(']').ok_or(BadHost("Host is not a host name"))? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(after_host);
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !port.is_empty() && !port.starts_with(':')
        || digits.len() > 5
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(BadHost("Host has no valid port"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::{authority_of, normal_host};
    use http::{HeaderMap, HeaderValue, Uri, Version};

    #[test]
    fn hosts_are_compared_in_one_form() {
        for (written, meant) in [
            ("hello.default.localhost", "hello.default.localhost"),
            ("Hello.Default.LOCALHOST:8080", "hello.default.localhost"),
            ("hello.default.localhost.", "hello.default.localhost"),
            ("hello.default.localhost.:80", "hello.default.localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a:", "a"),
        ] {
            assert_eq!(normal_host(written).as_deref(), Ok(meant), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for written in
            ["user@host", "a b", "a/b", "a:b", "a:1:2", "[::1", "[::1]x", "a\u{e9}", "a:123456"]
        {
            assert!(normal_host(written).is_err(), "{written}");
        }
    }

    #[test]
    fn the_target_wins_over_the_header_except_in_http2_where_both_must_agree() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("header"));
        let absolute: Uri = "http://target/x".parse().unwrap_or_default();
        let origin = Uri::from_static("/x");
        assert_eq!(authority_of(Version::HTTP_11, &absolute, &headers), Ok("target"));
        assert_eq!(authority_of(Version::HTTP_11, &origin, &headers), Ok("header"));
        assert!(authority_of(Version::HTTP_2, &absolute, &headers).is_err());
        headers.append("host", HeaderValue::from_static("again"));
        assert!(authority_of(Version::HTTP_11, &origin, &headers).is_err());
        let none = HeaderMap::new();
        assert!(authority_of(Version::HTTP_11, &origin, &none).is_err());
        assert_eq!(authority_of(Version::HTTP_10, &origin, &none), Ok(""));
    }
}
