//! Bytes both ways after a 101.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::io::ClientIo;
use super::record::Record;
use super::reply::Limits;
use super::Gateway;
use crate::revision::Lease;

const BUFFER: usize = 16 * 1024;
/// After one side has finished, how long the other may still send.
const LINGER: Duration = Duration::from_secs(30);

/// A replica's end of a tunnel and what ends with it.
pub(super) struct Tunnel {
    /// The socket, and what was read from it already.
    pub(super) replica: (TcpStream, Bytes),
    pub(super) lease: Lease,
    pub(super) record: Record,
    pub(super) limits: Limits,
}

/// Runs until both sides have finished, a limit has passed, or the gateway's drain has. It counts as
/// a request in flight all along.
pub(super) async fn tunnel(
    gateway: Arc<Gateway>,
    upgrade: hyper::upgrade::OnUpgrade,
    mut ends: Tunnel,
) {
    let open = gateway.enter();
    if let Ok(upgraded) = upgrade.await {
        if let Ok(parts) = upgraded.downcast::<ClientIo>() {
            let (client, held) = parts.io.into_tunnel();
            let early = [&parts.read_buf[..], &held[..]].concat();
            let (replica, sent) = ends.replica;
            ends.record.bytes += relay(client, &early, replica, &sent, ends.limits).await;
        }
    }
    drop(ends.record);
    drop(ends.lease);
    drop(open);
}

/// How many bytes the replica sent.
async fn relay(
    mut client: TcpStream,
    from_client: &[u8],
    mut replica: TcpStream,
    from_replica: &[u8],
    limits: Limits,
) -> u64 {
    let (mut client_reader, mut client_writer) = client.split();
    let (mut replica_reader, mut replica_writer) = replica.split();
    let (active, activity) = watch::channel(0_u64);
    let up = pump(from_client, &mut client_reader, &mut replica_writer, None);
    let down = pump(from_replica, &mut replica_reader, &mut client_writer, Some(&active));
    let both = async {
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        tokio::select! {
            _ = &mut up => { let _ = tokio::time::timeout(LINGER, down).await; }
            _ = &mut down => { let _ = tokio::time::timeout(LINGER, up).await; }
        }
    };
    tokio::select! {
        () = both => {}
        () = passed(limits, activity) => {}
    }
    let sent = *active.borrow();
    sent
}

/// Returns when a limit has passed.
async fn passed(limits: Limits, mut activity: watch::Receiver<u64>) {
    loop {
        let idle = limits.idle.map(|idle| Instant::now() + idle);
        let first = limits.first.filter(|_| *activity.borrow_and_update() == 0);
        let Some(at) = limits.total.into_iter().chain(idle).chain(first).min() else {
            return std::future::pending().await;
        };
        if idle.is_none() && first.is_none() {
            return tokio::time::sleep_until(at.into()).await;
        }
        match tokio::time::timeout_at(at.into(), activity.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// Copies `first` and then all that comes, counting it, and closes the other side's reading end.
async fn pump(
    first: &[u8],
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    count: Option<&watch::Sender<u64>>,
) -> io::Result<()> {
    let note = |bytes: usize| {
        if let Some(count) = count {
            count.send_modify(|total| *total += bytes as u64);
        }
    };
    if !first.is_empty() {
        writer.write_all(first).await?;
        note(first.len());
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return writer.shutdown().await;
        }
        writer.write_all(&buffer[..read]).await?;
        note(read);
    }
}
