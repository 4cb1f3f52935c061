//! Which request goes where, and how the table changes.
#![allow(clippy::unwrap_used)]

mod common;

use common::backend::{ok, Backend};
use common::client::{get, Client};
use common::{ingress, path, replica, revision, rule, Bed, HOST};
use knarr_dataplane::protocol::{
    Delta, FromDataplane, HttpOption, Ingress, Path, Snapshot, ToDataplane, Visibility,
};

const TAG: &str = "knative-serving-tag";
const DEFAULT: &str = "knative-serving-default-route";

async fn named(name: &'static str) -> Backend {
    Backend::answering(move |seen| async move {
        let header = |name| seen.header(name).unwrap_or("-").to_owned();
        ok(&format!("{name} {} {} {}", header("host"), header("x-path"), header("x-split")))
    })
    .await
}

fn with_header(mut path: Path, name: &str, value: &str) -> Path {
    path.headers.insert(name.into(), value.into());
    path
}

fn with_prefix(mut path: Path, prefix: &str) -> Path {
    path.prefix = prefix.into();
    path
}

async fn text(bed: &Bed, target: &str, more: &str) -> String {
    let mut client = Client::connect(bed.external).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n")).await;
    client.answer().await.body
}

#[tokio::test]
async fn paths_headers_and_rewrites_choose_the_replica() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let mut rewritten = with_prefix(path(&[(100, "default/b")]), "/b");
    rewritten.rewrite_host = "other.example".into();
    rewritten.append_headers.insert("X-Path".into(), "path".into());
    rewritten.append_headers.insert("X-Split".into(), "path".into());
    rewritten.splits[0].append_headers.insert("X-Split".into(), "split".into());
    let paths = vec![
        path(&[(100, "default/a")]),
        rewritten,
        with_prefix(path(&[(100, "default/c")]), "/b/c"),
        with_header(path(&[(100, "default/c")]), "X-Tag", "blue"),
    ];
    let mut bed = Bed::start().await;
    let ingress = Ingress { rules: vec![rule(HOST, Visibility::External, paths)], ..ingress(&[]) };
    let revisions = [("default/a", &a), ("default/b", &b), ("default/c", &c)]
        .map(|(key, backend)| revision(key, vec![replica(key, backend.address)]));
    bed.configure(vec![ingress], revisions.to_vec()).await;
    assert_eq!(text(&bed, "/", "").await, format!("a {HOST} - -"));
    assert_eq!(text(&bed, "/b?x", "").await, "b other.example path split");
    assert_eq!(
        text(&bed, "/b", "X-Split: mine\r\nx-path: mine\r\n").await,
        "b other.example path split"
    );
    assert_eq!(text(&bed, "/b/c/d", "").await, format!("c {HOST} - -"));
    assert_eq!(text(&bed, "/", "x-tag: blue\r\n").await, format!("c {HOST} - -"));
    assert_eq!(text(&bed, "/", "x-tag: red\r\n").await, format!("a {HOST} - -"));
    assert_eq!(text(&bed, "/", "x-tag:\r\n").await, format!("a {HOST} - -"));
    bed.stop().await;
}

async fn tagged() -> (Bed, Backend, Backend) {
    let (main, blue) = (Backend::saying("main").await, Backend::saying("blue").await);
    let mut default = path(&[(100, "default/main")]);
    default.append_headers.insert("Knative-Serving-Default-Route".into(), "true".into());
    let tag = with_header(path(&[(100, "default/blue")]), "Knative-Serving-Tag", "blue");
    let never = with_header(path(&[(100, "default/blue")]), "no header", "x");
    let neither = with_header(path(&[(100, "default/blue")]), "X-Value", "line\nline");
    let mut bed = Bed::start().await;
    let rules = vec![rule(HOST, Visibility::External, vec![default, never, neither, tag])];
    let revisions = [("default/main", &main), ("default/blue", &blue)]
        .map(|(key, backend)| revision(key, vec![replica(key, backend.address)]));
    bed.configure(vec![Ingress { rules, ..ingress(&[]) }], revisions.to_vec()).await;
    (bed, main, blue)
}

