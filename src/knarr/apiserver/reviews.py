"""SelfSubjectReview, SelfSubjectAccessReview, SelfSubjectRulesReview: questions about oneself.

Every authenticated user is the administrator and may do everything; the answers say so.
"""

from collections.abc import Sequence
from typing import Any

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.discovery import REVIEWS
from knarr.apiserver.request import ApiRequest, ApiResponse, json_response
from knarr.meta.errors import BadRequest, MethodNotAllowed

_BY_PATH = {("apis", group, version, plural): kind for group, version, plural, kind in REVIEWS}
_EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_EVERY_URL = {"verbs": ["*"], "nonResourceURLs": ["*"]}


class Reviews:
    """Answers reviews; nothing is stored."""

    def __init__(self, bodies: BodyReader) -> None:
        self._bodies = bodies

    def answer(self, segments: Sequence[str], request: ApiRequest) -> ApiResponse | None:
        """The answer to a review, None when the path is none.

        Raises:
            MethodNotAllowed: it is not a POST.
            BadRequest: the body is another kind.
        """
        kind = _BY_PATH.get(tuple(segments))  # type: ignore[arg-type]  # any length may be asked for
        if kind is None:
            return None
        if request.method != "POST":
            raise MethodNotAllowed(f"{request.method} is not supported on {segments[-1]}")
        sent = self._bodies.document(request)
        if sent.get("kind") not in (None, "", kind):
            raise BadRequest(f"{sent['kind']} cannot be handled as a {kind}")
        document = {
            "kind": kind,
            "apiVersion": f"{segments[1]}/{segments[2]}",
            "metadata": {"creationTimestamp": None},
            "spec": sent.get("spec") or {},
            "status": _status(kind, request),
        }
        if kind == "SelfSubjectReview":
            del document["spec"]
        return json_response(document, 201)


def _status(kind: str, request: ApiRequest) -> dict[str, Any]:
    user = request.user
    match kind:
        case "SelfSubjectReview":
            info: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
            return {"userInfo": info | ({"uid": user.uid} if user.uid else {})}
        case "SelfSubjectAccessReview":
            return {"allowed": True, "reason": "the administrator may do everything"}
        case _:
            return {
                "resourceRules": [_EVERYTHING],
                "nonResourceRules": [_EVERY_URL],
                "incomplete": False,
            }
