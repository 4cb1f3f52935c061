//! From a request's host, path and headers to a revision.

mod host;
mod route;
mod table;

pub use host::{authority_of, normal_host, BadHost};
pub use route::{HostRoutes, PathRoute, SplitRoute};
pub use table::{DeltaError, Held, Table};
