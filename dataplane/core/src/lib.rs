//! Knarr's data plane: the gateway that every request passes, its queues, and the sessions with the
//! server and the node agent. No Python in it.
//!
//! [`run`] is the whole program; the modules are public for tests and benchmarks.

pub mod config;
pub mod gateway;
pub mod link;
pub mod observe;
pub mod protocol;
pub mod revision;
pub mod routing;
mod run;
pub mod upstream;

pub use config::Config;
pub use run::{run, serve, Fault};
