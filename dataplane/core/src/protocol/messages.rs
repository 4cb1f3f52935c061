//! What is framed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::table::{is_default, Ingress, Replica, Revision};

/// The whole configuration; replaces everything held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Names the server's life that counts `version`.
    pub epoch: String,
    /// Grows by one per delta.
    pub version: u64,
    /// All ingresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingresses: Vec<Ingress>,
    /// All revisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
}

/// What changed since the version before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// One more than the version it is applied to.
    pub version: u64,
    /// Whole entries, new or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingresses: Vec<Ingress>,
    /// Whole entries, new or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
    /// Keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_ingresses: Vec<String>,
    /// Keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_revisions: Vec<String>,
}

/// Name `count` replicas to end, least busy first, and send them nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickIdle {
    /// Echoed in the answer.
    pub id: u64,
    /// `namespace/name`.
    pub revision: String,
    /// How many at most.
    pub count: usize,
}

/// Take replicas that were picked back into service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// `namespace/name`.
    pub revision: String,
    /// Replica ids.
    pub replicas: Vec<String>,
}

/// First frame of a session: what is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// This gateway's id.
    pub gateway: String,
    /// Empty when nothing is held.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    /// 0 when nothing is held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: u64,
}

/// The configuration up to `version` routes requests now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of the snapshot.
    pub epoch: String,
    /// Applied.
    pub version: u64,
}

/// One revision over the last interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RevisionStats {
    /// `namespace/name`.
    pub revision: String,
    /// Average of requests in flight, queued ones included.
    pub concurrency: f64,
    /// Requests that arrived within the interval.
    pub requests: u64,
    /// Waiting at the end of the interval.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queued: u64,
    /// At replicas at the end of the interval.
    #[serde(default, skip_serializing_if = "is_default")]
    pub in_flight: u64,
}

/// Once a second, for revisions that had traffic (and once more when it stopped).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Measured length of the interval.
    pub interval_ms: u64,
    /// Those with traffic.
    pub revisions: Vec<RevisionStats>,
}

/// A request arrived for a revision without a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// `namespace/name`.
    pub revision: String,
    /// Requests that wait.
    pub queued: u64,
}

/// Answer to [`PickIdle`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickedIdle {
    /// Of the question.
    pub id: u64,
    /// `namespace/name`.
    pub revision: String,
    /// Replica ids.
    pub replicas: Vec<String>,
}

/// A replica refused or broke a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFault {
    /// `namespace/name`.
    pub revision: String,
    /// Replica id.
    pub replica: String,
    /// For people.
    pub reason: String,
}

/// Data plane → node: make one replica of a revision that has none run now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activate {
    /// Echoed in the answer.
    pub id: u64,
    /// `namespace/name`.
    pub revision: String,
}

/// Where a cold start's time went, microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationTimings {
    /// Making the sandbox.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sandbox_us: u64,
    /// Starting the application.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_us: u64,
    /// Until it answered the readiness probe.
    #[serde(default, skip_serializing_if = "is_default")]
    pub probe_us: u64,
    /// The sandbox was waiting, made but not started.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parked: bool,
}

/// Node → data plane: the replica accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// Of the question.
    pub id: u64,
    /// `namespace/name`.
    pub revision: String,
    /// Used at once; the table confirms it later.
    pub replica: Replica,
    /// For `Server-Timing`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timings: ActivationTimings,
}

/// Node → data plane: not this way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationRefused {
    /// Of the question.
    pub id: u64,
    /// `namespace/name`.
    pub revision: String,
    /// `UnknownRevision`, `StartFailed`, `NotReady` or `Busy`.
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Node → data plane: send this replica nothing more, say when nothing is in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Echoed in the answer.
    pub id: u64,
    /// `namespace/name`.
    pub revision: String,
    /// Replica id.
    pub replica: String,
}

/// Data plane → node: nothing is in flight to the replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Of the question.
    pub id: u64,
    /// Replica id.
    pub replica: String,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    name: Cow<'a, str>,
}

/// Declares a direction: an enum whose JSON carries `type`, decoded in two steps so that a large
/// snapshot is not buffered a second time.
macro_rules! direction {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $tag:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "type")]
        pub enum $name {
            $(#[doc = concat!("`", $tag, "`.")] #[serde(rename = $tag)] $variant($variant),)+
        }

        impl $name {
            /// Decodes a frame's body.
            ///
            /// # Errors
            /// The body is not JSON, lacks a field, or its type is not known in this direction.
            pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
                let tag: Tag<'_> = serde_json::from_slice(body)?;
                match tag.name.as_ref() {
                    $($tag => serde_json::from_slice(body).map(Self::$variant),)+
                    other => Err(serde::de::Error::custom(format!("unknown message type {other:?}"))),
                }
            }
        }
    };
}

direction!(
    /// Server → data plane.
    ToDataplane { Snapshot = "snapshot", Delta = "delta", PickIdle = "pick_idle", Resume = "resume" }
);
direction!(
    /// Data plane → server.
    FromDataplane {
        Hello = "hello",
        Ack = "ack",
        Stats = "stats",
        Demand = "demand",
        PickedIdle = "picked_idle",
        ReplicaFault = "replica_fault",
    }
);
direction!(
    /// Node agent → data plane.
    FromNode { Activated = "activated", ActivationRefused = "activation_refused", Drain = "drain" }
);
direction!(
    /// Data plane → node agent.
    ToNode { Activate = "activate", Drained = "drained" }
);
