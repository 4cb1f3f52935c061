//! New connections.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// A sandbox is one hop away: longer means that nobody will answer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Why a connection could not be made.
#[derive(Debug)]
pub enum ConnectError {
    /// The system said why.
    Io(std::io::Error),
    /// No answer in time.
    Timeout,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "connect: {error}"),
            Self::Timeout => write!(f, "connect: no answer in {CONNECT_TIMEOUT:?}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl ConnectError {
    /// This process ran out of files or ports: no fault of the replica.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        const EADDRNOTAVAIL: i32 = 99;
        match self {
            Self::Io(error) => {
                matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EADDRNOTAVAIL))
            }
            Self::Timeout => false,
        }
    }
}

/// Connects to a replica.
///
/// # Errors
/// The replica refused, cannot be reached, or did not answer in 1.5 s.
pub async fn connect(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::Timeout)?
        .map_err(ConnectError::Io)?;
    stream.set_nodelay(true).map_err(ConnectError::Io)?;
    Ok(stream)
}
