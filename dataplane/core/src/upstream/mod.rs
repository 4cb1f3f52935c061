//! Connections to replicas: pooled per replica, never per address.

mod body;
mod dial;
mod http1;
mod http2;
mod pool;

pub use body::RequestBody;
pub use dial::{connect, ConnectError};
pub use http1::{Http1, Sent};
pub use http2::{Http2, Http2Stream};
pub use pool::Pool;

/// Largest response head that a replica may send.
pub const MAX_RESPONSE_HEAD: usize = 64 * 1024;
