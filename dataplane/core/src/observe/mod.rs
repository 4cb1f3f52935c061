//! What the data plane tells people and their tools: its log, metrics, the access log.

mod access;
mod admin;
pub mod log;
mod metrics;

pub use access::{AccessLog, Entry};
pub use admin::Admin;
pub use metrics::GatewayCounters;
