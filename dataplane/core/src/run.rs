//! The program: makes everything, runs until a signal, drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::gateway::{bind, Gateway};
use crate::link::{Activator, ColdPath, Session};
use crate::observe::{log, AccessLog, Admin};
use crate::protocol::Visibility;
use crate::revision::Registry;
use crate::routing::Table;

/// Why the data plane could not start; the text names cause and remedy.
#[derive(Debug)]
pub struct Fault(pub String);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Files that are not for client connections.
const SPARE_FILES: usize = 64;
const LEAST_CONNECTIONS: usize = 64;

/// Runs the data plane until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is wrong, or an address or a file cannot be had.
pub fn run(config_json: &[u8]) -> Result<(), Fault> {
    let config = Config::parse(config_json).map_err(Fault)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder
        .thread_name("dataplane")
        .enable_all()
        .build()
        .map_err(|error| Fault(format!("cannot start worker threads: {error}")))?;
    let result = runtime.block_on(async {
        let stop =
            stop_signal().map_err(|error| Fault(format!("cannot watch signals: {error}")))?;
        serve(config, stop).await
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

fn stop_signal() -> std::io::Result<impl std::future::Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Serves until `stop`, then drains.
///
/// # Errors
/// See [`run`].
pub async fn serve(
    config: Config,
    stop: impl std::future::Future<Output = ()>,
) -> Result<(), Fault> {
    let deadline = config.drain_deadline();
    let listeners = listeners(&config)?;
    let access_log = match &config.access_log {
        Some(path) => Some(Arc::new(AccessLog::open(path).map_err(|error| {
            Fault(format!("cannot write the access log {}: {error}", path.display()))
        })?)),
        None => None,
    };
    let (cold, cold_revisions) = mpsc::unbounded_channel();
    let table = Arc::new(Table::new(Registry::new(cold)));
    let (session, outbox) = Session::new(config.server_socket, config.gateway, Arc::clone(&table));
    let gateway =
        Gateway::new(Arc::clone(&table), outbox.clone(), access_log.clone(), connection_limit());
    let activator = Activator::new(config.activate_socket, Arc::clone(&table));
    let cold_path = ColdPath::new(Arc::clone(&activator), outbox, cold_revisions);
    let mut background = vec![
        tokio::spawn(session.run()),
        tokio::spawn(activator.run()),
        tokio::spawn(cold_path.run()),
    ];
    for (listener, visibility) in listeners.traffic {
        background.push(tokio::spawn(Arc::clone(&gateway).listen(listener, visibility)));
    }
    if let Some(listener) = listeners.metrics {
        let counters = Arc::clone(&gateway.counters);
        let admin = Arc::new(Admin { table, counters, access_log });
        background.push(tokio::spawn(admin.run(listener)));
    }
    log::info("data plane serves", &[]);
    stop.await;
    log::info("data plane drains", &[("open", &gateway.open().to_string())]);
    gateway.close();
    if tokio::time::timeout(deadline, gateway.closed()).await.is_err() {
        let open = gateway.open().to_string();
        log::warn("drain deadline passed; cutting what is open", &[("open", &open)]);
    }
    for task in background {
        task.abort();
    }
    Ok(())
}

struct Listeners {
    traffic: Vec<(TcpListener, Visibility)>,
    metrics: Option<TcpListener>,
}

fn listeners(config: &Config) -> Result<Listeners, Fault> {
    let listen = |address| {
        let bound = bind(address).map_err(|error| Fault(error.to_string()))?;
        TcpListener::from_std(bound)
            .map_err(|error| Fault(format!("cannot listen on {address}: {error}")))
    };
    let mut traffic = Vec::new();
    for address in &config.external_listen {
        traffic.push((listen(*address)?, Visibility::External));
    }
    for address in &config.local_listen {
        traffic.push((listen(*address)?, Visibility::Local));
    }
    let metrics = config.metrics_listen.map(listen).transpose()?;
    Ok(Listeners { traffic, metrics })
}

/// Clients at once: each may need a second file for its replica, within 80 % of what we may open.
fn connection_limit() -> usize {
    let files = open_file_limit().unwrap_or(1_024);
    (files.saturating_mul(4) / 5 / 2).saturating_sub(SPARE_FILES).max(LEAST_CONNECTIONS)
}

fn open_file_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