#[tokio::test]
async fn a_tag_is_chosen_by_its_header_and_an_unknown_one_is_the_default() {
    let (bed, main, blue) = tagged().await;
    assert_eq!(text(&bed, "/", "Knative-Serving-Tag: blue\r\n").await, "blue");
    let seen = blue.requests();
    assert_eq!(seen.last().unwrap().header(TAG), Some("blue"), "the replica knows its tag");
    assert_eq!(seen.last().unwrap().header(DEFAULT), None);
    for more in [
        "",
        "Knative-Serving-Tag: green\r\n",
        "Knative-Serving-Tag: BLUE\r\n",
        "Knative-Serving-Tag:\r\n",
        "Knative-Serving-Tag: blue\r\nKnative-Serving-Tag: green\r\n",
        "Knative-Serving-Default-Route: false\r\n",
    ] {
        assert_eq!(text(&bed, "/x", more).await, "main", "{more}");
        let seen = main.requests();
        assert_eq!(seen.last().unwrap().header(TAG), None, "{more}");
        assert_eq!(seen.last().unwrap().header(DEFAULT), Some("true"), "{more}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn the_hash_of_the_configuration_reaches_the_replica_when_asked_for() {
    let (bed, main, blue) = tagged().await;
    for (sent, received) in [
        ("K-Network-Hash: override\r\n", Some("hash-1")),
        ("K-Network-Hash: other\r\n", Some("other")),
        ("", None),
    ] {
        text(&bed, "/", sent).await;
        assert_eq!(main.requests().last().unwrap().header("k-network-hash"), received);
        text(&bed, "/", &format!("{sent}Knative-Serving-Tag: blue\r\n")).await;
        assert_eq!(blue.requests().last().unwrap().header("k-network-hash"), received);
    }
    bed.stop().await;
}

#[tokio::test]
async fn shares_are_kept_and_none_means_none() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let mut bed = Bed::start().await;
    let splits = [(30, "default/a"), (0, "default/b"), (70, "default/c")];
    let revisions = [("default/a", &a), ("default/b", &b), ("default/c", &c)]
        .map(|(key, backend)| revision(key, vec![replica(key, backend.address)]));
    bed.configure(vec![ingress(&splits)], revisions.to_vec()).await;
    let mut client = Client::connect(bed.external).await;
    for _ in 0..1000 {
        client.get("/").await;
    }
    assert_eq!(b.requests().len(), 0);
    let share = a.requests().len();
    assert!((220..=380).contains(&share), "{share} of 1000 for 30 percent");
    assert_eq!(share + c.requests().len(), 1000);
    bed.stop().await;
}

#[tokio::test]
async fn local_hosts_are_not_served_outside() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::start().await;
    let local = "hello.default.svc.cluster.local";
    let mut both = ingress(&[(100, "default/a")]);
    both.rules.push(rule(local, Visibility::Local, vec![path(&[(100, "default/a")])]));
    bed.configure(vec![both], vec![revision("default/a", vec![replica("r", backend.address)])])
        .await;
    for host in [local, "HELLO.default.svc.cluster.local", "hello.default.svc.cluster.local.:80"] {
        assert_eq!(get(bed.external, host, "/").await.status, 404, "{host}");
        assert_eq!(get(bed.local, host, "/").await.status, 200, "{host}");
    }
    let mut client = Client::connect(bed.external).await;
    client.send(format!("GET http://{local}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 404, "the target's host counts");
    client.send(format!("GET http://{HOST}/x HTTP/1.1\r\nHost: {local}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(backend.requests().last().unwrap().line, "GET /x HTTP/1.1");
    assert_eq!(backend.requests().last().unwrap().header("host"), Some(HOST));
    assert_eq!(get(bed.local, HOST, "/").await.status, 200, "external hosts are served inside");
    bed.stop().await;
}

#[tokio::test]
async fn redirects_and_probes_are_answered_by_the_gateway() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::start().await;
    let known = revision("default/a", vec![replica("r", backend.address)]);
    let mut redirected = ingress(&[(100, "default/a")]);
    redirected.key = "default/tls".into();
    redirected.rules[0].hosts = vec!["tls.localhost".into()];
    redirected.http_option = HttpOption::Redirected;
    bed.configure(vec![ingress(&[(100, "default/a")]), redirected], vec![known]).await;
    let answer = get(bed.external, "tls.localhost:8080", "/a?b").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (301, Some("https://tls.localhost/a?b"))
    );
    let mut client = Client::connect(bed.external).await;
    for (hash, status, echoed) in [
        ("K-Network-Hash: override\r\n", 200, Some("hash-1")),
        ("K-Network-Hash: x\r\n", 200, Some("x")),
        ("", 400, None),
    ] {
        let head =
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nK-Network-Probe: probe\r\n{hash}\r\n");
        client.send(head).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("k-network-hash")), (status, echoed));
    }
    assert!(backend.requests().is_empty());
    bed.stop().await;
}

