"""The few errors that cross layers, each with the HTTP status and reason of ``metav1.Status``.

The store and both client transports raise the same classes; ``apiserver`` turns them into Status bodies
in one function, and the HTTP transport turns Status bodies back into them. Anything else that is raised
is an internal fault: it is logged in full and shown as an id.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

_MAX_CAUSES = 100
_MAX_TEXT = 16 * 1024


class KnarrError(Exception):
    """Root of every error that Knarr raises on purpose."""


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``status.details.causes``."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusError(KnarrError):
    """An API request's failure (Kubernetes ``metav1.Status``).

    Attributes:
        code: HTTP status.
        reason: ``metav1.StatusReason``, machine-readable.
        message: for people.
        group, kind, name, uid: of the object concerned. ``kind`` is the *plural* for
            NotFound, AlreadyExists, Conflict and Forbidden, the Kind for Invalid.
        causes: the details, one per field.
        retry_after_s: seconds after which the client may try again, or None.
    """

    code = 500
    reason = "InternalError"

    def __init__(  # noqa: PLR0913 - one argument per field of metav1.Status
        self,
        message: str,
        *,
        group: str = "",
        kind: str = "",
        name: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: int | None = None,
        code: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.group = group
        self.kind = kind
        self.name = name
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        if reason is not None:
            self.reason = reason


class BadRequest(StatusError):
    """400."""

    code = 400
    reason = "BadRequest"


class Unauthorized(StatusError):
    """401."""

    code = 401
    reason = "Unauthorized"


class Forbidden(StatusError):
    """403."""

    code = 403
    reason = "Forbidden"


class NotFound(StatusError):
    """404."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(StatusError):
    """405."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(StatusError):
    """406."""

    code = 406
    reason = "NotAcceptable"


class AlreadyExists(StatusError):
    """409: the name is taken."""

    code = 409
    reason = "AlreadyExists"


class Conflict(StatusError):
    """409: the resourceVersion, uid or field manager does not match."""

    code = 409
    reason = "Conflict"


class Expired(StatusError):
    """410: the resourceVersion is older than the history that is still held."""

    code = 410
    reason = "Expired"


class TooLarge(StatusError):
    """413."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError):
    """415."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(StatusError):
    """422: the object is well-formed and wrong."""

    code = 422
    reason = "Invalid"


class TooManyRequests(StatusError):
    """429."""

    code = 429
    reason = "TooManyRequests"


class Unavailable(StatusError):
    """503."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(StatusError):
    """504."""

    code = 504
    reason = "Timeout"


class InsufficientStorage(StatusError):
    """507: the disk is full; nothing was written."""

    code = 507
    reason = "InsufficientStorage"


class Terminal(KnarrError):
    """A reconciler cannot go on until a user acts; it becomes a condition and is not retried."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


BY_REASON: dict[str, type[StatusError]] = {
    error.reason: error
    for error in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable,
        AlreadyExists, Conflict, Expired, TooLarge, UnsupportedMediaType, Invalid,
        TooManyRequests, Unavailable, Timeout, InsufficientStorage,
    )
}  # fmt: skip


def status_body(error: StatusError) -> dict[str, Any]:
    """The ``metav1.Status`` document of an error; very long texts and lists are cut."""
    named = {"name": error.name, "group": error.group, "kind": error.kind, "uid": error.uid}
    details: dict[str, Any] = {field: _cut(value) for field, value in named.items() if value}
    if error.causes:
        details["causes"] = [_shown(cause) for cause in error.causes[:_MAX_CAUSES]]
    if error.retry_after_s is not None:
        details["retryAfterSeconds"] = error.retry_after_s
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": _cut(error.message),
        "reason": error.reason,
        "code": error.code,
    }
    if details or error.code in (403, 404, 405):
        body["details"] = details
    return body


def _shown(cause: Cause) -> dict[str, str]:
    shown: dict[str, str] = msgspec.to_builtins(cause)
    return {name: _cut(value) for name, value in shown.items()}


def _cut(text: str) -> str:
    """The beginning of a text that repeats what a client sent at length."""
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}… ({len(text) - _MAX_TEXT} more characters)"


def error_from_status(body: dict[str, Any], http_code: int) -> StatusError:
    """The error that a server's Status body stands for; unknown reasons keep their code and text."""
    details = body.get("details") or {}
    reason = str(body.get("reason") or "")
    code = int(body.get("code") or http_code)
    return BY_REASON.get(reason, StatusError)(
        str(body.get("message") or f"HTTP {code}"),
        group=details.get("group", ""),
        kind=details.get("kind", ""),
        name=details.get("name", ""),
        uid=details.get("uid", ""),
        causes=[
            Cause(
                reason=cause.get("reason", ""),
                message=cause.get("message", ""),
                field=cause.get("field", ""),
            )
            for cause in details.get("causes") or ()
        ],
        retry_after_s=details.get("retryAfterSeconds"),
        code=code,
        reason=reason or None,
    )
