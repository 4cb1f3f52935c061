"""The kinds that this server offers, each with what serving it needs, compiled once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.apiserver.fieldcheck import Shape, shape_of
from knarr.meta.errors import (
    AlreadyExists,
    Cause,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
)
from knarr.meta.objects import Resource
from knarr.resources.kind import Kind

# Kubernetes does not count generations of these, although they have a spec.
_WITHOUT_GENERATION = frozenset({"namespaces", "services", "nodes", "endpoints"})

ENCODER = msgspec.json.Encoder(order="deterministic")
MODIFIED_TEXT = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True, slots=True)
class Served:
    """One kind as the server uses it.

    Attributes:
        decoder: of the typed document.
        shape: the model's fields, for finding unknown ones.
        stores_status: the main endpoint leaves ``status`` alone.
        counts_generation: ``metadata.generation`` is kept.
    """

    kind: Kind[Any]
    decoder: "msgspec.json.Decoder[Resource]"
    shape: Shape
    stores_status: bool
    counts_generation: bool

    @property
    def collection(self) -> str:
        """The name of the store's collection."""
        return self.kind.qualified_plural

    def decode(self, data: bytes) -> Any:
        """A stored document, typed."""
        return self.decoder.decode(data)

    # The errors of a request name the resource in Kubernetes' words.

    def not_found(self, name: str) -> NotFound:
        """404."""
        return NotFound(f'{self.collection} "{name}" not found', **self._about(name))

    def exists(self, name: str) -> AlreadyExists:
        """409 of a create."""
        return AlreadyExists(f'{self.collection} "{name}" already exists', **self._about(name))

    def conflict(self, name: str, why: str = MODIFIED_TEXT) -> Conflict:
        """409 of an update."""
        return Conflict(
            f'Operation cannot be fulfilled on {self.collection} "{name}": {why}',
            **self._about(name),
        )

    def forbidden(self, name: str, why: str, causes: Iterable[Cause] = ()) -> Forbidden:
        """403 of an admission check."""
        return Forbidden(
            f'{self.collection} "{name}" is forbidden: {why}',
            causes=tuple(causes),
            **self._about(name),
        )

    def invalid(self, name: str, causes: Iterable[Cause]) -> Invalid:
        """422 with one cause per field."""
        listed = tuple(causes)
        texts = [f"{cause.field}: {cause.message}" for cause in listed]
        body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        kind = self.kind
        qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        return Invalid(
            f'{qualified} "{name}" is invalid: {body}',
            causes=listed,
            group=kind.group,
            kind=kind.kind,
            name=name,
        )

    def method_not_allowed(self, method: str) -> MethodNotAllowed:
        """405."""
        return MethodNotAllowed(
            f"{method} is not supported on resources of kind {self.collection!r}",
            group=self.kind.group,
            kind=self.kind.plural,
        )

    def _about(self, name: str) -> dict[str, Any]:
        return {"group": self.kind.group, "kind": self.kind.plural, "name": name}


def _serve(kind: Kind[Any]) -> Served:
    fields = kind.model.__struct_fields__
    counts = "spec" in fields and not (kind.builtin and kind.plural in _WITHOUT_GENERATION)
    return Served(
        kind=kind,
        decoder=msgspec.json.Decoder(kind.model),
        shape=shape_of(kind.model),
        stores_status=kind.has_status and "status" in fields,
        counts_generation=counts,
    )


class Registry:
    """Every served kind, by its place in a URL and by its name in a document."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self.all = tuple(_serve(kind) for kind in kinds)
        self._by_resource = {
            (served.kind.group, served.kind.version, served.kind.plural): served
            for served in self.all
        }
        if len(self._by_resource) != len(self.all):
            raise ValueError("two kinds claim one resource")

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """The kind behind a URL."""
        return self._by_resource.get((group, version, plural))

    def group_versions(self) -> dict[str, list[str]]:
        """The versions of each group, core first, otherwise in the order of the catalog."""
        result: dict[str, list[str]] = {"": ["v1"]}
        for served in self.all:
            versions = result.setdefault(served.kind.group, [])
            if served.kind.version not in versions:
                versions.append(served.kind.version)
        return result
