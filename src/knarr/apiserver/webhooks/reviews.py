"""AdmissionReview: the question and the answer (``admission.k8s.io`` v1 and v1beta1)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from knarr.apiserver.webhooks.subject import Document, ReviewSubject
from knarr.meta.errors import Cause, StatusError
from knarr.resources.kind import Kind

_KNOWN: Final = ("v1", "v1beta1")
_MAX_WARNINGS: Final = 4096
_MAX_WARNING: Final = 256


class BadAnswer(Exception):
    """A webhook answered something that is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook says.

    Attributes:
        status: why it refuses, as ``metav1.Status``.
        patch: JSON patch operations, None without.
    """

    allowed: bool
    status: Mapping[str, Any]
    warnings: tuple[str, ...]
    patch: Any = None


def review_version(versions: tuple[str, ...]) -> str:
    """The version in which a webhook is asked: the first of its own that is known.

    Raises:
        BadAnswer: there is none.
    """
    for version in versions:
        if version in _KNOWN:
            return version
    raise BadAnswer("webhook does not accept known AdmissionReview versions (v1, v1beta1)")


def request_head(review: ReviewSubject, kind: Kind[Any]) -> dict[str, Any]:
    """The AdmissionRequest without uid and objects.

    Args:
        review: what is asked about.
        kind: in the version that the webhook's rules name.
    """
    own = review.kind
    user = review.user
    info: dict[str, Any] = {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    head = {
        "kind": _kind(kind),
        "resource": _resource(kind),
        "subResource": review.subresource,
        "requestKind": _kind(own),
        "requestResource": _resource(own),
        "requestSubResource": review.subresource,
        "name": review.name,
        "namespace": review.reviewed_namespace,
        "operation": review.operation,
        "userInfo": {name: value for name, value in info.items() if value},
        "dryRun": review.dry_run,
        "options": dict(review.options) or None,
    }
    empty = ("subResource", "requestSubResource", "name", "namespace")
    return {name: value for name, value in head.items() if value or name not in empty}


def _kind(kind: Kind[Any]) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource(kind: Kind[Any]) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def review_body(
    head: Mapping[str, Any],
    uid: str,
    version: str,
    document: Document | None,
    old: Document | None,
) -> bytes:
    """The AdmissionReview to send."""
    return msgspec.json.encode(
        {
            "kind": "AdmissionReview",
            "apiVersion": f"admission.k8s.io/{version}",
            "request": {"uid": uid, **head, "object": document, "oldObject": old},
        }
    )


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    uid: str = ""
    allowed: bool = False
    status: dict[str, Any] | None = None
    patch: str | None = None
    patch_type: str | None = None
    warnings: tuple[str, ...] | None = None


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    response: _Response | None = None


def parse_answer(body: bytes, uid: str, version: str, *, mutating: bool) -> Answer:
    """The answer in a response body.

    Raises:
        BadAnswer: it is none, or one to something else.
    """
    try:
        review = msgspec.json.decode(body, type=_Review)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"the response is no AdmissionReview: {error}") from None
    response = review.response
    if response is None:
        raise BadAnswer("webhook response was absent")
    if version == "v1":
        _verify(review, response, uid, mutating=mutating)
    patch = _patch(response) if mutating else None
    return Answer(response.allowed, response.status or {}, response.warnings or (), patch)


def _verify(review: _Review, response: _Response, uid: str, *, mutating: bool) -> None:
    if response.uid != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.uid}"')
    expected = ("admission.k8s.io/v1", "AdmissionReview")
    if (review.api_version, review.kind) != expected:
        raise BadAnswer(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got "
            f"{review.api_version}, Kind={review.kind}"
        )
    if not mutating:
        for name, value in (("patch", response.patch), ("patchType", response.patch_type)):
            if value:
                raise BadAnswer(f"validating webhook may not return response.{name}")
        return
    if response.patch and response.patch_type is None:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if not response.patch and response.patch_type is not None:
        raise BadAnswer("webhook returned response.patchType but not response.patch")
    if response.patch_type == "":
        raise BadAnswer('webhook returned invalid response.patchType of ""')


def _patch(response: _Response) -> Any:
    if not response.patch or not response.allowed:
        return None
    if response.patch_type not in ("JSONPatch", None):
        raise BadAnswer(f'unsupported patch type "{response.patch_type}"')
    try:
        operations = msgspec.json.decode(base64.b64decode(response.patch, validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise BadAnswer(f"received undecodable patch in webhook response: {error}") from None
    return operations or None


def refusal(name: str, status: Mapping[str, Any]) -> StatusError:
    """The error of a webhook that refuses."""
    code, reason = status.get("code"), status.get("reason")
    message = status.get("message")
    denied = f'admission webhook "{name}" denied the request'
    if isinstance(message, str) and message:
        text = f"{denied}: {message}"
    elif isinstance(reason, str) and reason:
        text = f"{denied}: {reason}"
    else:
        text = f"{denied} without explanation"
    details = status.get("details")
    return StatusError(
        text,
        code=code if type(code) is int and 400 <= code < 600 else 400,
        reason=reason if isinstance(reason, str) else "",
        **_details(details if isinstance(details, dict) else {}),
    )


def _details(details: Mapping[str, Any]) -> dict[str, Any]:
    named = ("group", "kind", "name", "uid")
    result: dict[str, Any] = {
        name: details[name] for name in named if isinstance(details.get(name), str)
    }
    causes = details.get("causes")
    if isinstance(causes, list):
        result["causes"] = [
            Cause(**{name: str(each.get(name) or "") for name in ("reason", "message", "field")})
            for each in causes
            if isinstance(each, dict)
        ]
    seconds = details.get("retryAfterSeconds")
    if type(seconds) is int and seconds > 0:
        result["retry_after_s"] = seconds
    return result


def bounded_warnings(warnings: list[str]) -> list[str]:
    """Warnings as far as they are passed on: many long ones are cut."""
    if sum(map(len, warnings)) <= _MAX_WARNINGS:
        return warnings
    result: list[str] = []
    left = _MAX_WARNINGS
    for text in warnings:
        short = text[: min(_MAX_WARNING, left)]
        if not short:
            break
        result.append(short)
        left -= len(short)
    return result
