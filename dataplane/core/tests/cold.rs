//! Requests for revisions without a replica.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::backend::Backend;
use common::client::{Answer, Client};
use common::{free_port, ingress, replica, revision, Bed, HOST};
use knarr_dataplane::protocol::{
    Activated, ActivationRefused, ActivationTimings, Drain, FromNode, ToNode,
};
use tokio::task::JoinHandle;

const KEY: &str = "default/hello-1";

fn asking(bed: &Bed) -> JoinHandle<Answer> {
    let address = bed.external;
    tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        client.get("/").await
    })
}

fn activated(id: u64, replica_id: &str, address: std::net::SocketAddr) -> FromNode {
    FromNode::Activated(Activated {
        id,
        revision: KEY.into(),
        replica: replica(replica_id, address),
        timings: ActivationTimings { sandbox_us: 0, start_us: 6_200, probe_us: 900, parked: true },
    })
}

fn refused(id: u64, reason: &str) -> FromNode {
    let (revision, message) = (KEY.into(), "no".into());
    FromNode::ActivationRefused(ActivationRefused { id, revision, reason: reason.into(), message })
}

fn activations(bed: &mut Bed) -> usize {
    let activations = |message: &ToNode| matches!(message, ToNode::Activate(_));
    bed.node.drain().iter().filter(|message| activations(message)).count()
}

#[tokio::test]
async fn demand_and_activation_go_out_at_once_and_the_answer_says_where_the_time_went() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::with(revision(KEY, vec![])).await;
    let waiting: Vec<_> = (0..20).map(|_| asking(&bed)).collect();
    assert_eq!(bed.server.demand().await.0, KEY);
    let (id, asked) = bed.node.activate().await;
    assert_eq!(asked, KEY);
    bed.node.send(activated(id, "r1", backend.address));
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, &*answer.body), (200, "hi"));
        let timing = answer.header("server-timing").expect("cold");
        let names: Vec<&str> =
            timing.split(", ").map(|part| part.split(';').next().unwrap()).collect();
        assert_eq!(names, ["queue", "activate", "start", "probe", "connect", "app"], "{timing}");
        assert!(timing.contains("desc=\"parked\""), "{timing}");
    }
    assert_eq!(activations(&mut bed), 0, "one activation for all");
    let mut client = Client::connect(bed.external).await;
    assert!(client.get("/").await.header("server-timing").is_none(), "warm");
    bed.stop().await;
}

#[tokio::test]
async fn the_slow_path_alone_is_enough() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::with(revision(KEY, vec![])).await;
    let waiting = asking(&bed);
    let (id, _) = bed.node.activate().await;
    bed.node.send(refused(id, "UnknownRevision"));
    bed.server.demand().await;
    bed.server.demand().await;
    bed.change(2, revision(KEY, vec![replica("r1", backend.address)])).await;
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200);
    let timing = answer.header("server-timing").unwrap();
    assert!(timing.starts_with("queue;dur=1") && !timing.contains("activate"), "{timing}");
    bed.stop().await;
}

#[tokio::test]
async fn a_refusal_is_tried_again_and_a_node_that_comes_back_is_asked() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::with(revision(KEY, vec![])).await;
    let waiting = asking(&bed);
    let began = Instant::now();
    for _ in 0..3 {
        let (id, _) = bed.node.activate().await;
        bed.node.send(refused(id, "Busy"));
    }
    assert!(began.elapsed() >= Duration::from_millis(150), "with a back-off");
    let path = bed.node.kill().await;
    bed.node = common::peers::Node::listen(path);
    let (id, _) = bed.node.activate().await;
    bed.node.send(activated(id, "r1", backend.address));
    assert_eq!(waiting.await.unwrap().status, 200);
    bed.stop().await;
}

#[tokio::test]
async fn when_nobody_waits_any_more_nobody_is_asked() {
    let mut bed = Bed::with(revision(KEY, vec![])).await;
    let mut client = Client::connect(bed.external).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let (id, _) = bed.node.activate().await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    bed.node.send(refused(id, "Busy"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(activations(&mut bed), 0);
    bed.stop().await;
}

#[tokio::test]
async fn a_cold_wait_ends_with_the_revisions_timeout() {
    let mut impatient = revision(KEY, vec![]);
    impatient.timeout_ms = 150;
    let bed = Bed::with(impatient).await;
    let answer = asking(&bed).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (504, "activator request timeout"));
    bed.stop().await;
}

#[tokio::test]
async fn an_activated_replica_survives_tables_that_do_not_know_it_yet() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::with(revision(KEY, vec![])).await;
    let waiting = asking(&bed);
    let (id, _) = bed.node.activate().await;
    bed.node.send(activated(id, "r1", backend.address));
    waiting.await.unwrap();
    bed.change(2, revision(KEY, vec![])).await;
    assert_eq!(asking(&bed).await.unwrap().status, 200, "kept without confirmation");
    bed.change(3, revision(KEY, vec![replica("r1", backend.address)])).await;
    assert_eq!(asking(&bed).await.unwrap().status, 200);
    bed.change(4, revision(KEY, vec![])).await;
    let gone = asking(&bed);
    let (id, _) = bed.node.activate().await;
    bed.node.send(activated(id, "r2", backend.address));
    assert_eq!(gone.await.unwrap().status, 200, "confirmed, then removed: cold again");
    bed.stop().await;
}

#[tokio::test]
async fn a_request_that_meets_the_last_drain_starts_a_new_replica() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::with(revision(KEY, vec![replica("r1", backend.address)])).await;
    bed.node.send(FromNode::Drain(Drain { id: 1, revision: KEY.into(), replica: "r1".into() }));
    bed.node.drained().await;
    let waiting = asking(&bed);
    let (id, _) = bed.node.activate().await;
    bed.node.send(activated(id, "r1", backend.address));
    let (id, _) = bed.node.activate().await;
    bed.node.send(activated(id, "r2", backend.address));
    assert_eq!(waiting.await.unwrap().status, 200, "the barred id was of no use, the new one is");
    bed.stop().await;
}

#[tokio::test]
async fn a_replica_that_refuses_is_reported_and_waited_for() {
    let address = free_port();
    let mut bed = Bed::start().await;
    let revisions = vec![revision(KEY, vec![replica("r1", address)])];
    bed.configure(vec![ingress(&[(100, KEY)])], revisions).await;
    let waiting = asking(&bed);
    let fault = bed
        .server
        .expect(|message| match message {
            knarr_dataplane::protocol::FromDataplane::ReplicaFault(fault) => Some(fault.clone()),
            _ => None,
        })
        .await;
    assert_eq!((&*fault.revision, &*fault.replica), (KEY, "r1"));
    assert!(fault.reason.contains("refused"), "{}", fault.reason);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let serve = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                if common::backend::read_request(&mut stream).await.is_some() {
                    use tokio::io::AsyncWriteExt;
                    stream.write_all(&common::backend::ok("back")).await.unwrap();
                }
            });
        }
    });
    assert_eq!(waiting.await.unwrap().body, "back");
    serve.abort();
    bed.stop().await;
}
