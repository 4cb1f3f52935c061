//! Connections to replicas: pooled per replica, never per address.

mod body;
mod dial;
mod http1;
mod http2;
mod pool;

pub use body::RequestBody;
pub use dial::{connect, ConnectError};
pub use http1::{Broken, Cause, Http1, ResponseHead};
pub use http2::{Http2, Http2Stream, Unsent};
pub use pool::Pool;

use http::{HeaderMap, Method, Uri};

/// Largest response head that a replica may send.
pub const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// The head of a request as a replica gets it.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// As the client sent it.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// With `Host`, without what is hop-by-hop.
    pub headers: HeaderMap,
}
