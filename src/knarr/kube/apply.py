"""What must change in a child so that it is what its owner wants: a merge patch, computed purely.

Two rules, by who writes the defaults. A built-in kind is completed by its API server with fields that the
owner did not ask for, so a child is right when it *covers* what is desired (the idea of
``equality.Semantic.DeepDerivative``). A custom resource belongs to its owner alone: its spec must be
*equal* to the desired one after defaulting, and fields that are no longer wanted are removed. Labels and
annotations of the child that the owner does not set are kept in both cases.
"""

from collections.abc import Mapping
from typing import Any

_NOT_DESIRED = frozenset({"apiVersion", "kind", "metadata", "status"})


def covers(actual: object, desired: object) -> bool:
    """Whether ``actual`` has everything that ``desired`` sets; lists must have equal length."""
    if isinstance(desired, dict):
        return isinstance(actual, dict) and all(
            covers(actual.get(name), value) for name, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(desired)
            and all(covers(have, want) for have, want in zip(actual, desired, strict=True))
        )
    return actual == desired


def merge_diff(actual: Any, desired: Any, *, exact: bool) -> Any:
    """The RFC 7386 patch that turns ``actual`` into ``desired``; ``{}`` when nothing is to be done.

    Args:
        actual: JSON object as stored.
        desired: JSON object as wanted.
        exact: remove what ``desired`` does not have; otherwise keep it.
    """
    patch: dict[str, Any] = {}
    for name, want in desired.items():
        have = actual.get(name)
        if isinstance(want, dict) and isinstance(have, dict):
            if inner := merge_diff(have, want, exact=exact):
                patch[name] = inner
        elif not (have == want if exact else covers(have, want)):
            patch[name] = want
    if exact:
        patch.update({name: None for name in actual if name not in desired})
    return patch


def plan_apply(
    actual: Mapping[str, Any], desired: Mapping[str, Any], *, exact: bool
) -> dict[str, Any]:
    """The patch of a whole document: labels, annotations and everything but metadata and status.

    The patch of a change carries the resourceVersion that it was computed from, so that a stale cache ends
    in a Conflict and not in an overwrite.
    """
    patch: dict[str, Any] = {}
    have_meta, want_meta = actual.get("metadata", {}), desired.get("metadata", {})
    for name in ("labels", "annotations"):
        changed = merge_diff(have_meta.get(name) or {}, want_meta.get(name) or {}, exact=False)
        if changed:
            patch.setdefault("metadata", {})[name] = changed
    content = {name: value for name, value in desired.items() if name not in _NOT_DESIRED}
    present = {name: value for name, value in actual.items() if name not in _NOT_DESIRED}
    patch.update(merge_diff(present, content, exact=exact))
    if patch and have_meta.get("resourceVersion"):
        patch.setdefault("metadata", {})["resourceVersion"] = have_meta["resourceVersion"]
    return patch
