"""Kinds that are answered and never stored: reading them, and what is wrong with them."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from knarr.apiserver.fieldcheck import FieldWalk, shape_of
from knarr.meta.errors import BadRequest, Invalid
from knarr.meta.fielderrors import FieldError, causes_of
from knarr.meta.objects import Resource

T = TypeVar("T", bound=Resource)


def read_virtual(document: dict[str, Any], model: type[T], api_version: str, kind: str) -> T:
    """A document as a typed object; unknown fields are left out.

    Args:
        document: the decoded body.
        model: what it is to become.
        api_version: what the document must say it is, if it says anything.
        kind: likewise.

    Raises:
        BadRequest: it is of another kind, or a field has the wrong type.
    """
    version = api_version.rpartition("/")[2]
    sent_version, sent_kind = document.get("apiVersion"), document.get("kind")
    if (sent_kind and sent_kind != kind) or (sent_version and sent_version != api_version):
        raise BadRequest(
            f'{sent_kind or kind} in version "{sent_version or version}" cannot be handled as a {kind}'
        )
    pruned = FieldWalk(lambda _: False).prune(document, shape_of(model))
    try:
        return msgspec.convert(pruned, model)
    except msgspec.ValidationError as error:
        raise BadRequest(
            f'{kind} in version "{version}" cannot be handled as a {kind}: {error}'
        ) from None


def invalid_virtual(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> Invalid:
    """A 422 with one cause per field."""
    causes = causes_of(errors)
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return Invalid(
        f'{kind}.{group} "{name}" is invalid: {body}',
        causes=causes,
        group=group,
        kind=kind,
        name=name,
    )
