//! The one way to listen: every listener has the same limits.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::client::Client;
use super::serve::serve;
use super::Gateway;
use crate::observe::log;
use crate::protocol::Visibility;

const BACKLOG: i32 = 4_096;
/// After running out of files, before the next attempt.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// A listener that could not be made.
#[derive(Debug)]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub error: std::io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, error } = self;
        match error.kind() {
            std::io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen on {address}: another program uses port {}; end it, or choose \
                 another port with --http-port",
                address.port()
            ),
            std::io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot listen on {address}: port {} needs root or CAP_NET_BIND_SERVICE; choose \
                 a port above 1023 with --http-port",
                address.port()
            ),
            _ => write!(
                f,
                "cannot listen on {address}: {error}; choose another address with \
                 --http-address or another port with --http-port"
            ),
        }
    }
}

impl std::error::Error for BindError {}

/// Binds an address, which need not exist yet.
///
/// # Errors
/// The port is taken, or may not be used.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv4() {
            socket.set_freebind_v4(true)?;
        } else {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|error| BindError { address, error })
}

impl Gateway {
    /// Serves a listener until [`Gateway::close`].
    pub async fn listen(self: Arc<Self>, listener: TcpListener, visibility: Visibility) {
        let mut closing = self.close.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    log::warn("accept failed", &[("reason", &error.to_string())]);
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let client = Arc::new(Client::new(visibility, peer, Instant::now()));
            let gateway = Arc::clone(&self);
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                gateway.counters.connections.fetch_add(1, Ordering::Relaxed);
                let open = gateway.enter();
                serve(&gateway, stream, client).await;
                drop(open);
                gateway.counters.connections.fetch_sub(1, Ordering::Relaxed);
                drop(place);
            });
        }
    }
}
