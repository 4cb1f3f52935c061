"""The three-way JSON merge of ``apply``, as ``kubectl apply`` computes it for custom resources.

Source of the behaviour: Kubernetes ``apimachinery/pkg/util/jsonmergepatch``. Maps merge, lists replace; what
the last applied document had and the new one lacks is removed; what others added stays.
"""

from collections.abc import Mapping
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def three_way_patch(
    last: Mapping[str, Any], desired: Mapping[str, Any], live: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON merge patch that takes ``live`` to ``desired``; empty when nothing differs."""
    patch: dict[str, Any] = {}
    for key, value in desired.items():
        current = live.get(key)
        if isinstance(value, Mapping) and isinstance(current, Mapping):
            before = last.get(key)
            nested = three_way_patch(before if isinstance(before, Mapping) else {}, value, current)
            if nested:
                patch[key] = nested
        elif value is not None and (key not in live or current != value):
            patch[key] = value
    removed = {key: None for key in last if key not in desired and key in live}
    return {**patch, **removed}
