"""What webhooks are asked about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from knarr.resources.kind import Kind, Operation, UserInfo

Document = dict[str, Any]


def _as_it_is(document: Document) -> Document:
    return document


@dataclass(frozen=True, slots=True)
class ReviewSubject:
    """One request on its way to the store.

    Attributes:
        kind: in the version that the request names.
        namespace: empty for cluster-scoped kinds.
        document: the object as it shall be, None for a deletion.
        old: the stored object, None for a creation.
        options: ``CreateOptions``, ``UpdateOptions``, ``PatchOptions`` or ``DeleteOptions``.
        complete: sets the defaults of a document that a webhook changed.
    """

    kind: Kind[Any]
    namespace: str
    name: str
    operation: Operation
    subresource: str
    document: Document | None
    old: Document | None
    user: UserInfo
    dry_run: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    complete: Callable[[Document], Document] = _as_it_is

    @property
    def reviewed_namespace(self) -> str:
        """The namespace that webhooks are told: a Namespace is in itself."""
        return self.name if self.is_namespace else self.namespace

    @property
    def is_namespace(self) -> bool:
        """Whether the object is a Namespace."""
        return not self.kind.group and self.kind.plural == "namespaces"
