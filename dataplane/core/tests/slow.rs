//! Clients that take their time. These tests wait for the limits of the listeners, all at once.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::backend::Backend;
use common::client::Client;
use common::{replica, revision, Bed, HOST};
use tokio::io::AsyncReadExt;

/// When the connection ended, in whole seconds, if within `limit`.
async fn ended(client: &mut Client, limit: u64) -> Option<u64> {
    let began = Instant::now();
    let mut bytes = Vec::new();
    let read = client.stream.read_to_end(&mut bytes);
    let done = tokio::time::timeout(Duration::from_secs(limit), read).await;
    done.is_ok().then(|| began.elapsed().as_secs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_heads_and_dripping_bodies_end_and_idle_connections_do_not() {
    let backend = Backend::saying("hi").await;
    let bed = Bed::with(revision("default/hello-1", vec![replica("r1", backend.address)])).await;
    let connect = || Client::connect(bed.external);
    let (mut silent, mut half, mut preface) = (connect().await, connect().await, connect().await);
    let (mut drips, mut second, mut idle) = (connect().await, connect().await, connect().await);
    half.send("GET / HTTP/1.1\r\nHos").await;
    preface.send("PRI * HTTP/2").await;
    drips.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100\r\n\r\nx")).await;
    assert_eq!(second.get("/").await.status, 200);
    second.send("GET / HT").await;
    assert_eq!(idle.get("/").await.status, 200);
    let (silent, half, preface, drips, second) = tokio::join!(
        ended(&mut silent, 15),
        ended(&mut half, 15),
        ended(&mut preface, 15),
        ended(&mut drips, 15),
        ended(&mut second, 15),
    );
    for (name, after) in [
        ("silent", silent),
        ("half", half),
        ("preface", preface),
        ("drips", drips),
        ("second", second),
    ] {
        let after = after.unwrap_or_else(|| panic!("{name} was not ended"));
        assert!((9..=12).contains(&after), "{name} ended after {after} s");
    }
    assert_eq!(idle.get("/").await.status, 200, "still open");
    bed.stop().await;
}
