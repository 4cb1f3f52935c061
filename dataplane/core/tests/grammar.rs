//! What is not strictly HTTP does not pass.
#![allow(clippy::unwrap_used)]

mod common;

use common::backend::Backend;
use common::client::Client;
use common::{replica, revision, Bed, HOST};

const KEY: &str = "default/hello-1";

async fn bed() -> (Backend, Bed) {
    let backend = Backend::saying("hi").await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    (backend, bed)
}

/// What comes back to one connection's bytes, until it is closed.
async fn reaction(bed: &Bed, bytes: &[u8]) -> String {
    let mut client = Client::connect(bed.external).await;
    client.send(bytes).await;
    client.rest().await
}

#[tokio::test]
async fn smuggled_and_malformed_heads_are_400_and_the_connection_closes() {
    let (backend, bed) = bed().await;
    let h = HOST;
    let cases = [
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5, 5\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: +5\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 0x5\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: -5\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5_0\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length:\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nX: 1\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: {h}\r\nX: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.0\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\nHost: {h}\n\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\nX: 1\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\nX: a\0b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\nX\0: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\n: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\nno colon\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\nX Y: 1\r\n\r\n"),
        format!("GET /a b HTTP/1.1\r\nHost: {h}\r\n\r\n"),
        format!("GET  / HTTP/1.1\r\nHost: {h}\r\n\r\n"),
        format!("GET / HTTP/1.1 \r\nHost: {h}\r\n\r\n"),
        format!("GET / HTTP/1.2\r\nHost: {h}\r\n\r\n"),
        format!("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: {h}\r\n\r\n"),
        format!("G\0T / HTTP/1.1\r\nHost: {h}\r\n\r\n"),
        format!("GET /\0 HTTP/1.1\r\nHost: {h}\r\n\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {h}\r\nHost: {h}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: user@{h}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}:80:80\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {h}/x\r\n\r\n"),
        format!("GET http://user@{h}/ HTTP/1.1\r\nHost: {h}\r\n\r\n"),
    ];
    for case in cases {
        let answer = reaction(&bed, case.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{case:?} got {answer:?}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{case:?} got {answer:?}");
    }
    assert!(backend.requests().is_empty(), "{:?}", backend.requests());
    bed.stop().await;
}

#[tokio::test]
async fn what_is_no_http_at_all_gets_no_answer() {
    let (backend, bed) = bed().await;
    for bytes in
        ["GET /\r\nHost: x\r\n\r\n", "INVALID PREFACE\r\n\r\n", "\x16\x03\x01\n", "PRI * X\r\n\r\n"]
    {
        assert_eq!(reaction(&bed, bytes.as_bytes()).await, "", "{bytes:?}");
    }
    assert!(backend.requests().is_empty());
    bed.stop().await;
}

#[tokio::test]
async fn malformed_chunks_never_complete_a_request() {
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "\r\n0\r\n\r\n",
        "-1\r\n",
    ] {
        let (backend, bed) = bed().await;
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let after = format!("GET /after HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let answer = reaction(&bed, format!("{head}{chunks}{after}").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer:?}");
        assert!(backend.requests().is_empty(), "{chunks:?}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn violations_after_good_requests_do_not_spoil_those() {
    let (backend, bed) = bed().await;
    let good = format!("GET /good HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let bad = format!("GET /bad HTTP/1.1\r\nHost: {HOST}\n\r\n");
    let answer = reaction(&bed, format!("{good}{good}{bad}{good}").as_bytes()).await;
    let statuses: Vec<&str> =
        answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "400"]);
    assert_eq!(backend.requests().len(), 2);
    bed.stop().await;
}

#[tokio::test]
async fn heads_are_read_alike_however_they_are_cut() {
    let (_backend, bed) = bed().await;
    let good = format!(
        "POST /x HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n0\r\nT: 1\r\n\r\n\
         GET /y HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    );
    for step in [1, 2, 3, 7, 64] {
        let mut client = Client::connect(bed.external).await;
        for piece in good.as_bytes().chunks(step) {
            client.send(piece).await;
            if step < 64 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(client.rest().await, "");
    }
    let bad = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: 1\n\r\n");
    for at in 1..bad.len() {
        let mut client = Client::connect(bed.external).await;
        client.send(&bad[..at]).await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        client.send(&bad[at..]).await;
        assert!(client.rest().await.starts_with("HTTP/1.1 400 "), "cut at {at}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn limits_hold_to_the_byte() {
    let (_backend, bed) = bed().await;
    let get = |target: String, more: String| {
        format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{more}\r\n")
    };
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    for (bytes, status) in [
        (get(target(8 * 1024), String::new()), 200),
        (get(target(8 * 1024 + 1), String::new()), 414),
        (get("/".into(), "a: b\r\n".repeat(98)), 200),
        (get("/".into(), "a: b\r\n".repeat(99)), 431),
        (get("/".into(), format!("a: {}\r\n", "b".repeat(30 * 1024))), 200),
        (get("/".into(), format!("a: {}\r\n", "b".repeat(33 * 1024))), 431),
        (get("/".into(), format!("a: {}\r\n", "b".repeat(200 * 1024))), 431),
    ] {
        let mut client = Client::connect(bed.external).await;
        let (first, rest) = bytes.as_bytes().split_at(bytes.len().min(60_000));
        client.send(first).await;
        // More than the limit may find the connection closed.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, rest).await;
        let head = &bytes[..40.min(bytes.len())];
        let answer = client.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}… got {answer:.60}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn internal_headers_are_ours_alone() {
    let (backend, bed) = bed().await;
    let mut client = Client::connect(bed.external).await;
    let ours = [
        "K-Network-Probe: queue",
        "k_network_hash: x",
        "K-Proxy-Request: activator",
        "K-Original-Host: evil",
        "K-Passthrough-Lb: true",
        "K_Passthrough_Lb: true",
        "Knative-Serving-Revision: other",
        "Knative-Serving-Namespace: other",
        "Knative-Serving-Tag: x",
        "knative_serving_tag: x",
        "Knative-Serving-Default-Route: true",
        "Forwarded: for=6.6.6.6",
        "Forwarded: for=7.7.7.7",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 7.7.7.7",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1",
        "X-Mine: 1",
        "Connection: X-Forwarded-For, X-Mine, Host, keep-alive",
    ];
    let head = ours.join("\r\n");
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\ntraceparent: 00-a\r\n{head}\r\n\r\n"))
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = backend.requests().remove(0);
    let mut names: Vec<String> = seen.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort();
    let expected = [
        "forwarded",
        "host",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names, expected);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host"), Some(HOST));
    bed.stop().await;
}

#[tokio::test]
async fn there_is_no_way_through_by_connect_or_h2c_upgrade() {
    let (backend, bed) = bed().await;
    let mut client = Client::connect(bed.external).await;
    client.send(format!("CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}:80\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 405);
    let mut client = Client::connect(bed.external).await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = backend.requests().remove(0);
    assert_eq!(seen.header("upgrade"), None);
    assert_eq!(seen.header("http2-settings"), None);
    assert_eq!(seen.header("connection"), None);
    bed.stop().await;
}

#[tokio::test]
async fn http10_and_head_are_served() {
    let (_backend, bed) = bed().await;
    let mut client = Client::connect(bed.external).await;
    client.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("hi"), "{answer}");
    let mut client = Client::connect(bed.external).await;
    client.send(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let head = client.head().await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    bed.stop().await;
}
