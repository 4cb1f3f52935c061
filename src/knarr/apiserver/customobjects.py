"""Objects whose kind is defined at run time: metadata is typed, everything else stays a document."""

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from knarr.meta.objects import ObjectMeta, Resource

_ENVELOPE = ("apiVersion", "kind", "metadata")


class CustomObject(Resource, frozen=True, kw_only=True):
    """An object of a CustomResourceDefinition.

    Attributes:
        content: every top-level field but apiVersion, kind and metadata.
    """

    content: dict[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The object of a JSON document.

        Raises:
            msgspec.ValidationError: the envelope has wrong types.
        """
        envelope = {name: document[name] for name in _ENVELOPE if document.get(name) is not None}
        head = msgspec.convert(envelope, Resource)
        content = {name: value for name, value in document.items() if name not in _ENVELOPE}
        return cls(
            api_version=head.api_version, kind=head.kind, metadata=head.metadata, content=content
        )

    def document(self) -> dict[str, Any]:
        """The JSON document; only ``metadata`` is still typed."""
        metadata: ObjectMeta = self.metadata
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": metadata,
            **self.content,
        }

    def without_status(self) -> dict[str, Any]:
        """The content that users ask for."""
        return {name: value for name, value in self.content.items() if name != "status"}

    def with_status_of(self, other: Self) -> Self:
        """This object with the status (or its absence) of another."""
        content = self.without_status()
        if "status" in other.content:
            content["status"] = other.content["status"]
        return msgspec.structs.replace(self, content=content)
