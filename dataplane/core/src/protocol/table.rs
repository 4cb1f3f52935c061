//! What configuration messages are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A share of a path's traffic that goes to one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// `namespace/name`.
    pub revision: String,
    /// 0 to 100; the shares of a path sum to 100.
    pub percent: u32,
    /// Set (overwritten) on the request to the replica, after those of the path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub append_headers: BTreeMap<String, String>,
}

/// A prefix of the request path; the longest match wins, header matches before plain ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// Where requests go.
    pub splits: Vec<Split>,
    /// Matched against the beginning of the path, without the query.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Exact values that the request must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Set (overwritten) on the request to the replica.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub append_headers: BTreeMap<String, String>,
    /// Replaces the host towards the replica; empty leaves it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rewrite_host: String,
}

/// Which listeners serve a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Both listeners.
    External,
    /// The cluster-local listener only.
    Local,
}

/// Hosts that share paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Names without port.
    pub hosts: Vec<String>,
    /// Which listeners serve them.
    pub visibility: Visibility,
    /// Where requests go.
    pub paths: Vec<Path>,
}

/// What the plain listener does with external hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpOption {
    /// Serves them.
    #[default]
    Enabled,
    /// Answers 301 to https.
    Redirected,
}

/// All rules of one Ingress object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingress {
    /// `namespace/name`.
    pub key: String,
    /// Hosts and paths.
    pub rules: Vec<Rule>,
    /// Plain HTTP served or redirected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub http_option: HttpOption,
    /// Echoed to ingress probes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// What a replica speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// A running copy of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The sandbox id; connection pools are keyed by it, never by address.
    pub id: String,
    /// IP of the sandbox.
    pub address: String,
    /// Port of the application.
    pub port: u16,
}

/// What the gateway must know of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// `namespace/name`.
    pub key: String,
    /// Of the API object.
    pub uid: String,
    /// Towards the replica.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Requests in flight per replica; 0 is unlimited.
    #[serde(default, skip_serializing_if = "is_default")]
    pub container_concurrency: u32,
    /// Total time of a request, 0 is none.
    #[serde(default = "default_timeout_ms", skip_serializing_if = "is_default_timeout")]
    pub timeout_ms: u64,
    /// Until the first byte of the response, 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub response_start_timeout_ms: u64,
    /// Without a byte from the replica, 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle_timeout_ms: u64,
    /// Requests that wait for a slot or a replica before 503.
    #[serde(default = "default_queue_limit", skip_serializing_if = "is_default_limit")]
    pub queue_limit: usize,
    /// Some route points here.
    #[serde(default = "default_true", skip_serializing_if = "is_true")]
    pub reachable: bool,
    /// Those that are Ready and not terminating.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<Replica>,
    /// For metrics and the access log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// For metrics and the access log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub configuration: String,
}

const DEFAULT_TIMEOUT_MS: u64 = 300_000;
const DEFAULT_QUEUE_LIMIT: usize = 10_000;

fn default_timeout_ms() -> u64 {
    DEFAULT_TIMEOUT_MS
}

fn default_queue_limit() -> usize {
    DEFAULT_QUEUE_LIMIT
}

fn default_true() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_default_timeout(value: &u64) -> bool {
    *value == DEFAULT_TIMEOUT_MS
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_default_limit(value: &usize) -> bool {
    *value == DEFAULT_QUEUE_LIMIT
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_true(value: &bool) -> bool {
    *value
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
