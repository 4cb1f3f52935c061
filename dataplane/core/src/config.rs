//! What the data plane is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// The configuration, one JSON object.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This gateway's name towards the server.
    pub gateway: String,
    /// `address:port` of listeners that serve external hosts only.
    pub external_listen: Vec<SocketAddr>,
    /// `address:port` of listeners that serve cluster-local hosts too. The addresses need not exist yet.
    #[serde(default)]
    pub local_listen: Vec<SocketAddr>,
    /// `address:port` of `/metrics` and `/healthz`; loopback.
    #[serde(default)]
    pub metrics_listen: Option<SocketAddr>,
    /// Where the server listens.
    pub server_socket: PathBuf,
    /// Where the node agent listens; without one there is no fast path for cold starts.
    #[serde(default)]
    pub activate_socket: Option<PathBuf>,
    /// One JSON line per request; none when absent.
    #[serde(default)]
    pub access_log: Option<PathBuf>,
    /// Threads that move bytes; all cores when absent.
    #[serde(default)]
    pub worker_threads: Option<usize>,
    /// After SIGTERM, how long requests in flight may take.
    #[serde(default = "default_drain_deadline_s")]
    pub drain_deadline_s: f64,
}

fn default_drain_deadline_s() -> f64 {
    30.0
}

impl Config {
    /// Decodes and checks.
    ///
    /// # Errors
    /// The text names what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let config: Self =
            serde_json::from_slice(json).map_err(|error| format!("configuration: {error}"))?;
        if config.worker_threads == Some(0) {
            return Err("configuration: worker_threads must be at least 1".to_owned());
        }
        if !config.drain_deadline_s.is_finite() || config.drain_deadline_s < 0.0 {
            return Err("configuration: drain_deadline_s must be a number of seconds".to_owned());
        }
        if config.metrics_listen.is_some_and(|address| !address.ip().is_loopback()) {
            return Err("configuration: metrics_listen must be a loopback address".to_owned());
        }
        Ok(config)
    }

    /// See `drain_deadline_s`.
    #[must_use]
    pub fn drain_deadline(&self) -> Duration {
        Duration::try_from_secs_f64(self.drain_deadline_s).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn the_least_configuration_has_defaults() {
        let json = br#"{"gateway":"g","external_listen":["127.0.0.1:8080"],"server_socket":"s"}"#;
        let config = Config::parse(json).expect("valid");
        assert_eq!(config.drain_deadline().as_secs(), 30);
        assert!(config.local_listen.is_empty() && config.worker_threads.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, named) in [
            (r#"{"gateway":"g"}"#, "external_listen"),
            (r#"{"gateway":"g","external_listen":["x"],"server_socket":"s"}"#, "socket address"),
            (r#"{"gateway":"g","external_listen":[],"server_socket":"s","more":1}"#, "more"),
            (
                r#"{"gateway":"g","external_listen":[],"server_socket":"s","worker_threads":0}"#,
                "worker_threads",
            ),
            (
                r#"{"gateway":"g","external_listen":[],"server_socket":"s","metrics_listen":"0.0.0.0:1"}"#,
                "metrics_listen",
            ),
        ] {
            let error = Config::parse(json.as_bytes()).expect_err(json);
            assert!(error.contains(named), "{error}");
        }
    }
}
