//! Replicas that break, lie or vanish.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use common::backend::{ok, read_head, read_request, Backend};
use common::client::Client;
use common::{free_port, replica, revision, Bed, HOST};
use knarr_dataplane::protocol::FromDataplane;
use tokio::io::AsyncWriteExt;

const KEY: &str = "default/hello-1";

async fn fault(bed: &mut Bed) -> String {
    bed.server
        .expect(|message| match message {
            FromDataplane::ReplicaFault(fault) => Some(fault.reason.clone()),
            _ => None,
        })
        .await
}

async fn post(bed: &Bed, body: &str) -> common::client::Answer {
    let mut client = Client::connect(bed.external).await;
    let length = body.len();
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{body}"))
        .await;
    client.answer().await
}

#[tokio::test]
async fn a_refused_connection_goes_to_another_replica_whatever_the_method() {
    let backend = Backend::saying("hi").await;
    let dead = free_port();
    let replicas = vec![replica("dead", dead), replica("alive", backend.address)];
    let mut bed = Bed::with(revision(KEY, replicas)).await;
    for _ in 0..20 {
        assert_eq!(post(&bed, "body").await.status, 200);
    }
    assert!(fault(&mut bed).await.contains("refused"));
    assert!(backend.requests().iter().all(|seen| seen.body == b"body"));
    bed.stop().await;
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_replaced() {
    // Every connection serves one request, says nothing of it, and is closed a moment later.
    let backend = Backend::raw(|mut stream| async move {
        if read_request(&mut stream).await.is_some() {
            stream.write_all(&ok("hi")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 200);
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(post(&bed, "x").await.status, 200, "closed before it was used: seen in time");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_get_is_sent_again_when_a_used_connection_breaks_but_a_post_is_not() {
    // The second request on a connection is read, and the connection closed without an answer.
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let backend = Backend::raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            for turn in 0..2 {
                if read_request(&mut stream).await.is_none() {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                if turn == 0 {
                    stream.write_all(&ok("hi")).await.unwrap();
                }
            }
        }
    })
    .await;
    let mut bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(taken.load(Ordering::SeqCst), 3, "first, broken, again");
    let answer = post(&bed, "x").await;
    assert_eq!((answer.status, &*answer.body), (502, "the replica broke the connection"));
    assert_eq!(taken.load(Ordering::SeqCst), 4, "once");
    assert!(fault(&mut bed).await.contains("closed"));
    bed.stop().await;
}

#[tokio::test]
async fn what_is_not_an_answer_is_502_and_its_connection_never_used_again() {
    let cases: [&[u8]; 13] = [
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNa\0me: a\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ];
    for case in cases {
        let backend = Backend::raw(move |mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                if stream.write_all(case).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
        let mut client = Client::connect(bed.external).await;
        for _ in 0..2 {
            let answer = client.get("/").await;
            assert_eq!(answer.status, 502, "{}", String::from_utf8_lossy(case));
        }
        assert_eq!(backend.connections.load(Ordering::SeqCst), 2, "never again");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_get_that_kills_a_replica_goes_to_one_other_and_a_post_to_none() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let dying = Backend::raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            if read_request(&mut stream).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", dying.address)])).await;
    let mut client = Client::connect(bed.external).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, &*answer.body), (502, "the replica broke the connection"));
    assert_eq!(taken.load(Ordering::SeqCst), 2, "twice, not for ever");
    assert_eq!(post(&bed, "x").await.status, 502);
    assert_eq!(taken.load(Ordering::SeqCst), 3, "once");
    bed.stop().await;
}

#[tokio::test]
async fn endless_heads_and_interim_floods_end() {
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(500));
    let long_field = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(200_000));
    let flood = "HTTP/1.1 103 Early\r\n\r\n".repeat(1_000);
    for text in [many_fields, long_field, flood] {
        let backend = Backend::answering(move |_| {
            let text = text.clone();
            async move { text.into_bytes() }
        })
        .await;
        let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
        let mut client = Client::connect(bed.external).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let answer = loop {
            let answer = client.answer().await;
            if answer.status != 103 {
                break answer;
            }
        };
        assert_eq!(answer.status, 502);
        bed.stop().await;
    }
}

#[tokio::test]
async fn more_than_one_answer_does_not_reach_the_next_request() {
    let backend = Backend::answering(|_| async {
        let mut bytes = ok("mine");
        bytes.extend(ok("smuggled"));
        bytes
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.body, "mine");
    }
    assert_eq!(backend.connections.load(Ordering::SeqCst), 5);
    bed.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_for_the_client_too() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        let backend = Backend::raw(move |mut stream| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        })
        .await;
        let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
        let mut client = Client::connect(bed.external).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        // What breaks in the same moment as it begins may not have begun for the client.
        let began = client.head().await.is_some();
        let rest = client.rest().await;
        assert_eq!(rest.contains("hello"), began, "{rest:?}");
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn answers_without_a_length_end_with_the_connection() {
    let backend = Backend::raw(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.body, "hello");
    }
    bed.stop().await;
}

#[tokio::test]
async fn an_early_answer_ends_the_exchange_and_the_next_request_is_apart() {
    let backend = Backend::raw(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let answer: &[u8] = if head.starts_with("POST") {
                b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
            };
            if stream.write_all(answer).await.is_err() || head.starts_with("POST") {
                return;
            }
        }
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 200000\r\n\r\n")).await;
    client.send("GET /smuggled HTTP/1.1\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.body), (413, "big"));
    assert_eq!(client.rest().await, "", "the rest of the body is not a request");
    bed.stop().await;
}

#[tokio::test]
async fn interim_answers_pass_and_expectations_are_met_when_the_replica_is_there() {
    let backend = Backend::raw(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(!head.to_lowercase().contains("expect"), "{head}");
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n")
            .await
            .unwrap();
        let mut body = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
        stream.write_all(&ok("done")).await.unwrap();
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    client
        .send(format!(
            "PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    let mut interims = vec![client.answer().await];
    if interims[0].status == 100 {
        client.send("body").await;
    }
    interims.push(client.answer().await);
    interims.sort_by_key(|answer| answer.status);
    assert_eq!(interims.iter().map(|answer| answer.status).collect::<Vec<_>>(), [100, 103]);
    assert_eq!(interims[1].header("link"), Some("</a>"));
    assert_eq!(interims[1].header("connection"), None);
    assert_eq!(client.answer().await.body, "done");
    bed.stop().await;
}

#[tokio::test]
async fn bytes_flow_both_ways_at_once() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..5 {
            let mut ping = [0; 9];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut ping).await.unwrap();
            assert_eq!(&ping, b"4\r\nping\r\n");
            stream.write_all(b"4\r\npong\r\n").await.unwrap();
        }
        let mut last = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut last).await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = Client::connect(bed.external).await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.unwrap().status, 200);
    for _ in 0..5 {
        client.send("4\r\nping\r\n").await;
        assert_eq!(client.take(9).await.unwrap(), "4\r\npong\r\n");
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.take(5).await.unwrap(), "0\r\n\r\n");
    bed.stop().await;
}
