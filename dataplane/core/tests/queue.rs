//! Slots, the queue, timeouts, drains, statistics.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::backend::{ok, Backend};
use common::client::Client;
use common::{replica, revision, Bed, HOST, SOON};
use knarr_dataplane::protocol::{
    Drain, FromDataplane, FromNode, PickIdle, Resume, Revision, RevisionStats, ToDataplane,
};
use tokio::sync::Semaphore;

const KEY: &str = "default/hello-1";

/// A replica whose answers wait for a permit, and which knows how many wait at once.
struct Gate {
    backend: Backend,
    permits: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
}

struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    async fn new() -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&permits), Arc::clone(&now), Arc::clone(&most));
        let backend = Backend::answering(move |seen| {
            let (permits, now, most) = shared.clone();
            async move {
                let inside = now.fetch_add(1, Ordering::SeqCst) + 1;
                let _inside = Inside(Arc::clone(&now));
                most.fetch_max(inside, Ordering::SeqCst);
                permits.acquire().await.unwrap().forget();
                tokio::time::sleep(Duration::from_millis(1)).await;
                ok(seen.line.split(' ').nth(1).unwrap())
            }
        })
        .await;
        Self { backend, permits, most }
    }

    fn open(&self, count: usize) {
        self.permits.add_permits(count);
    }

    fn requests(&self) -> usize {
        self.backend.seen.lock().len()
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn limited(limit: u32, gate: &Gate) -> Revision {
    let mut limited = revision(KEY, vec![replica("r1", gate.backend.address)]);
    limited.container_concurrency = limit;
    limited
}

async fn ask(bed: &Bed, path: &str) -> Client {
    let mut client = Client::connect(bed.external).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    client
}

/// The first statistics of the revision that are as wanted.
async fn stats(bed: &mut Bed, wanted: impl Fn(&RevisionStats) -> bool) -> RevisionStats {
    bed.server
        .expect(|message| match message {
            FromDataplane::Stats(stats) => stats.revisions.iter().find(|r| wanted(r)).cloned(),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn one_slot_takes_one_request_at_a_time_in_order() {
    let gate = Gate::new().await;
    let bed = Bed::with(limited(1, &gate)).await;
    let first = ask(&bed, "/first").await;
    until("the first is at the replica", || gate.requests() == 1).await;
    let mut waiting = vec![first];
    for number in 0..5 {
        waiting.push(ask(&bed, &format!("/{number}")).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gate.open(6);
    for client in &mut waiting {
        assert_eq!(client.answer().await.status, 200);
    }
    let order: Vec<String> = gate.backend.requests().iter().map(|seen| seen.line.clone()).collect();
    let expected: Vec<String> = ["first", "0", "1", "2", "3", "4"]
        .iter()
        .map(|name| format!("GET /{name} HTTP/1.1"))
        .collect();
    assert_eq!(order, expected);
    assert_eq!(gate.most.load(Ordering::SeqCst), 1);
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_never_exceed_the_slots_of_any_replica() {
    let (one, two) = (Gate::new().await, Gate::new().await);
    let mut both = limited(2, &one);
    both.replicas.push(replica("r2", two.backend.address));
    let bed = Bed::with(both).await;
    one.open(2_000);
    two.open(2_000);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut client = Client::connect(bed.external).await;
        clients.spawn(async move {
            for _ in 0..25 {
                assert_eq!(client.get("/").await.status, 200);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert_eq!(one.requests() + two.requests(), 1_000);
    assert_eq!(one.most.load(Ordering::SeqCst), 2);
    assert_eq!(two.most.load(Ordering::SeqCst), 2);
    bed.stop().await;
}

#[tokio::test]
async fn a_full_queue_answers_503_and_a_long_wait_504() {
    let gate = Gate::new().await;
    let mut small = limited(1, &gate);
    small.queue_limit = 1;
    small.timeout_ms = 300;
    let bed = Bed::with(small).await;
    let mut at_replica = ask(&bed, "/").await;
    until("at the replica", || gate.requests() == 1).await;
    let mut queued = ask(&bed, "/").await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let refused = ask(&bed, "/").await.answer().await;
    assert_eq!((refused.status, &*refused.body), (503, "pending request queue full"));
    let answer = at_replica.answer().await;
    assert_eq!((answer.status, &*answer.body), (504, "request timeout"));
    let answer = queued.answer().await;
    assert_eq!(answer.status, 504);
    assert!(["activator request timeout", "request timeout"].contains(&&*answer.body));
    bed.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot_and_its_place() {
    let gate = Gate::new().await;
    let mut bed = Bed::with(limited(1, &gate)).await;
    let leaves = ask(&bed, "/leaves").await;
    until("at the replica", || gate.requests() == 1).await;
    let also_leaves = ask(&bed, "/queued").await;
    let mut stays = ask(&bed, "/stays").await;
    stats(&mut bed, |r| r.queued == 2 && r.in_flight == 1).await;
    drop(also_leaves);
    stats(&mut bed, |r| r.queued == 1 && r.in_flight == 1).await;
    drop(leaves);
    until("the next is at the replica", || gate.requests() == 2).await;
    gate.open(2);
    assert_eq!(stays.answer().await.body, "/stays");
    assert_eq!(gate.requests(), 2, "the one that left in the queue never arrived");
    let last = stats(&mut bed, |r| r.requests == 0 && r.in_flight == 0).await;
    assert_eq!(last.queued, 0);
    bed.stop().await;
}

#[tokio::test]
async fn statistics_are_exact_and_end_with_zeros() {
    let gate = Gate::new().await;
    let mut bed = Bed::with(limited(0, &gate)).await;
    let mut clients = vec![ask(&bed, "/").await, ask(&bed, "/").await, ask(&bed, "/").await];
    let full = stats(&mut bed, |r| r.concurrency > 2.9).await;
    assert_eq!((full.in_flight, full.queued), (3, 0));
    assert!(full.concurrency <= 3.0, "{}", full.concurrency);
    gate.open(3);
    for client in &mut clients {
        client.answer().await;
    }
    let end = stats(&mut bed, |r| r.in_flight == 0 && r.concurrency == 0.0).await;
    assert_eq!((end.requests, end.queued), (0, 0));
    bed.server.drain();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(bed.server.drain().is_empty(), "silence after the zeros");
    bed.stop().await;
}

#[tokio::test]
async fn response_start_and_idle_timeouts_fire_on_their_own() {
    let never = Gate::new().await;
    let mut slow_start = limited(0, &never);
    slow_start.response_start_timeout_ms = 100;
    let bed = Bed::with(slow_start).await;
    let answer = ask(&bed, "/").await.answer().await;
    assert_eq!((answer.status, &*answer.body), (504, "request timeout"));
    bed.stop().await;
    let stalls = Backend::answering(|_| async {
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec()
    })
    .await;
    for (idle, total) in [(100, 20_000), (0, 200)] {
        let mut idle_revision = revision(KEY, vec![replica("r1", stalls.address)]);
        (idle_revision.idle_timeout_ms, idle_revision.timeout_ms) = (idle, total);
        let mut bed = Bed::with(idle_revision).await;
        let mut client = ask(&bed, "/").await;
        let head = client.head().await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(client.rest().await, "hello", "cut where the replica stalled");
        stats(&mut bed, |r| r.in_flight == 0 && r.requests == 0).await;
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_body_that_began_ends_with_the_timeouts_text_where_it_may_be_added() {
    let cases = [
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nF\r\nrequest timeout\r\n0\r\n\r\n"),
        ("Content-Length: 99", "hello"),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: gzip", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Type: application/grpc+proto", "5\r\nhello\r\n"),
    ];
    for (headers, expected) in cases {
        let body = if headers.starts_with('T') { "5\r\nhello\r\n" } else { "hello" };
        let stalls = Backend::answering(move |_| async move {
            format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}").into_bytes()
        })
        .await;
        for (idle, total) in [(100, 20_000), (0, 200)] {
            let mut limited = revision(KEY, vec![replica("r1", stalls.address)]);
            (limited.idle_timeout_ms, limited.timeout_ms) = (idle, total);
            let mut bed = Bed::with(limited).await;
            let mut client = ask(&bed, "/").await;
            assert_eq!(client.head().await.unwrap().status, 200);
            let rest = if expected.ends_with("0\r\n\r\n") {
                client.take(expected.len()).await.unwrap()
            } else {
                client.rest().await
            };
            assert_eq!(rest, expected, "{headers}");
            stats(&mut bed, |r| r.in_flight == 0 && r.requests == 0).await;
            bed.stop().await;
        }
    }
}

#[tokio::test]
async fn picked_replicas_get_nothing_until_resumed() {
    let (idle, busy) = (Gate::new().await, Gate::new().await);
    let mut both = limited(1, &busy);
    both.replicas.push(replica("r2", idle.backend.address));
    let mut bed = Bed::with(both).await;
    let mut at_busy = ask(&bed, "/").await;
    until("at the first replica", || busy.requests() == 1).await;
    bed.server.send(ToDataplane::PickIdle(PickIdle { id: 7, revision: KEY.into(), count: 1 }));
    let picked = bed
        .server
        .expect(|message| match message {
            FromDataplane::PickedIdle(picked) => Some(picked.clone()),
            _ => None,
        })
        .await;
    assert_eq!((picked.id, picked.replicas), (7, vec!["r2".to_owned()]));
    let mut waits = ask(&bed, "/").await;
    stats(&mut bed, |r| r.queued == 1).await;
    assert_eq!(idle.requests(), 0);
    bed.server
        .send(ToDataplane::Resume(Resume { revision: KEY.into(), replicas: vec!["r2".into()] }));
    until("resumed", || idle.requests() == 1).await;
    busy.open(1);
    idle.open(1);
    assert_eq!((at_busy.answer().await.status, waits.answer().await.status), (200, 200));
    bed.stop().await;
}

#[tokio::test]
async fn a_drained_replica_finishes_and_stays_out() {
    let (old, new) = (Gate::new().await, Gate::new().await);
    let mut bed = Bed::with(limited(0, &old)).await;
    let mut last = ask(&bed, "/last").await;
    until("at the old replica", || old.requests() == 1).await;
    let drain = Drain { id: 3, revision: KEY.into(), replica: "r1".into() };
    bed.node.send(FromNode::Drain(drain));
    bed.node.send(FromNode::Drain(Drain {
        id: 4,
        revision: KEY.into(),
        replica: "unknown".into(),
    }));
    assert_eq!(bed.node.drained().await, (4, "unknown".into()), "not known here: at once");
    let mut both = limited(0, &old);
    both.replicas.push(replica("r2", new.backend.address));
    bed.change(2, both).await;
    new.open(10);
    for _ in 0..10 {
        assert_eq!(ask(&bed, "/").await.answer().await.status, 200);
    }
    assert_eq!((old.requests(), new.requests()), (1, 10), "a table does not revive it");
    assert!(bed.node.drain().is_empty(), "still in flight");
    old.open(1);
    assert_eq!(last.answer().await.body, "/last");
    assert_eq!(bed.node.drained().await, (3, "r1".into()));
    bed.stop().await;
}

#[tokio::test]
async fn replicas_that_leave_the_table_finish_what_they_have() {
    let (old, new) = (Gate::new().await, Gate::new().await);
    let mut bed = Bed::with(limited(0, &old)).await;
    let mut last = ask(&bed, "/last").await;
    until("at the old replica", || old.requests() == 1).await;
    bed.change(2, limited(0, &new)).await;
    let mut fresh = limited(0, &new);
    fresh.replicas[0].id = "r2".into();
    bed.change(3, fresh).await;
    new.open(1);
    assert_eq!(ask(&bed, "/new").await.answer().await.body, "/new");
    assert_eq!(new.requests(), 1);
    old.open(1);
    assert_eq!(last.answer().await.body, "/last");
    bed.stop().await;
}

#[tokio::test]
async fn without_a_limit_the_less_busy_replica_is_chosen() {
    let (one, two) = (Gate::new().await, Gate::new().await);
    let mut both = limited(0, &one);
    both.replicas.push(replica("r2", two.backend.address));
    let bed = Bed::with(both).await;
    let mut clients = Vec::new();
    for number in 1..=20 {
        clients.push(ask(&bed, "/").await);
        until("arrived", || one.requests() + two.requests() == number).await;
    }
    assert_eq!((one.requests(), two.requests()), (10, 10));
    one.open(10);
    two.open(10);
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_a_slot_beyond_the_timeout() {
    let endless = Backend::raw(|mut stream| async move {
        use tokio::io::AsyncWriteExt;
        common::backend::read_head(&mut stream).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(&[0; 8 * 1024]).await.is_ok() {}
    })
    .await;
    let mut short = revision(KEY, vec![replica("r1", endless.address)]);
    short.timeout_ms = 400;
    let mut bed = Bed::with(short).await;
    let stalled = ask(&bed, "/").await;
    stats(&mut bed, |r| r.in_flight == 1 || r.requests == 1).await;
    stats(&mut bed, |r| r.in_flight == 0 && r.requests == 0).await;
    drop(stalled);
    bed.stop().await;
}
