"""The kinds that this server offers, each with what serving it needs, compiled once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.apiserver.codecs import ENCODER, Codec, Present, TypedCodec
from knarr.apiserver.fieldcheck import Shape, Shapes, shape_of
from knarr.apiserver.structural import CrdVersion
from knarr.meta.errors import (
    AlreadyExists,
    Cause,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    TooLarge,
)
from knarr.resources.kind import Kind

__all__ = ["ENCODER", "MODIFIED_TEXT", "Registry", "Served", "serve"]

# Kubernetes does not count generations of these, although they have a spec.
_WITHOUT_GENERATION = frozenset(
    {
        "namespaces", "services", "nodes", "endpoints", "leases", "persistentvolumes",
        "persistentvolumeclaims", "resourcequotas", "limitranges",
    }
)  # fmt: skip
# It counts generations of these although they have none; whatever is outside metadata is wanted.
_WITHOUT_SPEC = frozenset({"endpointslices", "priorityclasses"})
_DEPRECATED = {
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
}

MAX_OBJECT_BYTES = 3 << 19
MODIFIED_TEXT = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True, slots=True)
class Served:
    """One kind as the server uses it.

    Attributes:
        collection: the name of the store's collection.
        codec: between stored bytes, documents and objects.
        shape: the model's fields, for finding unknown ones.
        stores_status: the main endpoint leaves ``status`` alone.
        counts_generation: ``metadata.generation`` is kept.
        custom: rules of a CustomResourceDefinition's version, None for kinds with a model.
        closing: the definition is being deleted: nothing may be created any more.
        deprecation: what to warn of whenever this version is used, empty for nothing.
    """

    kind: Kind[Any]
    collection: str
    codec: Codec
    shape: Shape
    stores_status: bool
    counts_generation: bool
    custom: CrdVersion | None = None
    closing: bool = False
    deprecation: str = ""

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """``openAPIV3Schema`` of a CustomResourceDefinition's version."""
        return None if self.custom is None else self.custom.document

    @property
    def present(self) -> Present | None:
        """From stored bytes to what clients get; None when that is the same."""
        return self.codec.present

    def shown(self, data: bytes) -> bytes:
        """What clients get for stored bytes."""
        present = self.codec.present
        return data if present is None else present(data)

    def decode(self, data: bytes) -> Any:
        """A stored document as an object."""
        return self.codec.decode(data)

    def encode(self, subject: Any) -> bytes:
        """An object as it is stored.

        Raises:
            TooLarge: it exceeds what an object may weigh.
        """
        data = self.codec.encode(subject)
        if len(data) > MAX_OBJECT_BYTES:
            raise TooLarge(
                f"the object is {len(data)} bytes long, the limit is {MAX_OBJECT_BYTES} bytes"
            )
        return data

    def maker(self, subject: Any) -> Callable[[int], bytes]:
        """Encodes an object for the version it is given."""

        def make(rv: int) -> bytes:
            metadata = msgspec.structs.replace(subject.metadata, resource_version=str(rv))
            return self.encode(msgspec.structs.replace(subject, metadata=metadata))

        return make

    @property
    def qualified(self) -> str:
        """The resource as error messages name it."""
        return self.kind.qualified_plural

    # The errors of a request name the resource in Kubernetes' words.

    def not_found(self, name: str) -> NotFound:
        """404."""
        return NotFound(f'{self.qualified} "{name}" not found', **self._about(name))

    def exists(self, name: str) -> AlreadyExists:
        """409 of a create."""
        return AlreadyExists(f'{self.qualified} "{name}" already exists', **self._about(name))

    def conflict(self, name: str, why: str = MODIFIED_TEXT) -> Conflict:
        """409 of an update."""
        return Conflict(
            f'Operation cannot be fulfilled on {self.qualified} "{name}": {why}',
            **self._about(name),
        )

    def forbidden(self, name: str, why: str, causes: Iterable[Cause] = ()) -> Forbidden:
        """403 of an admission check."""
        return Forbidden(
            f'{self.qualified} "{name}" is forbidden: {why}',
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

    def method_not_allowed(self) -> MethodNotAllowed:
        """405."""
        return MethodNotAllowed("the server does not allow this method on the requested resource")

    def _about(self, name: str) -> dict[str, Any]:
        return {"group": self.kind.group, "kind": self.kind.plural, "name": name}


def serve(kind: Kind[Any], known: Shapes | None = None) -> Served:
    """A kind with a model, ready to be served."""
    fields = kind.model.__struct_fields__
    counts = "spec" in fields and not (kind.builtin and kind.plural in _WITHOUT_GENERATION)
    counts = counts or (kind.builtin and kind.plural in _WITHOUT_SPEC)
    stored = kind.stored_as
    return Served(
        kind=kind,
        collection=(stored.kind if stored is not None else kind).qualified_plural,
        codec=TypedCodec(kind),
        shape=shape_of(kind.model, known),
        stores_status=kind.has_status and "status" in fields,
        counts_generation=counts,
        deprecation=_DEPRECATED.get((kind.group, kind.plural), ""),
    )


class Registry:
    """Every served kind, by its place in a URL.

    Kinds with a model are given once. Custom kinds come and go; ``version`` grows with each change, so
    that documents made of the registry know when they are old.
    """

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        known: Shapes = {}
        self._fixed = tuple(serve(kind, known) for kind in kinds)
        self._custom: dict[str, tuple[Served, ...]] = {}
        self._by_resource: dict[tuple[str, str, str], Served] = {}
        self.all: tuple[Served, ...] = ()
        self.version = 0
        self._rebuild()
        if len(self._by_resource) != len(self._fixed):
            raise ValueError("two kinds claim one resource")

    def put_custom(self, definition: str, versions: Iterable[Served]) -> None:
        """Serve the versions of a custom kind, in the order of their preference.

        Args:
            definition: name of the CustomResourceDefinition; what it served before goes.
            versions: none to stop serving it.

        Raises:
            ValueError: a kind with a model has the place already.
        """
        served = tuple(versions)
        fixed = {(each.kind.group, each.kind.plural) for each in self._fixed}
        if any((each.kind.group, each.kind.plural) in fixed for each in served):
            raise ValueError(f"{definition} is served by a kind of Knarr itself")
        if served:
            self._custom[definition] = served
        else:
            self._custom.pop(definition, None)
        self._rebuild()

    def other_versions(self, kind: Kind[Any]) -> tuple[Kind[Any], ...]:
        """The other versions in which the objects of a custom kind are served."""
        if kind.builtin:
            return ()
        return tuple(
            each.kind
            for versions in self._custom.values()
            for each in versions
            if (each.kind.group, each.kind.plural) == (kind.group, kind.plural)
            and each.kind.version != kind.version
        )

    def has_model(self, group: str, plural: str) -> bool:
        """Whether a resource is served by a kind with a model."""
        return any((each.kind.group, each.kind.plural) == (group, plural) for each in self._fixed)

    def _rebuild(self) -> None:
        customs = (each for versions in self._custom.values() for each in versions)
        self.all = (*self._fixed, *customs)
        self._by_resource = {
            (served.kind.group, served.kind.version, served.kind.plural): served
            for served in self.all
        }
        self.version += 1

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
