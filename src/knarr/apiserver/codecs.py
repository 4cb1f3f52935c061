"""Between stored bytes, JSON documents and the objects that the server works on.

A kind is stored in one version. Served in another, its documents are converted at this edge, so that
nothing behind it knows of more than one.
"""

import typing
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from knarr.apiserver.customobjects import CustomObject
from knarr.apiserver.structural import CrdVersion
from knarr.meta.objects import Resource
from knarr.resources.kind import Kind

ENCODER = msgspec.json.Encoder(order="deterministic")
_replace = msgspec.structs.replace

Present = Callable[[bytes], bytes]


class Codec(Protocol):
    """How the objects of one kind in one version are read and written."""

    @property
    def present(self) -> Present | None:
        """From stored bytes to what clients of this version get; None when that is the same."""
        ...

    def parse(self, data: bytes) -> Any:
        """An object from JSON in this version.

        Raises:
            msgspec.MsgspecError: malformed, or a wrong type.
        """
        ...

    def convert(self, document: dict[str, Any]) -> Any:
        """An object from a decoded document in this version.

        Raises:
            msgspec.ValidationError: a wrong type.
        """
        ...

    def decode(self, data: bytes) -> Any:
        """An object from stored bytes."""
        ...

    def encode(self, subject: Any) -> bytes:
        """The bytes to store."""
        ...

    def document(self, subject: Any) -> dict[str, Any]:
        """The object as a JSON document in this version."""
        ...

    def wanted(self, subject: Any, *, spec_only: bool) -> object:
        """What users ask for, comparable: a change of it counts as a new generation."""
        ...

    def with_status_of(self, subject: Any, source: Any | None) -> Any:
        """The object with the status of another, or without one."""
        ...

    def with_some_status(self, subject: Any) -> Any:
        """The object with an empty status if it has none and its kind always shows one."""
        ...


class TypedCodec:
    """Of kinds that have a model."""

    def __init__(self, kind: Kind[Any]) -> None:
        self._model: type[Resource] = kind.model
        self._decoder = msgspec.json.Decoder(kind.model)
        self._stored = kind.stored_as
        self._has_status = kind.has_status and "status" in kind.model.__struct_fields__
        self._empty = _empty_status(kind) if kind.builtin and self._has_status else None

    @property
    def present(self) -> Present | None:
        """From stored bytes to this version; None when that is the same."""
        return self._present if self._stored is not None else None

    def _present(self, data: bytes) -> bytes:
        stored = self._stored
        if stored is None:
            return data
        return ENCODER.encode(stored.from_stored(msgspec.json.decode(data)))

    def parse(self, data: bytes) -> Any:
        """An object from JSON in this version."""
        return self._decoder.decode(data)

    def convert(self, document: dict[str, Any]) -> Any:
        """An object from a decoded document."""
        return msgspec.convert(document, self._model)

    def decode(self, data: bytes) -> Any:
        """An object from stored bytes."""
        return self._decoder.decode(data if self._stored is None else self._present(data))

    def encode(self, subject: Any) -> bytes:
        """The bytes to store."""
        if self._stored is None:
            return ENCODER.encode(subject)
        return ENCODER.encode(
            msgspec.convert(self._stored.to_stored(self.document(subject)), self._stored.kind.model)
        )

    def document(self, subject: Any) -> dict[str, Any]:
        """The object as a JSON document."""
        result: dict[str, Any] = msgspec.json.decode(ENCODER.encode(subject))
        return result

    def wanted(self, subject: Any, *, spec_only: bool) -> object:
        """What users ask for, comparable."""
        if spec_only:
            return subject.spec
        return _replace(
            subject,
            metadata=type(subject.metadata)(),
            **({"status": None} if self._has_status else {}),
        )

    def with_status_of(self, subject: Any, source: Any | None) -> Any:
        """The object with the status of another, or without one."""
        return _replace(subject, status=None if source is None else source.status)

    def with_some_status(self, subject: Any) -> Any:
        """Kubernetes' own kinds always show a status, be it empty."""
        if self._empty is None or subject.status is not None:
            return subject
        return _replace(subject, status=self._empty)


def _empty_status(kind: Kind[Any]) -> Any:
    """An object of the model's type of ``status``."""
    hint = next(each.type for each in msgspec.structs.fields(kind.model) if each.name == "status")
    models = [each for each in typing.get_args(hint) if each is not type(None)]
    return models[0]() if models else None


class CustomCodec:
    """Of kinds that a CustomResourceDefinition makes.

    Args:
        version: what happens to documents of this version.
        api_version: of this version.
        stored_version: the apiVersion in which objects are stored.
        has_status: whether the status is a subresource.
        since: objects of this resourceVersion or newer were written under this very schema, so
            reading them adds nothing.
    """

    def __init__(
        self,
        version: CrdVersion,
        *,
        api_version: str,
        stored_version: str,
        has_status: bool,
        since: int,
    ) -> None:
        self._version = version
        self._api_version = api_version
        self._stored_version = stored_version
        self._has_status = has_status
        self._since = since
        self._head = msgspec.json.Decoder(_Head)

    @property
    def present(self) -> Present | None:
        """From stored bytes to this version; None when that is the same."""
        return self._present

    def _present(self, data: bytes) -> bytes:
        head = self._head.decode(data)
        if head.api_version == self._api_version and int(head.metadata.version) >= self._since:
            return data
        return ENCODER.encode(self._as_read(data))

    def _as_read(self, data: bytes) -> dict[str, Any]:
        document = msgspec.json.decode(data)
        document["apiVersion"] = self._api_version
        return self._version.admit(document).document

    def parse(self, data: bytes) -> Any:
        """An object from JSON in this version."""
        return self.convert(msgspec.json.decode(data))

    def convert(self, document: dict[str, Any]) -> Any:
        """An object from a decoded document."""
        return CustomObject.of(document)

    def decode(self, data: bytes) -> Any:
        """An object from stored bytes."""
        return CustomObject.of(self._as_read(data))

    def encode(self, subject: Any) -> bytes:
        """The bytes to store."""
        return ENCODER.encode(subject.document() | {"apiVersion": self._stored_version})

    def document(self, subject: Any) -> dict[str, Any]:
        """The object as a JSON document."""
        result: dict[str, Any] = msgspec.json.decode(ENCODER.encode(subject.document()))
        return result

    def wanted(self, subject: Any, *, spec_only: bool) -> object:  # noqa: ARG002 - one for all kinds
        """What users ask for, comparable."""
        # compared as text, because 1, 1.0 and true are equal values of different documents
        content = subject.without_status() if self._has_status else subject.content
        return ENCODER.encode(content)

    def with_status_of(self, subject: Any, source: Any | None) -> Any:
        """The object with the status of another, or without one."""
        if source is None:
            return _replace(subject, content=subject.without_status())
        return subject.with_status_of(source)

    def with_some_status(self, subject: Any) -> Any:
        """A custom object shows what it was given."""
        return subject


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    class _Meta(msgspec.Struct, frozen=True):
        version: str = msgspec.field(default="0", name="resourceVersion")

    api_version: str = ""
    metadata: _Meta = _Meta()
