//! The data plane protocol (`docs/protocol.md`): the same messages as
//! `src/knarr/dataplane/messages.py`, field for field.
//!
//! Unknown fields are ignored, unknown message types are an error. Optional fields that hold their
//! default are not written.

mod frame;
mod messages;
mod table;

pub use frame::{read_frame, write_frame, FrameError, MAX_FRAME_BYTES};
pub use messages::{
    Ack, Activate, Activated, ActivationRefused, ActivationTimings, Delta, Demand, Drain, Drained,
    FromDataplane, FromNode, Hello, PickIdle, PickedIdle, ReplicaFault, Resume, RevisionStats,
    Snapshot, Stats, ToDataplane, ToNode,
};
pub use table::{HttpOption, Ingress, Path, Protocol, Replica, Revision, Rule, Split, Visibility};

/// The version announced in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
