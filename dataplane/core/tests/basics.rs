//! Routing, proxying, sessions: the ordinary way.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::backend::{ok, Backend};
use common::client::{get, Client};
use common::{replica, revision, Bed, HOST};

#[tokio::test]
async fn a_request_reaches_the_replica_and_its_answer_the_client() {
    let backend = Backend::saying("hi").await;
    let bed = Bed::with(revision("default/hello-1", vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    for _ in 0..3 {
        let answer = client.get("/a?b=c").await;
        assert_eq!((answer.status, &*answer.body), (200, "hi"));
        assert!(answer.header("server-timing").is_none(), "not cold");
    }
    let seen = backend.requests();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].line, "GET /a?b=c HTTP/1.1");
    assert_eq!(seen[0].header("host"), Some(HOST));
    assert_eq!(seen[0].header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen[0].header("x-forwarded-proto"), Some("http"));
    assert_eq!(
        seen[0].header("forwarded"),
        Some("for=127.0.0.1;host=hello.default.localhost;proto=http")
    );
    assert_eq!(backend.connections.load(std::sync::atomic::Ordering::SeqCst), 1, "pooled");
    bed.stop().await;
}

#[tokio::test]
async fn bodies_pass_both_ways() {
    let backend = Backend::answering(|seen| async move {
        let text = String::from_utf8(seen.body).unwrap();
        let half = text.len() / 2;
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{half:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            &text[..half],
            text.len() - half,
            &text[half..]
        )
        .into_bytes()
    })
    .await;
    let bed = Bed::with(revision("default/hello-1", vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    let text = "x".repeat(300_000);
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", text.len()))
        .await;
    client.send(&text).await;
    assert_eq!(client.answer().await.body, text);
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"))
        .await;
    client.send("5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "hello world");
    assert_eq!(client.get("/").await.body, "");
    bed.stop().await;
}

#[tokio::test]
async fn what_is_not_known_is_404_and_without_configuration_503() {
    let began = Instant::now();
    let backend = Backend::answering(|_| async { ok("hi") }).await;
    let mut bed = Bed::start().await;
    for _ in 0..2 {
        let answer = get(bed.external, HOST, "/").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert!(began.elapsed() < Duration::from_secs(8), "waits after the start only");
    let known = revision("default/hello-1", vec![replica("r1", backend.address)]);
    bed.configure(vec![common::ingress(&[(100, "default/hello-1")])], vec![known]).await;
    assert_eq!(get(bed.external, HOST, "/").await.status, 200);
    assert_eq!(get(bed.external, "other.localhost", "/").await.status, 404);
    bed.stop().await;
}

#[tokio::test]
async fn requests_that_come_before_the_first_configuration_wait_for_it() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::start().await;
    let mut early = Client::connect(bed.external).await;
    early.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let known = revision("default/hello-1", vec![replica("r1", backend.address)]);
    bed.configure(vec![common::ingress(&[(100, "default/hello-1")])], vec![known]).await;
    assert_eq!(early.answer().await.status, 200);
    bed.stop().await;
}
