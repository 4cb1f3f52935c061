//! HTTP/2 by prior knowledge, on both sides.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::backend::Backend;
use common::client::Client;
use common::{replica, revision, Bed, HOST, SOON};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use knarr_dataplane::protocol::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const KEY: &str = "default/hello-1";

type Frames = futures::Channel;

mod futures {
    use super::{Bytes, Frame, Infallible};
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::sync::mpsc;

    /// A body of frames from a channel.
    pub struct Channel(pub mpsc::UnboundedReceiver<Frame<Bytes>>);

    impl http_body::Body for Channel {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(context).map(|frame| frame.map(Ok))
        }
    }
}

/// A gRPC-like echo over h2c: every message comes back, then trailers.
async fn grpc_replica() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(echo)),
            );
        }
    });
    address
}

async fn echo(request: Request<Incoming>) -> Result<Response<Frames>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.uri().authority().unwrap().as_str(), HOST);
    let te = request.headers().get("te").cloned();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                let _ = sender.send(Frame::data(data));
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.extend(te.map(|te| (http::HeaderName::from_static("seen-te"), te)));
        let _ = sender.send(Frame::trailers(trailers));
    });
    Ok(Response::new(futures::Channel(receiver)))
}

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

fn h2c(address: SocketAddr) -> knarr_dataplane::protocol::Revision {
    let mut revision = revision(KEY, vec![replica("r1", address)]);
    revision.protocol = Protocol::H2c;
    revision
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{HOST}{path}")).body(Full::default()).unwrap()
}

#[tokio::test]
async fn grpc_streams_both_ways_with_trailers() {
    let bed = Bed::with(h2c(grpc_replica().await)).await;
    let mut client = connect(bed.external).await;
    for _ in 0..3 {
        let (sender, receiver) = mpsc::unbounded_channel();
        let request = Request::post(format!("http://{HOST}/svc/Method"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(futures::Channel(receiver))
            .unwrap();
        let mut body = client.send_request(request).await.unwrap().into_body();
        for number in 0..10 {
            let message = Bytes::from(format!("message {number}"));
            sender.send(Frame::data(message.clone())).unwrap();
            let back = tokio::time::timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
            assert_eq!(back.into_data().unwrap(), message);
        }
        drop(sender);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["seen-te"], "trailers");
        assert!(body.frame().await.is_none());
    }
    bed.stop().await;
}

#[tokio::test]
async fn http2_clients_reach_http1_replicas_and_the_other_way_round() {
    let backend = Backend::saying("hi").await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = connect(bed.external).await;
    let answers: Vec<_> = (0..20).map(|_| client.send_request(get("/x?y"))).collect();
    for answer in answers {
        let response = answer.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hi");
    }
    let seen = backend.requests();
    assert_eq!((seen.len(), &*seen[0].line), (20, "GET /x?y HTTP/1.1"));
    assert_eq!(seen[0].header("host"), Some(HOST));
    bed.stop().await;
    let bed = Bed::with(h2c(grpc_replica().await)).await;
    let mut client = Client::connect(bed.external).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &*answer.body), (200, "hello"));
    assert_eq!(client.get("/").await.body, "");
    bed.stop().await;
}

#[tokio::test]
async fn a_cancelled_stream_frees_its_slot() {
    let backend = Backend::raw(|mut stream| async move {
        common::backend::read_request(&mut stream).await.unwrap();
        assert!(stream.read_u8().await.is_err(), "closed when the client cancels");
    })
    .await;
    let mut limited = revision(KEY, vec![replica("r1", backend.address)]);
    limited.container_concurrency = 1;
    let bed = Bed::with(limited).await;
    let mut client = connect(bed.external).await;
    for round in 1..=3 {
        let answer = client.send_request(get("/"));
        let waited = tokio::time::timeout(Duration::from_millis(100), answer).await;
        assert!(waited.is_err(), "never answered");
        assert_eq!(backend.connections.load(std::sync::atomic::Ordering::SeqCst), round);
    }
    bed.stop().await;
}

#[tokio::test]
async fn what_http2_forbids_never_reaches_a_replica() {
    let backend = Backend::saying("hi").await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut client = connect(bed.external).await;
    let mut differs = get("/");
    differs.headers_mut().insert("host", HeaderValue::from_static("other.localhost"));
    assert_eq!(client.send_request(differs).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let connecting = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("{HOST}:80"))
        .body(Full::default())
        .unwrap();
    let answer = client.send_request(connecting).await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let mut long = get(&format!("/{}", "a".repeat(8 * 1024)));
    assert_eq!(client.send_request(long).await.unwrap().status(), StatusCode::URI_TOO_LONG);
    long = get("/");
    long.headers_mut().insert("x", HeaderValue::from_str(&"a".repeat(40 * 1024)).unwrap());
    let refused = client.send_request(long).await;
    assert!(refused.is_err() || refused.unwrap().status().as_u16() == 431);
    assert!(backend.requests().is_empty());
    bed.stop().await;
}

#[tokio::test]
async fn floods_of_frames_without_requests_are_cut() {
    let backend = Backend::saying("hi").await;
    let bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut stream = tokio::net::TcpStream::connect(bed.external).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let flood = ping.repeat(5_000);
    let (mut reader, mut writer) = stream.into_split();
    let sent = tokio::spawn(async move { writer.write_all(&flood).await });
    let mut answers = Vec::new();
    let read = tokio::time::timeout(SOON, reader.read_to_end(&mut answers)).await;
    assert!(read.is_ok(), "the connection ends");
    let _ = sent.await;
    let mut client = connect(bed.external).await;
    assert_eq!(client.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    bed.stop().await;
}
