"""The data plane protocol's messages (``docs/protocol.md``), typed once for Python.

Frames are a big-endian u32 length and that many bytes of JSON. The Rust side has the same types in
``dataplane/core/src/protocol``; golden files in ``dataplane/core/testdata/protocol`` are decoded and
re-encoded by the tests of both. Unknown fields are ignored, unknown message types are an error.
"""

from typing import Literal

import msgspec

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 64 * 1024 * 1024


class _Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of everything that is framed."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what messages are made of."""


# --- configuration: server → data plane ---------------------------------------------------------


class Split(_Part, frozen=True, kw_only=True):
    """A share of a path's traffic that goes to one revision.

    Attributes:
        revision: ``namespace/name``.
        percent: 0 to 100; the shares of a path sum to 100.
        append_headers: set (overwritten) on the request to the replica.
    """

    revision: str
    percent: int
    append_headers: dict[str, str] = {}


class Path(_Part, frozen=True, kw_only=True):
    """A prefix of the request path; the longest match wins, header matches before plain ones."""

    splits: tuple[Split, ...]
    prefix: str = ""
    headers: dict[str, str] = {}
    append_headers: dict[str, str] = {}
    rewrite_host: str = ""


class Rule(_Part, frozen=True, kw_only=True):
    """Hosts that share paths. ``local`` hosts are served by the cluster-local listener only;
    external hosts by both."""  # noqa: D205, D209

    hosts: tuple[str, ...]
    visibility: Literal["external", "local"]
    paths: tuple[Path, ...]


class Ingress(_Part, frozen=True, kw_only=True):
    """All rules of one Ingress object; ``key`` is ``namespace/name``.

    Attributes:
        http_option: ``redirected`` answers 301 to https on the plain listener.
        hash: echoed to ingress probes (``K-Network-Hash``).
    """

    key: str
    rules: tuple[Rule, ...]
    http_option: Literal["enabled", "redirected"] = "enabled"
    hash: str = ""


class Replica(_Part, frozen=True, kw_only=True):
    """A running copy of a revision.

    Attributes:
        id: the sandbox id; connection pools are keyed by it, never by address.
        address: IP of the sandbox.
        port: of the application.
    """

    id: str
    address: str
    port: int


class Revision(_Part, frozen=True, kw_only=True):
    """What the gateway must know of a revision; ``key`` is ``namespace/name``.

    Attributes:
        protocol: to the replica, ``http1`` or ``h2c``.
        container_concurrency: requests in flight per replica; 0 is unlimited.
        timeout_ms: total time of a request, 0 is none; 504 afterwards.
        response_start_timeout_ms: until the first byte of the response, 0 is none.
        idle_timeout_ms: without a byte from the replica, 0 is none.
        queue_limit: requests that wait for a slot or a replica before 503.
        reachable: some route points here; demand for unreachable revisions is still reported.
        replicas: those that are Ready and not terminating.
        service, configuration: for metrics and the access log.
    """

    key: str
    uid: str
    protocol: Literal["http1", "h2c"] = "http1"
    container_concurrency: int = 0
    timeout_ms: int = 300_000
    response_start_timeout_ms: int = 0
    idle_timeout_ms: int = 0
    queue_limit: int = 10_000
    reachable: bool = True
    replicas: tuple[Replica, ...] = ()
    service: str = ""
    configuration: str = ""


class Snapshot(_Message, frozen=True, kw_only=True, tag="snapshot"):
    """The whole configuration; replaces everything held."""

    epoch: str
    version: int
    ingresses: tuple[Ingress, ...] = ()
    revisions: tuple[Revision, ...] = ()


class Delta(_Message, frozen=True, kw_only=True, tag="delta"):
    """What changed since the version before; O(change), never O(all)."""

    version: int
    ingresses: tuple[Ingress, ...] = ()
    revisions: tuple[Revision, ...] = ()
    removed_ingresses: tuple[str, ...] = ()
    removed_revisions: tuple[str, ...] = ()


class PickIdle(_Message, frozen=True, kw_only=True, tag="pick_idle"):
    """Name ``count`` replicas of a revision to end, least busy first, and send them nothing more."""

    id: int
    revision: str
    count: int


class Resume(_Message, frozen=True, kw_only=True, tag="resume"):
    """Take replicas that were picked back into service: they will not end after all."""

    revision: str
    replicas: tuple[str, ...]


ToDataplane = Snapshot | Delta | PickIdle | Resume


# --- data plane → server --------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """First frame of a session. ``epoch`` and ``version`` name the configuration already held."""

    protocol: int
    gateway: str
    epoch: str = ""
    version: int = 0


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    """The configuration up to ``version`` routes requests now."""

    epoch: str
    version: int


class RevisionStats(_Part, frozen=True, kw_only=True):
    """One revision over the last interval.

    Attributes:
        concurrency: average of requests in flight, queued ones included.
        requests: finished or begun being proxied within the interval.
        queued: waiting at the end of the interval.
        in_flight: at replicas at the end of the interval.
    """

    revision: str
    concurrency: float
    requests: int
    queued: int = 0
    in_flight: int = 0


class Stats(_Message, frozen=True, kw_only=True, tag="stats"):
    """Once a second, for revisions that had traffic (and once more when it stopped)."""

    interval_ms: int
    revisions: tuple[RevisionStats, ...]


class Demand(_Message, frozen=True, kw_only=True, tag="demand"):
    """At once, when a request arrives for a revision without a replica."""

    revision: str
    queued: int


class PickedIdle(_Message, frozen=True, kw_only=True, tag="picked_idle"):
    """Answer to ``PickIdle``: the replicas chosen, with what each still has in flight."""

    id: int
    revision: str
    replicas: tuple[str, ...]


class ReplicaFault(_Message, frozen=True, kw_only=True, tag="replica_fault"):
    """A replica refused or broke a connection; the node agent's probes have the last word."""

    revision: str
    replica: str
    reason: str


FromDataplane = Hello | Ack | Stats | Demand | PickedIdle | ReplicaFault


# --- activation: data plane ↔ node agent ----------------------------------------------------------


class Activate(_Message, frozen=True, kw_only=True, tag="activate"):
    """Data plane → node: make one replica of a revision that has none run now."""

    id: int
    revision: str


class ActivationTimings(_Part, frozen=True, kw_only=True):
    """Where a cold start's time went, microseconds."""

    sandbox_us: int = 0
    start_us: int = 0
    probe_us: int = 0
    parked: bool = False


class Activated(_Message, frozen=True, kw_only=True, tag="activated"):
    """Node → data plane: the replica accepts connections."""

    id: int
    revision: str
    replica: Replica
    timings: ActivationTimings = ActivationTimings()


class ActivationRefused(_Message, frozen=True, kw_only=True, tag="activation_refused"):
    """Node → data plane: not this way; the slow path may still bring a replica.

    ``reason`` is ``UnknownRevision``, ``StartFailed``, ``NotReady`` or ``Busy``.
    """

    id: int
    revision: str
    reason: str
    message: str = ""


class Drain(_Message, frozen=True, kw_only=True, tag="drain"):
    """Node → data plane: send this replica nothing more and say when nothing is in flight."""

    id: int
    revision: str
    replica: str


class Drained(_Message, frozen=True, kw_only=True, tag="drained"):
    """Data plane → node: nothing is in flight to the replica (or it is not known here)."""

    id: int
    replica: str


DataplaneToNode = Activate | Drained
NodeToDataplane = Activated | ActivationRefused | Drain
