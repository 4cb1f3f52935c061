//! Frames: a big-endian u32 length, then that many bytes of JSON.

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Larger frames end the session.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// Why a frame could not be read or written.
#[derive(Debug)]
pub enum FrameError {
    /// The peer closed between two frames.
    Closed,
    /// The socket failed or was cut within a frame.
    Io(std::io::Error),
    /// The peer announced more than [`MAX_FRAME_BYTES`].
    TooLarge(usize),
    /// The body is not a message.
    Json(serde_json::Error),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the session"),
            Self::Io(error) => write!(f, "the session broke: {error}"),
            Self::TooLarge(size) => {
                write!(f, "a frame of {size} bytes is larger than {MAX_FRAME_BYTES}")
            }
            Self::Json(error) => write!(f, "a frame is not a message: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads one frame's body into `body`, replacing what it held.
///
/// # Errors
/// [`FrameError::Closed`] at a clean end, else what broke.
pub async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    body: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let mut length = [0_u8; 4];
    if let Err(error) = reader.read_exact(&mut length).await {
        return Err(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => FrameError::Closed,
            _ => FrameError::Io(error),
        });
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    body.clear();
    body.resize(length, 0);
    reader.read_exact(body).await?;
    Ok(())
}

/// Writes one message as a frame.
///
/// # Errors
/// The message is too large or the socket broke.
pub async fn write_frame<W: AsyncWrite + Unpin, M: Serialize>(
    writer: &mut W,
    message: &M,
) -> Result<(), FrameError> {
    let mut frame = vec![0_u8; 4];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Json)?;
    let length = frame.len() - 4;
    let prefix = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME_BYTES)
        .ok_or(FrameError::TooLarge(length))?;
    frame[..4].copy_from_slice(&prefix.to_be_bytes());
    writer.write_all(&frame).await?;
    Ok(())
}
