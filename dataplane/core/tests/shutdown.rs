//! The end of the process, and what it tells while it runs.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::backend::{ok, Backend};
use common::client::{get, Client};
use common::{replica, revision, Bed, HOST};
use knarr_dataplane::serve;
use tokio::net::TcpStream;

const KEY: &str = "default/hello-1";

#[tokio::test]
async fn requests_in_flight_finish_and_nothing_new_begins() {
    let backend = Backend::answering(|_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ok("done")
    })
    .await;
    let mut bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    let mut idle = Client::connect(bed.external).await;
    let mut busy = Client::connect(bed.external).await;
    busy.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    while backend.seen.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bed.begin_stop();
    assert_eq!(idle.rest().await, "", "idle connections close at once");
    while TcpStream::connect(bed.external).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = busy.answer().await;
    assert_eq!((answer.status, &*answer.body), (200, "done"));
    assert_eq!(busy.rest().await, "");
    bed.stopped().await;
}

#[tokio::test]
async fn the_drain_deadline_is_the_end() {
    let backend = Backend::answering(|_| std::future::pending()).await;
    let mut bed = Bed::start_with(|config| config.drain_deadline_s = 0.2).await;
    let revisions = vec![revision(KEY, vec![replica("r1", backend.address)])];
    bed.configure(vec![common::ingress(&[(100, KEY)])], revisions).await;
    let mut busy = Client::connect(bed.external).await;
    busy.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    while backend.seen.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let began = std::time::Instant::now();
    bed.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_taken_port_is_named_with_cause_and_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let json = format!(
        r#"{{"gateway":"g","external_listen":["{address}"],"server_socket":"/nonexistent"}}"#
    );
    let config = knarr_dataplane::Config::parse(json.as_bytes()).unwrap();
    let fault = serve(config, async {}).await.expect_err("taken");
    let text = fault.to_string();
    for part in [&*address.to_string(), "another program", "--http-port"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn an_address_may_come_later() {
    let json = r#"{"gateway":"g","external_listen":[],"local_listen":["10.232.99.1:0"],"server_socket":"/nonexistent"}"#;
    let config = knarr_dataplane::Config::parse(json.as_bytes()).unwrap();
    serve(config, async {}).await.expect("binds");
}

#[tokio::test]
async fn metrics_health_and_the_access_log_tell_what_happened() {
    let backend = Backend::saying("hi").await;
    let bed = Bed::start().await;
    assert_eq!(get(bed.metrics, "localhost", "/healthz").await.status, 200);
    assert_eq!(get(bed.metrics, "localhost", "/readyz").await.status, 503);
    let mut bed = bed;
    let revisions = vec![revision(KEY, vec![replica("r1", backend.address)])];
    bed.configure(vec![common::ingress(&[(100, KEY)])], revisions).await;
    assert_eq!(get(bed.metrics, "localhost", "/readyz").await.status, 200);
    assert_eq!(get(bed.metrics, "evil.example", "/metrics").await.status, 403);
    let mut client = Client::connect(bed.external).await;
    for _ in 0..3 {
        client.get("/x?y=%0a%22").await;
    }
    get(bed.external, "unknown", "/").await;
    let text = get(bed.metrics, "127.0.0.1", "/metrics").await.body;
    let labels =
        "namespace=\"default\",revision=\"hello-1\",service=\"hello\",configuration=\"hello\"";
    for line in [
        format!("knarr_gateway_requests_total{{{labels},code_class=\"2xx\"}} 3"),
        format!("knarr_gateway_request_duration_seconds_count{{{labels}}} 3"),
        "knarr_gateway_own_responses_total{code_class=\"4xx\"} 1".to_owned(),
        "knarr_gateway_config_version{epoch=\"e1\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let log = bed.directory.join("access.log");
    let lines = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if text.lines().count() == 4 {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["path"], "/x?y=%0a%22");
    assert_eq!((&first["status"], &first["bytes"]), (&200.into(), &2.into()));
    assert_eq!((&first["revision"], &first["replica"]), (&KEY.into(), &"r1".into()));
    bed.stop().await;
}
