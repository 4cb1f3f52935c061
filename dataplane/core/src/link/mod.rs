//! The two sessions: with the server, which decides, and with the node agent, which runs containers.

mod activation;
mod backoff;
mod cold;
mod session;

pub use activation::Activator;
pub use cold::ColdPath;
pub use session::{Outbox, Session};
