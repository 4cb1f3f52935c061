"""Whether a Pod tolerates a node's taints; pure (``component-helpers/scheduling/corev1``)."""

from collections.abc import Sequence

from knarr.resources.core.node import Node, Taint
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import Toleration

_KEEPS_AWAY = ("NoSchedule", "NoExecute")


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration is about a taint; an empty key or effect is about all."""
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.key not in ("", taint.key):
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and toleration.value == taint.value


def untolerated(
    pod: Pod, taints: Sequence[Taint], effects: Sequence[str] = _KEEPS_AWAY
) -> Taint | None:
    """The first taint with one of the effects that a Pod does not tolerate."""
    tolerations = pod.spec.tolerations if pod.spec else ()
    for taint in taints:
        if taint.effect in effects and not any(tolerates(one, taint) for one in tolerations):
            return taint
    return None


def taint_obstacle(pod: Pod, node: Node) -> str:
    """Why a node's taints keep a Pod away; empty when they do not."""
    taint = untolerated(pod, node.spec.taints if node.spec else ())
    if taint is None:
        return ""
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
