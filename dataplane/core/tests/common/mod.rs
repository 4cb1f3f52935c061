//! A data plane between a fake server, a fake node agent, raw clients and raw replicas.
#![allow(dead_code, clippy::missing_panics_doc, clippy::unwrap_used, clippy::must_use_candidate)]

pub mod backend;
pub mod client;
pub mod peers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use knarr_dataplane::protocol::{
    Delta, HttpOption, Ingress, Path, Protocol, Replica, Revision, Rule, Snapshot, Split,
    ToDataplane, Visibility,
};
use knarr_dataplane::{serve, Config};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use peers::{Node, Server};

pub const SOON: Duration = Duration::from_secs(10);
pub const HOST: &str = "hello.default.localhost";

/// A running data plane and its peers.
pub struct Bed {
    pub external: SocketAddr,
    pub local: SocketAddr,
    pub metrics: SocketAddr,
    pub server: Server,
    pub node: Node,
    pub directory: Directory,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A directory of the test's own, removed with it.
pub struct Directory(PathBuf);

impl Directory {
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn new_directory() -> Directory {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("knarr-dp-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    Directory(directory)
}

impl Bed {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = new_directory();
        let (external, local, metrics) = (free_port(), free_port(), free_port());
        let server = Server::listen(directory.join("dataplane.sock"));
        let node = Node::listen(directory.join("activate.sock"));
        let mut config = Config {
            gateway: "gateway-1".into(),
            external_listen: vec![external],
            local_listen: vec![local],
            metrics_listen: Some(metrics),
            server_socket: directory.join("dataplane.sock"),
            activate_socket: Some(directory.join("activate.sock")),
            access_log: Some(directory.join("access.log")),
            worker_threads: None,
            drain_deadline_s: 2.0,
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(config, stopped).await.expect("serves");
        });
        let mut bed =
            Self { external, local, metrics, server, node, directory, stop: Some(stop), task };
        bed.server.hello().await;
        bed.node.connected().await;
        bed
    }

    /// A snapshot with one host for one revision, acknowledged.
    pub async fn with(revision: Revision) -> Self {
        let mut bed = Self::start().await;
        let ingresses = vec![ingress(&[(100, &revision.key)])];
        bed.configure(ingresses, vec![revision]).await;
        bed
    }

    pub async fn configure(&mut self, ingresses: Vec<Ingress>, revisions: Vec<Revision>) {
        let epoch = "e1".to_owned();
        let snapshot = Snapshot { epoch, version: 1, ingresses, revisions };
        self.server.send(ToDataplane::Snapshot(snapshot));
        assert_eq!(self.server.ack().await, ("e1".to_owned(), 1));
    }

    /// The next version, acknowledged.
    pub async fn change(&mut self, version: u64, revision: Revision) {
        let delta = Delta {
            version,
            ingresses: vec![],
            revisions: vec![revision],
            removed_ingresses: vec![],
            removed_revisions: vec![],
        };
        self.server.send(ToDataplane::Delta(delta));
        assert_eq!(self.server.ack().await.1, version);
    }

    pub fn begin_stop(&mut self) {
        let _ = self.stop.take().expect("running").send(());
    }

    pub async fn stopped(self) {
        tokio::time::timeout(SOON, self.task).await.expect("in time").unwrap();
    }

    pub async fn stop(mut self) {
        self.begin_stop();
        self.stopped().await;
    }
}

pub fn replica(id: &str, address: SocketAddr) -> Replica {
    Replica { id: id.into(), address: address.ip().to_string(), port: address.port() }
}

pub fn revision(key: &str, replicas: Vec<Replica>) -> Revision {
    Revision {
        key: key.into(),
        uid: "u".into(),
        protocol: Protocol::Http1,
        container_concurrency: 0,
        timeout_ms: 20_000,
        response_start_timeout_ms: 0,
        idle_timeout_ms: 0,
        queue_limit: 10_000,
        reachable: true,
        replicas,
        service: "hello".into(),
        configuration: "hello".into(),
    }
}

pub fn path(splits: &[(u32, &str)]) -> Path {
    let split = |(percent, revision): &(u32, &str)| Split {
        revision: (*revision).to_owned(),
        percent: *percent,
        append_headers: BTreeMap::new(),
    };
    Path {
        splits: splits.iter().map(split).collect(),
        prefix: String::new(),
        headers: BTreeMap::new(),
        append_headers: BTreeMap::new(),
        rewrite_host: String::new(),
    }
}

pub fn rule(host: &str, visibility: Visibility, paths: Vec<Path>) -> Rule {
    Rule { hosts: vec![host.into()], visibility, paths }
}

pub fn ingress(splits: &[(u32, &str)]) -> Ingress {
    Ingress {
        key: "default/hello".into(),
        rules: vec![rule(HOST, Visibility::External, vec![path(splits)])],
        http_option: HttpOption::Enabled,
        hash: "hash-1".into(),
    }
}
