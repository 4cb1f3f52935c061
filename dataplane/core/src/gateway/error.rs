//! Answers that the gateway gives itself.

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::Reply;

/// Why a request does not get its replica's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// 400 and close: the request is not HTTP as we speak it.
    Malformed(&'static str),
    /// 405.
    Method,
    /// 414 and close.
    TargetTooLong,
    /// 431 and close.
    TooManyFields,
    /// 404.
    UnknownHost,
    /// 404.
    UnknownPath,
    /// 400: an ingress probe that no configuration hash was asked of.
    Probe,
    /// 503: no configuration was received yet.
    NotConfigured,
    /// 503: the revision is not in the table (any more).
    UnknownRevision,
    /// 503.
    QueueFull,
    /// 504 while waiting for a replica.
    QueueTimeout,
    /// 504 while waiting for the replica's answer.
    Timeout,
    /// 502: the replica broke the connection or did not answer HTTP.
    BadGateway(&'static str),
}

impl Failure {
    pub(super) fn into_response(self) -> Response<Reply> {
        let (status, text) = match self {
            Self::Malformed(text) => (StatusCode::BAD_REQUEST, text),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served"),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "the request target is too long"),
            Self::TooManyFields => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields")
            }
            Self::UnknownHost => (StatusCode::NOT_FOUND, "no service has this host"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "no service has this path"),
            Self::Probe => (StatusCode::BAD_REQUEST, "a probe request must name a hash"),
            Self::NotConfigured => (StatusCode::SERVICE_UNAVAILABLE, "no configuration yet"),
            Self::UnknownRevision => {
                (StatusCode::SERVICE_UNAVAILABLE, "the revision is not configured")
            }
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "pending request queue full"),
            Self::QueueTimeout => (StatusCode::GATEWAY_TIMEOUT, "activator request timeout"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "request timeout"),
            Self::BadGateway(text) => (StatusCode::BAD_GATEWAY, text),
        };
        let mut response = plain(status, text);
        let headers = response.headers_mut();
        match self {
            Self::Malformed(_) | Self::TargetTooLong | Self::TooManyFields => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::NotConfigured | Self::UnknownRevision => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// A short text.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::full(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let nosniff = HeaderName::from_static("x-content-type-options");
    headers.insert(nosniff, HeaderValue::from_static("nosniff"));
    response
}
