"""From changes to keys: index functions and event handlers that most controllers share."""

from collections.abc import Callable, Iterable
from typing import Any

from knarr.kube.cache import Change, Handler
from knarr.meta.objects import Key, Resource, controller_of
from knarr.resources.kind import Kind

BY_OWNER = "owner"
"""Name of the index of ``owner_uids``."""

Add = Callable[[Key], None]


def owner_uids(subject: Resource) -> Iterable[str]:
    """Index function: the uids of all owners."""
    return [reference.uid for reference in subject.metadata.owner_references or ()]


class LabelIndex:
    """Index function: one label's value within the object's namespace, see ``label_value``.

    Two instances for the same label are equal, so that controllers may declare it independently.
    """

    __slots__ = ("label",)

    def __init__(self, label: str) -> None:
        self.label = label

    def __call__(self, subject: Resource) -> Iterable[str]:
        """The values that an object is filed under: one, or none without the label."""
        value = subject.metadata.label(self.label)
        return (label_value(subject.metadata.namespace, value),) if value else ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelIndex) and other.label == self.label

    def __hash__(self) -> int:
        return hash(self.label)


def label_value(namespace: str, value: str) -> str:
    """What ``LabelIndex`` files an object of this namespace and label value under."""
    return f"{namespace}/{value}"


def enqueue_self(add: Add) -> Handler[Any]:
    """Enqueue the object that changed."""

    def handle(change: Change[Any]) -> None:
        add(change.key)

    return handle


def enqueue_controller(add: Add, kind: Kind[Any]) -> Handler[Any]:
    """Enqueue the controlling owner, before and after the change, when it is of ``kind``."""

    def handle(change: Change[Any]) -> None:
        for owner in {_controller_key(kind, side) for side in (change.old, change.new)} - {None}:
            if owner is not None:
                add(owner)

    return handle


def _controller_key(kind: Kind[Any], subject: Resource | None) -> Key | None:
    controller = controller_of(subject) if subject is not None else None
    if subject is None or controller is None or controller.kind != kind.kind:
        return None
    if controller.api_version.rpartition("/")[0] != kind.group:
        return None
    return Key(subject.metadata.namespace if kind.namespaced else "", controller.name)


def enqueue_label(add: Add, label: str) -> Handler[Any]:
    """Enqueue the object of the same namespace that a label names, before and after the change."""

    def handle(change: Change[Any]) -> None:
        sides = [side for side in (change.old, change.new) if side is not None]
        for name in {side.metadata.label(label) for side in sides} - {""}:
            add(Key(change.key.namespace, name))

    return handle
