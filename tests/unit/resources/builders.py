"""Documents and requests for the tests of this folder."""

from collections.abc import Mapping
from typing import Any

import msgspec

from knarr.meta.fielderrors import FieldError, causes_of, format_field_errors
from knarr.resources.kind import Admission, Kind, UserInfo


def admission(
    old: Any = None,
    *,
    subresource: str = "",
    config: Mapping[str, Mapping[str, str]] | None = None,
    user: str = "jane",
) -> Admission:
    return Admission(
        operation="CREATE" if old is None else "UPDATE",
        user=UserInfo(user),
        old=old,
        config=config or {},
        subresource=subresource,
    )


def decode(kind: Kind[Any], document: Mapping[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(document), type=kind.model)


def defaulted(
    kind: Kind[Any], document: Mapping[str, Any], given: Admission | None = None
) -> dict[str, Any]:
    assert kind.default is not None
    subject = kind.default(decode(kind, document), given or admission())
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(subject))
    return plain


def completed(
    kind: Kind[Any], document: Mapping[str, Any], given: Admission | None = None
) -> dict[str, Any]:
    """After defaulting, and with what the server adds."""
    subject = decode(kind, defaulted(kind, document, given))
    if kind.prepare is not None:
        subject = kind.prepare(subject, given or admission())
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(subject))
    return plain


def found(
    kind: Kind[Any], document: Mapping[str, Any], given: Admission | None = None
) -> tuple[FieldError, ...]:
    """What defaulting and validation find in a document."""
    given = given or admission()
    subject = decode(kind, document)
    if kind.default is not None:
        subject = kind.default(subject, given)
    if kind.prepare is not None:
        subject = kind.prepare(subject, given)
    assert kind.validate is not None
    return kind.validate(subject, given)


def causes(
    kind: Kind[Any], document: Mapping[str, Any], given: Admission | None = None
) -> list[tuple[str, str]]:
    """Field and message of every cause of a 422."""
    return [(cause.field, cause.message) for cause in causes_of(found(kind, document, given))]


def problems(kind: Kind[Any], document: Mapping[str, Any], given: Admission | None = None) -> str:
    """The text of a webhook's refusal."""
    errors = found(kind, document, given)
    return format_field_errors(error for error in errors if error.level == "error")


def warnings(kind: Kind[Any], document: Mapping[str, Any], given: Admission | None = None) -> str:
    """The text of a webhook's warnings."""
    errors = found(kind, document, given)
    return format_field_errors(error for error in errors if error.level == "warning")
