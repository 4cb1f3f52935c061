"""Which images go when nobody asks. Pure.

What can be had again goes when it was not used for long, or earlier when the disk is nearly full; what was
built or loaded on this machine goes only once no reference names it any more.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the store.

    Attributes:
        references: that name it.
        pullable: every one of them came from a registry.
        size_bytes: as downloaded; unpacked it takes more.
        used_at: when it was brought or used last, seconds since the epoch.
    """

    digest: str
    references: tuple[str, ...]
    pullable: bool
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the store, in bytes."""

    total: int
    used: int


@dataclass(frozen=True, slots=True)
class Policy:
    """When images go.

    Attributes:
        unused_s: for how long a pulled image is kept without use.
        grace_s: nothing goes that was used within this time: somebody may be about to use it.
        high, low: parts of the disk; above ``high``, images go until ``low`` is reached.
    """

    unused_s: float = 14 * 86_400.0
    grace_s: float = 3_600.0
    high: float = 0.85
    low: float = 0.80


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What to do.

    Attributes:
        forget: references to remove.
        doomed: digests of images that go then.
        spare: digests of images without a reference that stay for now.
    """

    forget: tuple[str, ...] = ()
    doomed: tuple[str, ...] = ()
    spare: frozenset[str] = field(default_factory=frozenset)


def plan_retention(
    images: Iterable[StoredImage], in_use: Set[str], disk: Disk, now: float, policy: Policy
) -> RetentionPlan:
    """Judge every image.

    Args:
        images: all of the store.
        in_use: digests that Pods, sandboxes and templates refer to; they stay whatever happens.
        disk: of the store.
        now: seconds since the epoch.
        policy: when images go.
    """
    idle = [one for one in images if one.digest not in in_use]
    young = [one for one in idle if now - one.used_at < policy.grace_s]
    old = sorted((one for one in idle if one not in young), key=lambda one: one.used_at)
    excess = disk.used - policy.low * disk.total if disk.used > policy.high * disk.total else 0.0
    doomed = []
    for one in old:
        pressed = excess > 0 and one.pullable
        if not one.references or pressed or (one.pullable and now - one.used_at > policy.unused_s):
            doomed.append(one)
            excess -= one.size_bytes
    return RetentionPlan(
        forget=tuple(name for one in doomed for name in one.references),
        doomed=tuple(one.digest for one in doomed),
        spare=frozenset(one.digest for one in young if not one.references),
    )


PRUNE = Policy(unused_s=float("inf"), grace_s=float("-inf"), high=2.0)
"""Only what no reference names, but at once: ``knarr image prune``."""

PRUNE_ALL = Policy(unused_s=float("-inf"), grace_s=float("-inf"), high=2.0)
"""Whatever is not in use and can be pulled again: ``knarr image prune --all``."""
