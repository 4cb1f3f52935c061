"""When a container that ended is run again. Pure. Source: Kubernetes ``pkg/kubelet/kuberuntime``."""

from dataclasses import dataclass
from typing import Literal

from knarr.kits.backoff import Backoff

CRASH_BACKOFF = Backoff(initial_s=10.0, max_s=300.0)
PULL_BACKOFF = Backoff(initial_s=10.0, max_s=300.0)
STABLE_S = 600.0
"""A container that ran this long starts with a clean slate."""

RestartPolicy = Literal["Always", "OnFailure", "Never"]


def should_restart(policy: str, code: int, *, init: bool = False) -> bool:
    """Whether a container that ended with ``code`` is run again.

    Init containers that succeeded are done; ``Always`` means ``OnFailure`` for them.
    """
    if policy == "Never":
        return False
    if policy == "OnFailure" or init:
        return code != 0
    return True


@dataclass(slots=True)
class CrashHistory:
    """How often a container failed to stay up.

    Attributes:
        crashes: ends in a row that came before ``STABLE_S``.
    """

    crashes: int = 0

    def ended(self, ran_s: float) -> float:
        """Take one end into account.

        Args:
            ran_s: seconds the container was running.

        Returns:
            Seconds to wait before the next run: none the first time, then 10 s, doubling to 5 minutes.
        """
        if ran_s >= STABLE_S:
            self.crashes = 0
        delay_s = CRASH_BACKOFF.ceiling_s(self.crashes - 1) if self.crashes else 0.0
        self.crashes += 1
        return delay_s
