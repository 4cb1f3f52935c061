"""Requests and responses in the shape of HTTP, without its machinery."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from knarr.apiserver.streams.upgrade import Session, Upgrade
from knarr.meta.errors import BadRequest, Cause, Invalid, StatusError, status_body
from knarr.resources.kind import UserInfo

JSON = "application/json"
_TRUE = frozenset({"1", "true", "True", "t", "T", "TRUE"})
_FALSE = frozenset({"", "0", "false", "False", "f", "F", "FALSE"})


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request.

    Attributes:
        path: percent-encoded, without the query.
        query: the first value of each parameter, decoded.
        trusted: the body comes from our own encoders, so it has no duplicate keys and no unknown
            fields, and the checks for them are skipped.
        upgrade: what else the connection could become, for exec, attach and port-forward.
    """

    method: str
    path: str
    user: UserInfo
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    accept: str = ""
    if_none_match: str = ""
    user_agent: str = ""
    trusted: bool = False
    upgrade: Upgrade | None = None

    def text(self, name: str) -> str:
        """A query parameter, empty when absent."""
        return self.query.get(name, "")

    def flag(self, name: str) -> bool:
        """A boolean query parameter.

        Raises:
            BadRequest: it is neither true nor false.
        """
        value = self.query.get(name, "")
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise BadRequest(
            f"invalid value {value!r} of query parameter {name}: expected true or false"
        )

    def integer(self, name: str, default: int | None = None) -> int | None:
        """A query parameter that is a number ≥ 0.

        Raises:
            BadRequest: it is something else.
        """
        value = self.query.get(name, "")
        if not value:
            return default
        if not (value.isascii() and value.isdigit()) or len(value) > 18:
            raise BadRequest(
                f"invalid value {value!r} of query parameter {name}: expected a number"
            )
        return int(value)

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be stored.

        Raises:
            Invalid: ``dryRun`` has a value other than All.
        """
        value = self.query.get("dryRun", "")
        if value not in ("", "All"):
            raise Invalid(
                f'invalid: dryRun: Unsupported value: "{value}": supported values: "All"',
                causes=[Cause(reason="FieldValueNotSupported", message=value, field="dryRun")],
            )
        return value == "All"


class Stream(Protocol):
    """A response body that arrives over time."""

    async def next_chunks(self) -> list[bytes] | None:
        """The next pieces, at least one; None at the end."""
        ...

    def end(self) -> None:
        """Let the stream end once what has arrived is read."""
        ...

    async def close(self) -> None:
        """Release what the stream holds; harmless when repeated."""
        ...


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One response: a body, or a stream or session that the receiver must close."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    stream: Stream | None = None
    session: Session | None = None


def json_response(document: Any, status: int = 200) -> ApiResponse:
    """A JSON document."""
    return ApiResponse(status, msgspec.json.encode(document))


def text_response(text: str, status: int = 200) -> ApiResponse:
    """Plain text."""
    return ApiResponse(status, text.encode(), "text/plain; charset=utf-8")


def error_response(error: StatusError) -> ApiResponse:
    """The Status document of an error, with Retry-After when it carries one."""
    headers: tuple[tuple[str, str], ...] = ()
    if error.retry_after_s is not None:
        headers = (("Retry-After", str(error.retry_after_s)),)
    return ApiResponse(error.code, msgspec.json.encode(status_body(error)), headers=headers)


def warning_header(text: str) -> tuple[str, str]:
    """A ``Warning`` header as kubectl prints it (RFC 7234 §5.5, code 299)."""
    printable = (
        text
        if text.isprintable()
        else "".join(char if char.isprintable() else " " for char in text)
    )
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return ("Warning", f'299 - "{escaped}"')


def encode_token(document: Any) -> str:
    """An opaque token for URLs."""
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).rstrip(b"=").decode()


def decode_token(text: str) -> Any:
    """The inverse of ``encode_token``.

    Raises:
        BadRequest: the text is no token of ours.
    """
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, msgspec.DecodeError):
        raise BadRequest("continue key is not valid: it was not made by this server") from None
