//! Web sockets: tunnels after a 101, and nothing before it.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::backend::{ok, read_head, read_request, Backend};
use common::client::Client;
use common::{replica, revision, Bed, HOST};
use knarr_dataplane::protocol::{Drain, FromDataplane, FromNode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEY: &str = "default/hello-1";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";

fn opening(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Switches, greets, then echoes.
async fn echo() -> Backend {
    greeting(b"welcome").await
}

async fn greeting(words: &'static [u8]) -> Backend {
    Backend::raw(move |mut stream| async move {
        let head = read_head(&mut stream).await.unwrap().to_lowercase();
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n")
        );
        stream.write_all(&[SWITCH, words].concat()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.unwrap();
        }
    })
    .await
}

async fn opened(bed: &Bed) -> Client {
    let mut client = Client::connect(bed.external).await;
    client.send(opening("/")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("x"));
    assert_eq!(client.take(7).await.unwrap(), "welcome");
    client
}

#[tokio::test]
async fn bytes_pass_both_ways_and_both_ends_are_closed() {
    let backend = echo().await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = opened(&bed).await;
    for number in 0..100 {
        let text = format!("message {number:04}");
        client.send(&text).await;
        assert_eq!(client.take(text.len()).await.unwrap(), text);
    }
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "");
    bed.stop().await;
}

#[tokio::test]
async fn bytes_after_the_request_wait_for_the_101() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(150), stream.read_u8()).await;
        assert!(early.is_err(), "nothing may come before the 101");
        stream.write_all(SWITCH).await.unwrap();
        let mut bytes = [0; 11];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    client.send(format!("{}early", opening("/"))).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send(" birds").await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.take(11).await.unwrap(), "early birds");
    bed.stop().await;
}

#[tokio::test]
async fn a_refused_switch_leaves_a_request_a_request() {
    let backend = Backend::answering(|seen| async move { ok(&seen.line) }).await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    let second = "GET /second HTTP/1.1\r\nHost: unknown.localhost\r\n\r\n";
    let third = format!("GET /third HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    client.send(format!("{}{second}{third}", opening("/first"))).await;
    let answers = [client.answer().await, client.answer().await, client.answer().await];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 200], "each was routed by itself");
    assert_eq!(answers[2].body, "GET /third HTTP/1.1");
    let seen = backend.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].header("x-forwarded-for"), Some("127.0.0.1"));
    bed.stop().await;
}

#[tokio::test]
async fn a_switch_to_something_else_is_502_and_a_body_is_400() {
    let backend = Backend::raw(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let other =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n";
        stream.write_all(other).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    client.send(opening("/")).await;
    assert_eq!(client.answer().await.status, 502);
    let mut client = Client::connect(bed.external).await;
    client.send(opening("/").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello")).await;
    assert_eq!(client.answer().await.status, 400);
    bed.stop().await;
}

#[tokio::test]
async fn a_tunnel_holds_its_slot_and_is_drained_by_closing() {
    let backend = echo().await;
    let mut limited = revision(KEY, vec![replica("r1", backend.address)]);
    limited.container_concurrency = 1;
    limited.timeout_ms = 2_500;
    let mut bed = Bed::with(limited).await;
    let mut client = opened(&bed).await;
    let counted = bed
        .server
        .expect(|message| match message {
            FromDataplane::Stats(stats) => stats.revisions.first().cloned(),
            _ => None,
        })
        .await;
    assert_eq!(counted.in_flight, 1);
    bed.node.send(FromNode::Drain(Drain { id: 9, revision: KEY.into(), replica: "r1".into() }));
    client.send("still here").await;
    assert_eq!(client.take(10).await.unwrap(), "still here");
    assert!(bed.node.drain().is_empty(), "a tunnel is in flight");
    assert_eq!(client.rest().await, "", "closed by the revision's timeout");
    assert_eq!(bed.node.drained().await, (9, "r1".into()));
    bed.stop().await;
}

#[tokio::test]
async fn a_tunnel_is_closed_when_its_first_byte_does_not_come_in_time() {
    for (words, closed) in [(&b""[..], true), (b"welcome", false)] {
        let backend = greeting(words).await;
        let mut prompt = revision(KEY, vec![replica("r1", backend.address)]);
        prompt.response_start_timeout_ms = 200;
        let bed = Bed::with(prompt).await;
        let mut client = Client::connect(bed.external).await;
        client.send(opening("/")).await;
        assert_eq!(client.answer().await.status, 101);
        let rest = tokio::time::timeout(Duration::from_secs(1), client.rest()).await;
        assert_eq!(rest.is_ok(), closed);
        bed.stop().await;
    }
}

#[tokio::test]
async fn an_idle_tunnel_is_closed_and_a_busy_one_not() {
    let backend = echo().await;
    let mut idle = revision(KEY, vec![replica("r1", backend.address)]);
    idle.idle_timeout_ms = 200;
    let bed = Bed::with(idle).await;
    let mut client = opened(&bed).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.send("x").await;
        assert_eq!(client.take(1).await.unwrap(), "x");
    }
    assert_eq!(client.rest().await, "");
    bed.stop().await;
}