#[tokio::test]
async fn deltas_change_what_they_name_and_nothing_else() {
    let (a, b) = (named("a").await, named("b").await);
    let mut bed = Bed::start().await;
    let known = revision("default/a", vec![replica("ra", a.address)]);
    bed.configure(vec![ingress(&[(100, "default/a")])], vec![known]).await;
    let mut second = ingress(&[(100, "default/b")]);
    second.key = "default/second".into();
    second.rules[0].hosts = vec!["second.localhost".into(), HOST.into()];
    bed.server.send(ToDataplane::Delta(Delta {
        version: 2,
        ingresses: vec![second],
        revisions: vec![revision("default/b", vec![replica("rb", b.address)])],
        removed_ingresses: vec![],
        removed_revisions: vec![],
    }));
    assert_eq!(bed.server.ack().await, ("e1".into(), 2));
    assert!(get(bed.external, "second.localhost", "/").await.body.starts_with('b'));
    assert!(get(bed.external, HOST, "/").await.body.starts_with('a'), "the first claim wins");
    bed.server.send(ToDataplane::Delta(Delta {
        version: 3,
        ingresses: vec![],
        revisions: vec![],
        removed_ingresses: vec!["default/hello".into()],
        removed_revisions: vec!["default/a".into()],
    }));
    bed.server.ack().await;
    assert!(get(bed.external, HOST, "/").await.body.starts_with('b'), "the second claim follows");
    bed.stop().await;
}

#[tokio::test]
async fn a_gap_starts_over_and_a_new_server_learns_what_is_held() {
    let backend = Backend::saying("hi").await;
    let mut bed =
        Bed::with(revision("default/hello-1", vec![replica("r1", backend.address)])).await;
    bed.server.send(ToDataplane::Delta(Delta {
        version: 5,
        ingresses: vec![],
        revisions: vec![],
        removed_ingresses: vec!["default/hello".into()],
        removed_revisions: vec![],
    }));
    let hello = bed.server.hello().await;
    assert_eq!((&*hello.epoch, hello.version), ("", 0), "asks for everything");
    assert_eq!(get(bed.external, HOST, "/").await.status, 200, "the gap changed nothing");
    let path = bed.server.kill().await;
    assert_eq!(get(bed.external, HOST, "/").await.status, 200, "without a server");
    bed.server = common::peers::Server::listen(path);
    let hello = bed.server.hello().await;
    assert_eq!((&*hello.epoch, hello.version), ("e1", 1), "holds what was acknowledged");
    let snapshot =
        Snapshot { epoch: "e2".into(), version: 9, ingresses: vec![], revisions: vec![] };
    bed.server.send(ToDataplane::Snapshot(snapshot));
    assert_eq!(bed.server.ack().await, ("e2".into(), 9));
    assert_eq!(get(bed.external, HOST, "/").await.status, 404, "replaced by nothing");
    bed.stop().await;
}

#[tokio::test]
async fn ten_thousand_services_are_changed_one_by_one() {
    let backend = Backend::saying("hi").await;
    let mut bed = Bed::start().await;
    let (mut ingresses, mut revisions) = (Vec::new(), Vec::new());
    for number in 0..10_000 {
        let key = format!("default/s{number}-1");
        let mut entry = ingress(&[(100, &key)]);
        entry.key = format!("default/s{number}");
        entry.rules[0].hosts = vec![format!("s{number}.localhost")];
        ingresses.push(entry);
        revisions.push(revision(&key, vec![]));
    }
    bed.configure(ingresses, revisions).await;
    let began = std::time::Instant::now();
    for version in 2..102 {
        let changed = revision("default/s77-1", vec![replica("r", backend.address)]);
        bed.change(version, changed).await;
    }
    assert!(began.elapsed().as_millis() < 2_000, "100 changes took {:?}", began.elapsed());
    assert_eq!(get(bed.external, "s77.localhost", "/").await.status, 200);
    let demands =
        |message: &FromDataplane| matches!(message, FromDataplane::Demand(_)).then_some(());
    assert!(bed.server.drain().iter().all(|message| demands(message).is_none()));
    bed.stop().await;
}
